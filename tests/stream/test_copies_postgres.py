"""What PostgreSQL itself writes comes back byte by byte, and what the mask makes of it PostgreSQL reads again."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from mask.copy_shape import shapes
from mask.masker import Copied, masker_for
from schemas.ids import SessionId
from tallystick import demo_postgres
from wire.postgres.grammar import parse

SSN, CARD = "536904399", "4012888888881881"
MASKER = masker_for(b"t" * 32)(SessionId("db.0.aaaaaaaa/0/1"))
ODD = ["", "plain", "a\tb", "a,b;c:d|e", "\\", "\\N", "none", 'say "x"', "it's 'x'", "l1\nl2\r\nl3\r", "\b\f\v", "é日",
       "\\.", " x ", None]  # fmt: skip
DIRTY = [CARD, f"card\t{CARD}\n", f'"{CARD}"', f"\\{CARD}\\", f"'{CARD}';"]
AMBIGUOUS = ("", "none", None)  # text like the word for NULL, which text format cannot tell from it
FORCED = ", force_quote *"  # of COPY TO alone
OPTIONS = [
    "format text",
    "format text, delimiter ':', null ''",
    "format text, delimiter '|', null 'none', header",
    "format csv",
    "format csv, header" + FORCED,
    "format csv, delimiter ';', quote '''', escape '\\', null 'none'",
    "format csv, delimiter ':', quote '|', null 'NULL'",
    "format csv, delimiter E'\\t', escape ':'",
]


@pytest.fixture(scope="module")
def db() -> Iterator[psycopg.Connection]:
    with demo_postgres.running() as postgres, psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute("create table clean (id int, a text, b text)")
        connection.execute("create table dirty (id int, ssn text, b text)")
        connection.execute("create table again (id int, ssn text, b text)")
        with connection.cursor() as cursor:
            cursor.executemany("insert into clean values (%s, %s, %s)", [(1, a, b) for a in ODD for b in ODD])
            rows = [(n, a, b) for n, (a, b) in enumerate([(SSN, odd) for odd in ODD] + [(odd, SSN) for odd in DIRTY])]
            rows += [(100 + n, odd, dirty) for n, (odd, dirty) in enumerate((o, d) for o in ODD for d in DIRTY)]
            cursor.executemany("insert into dirty values (%s, %s, %s)", rows)
        yield connection


def copied(db: psycopg.Connection, sql: str) -> tuple[bytes, Copied]:
    with db.cursor() as cursor, cursor.copy(sql.encode()) as copy:
        data = b"".join(copy)
    return data, MASKER.copied(shapes(parse(sql)), data, whole=True)


@pytest.mark.parametrize("options", OPTIONS)
def test_clean_rows_come_back_byte_by_byte(db: psycopg.Connection, options: str) -> None:
    data, found = copied(db, f"copy clean (id, a, b) to stdout ({options})")
    assert "".join(found.rows).encode() == data
    assert len(found.rows) == len(ODD) ** 2 + ("header" in options)
    assert not found.found


@pytest.mark.parametrize("options", OPTIONS)
def test_masked_rows_are_as_many_rows_and_fields_to_postgresql(db: psycopg.Connection, options: str) -> None:
    data, found = copied(db, f"copy dirty (id, ssn, b) to stdout ({options})")
    shown = "".join(found.rows)
    assert CARD in data.decode()
    assert CARD not in shown
    db.execute("truncate again")
    back = f"copy again (id, ssn, b) from stdin ({options.removesuffix(FORCED)})"
    with db.cursor() as cursor, cursor.copy(back.encode()) as copy:
        copy.write(shown)
    before = db.execute("select id, ssn, b from dirty order by id").fetchall()
    after = db.execute("select id, ssn, b from again order by id").fetchall()
    assert [row[0] for row in after] == [row[0] for row in before]
    for (_, ssn, b), (_, masked, c) in zip(before, after, strict=True):
        assert (masked or "").startswith("tok:ssn:") or (masked in (ssn, None) and ssn in AMBIGUOUS)
        assert c == b or (c is None and b in AMBIGUOUS) or "tok:" in (c or "")
        assert ssn != SSN or masked != SSN
