"""The whole gateway before a real PostgreSQL: real clients, unchanged, and every command recorded first."""

from __future__ import annotations

from typing import Any

import asyncpg
import psycopg
import pytest
from psycopg import pq

from schemas.frames import Frame, FrameKind
from schemas.records import CommandKind, Result
from stream.exchange import RawExchange
from stream.transcript import Transcript
from tests.ingest.postgres.test_group import raw
from wire.postgres import messages as m


def test_psycopg_and_its_frames(bench: Any) -> None:
    with psycopg.connect(bench.url()) as c:
        assert c.execute("select 40 + %s", (2,)).fetchone() == (42,)
    kinds = [k for _, k, _ in bench.journal.frames]
    assert kinds[0] is FrameKind.OPENED
    assert FrameKind.CONTEXT in kinds[:2]
    assert any(b"select 40" in d for d in bench.journal.of(FrameKind.CLIENT))


def test_a_wrong_password_and_an_unknown_user_are_told_the_same(bench: Any) -> None:
    for user, password in (("ci", "wrong"), ("nobody", "wrong")):
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(bench.url(user=user, password=password))
    assert len(bench.journal.of(FrameKind.LOGIN_REFUSED)) == 2


def test_psycopg_pipeline_and_copy(bench: Any) -> None:
    with psycopg.connect(bench.url(), autocommit=True) as c:
        c.execute("create temp table t (a int)")
        with c.pipeline():
            for n in range(50):
                c.execute("insert into t values (%s)", (n,))
        with c.cursor() as cursor:
            with cursor.copy("copy t from stdin") as copy:
                for n in range(1000):
                    copy.write_row((n,))
            assert cursor.execute("select count(*) from t").fetchone() == (1050,)


def test_a_copy_row_above_the_command_limit(bench: Any) -> None:
    with psycopg.connect(bench.url(), autocommit=True) as c, c.cursor() as cursor:
        cursor.execute("create temp table big (a text)")
        with cursor.copy("copy big from stdin") as copy:
            copy.write("x" * 3_000_000 + "\n")
        assert cursor.execute("select length(a) from big").fetchone() == (3_000_000,)


async def test_asyncpg(bench: Any) -> None:
    c = await asyncpg.connect(bench.url())
    assert await c.fetch("select $1::int + g as x from generate_series(1, 3) g", 1) == [(2,), (3,), (4,)]
    assert await c.fetchval("select array_agg(relname) is not null from pg_class") is True
    await c.close()


def test_a_large_row_passes_in_pieces(bench: Any) -> None:
    with psycopg.connect(bench.url()) as c:
        row = c.execute("select repeat('x', 20000000)").fetchone()
        assert row is not None
        assert len(row[0]) == 20_000_000
    assert sum(len(d) for d in bench.journal.of(FrameKind.SERVER)) < 1 << 20


def test_a_denied_delete_and_the_same_connection_goes_on(bench: Any, postgres: Any) -> None:
    with psycopg.connect(postgres.url(), autocommit=True) as c:
        c.execute("drop table if exists job_log; create table job_log (a int); insert into job_log values (1)")
    bench.grants.decide = lambda held: False
    size = postgres.log_size()
    with psycopg.connect(bench.url(), autocommit=True) as c:
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="denied"):
            c.execute("delete from job_log")
        assert c.execute("select count(*) from job_log").fetchone() == (1,)
    assert "delete from" not in postgres.log_since(size)


def test_an_approved_delete_runs_in_psycopgs_fresh_transaction(bench: Any, postgres: Any) -> None:
    with psycopg.connect(postgres.url(), autocommit=True) as c:
        c.execute("drop table if exists job_log; create table job_log (a int); insert into job_log values (1)")
    bench.grants.decide = lambda held: True
    notices: list[str] = []
    with psycopg.connect(bench.url()) as c:
        c.add_notice_handler(lambda d: notices.append(d.message_primary or ""))
        assert c.execute("delete from job_log").rowcount == 1
        c.commit()
        assert c.execute("select count(*) from job_log").fetchone() == (0,)
    assert any("req-" in n for n in notices)
    assert len(bench.journal.of(FrameKind.RELEASED)) == 1


def test_a_full_journal_refuses_and_recovers(bench: Any, postgres: Any) -> None:
    with psycopg.connect(bench.url(), autocommit=True) as c:
        c.execute("select 1")
        size = postgres.log_size()
        bench.journal.full = True
        with pytest.raises(psycopg.errors.DiskFull):
            c.execute("select 'never recorded'")
        bench.journal.full = False
        assert c.execute("select 2").fetchone() == (2,)
    assert "never recorded" not in postgres.log_since(size)


def _raws(bench: Any) -> list[RawExchange]:
    """What the pipeline makes of these frames, as one segment."""
    transcript = Transcript(bench.journal.recorder)
    transcript.segment(bench.journal.boot)
    items = [
        item for session, kind, data in bench.journal.frames for item in transcript.feed(Frame(0, session, kind, data))
    ]
    return [i.what for i in items if isinstance(i.what, RawExchange)]


def _exchanges(bench: Any) -> list[tuple[bytes, Result]]:
    """Whatever went wrong, no later command is passed over."""
    return [(raw.text, raw.result) for raw in _raws(bench)]


async def test_each_command_that_the_close_counts_is_an_exchange_and_no_other_is(bench: Any) -> None:
    """Else a session is never complete: fetches of a portal, a text that is not UTF-8, a function call."""
    db = await asyncpg.connect(bench.url())
    async with db.transaction():
        assert len([row async for row in db.cursor("select generate_series(1, 5)", prefetch=2)]) == 5
    await db.close()
    with psycopg.connect(bench.url(), autocommit=True) as c:
        assert raw(c, m.query(b"select '\xff'"))[:1] == b"E"
        assert raw(c, m.frame("F", bytes(10)))[:1] == b"E"
        c.execute("select 2")
    found = _raws(bench)
    assert [one.kind for one in found].count(CommandKind.RESUME) == 2
    counted = [one for one in found if one.kind is not CommandKind.RESUME]
    assert {one.kind for one in counted} == {CommandKind.SIMPLE, CommandKind.EXTENDED, CommandKind.FUNCTION}
    assert len(counted) == bench.running.gateway.metrics.commands == 6


@pytest.mark.parametrize("how", ["simple", "extended", "pipeline", "prepare only"])
def test_what_a_full_journal_refused_is_told_and_hides_nothing_behind_it(bench: Any, how: str) -> None:
    """A command without a frame has an answer to nothing: the transcript gave the session up, and what came next."""
    with psycopg.connect(bench.url(), autocommit=True) as c:
        c.execute("select 1")
        bench.journal.full = True
        with pytest.raises(psycopg.errors.DiskFull):
            if how == "simple":
                c.execute("select 'never'")
            elif how == "extended":
                c.execute("select 'never', %s::int", (1,))
            elif how == "prepare only":
                c.pgconn.prepare(b"p", b"select 'never'")
                result = c.pgconn.exec_prepared(b"p", [])
                raise psycopg.errors.lookup(result.error_field(pq.DiagnosticField.SQLSTATE).decode())
            else:
                with c.pipeline():
                    c.execute("select 'never', %s::int", (1,))
                    c.execute("select 'never', %s::int", (2,))
        bench.journal.full = False
        assert c.execute("select 2").fetchone() == (2,)
    found = _exchanges(bench)
    assert (found[0], found[-1]) == ((b"select 1", Result.EXECUTED), (b"select 2", Result.EXECUTED))
    refused = [result for _, result in found[1:-1]]
    assert refused == [Result.REFUSED] * len(refused)
    assert len(found) == bench.running.gateway.metrics.commands, "the count at the close is the count of exchanges"
    assert b"never" not in b"".join(bench.journal.of(FrameKind.CLIENT))
