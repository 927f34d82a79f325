"""Every command that ran is on record as what ran, whatever its client sends around it: by the gateway, a real
PostgreSQL and the pipeline's reading."""

from __future__ import annotations

import time
from typing import Any

import psycopg
import pytest

from ingest.postgres import relay
from schemas.frames import Frame, FrameKind
from schemas.records import Result
from stream.exchange import RawExchange
from tests.ingest.postgres.test_names import S, table
from tests.ingest.postgres.test_recorded_names import read
from tests.ingest.postgres.wire_talk import errors, say, send
from wire.postgres import messages as wire

__all__ = ["table"]

READS, DELETES, HARMLESS = b"select a from job_log", b"delete from job_log", b"select 1 as harmless"


def told(bench: Any) -> list[RawExchange]:
    frames = [Frame(5, session, FrameKind(kind), data) for session, kind, data in bench.journal.frames]
    ran, again = read(frames, stored=False), read(frames, stored=True)
    assert ran == again, "whoever reads on from what was stored"
    return ran


MALFORMED: dict[str, tuple[bytes, ...]] = {
    "a Query with more behind its end": (wire.frame("Q", b"select 1\0junk"),),
    "a Parse with more behind its end": (wire.frame("P", b"\0select 1\0\0\0junk"), S),
    "a Bind with more behind its end": (wire.parse(b"select 1"), wire.frame("B", b"\0\0" + b"\0" * 6 + b"junk"), S),
    "a Bind of a format that does not exist": (
        wire.parse(b"select 1"),
        wire.bind(result_formats=(5,)),
        wire.execute(),
        S,
    ),
    "a Bind whose formats do not fit": (wire.parse(b"select 1"), wire.bind(formats=(0, 0)), S),
    "an Execute with more behind its end": (wire.frame("E", b"\0" + b"\0" * 4 + b"junk"), S),
    "a Describe of nothing": (wire.frame("D", b"Zx\0"), S),
    "a Close of nothing": (wire.frame("C", b"Zx\0"), S),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_follows_a_malformed_message_is_on_record(allowing: Any, table: Any, name: str) -> None:
    """The target answers it with an error and goes on, so the record must."""
    with psycopg.connect(allowing.url(), autocommit=True) as connection:
        assert len(errors(say(connection, *MALFORMED[name]))) == 1
        say(connection, wire.query(DELETES))
    *before, last = told(allowing)
    assert (last.text, last.tags, last.result) == (DELETES, [b"DELETE 2"], Result.EXECUTED)
    assert all(raw.result is Result.FAILED for raw in before)


def test_a_format_that_nobody_looks_at_is_no_fault(allowing: Any, table: Any) -> None:
    """A command without columns runs with any result format."""
    with psycopg.connect(allowing.url(), autocommit=True) as connection:
        parts = wire.parse(b"delete from job_log where a = $1"), wire.bind(values=(b"1",), result_formats=(7,))
        assert not errors(say(connection, *parts, wire.execute(), S))
    (raw,) = told(allowing)
    assert (raw.tags, raw.binds, raw.result) == ([b"DELETE 1"], (b"1",), Result.EXECUTED)


OPENED = (
    wire.parse(READS, b"r"),
    wire.bind(b"r", b"p"),
    wire.describe("P", b"p"),
    wire.execute(b"p", 1),
    S,
)
PORTALS: dict[str, list[tuple[bytes, ...]]] = {
    "a Bind of a name that is taken": [
        OPENED,
        (wire.query(b"savepoint s"),),
        (wire.parse(HARMLESS, b"h"), wire.bind(b"h", b"p"), wire.describe("P", b"p"), wire.execute(b"p"), S),
        (wire.query(b"rollback to s"),),
        (wire.execute(b"p"), S),
    ],
    "a Bind of a name that is taken, all at once": [
        OPENED,
        (wire.query(b"savepoint s"),),
        (wire.parse(HARMLESS, b"h"), wire.bind(b"h", b"p"), S, wire.query(b"rollback to s"), wire.execute(b"p"), S),
    ],
}


@pytest.mark.parametrize("name", PORTALS)
def test_a_portal_is_what_was_bound(allowing: Any, table: Any, name: str) -> None:
    with psycopg.connect(allowing.url(), autocommit=True) as connection:
        say(connection, wire.query(b"begin"))
        for parts in PORTALS[name]:
            say(connection, *parts, syncs=parts.count(S) + sum(p[:1] == b"Q" for p in parts))
    ran = [raw for raw in told(allowing) if raw.rows]
    assert sum(raw.row_count for raw in ran) == 2
    assert {raw.text for raw in ran} == {READS}
    assert {column.name for raw in ran for column in raw.columns} == {b"a"}


def test_a_name_that_is_described_again_describes_no_older_portal(allowing: Any, table: Any) -> None:
    anew = wire.close("S", b"r"), wire.parse(HARMLESS, b"r"), wire.describe("S", b"r")
    with psycopg.connect(allowing.url(), autocommit=True) as connection:
        send(connection, *OPENED[:3], *anew, wire.FLUSH)
        while sum(data.count(b"harmless") for data in allowing.journal.of(FrameKind.SERVER)) < 1:
            time.sleep(0.01)
        say(connection, wire.execute(b"p"), S)
    (raw,) = told(allowing)  # one command, though its answers came in two parts
    assert (raw.text, raw.row_count, [column.name for column in raw.columns]) == (READS, 2, [b"a"])


def test_a_cursor_is_not_the_portal_that_had_its_name(allowing: Any, table: Any) -> None:
    with psycopg.connect(allowing.url(), autocommit=True) as connection:
        say(connection, wire.query(b"begin"))
        harmless = wire.parse(HARMLESS, b"h"), wire.bind(b"h", b"p"), wire.describe("P", b"p")
        say(connection, *harmless, wire.execute(b"p", 1), S)
        say(connection, wire.query(b"close p"))
        say(connection, wire.query(b"declare p cursor for " + READS))
        assert not errors(say(connection, wire.execute(b"p"), S))
    last = told(allowing)[-1]
    assert last.row_count == 2
    assert last.text != HARMLESS
    assert b"harmless" not in [column.name for column in last.columns]


def test_a_cursor_that_changes_settings_is_waited_for(allowing: Any, table: Any, postgres: Any) -> None:
    """What is sent behind it would be read otherwise by the target than by the judge."""
    trick = rb"select 'a\', '; delete from job_log; --'"  # two strings, or a string and a DELETE
    with psycopg.connect(allowing.url(), autocommit=True) as connection:
        say(connection, wire.query(b"begin"))
        say(connection, wire.parse(HARMLESS, b"h"), wire.bind(b"h", b"p"), wire.execute(b"p", 1), S)
        say(connection, wire.query(b"close p"))
        off = b"set_config('standard_conforming_strings', 'off', false)"
        say(connection, wire.query(b"declare p cursor for select " + off))
        got = say(connection, wire.execute(b"p"), S, wire.query(trick), syncs=2)
    assert errors(got) == ["0A000"]
    assert not any(b"DELETE 2" in m.payload for m in got)


def test_a_new_text_of_a_name_has_no_old_description(allowing: Any, table: Any) -> None:
    with psycopg.connect(allowing.url(), autocommit=True) as connection:
        say(connection, wire.parse(HARMLESS, b"n"), wire.describe("S", b"n"), S)
        say(connection, wire.query(b"deallocate n"))
        say(connection, wire.query(b"prepare n as " + READS))
        say(connection, wire.bind(b"n"), wire.execute(), S)
    assert [column.name for column in told(allowing)[-1].columns] in ([], [b"a"])


def test_a_segment_that_comes_later_knows_what_columns_are_called(allowing: Any, table: Any) -> None:
    """Drivers ask once what a statement's columns are, and run it for days."""
    runs = wire.bind(b"n"), wire.execute(), S
    with psycopg.connect(allowing.url(), autocommit=True) as connection:
        say(connection, wire.parse(b"select * from job_log", b"n"), wire.describe("S", b"n"), S)
        say(connection, *runs)
        at = len(allowing.journal.frames)
        allowing.journal.cut_now()
        say(connection, *runs)
        say(connection, wire.close("S", b"n"), wire.parse(b"select 1 as b, 2 as c", b"n"), S)
        allowing.journal.cut_now()
        say(connection, *runs)
    frames = [Frame(5, session, FrameKind(kind), data) for session, kind, data in allowing.journal.frames[at:]]
    ran = read(frames, stored=False)
    assert [[column.name for column in raw.columns] for raw in ran] == [[b"a"], []]


def test_descriptions_for_later_segments_are_bounded(
    allowing: Any, table: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is forgotten is stated without, and read off the text; a newer one is not."""
    monkeypatch.setattr(relay, "MOST_DESCRIBED", 100)
    with psycopg.connect(allowing.url(), autocommit=True) as connection:
        for name in (b"old", b"newer", b"newer"):
            say(connection, wire.parse(b"select a as long_name from job_log", name), wire.describe("S", name), S)
            say(connection, wire.close("S", name), S) if name == b"newer" else None
        say(connection, wire.parse(b"select a as long_name from job_log", b"last"), wire.describe("S", b"last"), S)
        say(connection, wire.parse(b"select a as long_name from job_log", b"behind"), wire.describe("S", b"behind"), S)
        at = len(allowing.journal.frames)
        allowing.journal.cut_now()
        for name in (b"old", b"behind"):
            say(connection, wire.bind(name), wire.execute(), S)
    frames = [Frame(5, session, FrameKind(kind), data) for session, kind, data in allowing.journal.frames[at:]]
    assert [[column.name for column in raw.columns] for raw in read(frames, stored=False)] == [[], [b"long_name"]]


@pytest.mark.parametrize("simple", [True, False])
def test_data_that_no_copy_asked_for_do_not_hide_an_answer(allowing: Any, table: Any, simple: bool) -> None:
    """Outside of a COPY the target passes over copy data."""
    junk = wire.frame("d", b"x" * 300_000)
    asks = (wire.query(READS), junk) if simple else (wire.parse(READS), wire.bind(), wire.execute(), junk, S)
    with psycopg.connect(allowing.url(), autocommit=True) as connection:
        assert not errors(say(connection, *asks))
    (raw,) = told(allowing)
    assert len(raw.rows) == 2


def test_an_error_that_is_too_large_ends_no_session(allowing: Any, table: Any) -> None:
    with psycopg.connect(allowing.url(), autocommit=True) as connection:
        cries = b"do $$ begin raise exception '%', repeat('x', 400000); end $$"
        assert errors(say(connection, wire.parse(cries), wire.bind(), wire.execute(), S)) == ["P0001"]
        assert not errors(say(connection, wire.query(DELETES)))
    first, last = told(allowing)
    assert (first.result, first.row_count) == (Result.FAILED, 0)
    assert last.tags == [b"DELETE 2"]


def test_a_notice_is_no_row(allowing: Any) -> None:
    with psycopg.connect(allowing.url(), autocommit=True) as connection:
        say(connection, wire.query(b"do $$ begin raise notice '%', repeat('x', 400000); end $$"))
    (raw,) = told(allowing)
    assert raw.row_count == 0
