"""What binary values say, against the text that a real PostgreSQL writes for the same value."""

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.postgres import messages as m
from wire.postgres import startup, values
from wire.postgres.reader import Reader
from wire.postgres.values import Unreadable, to_text

SAME_AS_TEXT = [
    "true", "false", "'\\x00ff'::bytea", "'x'::\"char\"", "'n'::name", "-9223372036854775808", "(-5)::int2", "7::int4",
    "'4111 1111'::text", "3000000000::oid", "'{\"a\": 1}'::json", "'{\"a\": [1, \"ü\"]}'::jsonb", "'10.0.0.0/8'::cidr",
    "'10.1.2.3'::inet", "'10.1.2.3/24'::inet", "'::1'::inet", "'ab'::char(4)", "'v'::varchar", "'2024-02-29'::date",
    "'0001-01-01'::date", "'infinity'::date", "'23:59:59.5'::time", "'24:00'::time",
    "'1999-12-31 23:59:59.000001'::timestamp",
    "'-infinity'::timestamp", "'2024-01-02 03:04:05+00'::timestamptz", "0::numeric", "-0.00012345::numeric",
    "1234567890123456789.10::numeric", "10000::numeric", "1e20::numeric", "0.1::numeric(9,4)", "'NaN'::numeric",
    "'-Infinity'::numeric", "5000.0001::numeric", "'6ba7b810-9dad-11d1-80b4-00c04fd430c8'::uuid", "array[1,null,3]",
    "array[[1,2],[3,4]]", "array['a b','','null','q\"\\',null]", "'{}'::int[]", "array[1.5::numeric]", "0.1::float8",
    "array['2024-02-29'::date]", "array['{\"a\": 1}'::jsonb]",
    "'04:05:06.789-08'::timetz", "'04:05:06+05:30'::timetz", "'08:00:2b:01:02:03'::macaddr",
    "'08:00:2b:01:02:03:04:05'::macaddr8", "b'1011'", "b'10110011101'::varbit", "''::varbit", "'$.a[*]'::jsonpath",
    "'12'::xid", "'1234567890123'::xid8", "interval '1 year 2 mons 3 days 04:05:06.5'", "interval '0'",
    "interval '-1 year -2 mons +3 days -04:05:06'", "interval '1 mon -1 day 1 hour'", "interval '-3 days 4 hours'",
    "interval '14 mons'", "interval '-00:00:00.1'", "'infinity'::interval", "'-infinity'::interval",
    "int4range(1, 5)", "numrange(null, 1.5, '[]')", "'empty'::daterange", "daterange('2024-01-01', null)",
    "tsrange('2024-01-01 10:00', '2024-01-02')", "tstzrange('2024-01-01 10:00+00', null)", "int8range(null, null)",
    "row(1, 'a b', null, '', 'q\"\\,()')", "row('2024-01-01'::date, row(1, array['x', null]), '{\"a\": 1}'::jsonb)",
    "array[row(1, 'a'), row(2, null)]", "array[interval '1 day']", "array[int4range(1,2)]", "row()",
]  # fmt: skip


class Asked:
    def __init__(self, host: str, port: int, user: str) -> None:
        self.socket = socket.create_connection((host, port), timeout=10)
        self.socket.sendall(startup.startup((("user", user), ("database", "postgres"))))
        self.reader = Reader()
        self.until_ready()
        self.socket.sendall(m.query(b"set timezone = 'UTC'"))
        self.until_ready()

    def until_ready(self) -> list[tuple[str, bytes]]:
        found: list[tuple[str, bytes]] = []
        while not found or found[-1][0] != "Z":
            found += [(chr(r.type), r.payload) for r in self.reader.feed(self.socket.recv(65_536))]
        return found

    def value(self, expression: str, code: int) -> tuple[int, bytes]:
        self.socket.sendall(
            m.parse(b"select " + expression.encode())
            + m.bind(result_formats=(code,)) + m.describe("P") + m.execute() + m.SYNC
        )  # fmt: skip
        answers = dict(self.until_ready())
        raw = m.parse_data_row(answers["D"])[0]
        assert raw is not None
        return m.parse_row_description(answers["T"])[0].type_oid, raw


def test_binary_reads_as_the_server_itself_writes_it(postgres: object) -> None:
    asked = Asked(postgres.host, postgres.port, postgres.superuser)  # type: ignore[attr-defined]
    try:
        for expression in SAME_AS_TEXT:
            oid, binary = asked.value(expression, 1)
            shown = asked.value(expression, 0)[1].decode()
            said = to_text(oid, 1, binary)
            assert said == {"true": "t", "false": "f"}.get(shown, shown), expression
        oid, binary = asked.value("point(1,2)", 1)
        assert to_text(oid, 1, binary) == Unreadable("type 600 in binary", 16)
        oid, binary = asked.value("row(1, point(1,2))", 1)
        assert to_text(oid, 1, binary) == Unreadable("type 600 in binary", len(binary))
        oid, binary = asked.value("row(row(row(row(row(1)))))", 1)
        assert isinstance(to_text(oid, 1, binary), Unreadable)
        oid, binary = asked.value("1.5::float4", 1)
        assert to_text(oid, 1, binary) == "1.5"
    finally:
        asked.socket.close()


def test_what_is_not_what_its_type_says_is_withheld() -> None:
    assert isinstance(to_text(25, 0, b"\xff"), Unreadable)
    for oid in values._BINARY:
        if oid not in (17, 18, 19, 25, 114, 142, 705, 1042, 1043):
            assert isinstance(to_text(oid, 1, b""), Unreadable), oid
    # An array that promises a million elements and has none; more dimensions than there may be.
    assert isinstance(to_text(1007, 1, struct.pack(">iiIii", 1, 0, 23, 1 << 20, 1)), Unreadable)
    assert isinstance(to_text(1007, 1, struct.pack(">iiI", 7, 0, 23)), Unreadable)
    assert isinstance(to_text(1007, 1, struct.pack(">iiIiiii", 2, 0, 23, 0, 1, 5, 1)), Unreadable)


@pytest.mark.parametrize("oid", sorted([*values._BINARY, *values._ARRAYS, *values._RANGES, 2249, 600]))
@given(raw=st.binary(max_size=40), code=st.sampled_from([0, 1]))
def test_random_bytes_give_text_or_are_withheld(oid: int, code: int, raw: bytes) -> None:
    assert isinstance(to_text(oid, code, raw), str | Unreadable)
