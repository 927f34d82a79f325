"""What must be held, refused or waited for, each seen from the target's own log."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from schemas.frames import FrameKind
from wire.postgres import messages as wire
from wire.postgres.reader import Reader


@pytest.fixture
def table(postgres: Any) -> Any:
    with psycopg.connect(postgres.url(), autocommit=True) as c:
        c.execute("drop table if exists job_log; create table job_log (a int); insert into job_log values (1), (2)")
        c.execute(
            "create or replace function im(int) returns int language plpgsql immutable as "
            "$$ begin delete from job_log; return 1; end $$"
        )
    return postgres


def rows(postgres: Any) -> int:
    with psycopg.connect(postgres.url()) as c:
        found = c.execute("select count(*) from job_log").fetchone()
        assert found is not None
        return int(found[0])


HELD = [
    "delete from job_log",
    "with d as (delete from job_log returning 1) select * from d",
    "explain analyze delete from job_log",
    "do $$begin delete from job_log; end$$",
    "select 1; delete from job_log",
    "merge into job_log t using (select 1 a) s on true when matched then delete",
    "select im(1)",
    "select (1).im",
    "do $$declare r record := row(im(1)); begin null; end$$",
    "truncate job_log",
    "copy job_log to stdout",
]


@pytest.mark.parametrize("sql", HELD)
@pytest.mark.parametrize("binary", [False, True])
def test_held_and_nothing_of_it_reaches_the_target(bench: Any, table: Any, sql: str, binary: bool) -> None:
    bench.grants.decide = lambda held: False
    if binary and ";" in sql and not sql.startswith("do"):
        pytest.skip("one statement only in the extended protocol")
    size = table.log_size()
    with psycopg.connect(bench.url(), autocommit=True) as c:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            c.execute(sql, binary=binary)
        assert c.execute("select 1").fetchone() == (1,)
    assert rows(table) == 2
    assert sql not in table.log_since(size)
    assert len(bench.journal.of(FrameKind.HOLD)) == 1
    assert len(bench.journal.of(FrameKind.REFUSED)) == 1


def test_a_do_block_right_after_a_harmless_one_is_held_for_itself(bench: Any, table: Any) -> None:
    bench.grants.decide = lambda held: "delete" not in held.text
    with psycopg.connect(bench.url(), autocommit=True) as c:
        c.execute("do $$begin null; end$$")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            c.execute("do $$begin delete from job_log; end$$")
    assert rows(table) == 2


def test_earlier_writes_of_a_refused_pipeline_roll_back(bench: Any, table: Any) -> None:
    bench.grants.decide = lambda held: False
    refused = pytest.raises(psycopg.errors.InsufficientPrivilege)
    with psycopg.connect(bench.url(), autocommit=True) as c, refused, c.pipeline():
        c.execute("insert into job_log values (3)")
        c.execute("delete from job_log")
    assert rows(table) == 2


def test_in_a_used_transaction_it_is_refused_with_tl001_and_the_transaction_fails(bench: Any, table: Any) -> None:
    with psycopg.connect(bench.url()) as c:
        c.execute("insert into job_log values (3)")
        with pytest.raises(psycopg.Error) as e:
            c.execute("delete from job_log")
        assert e.value.sqlstate == "TL001"
    assert rows(table) == 2


def test_expired(make_bench: Any, table: Any) -> None:
    from ingest.settings import Holding

    bench = make_bench(holding=Holding(wire_seconds=0.3))
    with psycopg.connect(bench.url(), autocommit=True) as c:
        with pytest.raises(psycopg.Error, match="req-") as e:
            c.execute("delete from job_log")
        assert e.value.sqlstate == "TL001"
        assert c.execute("select 1").fetchone() == (1,)
    assert bench.journal.of(FrameKind.GONE)[0].why == "timeout"


def test_a_cancel_takes_a_held_command_back(bench: Any, table: Any) -> None:
    import threading

    with psycopg.connect(bench.url(), autocommit=True) as c:
        threading.Timer(0.2, c.cancel_safe).start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            c.execute("delete from job_log")
        assert c.execute("select 1").fetchone() == (1,)


def test_cancel_reaches_a_running_command(bench: Any) -> None:
    import threading

    with psycopg.connect(bench.url(), autocommit=True) as c:
        threading.Timer(0.2, c.cancel_safe).start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            c.execute("select count(*) from generate_series(1, 1000000000)")


def test_settings_changed_inside_a_pipeline_do_not_fool_the_judge(bench: Any, table: Any) -> None:
    evil = rb"select '\'' , im(1) --'"
    bench.grants.decide = lambda held: held.text.startswith("set standard")  # a reviewer lets even that through
    with psycopg.connect(bench.url(), autocommit=True) as c:
        parts = [
            wire.parse(b"set standard_conforming_strings = off"), wire.bind(), wire.execute(),
            wire.parse(evil), wire.bind(), wire.execute(), wire.SYNC,
        ]  # fmt: skip
        answers = raw(c, b"".join(parts))
        assert b"0A000" in answers
    assert rows(table) == 2


def raw(c: Any, data: bytes) -> bytes:
    """Send on the driver's own socket and read to ReadyForQuery."""
    import os
    import select

    fd = c.pgconn.socket
    os.write(fd, data)
    reader, got = Reader(), b""
    ready = select.poll()  # select() takes no descriptor above 1023
    ready.register(fd, select.POLLIN)
    while ready.poll(5_000):
        part = os.read(fd, 65536)
        got += part
        if not part or any(m.type == 0x5A for m in reader.feed(part)):
            return got
    raise TimeoutError


def test_a_function_call_message_is_refused(bench: Any) -> None:
    with psycopg.connect(bench.url(), autocommit=True) as c:
        assert b"0A000" in raw(c, wire.frame("F", bytes(10)))
        assert c.execute("select 1").fetchone() == (1,)


def test_a_command_above_the_limit_is_refused_and_the_connection_goes_on(bench: Any) -> None:
    with psycopg.connect(bench.url(), autocommit=True) as c:
        for text in ("select '" + "x" * 2_000_000 + "'", "select %s"):
            with pytest.raises(psycopg.errors.ProgramLimitExceeded):
                c.execute(text, ("x" * 2_000_000,) if "%s" in text else None)
        assert c.execute("select 1").fetchone() == (1,)


def test_a_grant_for_another_command_or_without_votes_releases_nothing(bench: Any, table: Any) -> None:
    import dataclasses

    bench.grants.decide = lambda held: True
    for change in (
        lambda g: dataclasses.replace(g, votes=()),
        lambda g: dataclasses.replace(g, commitment=b"x" * 32),
        lambda g: dataclasses.replace(g, first_hold="hold-" + "0" * 32),
        lambda g: dataclasses.replace(g, expires_us=1),
        lambda g: dataclasses.replace(g, votes=tuple(dataclasses.replace(v, signature=b"s" * 64) for v in g.votes)),
    ):
        bench.grants.change = change
        with psycopg.connect(bench.url(), autocommit=True) as c, pytest.raises(psycopg.errors.InsufficientPrivilege):
            c.execute("delete from job_log")
    assert rows(table) == 2


def test_one_approval_is_used_once(bench: Any, table: Any) -> None:
    first: list[Any] = []
    bench.grants.decide = lambda held: True

    def again(grant: Any) -> Any:
        import dataclasses

        first.append(grant)
        return dataclasses.replace(first[0], hold=grant.hold)

    bench.grants.change = again
    with psycopg.connect(bench.url(), autocommit=True) as c:
        assert c.execute("delete from job_log where a = 1 or true").rowcount == 2
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="used before"):
            c.execute("delete from job_log where a = 1 or true")


def test_a_client_that_leaves_while_held_is_recorded_before_its_session_closes(bench: Any, table: Any) -> None:
    import time

    c = psycopg.connect(bench.url(), autocommit=True)
    c.pgconn.send_query(b"delete from job_log")
    deadline = time.monotonic() + 3
    while not bench.journal.of(FrameKind.HOLD) and time.monotonic() < deadline:
        time.sleep(0.005)
    c.close()
    while not bench.journal.of(FrameKind.CLOSED) and time.monotonic() < deadline:
        time.sleep(0.005)
    kinds = [k for _, k, _ in bench.journal.frames]
    assert kinds.index(FrameKind.GONE) < kinds.index(FrameKind.CLOSED)
    assert bench.journal.of(FrameKind.GONE)[0].why == "client left"
    assert rows(table) == 2
