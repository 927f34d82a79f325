"""What the record says of a command's outcome is what became of it, but for known faults (docs/limitations.md), which
are strict: who mends one sees it here."""

from __future__ import annotations

import time
from typing import Any

import psycopg
import pytest

from schemas.frames import FrameKind
from schemas.records import Result
from tests.ingest.postgres.test_names import S, table
from tests.ingest.postgres.test_recorded_whole import told
from tests.ingest.postgres.wire_talk import errors, say, send
from wire.postgres import messages as wire

__all__ = ["table"]

known_fault = pytest.mark.xfail(strict=True, reason="docs/limitations.md")


def test_a_commit_that_fails_at_sync_is_on_record(allowing: Any, postgres: Any) -> None:
    """Of one extended command outside of a transaction, Sync is the COMMIT: deferred constraints, serialization."""
    with psycopg.connect(postgres.url(), autocommit=True) as c:
        c.execute("drop table if exists later; create table later (a int primary key deferrable initially deferred)")
        c.execute("insert into later values (1)")
    insert = wire.parse(b"insert into later values (1)"), wire.bind(), wire.execute()
    with psycopg.connect(allowing.url(), autocommit=True) as connection:
        assert errors(say(connection, *insert, S)) == ["23505"]
    (raw,) = told(allowing)
    assert (raw.result, raw.sqlstate) == (Result.FAILED, "23505")


@pytest.mark.parametrize(
    ("behind", "result"),
    [
        (b"insert into job_log values (7)", Result.FAILED),
        (b"select 1", Result.FAILED),
        (b"create table made_and_undone (a int)", Result.UNKNOWN),  # what may commit by itself, as VACUUM does
    ],
)
def test_what_a_later_error_of_its_group_undid_was_not_executed(
    allowing: Any, table: Any, behind: bytes, result: Result
) -> None:
    first = wire.parse(b"delete from job_log"), wire.bind(), wire.execute()
    second = wire.parse(behind), wire.bind(), wire.execute()
    with psycopg.connect(allowing.url(), autocommit=True) as connection:
        bad = wire.parse(b"select 1/0"), wire.bind(), wire.execute()
        assert errors(say(connection, *first, *second, *bad, S)) == ["22012"]
    with psycopg.connect(table.url()) as c:
        assert c.execute("select count(*) from job_log").fetchone() == (2,)
    assert [(raw.result, raw.sqlstate) for raw in told(allowing)] == [
        (result, "22012"), (result, "22012"), (Result.FAILED, "22012"),
    ]  # fmt: skip


def test_what_a_block_around_it_committed_was_executed(allowing: Any, table: Any) -> None:
    texts = (b"begin", b"delete from job_log", b"commit", b"select 1/0")
    asked = [part for text in texts for part in (wire.parse(text), wire.bind(), wire.execute())]
    with psycopg.connect(allowing.url(), autocommit=True) as connection:
        assert errors(say(connection, *asked, S)) == ["22012"]
    with psycopg.connect(table.url()) as c:
        assert c.execute("select count(*) from job_log").fetchone() == (0,)
    assert Result.FAILED not in [raw.result for raw in told(allowing)[:3]]


def test_a_long_pipeline_is_on_record_before_its_sync(allowing: Any, table: Any) -> None:
    asked = [part for n in range(600) for part in (wire.parse(b"select %d" % n), wire.bind(), wire.execute())]
    with psycopg.connect(allowing.url(), autocommit=True) as connection:
        assert not errors(say(connection, *asked, S))
    assert [raw.result for raw in told(allowing)] == [Result.EXECUTED] * 600


@known_fault
def test_what_was_only_bound_was_not_executed(allowing: Any, table: Any) -> None:
    with psycopg.connect(allowing.url(), autocommit=True) as connection:
        assert not errors(say(connection, wire.parse(b"delete from job_log"), wire.bind(), S))
    (raw,) = told(allowing)
    assert raw.result is not Result.EXECUTED


def test_what_was_rolled_back_with_its_connection_was_not_executed(allowing: Any, table: Any) -> None:
    """An answer that a Flush brought is not yet committed: without the Sync nothing stays of it."""
    with psycopg.connect(allowing.url(), autocommit=True) as connection:
        send(connection, wire.parse(b"delete from job_log"), wire.bind(), wire.execute(), wire.FLUSH)
        while not any(b"DELETE 2" in data for data in allowing.journal.of(FrameKind.SERVER)):
            time.sleep(0.01)
    while not allowing.journal.of(FrameKind.CLOSED):
        time.sleep(0.01)
    with psycopg.connect(table.url()) as c:
        assert c.execute("select count(*) from job_log").fetchone() == (2,)
    (raw,) = told(allowing)
    assert raw.result is not Result.EXECUTED


@known_fault
def test_rows_of_a_copy_are_its_rows(allowing: Any, table: Any) -> None:
    with psycopg.connect(allowing.url(), autocommit=True) as connection:
        for options in (b"format binary", b"header"):
            say(connection, wire.query(b"copy job_log to stdout (" + options + b")"))
    assert [raw.row_count for raw in told(allowing)] == [2, 2]
