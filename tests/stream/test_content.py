"""Raw exchanges become masked content: parameters by the column they go to, rows in the format that was asked for."""

from __future__ import annotations

import struct

import pytest

from mask.masker import masker_for
from policy.rules import parse
from schemas.ids import SessionId
from schemas.records import CommandKind
from stream import content
from stream.exchange import RawExchange
from wire.postgres.messages import Column

INT8, TEXT = 20, 25
CARD = 4012888888881881


@pytest.fixture
def masking() -> content.Masking:
    return content.Masking(masker_for(b"t" * 32)(SessionId("r.0.00000000/0/1")), content.Learned())


@pytest.mark.parametrize(
    ("sql", "value"),
    [
        (b"insert into people (id, ssn) values ($1, $2)", b"536904399"),
        (b"update people set ssn = $2 where id = $1", b"536904399"),
        (b"select * from people where id = $1 and password = $2", b"blue"),
    ],
)
def test_a_parameter_is_masked_by_the_name_of_its_column(masking: content.Masking, sql: bytes, value: bytes) -> None:
    shown = content.command(masking, sql, (b"7", value), (0, 0), (0, 0))
    assert shown["params"][0] == "7"
    assert value.decode() not in shown["params"][1]


def test_parameters_of_what_is_no_sql_are_still_searched(masking: content.Masking) -> None:
    shown = content.command(masking, b"\xff no sql", (str(CARD).encode(), b"7"), (), ())
    assert shown["params"][0].startswith("tok:card:")
    assert shown["params"][1] == "7"


def _answer(masking: content.Masking, formats: tuple[int, ...], values: tuple[bytes, ...]) -> list[str]:
    columns = (Column(b"a", 0, 0, INT8, 0), Column(b"b", 0, 0, TEXT, 0))  # a statement's description: text
    raw = RawExchange(1, CommandKind.EXTENDED, b"select a, b from t", 0, result_formats=formats, columns=columns)
    raw.rows.append((columns, values))
    row: list[str] = content.answer(masking, raw)["rows"][0]
    return row


@pytest.mark.parametrize("formats", [(1,), (1, 0), (1, 1)])
def test_rows_are_read_in_the_format_that_the_bind_asked_for(
    masking: content.Masking, formats: tuple[int, ...]
) -> None:
    """A card in a binary int8 is eight bytes that no detector would know."""
    row = _answer(masking, formats, (struct.pack(">q", CARD), b"plain"))
    assert row[0].startswith("tok:card:")
    assert row[1] == "plain"


def test_text_rows(masking: content.Masking) -> None:
    row = _answer(masking, (), (str(CARD).encode(), b"plain"))
    assert row[0].startswith("tok:card:")
    assert row[1] == "plain"


def test_a_name_with_something_to_mask_is_masked_and_counted_each_time() -> None:
    learned = content.Learned()
    shown = []
    for session in ("r.0.00000000/0/1", "r.0.00000000/0/2"):
        for _ in range(2):
            masking = content.Masking(masker_for(b"t" * 32)(SessionId(session)), learned)
            shown.append(masking.name("ann@example.com"))
            assert masking.name("region") == "region"
            assert [(found.type, found.count) for found in masking.counts()] == [("email", 1)]
    assert len(set(shown)) == 2
    assert not any("ann" in name for name in shown)


def _boom(_: object) -> None:
    raise RecursionError("536904399")


def test_parameters_that_no_name_can_be_found_for_are_withheld(
    masking: content.Masking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content, "parameter_names", _boom)
    shown = content.command(masking, b"insert into faults (ssn, b) values ($1, $2)", (b"536904399", None), (), ())
    assert shown["params"][0].startswith("withheld:9:")
    assert shown["params"][1] is None
    assert (masking.withheld, masking.failed) == (1, {"sql_names": 1})


def test_copy_data_whose_shape_cannot_be_found_are_withheld(
    masking: content.Masking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content, "shapes", _boom)
    raw = RawExchange(
        1, CommandKind.SIMPLE, b"copy faults (ssn) to stdout", 0, tags=[b"COPY 1"], copied=[b"536904399\n"]
    )
    shown = content.answer(masking, raw)
    assert [row[:12] for row in shown["copied"]] == ["withheld:10:"]
    assert (masking.withheld, masking.failed) == (1, {"copy_shape": 1})


def _rows(masking: content.Masking, sql: bytes, called: tuple[bytes, ...], *values: bytes) -> list[str]:
    columns = tuple(Column(name, 16_385, n, TEXT, 0) for n, name in enumerate(called, 1))
    raw = RawExchange(1, CommandKind.SIMPLE, sql, 0, columns=columns)
    raw.rows.append((columns, values))
    row: list[str] = content.answer(masking, raw)["rows"][0]
    return row


@pytest.mark.parametrize(
    ("sql", "called"),
    [
        (b"SELECT id, ssn FROM people", (b"id", b"ssn")),
        (b"SELECT * FROM people", (b"id", b"ssn")),
        (b"SELECT id AS a, ssn AS b FROM people", (b"a", b"b")),
        (b"SELECT * FROM (SELECT id, lower(ssn) FROM people) p(a, b)", (b"a", b"b")),
        (b"SELECT 1; SELECT id AS a, ssn AS b FROM people", (b"a", b"b")),
        (b"DELETE FROM people RETURNING id, ssn || ''", (b"id", b"?column?")),
    ],
)
def test_a_row_is_masked_by_what_its_columns_are_made_of(
    masking: content.Masking, sql: bytes, called: tuple[bytes, ...]
) -> None:
    """Nine bare digits are no SSN to a detector: only the column's name tells."""
    for _ in range(2):  # asked for, and remembered
        row = _rows(masking, sql, called, b"123456789", b"536904399")
        assert row[0] == "123456789"
        assert row[1].startswith("tok:ssn:")


@pytest.mark.parametrize(
    ("sql", "shown"),
    [
        (b"SELECT a AS x FROM salaries", False),
        (b"SELECT s.* FROM hr.salaries s JOIN people USING (id)", False),
        (b"SELECT a AS x FROM people", True),
        (b"SELECT max(a) AS x FROM salaries", False),
        (b"SELECT count(a) AS x FROM salaries", True),
        (b"SELECT x FROM people, shops", True),
    ],
)
def test_a_rule_for_a_table_hides_its_columns(sql: bytes, shown: bool) -> None:
    rules = parse("rules: []\nmask: {tables: {salaries: withhold}}").field_rules
    masking = content.Masking(masker_for(b"t" * 32, rules)(SessionId("s")), content.Learned())
    assert (_rows(masking, sql, (b"x",), b"plain")[0] == "plain") is shown


def test_a_column_whose_origin_cannot_be_found_is_withheld(
    masking: content.Masking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content, "Origins", _boom)
    assert _rows(masking, b"SELECT ssn AS x FROM faults", (b"x",), b"plain")[0].startswith("withheld:5:")
    assert (masking.withheld, masking.failed) == (1, {"sql_origins": 1})
