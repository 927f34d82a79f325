"""Every way that a value may go through a gateway to PostgreSQL, or come back from it, one function each.

Not every surface takes every text (a name has 63 bytes), see `fits`: of a value that is cut nobody knows what it was.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

TABLES = """
create table soak (id int, name text, note text, doc jsonb, raw bytea);
create table once (note text unique);
create table says (note text);
create table cries (note text);
create function say() returns trigger language plpgsql as $$ begin
  raise notice 'it says %', new.note; return new; end $$;
create function cry() returns trigger language plpgsql as $$ begin
  raise exception 'it cries %', new.note using detail = new.note, hint = new.note; end $$;
create trigger say before insert on says for each row execute function say();
create trigger cry before insert on cries for each row execute function cry();
"""
NAME = 63  # bytes of a name, and of an application's
PAYLOAD = 7000  # of a notification
INDEXED = 2000  # of a value in an index


@dataclass
class Wire:
    """`db` goes through the gateway; `behind` straight to the target: its values are told by answers alone."""

    db: psycopg.Connection
    behind: psycopg.Connection
    url: str
    number: int = 0

    def stored(self, text: str) -> int:
        self.number += 1
        self.behind.execute(
            "insert into soak (id, note, doc, raw) values (%s, %s, %s, %s)",
            (self.number, text, Jsonb({"rows": [{"note": text}]}), text.encode()),
        )
        return self.number


def _quoted(text: str) -> str:
    return sql.Literal(text).as_string()


def _fails(db: psycopg.Connection, command: str, values: tuple[object, ...] = ()) -> None:
    with contextlib.suppress(psycopg.Error):
        db.execute(command.encode(), values or None)
        raise AssertionError("this was to fail")


# --- asked ---------------------------------------------------------------------------------


def literal(wire: Wire, text: str) -> None:
    wire.db.execute(f"insert into soak (id, note) values (0, {_quoted(text)})".encode())


def literal_without_columns(wire: Wire, text: str) -> None:
    wire.db.execute(f"insert into soak values (0, 'x', {_quoted(text)})".encode())


def dollar_quoted(wire: Wire, text: str) -> None:
    wire.db.execute(f"insert into soak (id, note) values (0, $soak${text}$soak$)".encode())


def escape_string(wire: Wire, text: str) -> None:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    wire.db.execute(f"insert into soak (id, note) values (0, E'{escaped}')".encode())


def document_literal(wire: Wire, text: str) -> None:
    said = _quoted(json.dumps({"rows": [{"note": text}]}))
    wire.db.execute(f"insert into soak (id, doc) values (0, {said})".encode())


def comment(wire: Wire, text: str) -> None:
    wire.db.execute(f"select 1 -- {' '.join(text.splitlines())}\n".encode())


def block_comment(wire: Wire, text: str) -> None:
    wire.db.execute(f"select 1 /* {text.replace('*/', '* /').replace('/*', '/ *')} */".encode())


def name(wire: Wire, text: str) -> None:
    wire.db.execute(sql.SQL("select 1 as {}").format(sql.Identifier(text)))


def bind(wire: Wire, text: str) -> None:
    wire.db.execute("insert into soak (id, note) values (0, %s)", (text,))


def binary_bind(wire: Wire, text: str) -> None:
    wire.db.execute("insert into soak (id, note) values (%b, %b)", (0, text))


def bytea_bind(wire: Wire, text: str) -> None:
    wire.db.execute("insert into soak (id, raw) values (0, %b)", (text.encode(),))


def document_bind(wire: Wire, text: str) -> None:
    wire.db.execute("insert into soak (id, doc) values (0, %s)", (Jsonb({"a": {"b": [text]}}),))


def setting(wire: Wire, text: str) -> None:
    wire.db.execute(f"set application_name = {_quoted(text)}".encode())


def application(wire: Wire, text: str) -> None:
    psycopg.connect(wire.url, application_name=text.replace("\0", ""), autocommit=True).close()


def no_sql(wire: Wire, text: str) -> None:
    _fails(wire.db, f"this is no sql {text.replace(';', ' ')}")


def held(wire: Wire, text: str) -> None:
    """Nobody answers in time, so it is refused; it is kept as it was asked."""
    _fails(wire.db, f"delete from soak where note = {_quoted(text)} or true")


def copy_text(wire: Wire, text: str) -> None:
    with wire.db.cursor() as cursor, cursor.copy("copy soak (id, note) from stdin") as copy:
        copy.write_row((0, text))


def copy_csv(wire: Wire, text: str) -> None:
    row = '0,"' + text.replace('"', '""') + '"\n'
    with wire.db.cursor() as cursor, cursor.copy("copy soak (id, note) from stdin (format csv)") as copy:
        copy.write(row.encode())


def copy_binary(wire: Wire, text: str) -> None:
    with wire.db.cursor() as cursor, cursor.copy("copy soak (id, note) from stdin (format binary)") as copy:
        copy.set_types(["int4", "text"])
        copy.write_row((0, text))


# --- answered ------------------------------------------------------------------------------


def row(wire: Wire, text: str) -> None:
    assert wire.db.execute("select note from soak where id = %s", (wire.stored(text),)).fetchall()


def simple_row(wire: Wire, text: str) -> None:
    assert wire.db.execute(f"select * from soak where id = {wire.stored(text)}".encode()).fetchall()


def binary_row(wire: Wire, text: str) -> None:
    found = wire.db.execute("select id, note, doc, raw from soak where id = %s", (wire.stored(text),), binary=True)
    assert found.fetchall()


def copy_out(wire: Wire, text: str) -> None:
    _out(wire, text, "format text")


def copy_out_csv(wire: Wire, text: str) -> None:
    _out(wire, text, "format csv, header")


def copy_out_binary(wire: Wire, text: str) -> None:
    _out(wire, text, "format binary")


def _out(wire: Wire, text: str, options: str) -> None:
    query = f"copy (select id, note, doc, raw from soak where id = {wire.stored(text)}) to stdout ({options})"
    with wire.db.cursor() as cursor, cursor.copy(query.encode()) as copy:
        assert b"".join(copy)


def failed_cast(wire: Wire, text: str) -> None:
    _fails(wire.db, f"select {_quoted(text)}::int")


def failed_bind(wire: Wire, text: str) -> None:
    _fails(wire.db, "select (%s::text)::int", (text,))


def exception(wire: Wire, text: str) -> None:
    _fails(wire.db, "insert into cries select note from soak where id = %s", (wire.stored(text),))


def notice(wire: Wire, text: str) -> None:
    wire.db.execute("insert into says select note from soak where id = %s", (wire.stored(text),))


def duplicate(wire: Wire, text: str) -> None:
    for _ in range(2):
        with contextlib.suppress(psycopg.errors.UniqueViolation):
            wire.db.execute("insert into once values (%s)", (text,))


def notification(wire: Wire, text: str) -> None:
    wire.db.execute("listen soak")
    wire.behind.execute("select pg_notify('soak', %s)", (text,))
    wire.db.execute("select 1")
    assert next(wire.db.notifies(timeout=20, stop_after=1)).payload == text
    wire.db.execute("unlisten soak")


Surface: TypeAlias = Callable[[Wire, str], None]
MOST: dict[Surface, int] = {name: NAME, setting: NAME, application: NAME, duplicate: INDEXED, notification: PAYLOAD}
"""Bytes that a surface can take."""


def fits(surface: Surface, text: str) -> bool:
    return len(text.encode()) <= MOST.get(surface, len(text.encode()))


SURFACES: tuple[Surface, ...] = (
    literal, literal_without_columns, dollar_quoted, escape_string, document_literal, comment, block_comment, name,
    bind, binary_bind, bytea_bind, document_bind, setting, application, no_sql, held, copy_text, copy_csv, copy_binary,
    row, simple_row, binary_row, copy_out, copy_out_csv, copy_out_binary, failed_cast, failed_bind, exception, notice,
    duplicate, notification,
)  # fmt: skip


@contextlib.contextmanager
def wired(url: str, straight: str) -> Iterator[Wire]:
    with psycopg.connect(url, autocommit=True) as db, psycopg.connect(straight, autocommit=True) as behind:
        yield Wire(db, behind, url)
