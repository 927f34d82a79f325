"""A held command from the client's side and the target's: what waits, what is told, and what never arrives."""

from __future__ import annotations

import dataclasses
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg import sql as compose

from ingest.settings import Holding
from schemas.frames import FrameKind
from schemas.records import HeldCommand
from seal.digest import approval_id
from tests.ingest.postgres.wire_talk import answers, errors, rows, say, send
from wire.postgres import messages as wire

INT4 = 23


@pytest.fixture
def table(postgres: Any) -> Any:
    with psycopg.connect(postgres.url(), autocommit=True) as c:
        c.execute("drop table if exists job_log; create table job_log (a int); insert into job_log values (1), (2)")
        c.execute(
            "create or replace function im(int) returns int language plpgsql immutable as "
            "$$ begin delete from job_log; return 1; end $$"
        )
        c.execute("create or replace procedure tell(int) language sql as 'delete from job_log'")
    return postgres


def waits_until(condition: Callable[[], Any], seconds: float = 5.0) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.002)
    raise TimeoutError


def backend(postgres: Any) -> dict[str, Any]:
    """What the target says of the one connection that the gateway has to it."""
    with psycopg.connect(postgres.url()) as c:
        found = c.execute(
            "select state, backend_xid is null, backend_xmin is null, (select count(*) from pg_locks l "
            "where l.pid = a.pid and locktype = 'relation') from pg_stat_activity a "
            "where application_name = 'held' and pid <> pg_backend_pid()"
        ).fetchone()
        assert found is not None
        return dict(zip(("state", "no_xid", "no_xmin", "locks"), found, strict=True))


# --- while it waits --------------------------------------------------------------------


def test_a_command_is_held_within_50_ms_in_the_transaction_that_psycopg_opens(bench: Any, table: Any) -> None:
    arrived: list[float] = []

    def decide(held: HeldCommand) -> bool:
        arrived.append(time.monotonic())
        return False

    bench.grants.decide = decide
    took = []
    with psycopg.connect(bench.url()) as c:
        for n in range(5):
            sent = time.monotonic()  # BEGIN goes first, in a round trip of its own
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                c.execute("delete from job_log where a > %s or true", (n,))
            took.append(arrived[-1] - sent)
            c.rollback()
    assert sorted(took)[2] < 0.05
    assert rows(table) == 2


def test_a_gateway_that_was_idle_for_longer_than_grants_are_kept_still_hears_its_own(bench: Any, table: Any) -> None:
    bench.grants.decide = lambda held: True
    bench.grants.gone = True
    with psycopg.connect(bench.url(), autocommit=True) as c:
        assert c.execute("delete from job_log").rowcount == 2
    assert not bench.grants.gone


def test_while_it_waits_the_target_holds_nothing(bench: Any, table: Any) -> None:
    seen: list[dict[str, Any]] = []

    def decide(held: HeldCommand) -> bool:
        seen.append(backend(table))
        return True

    bench.grants.decide = decide
    with psycopg.connect(bench.url(extra="?application_name=held")) as c:
        assert c.execute("delete from job_log where a > %s or true returning a", (0,)).fetchall() == [(1,), (2,)]
    assert seen == [{"state": "idle in transaction", "no_xid": True, "no_xmin": True, "locks": 0}]
    assert rows(table) == 0


def test_it_brings_how_many_rows_its_relations_have_as_far_as_the_target_knows(bench: Any, table: Any) -> None:
    seen: list[HeldCommand] = []

    def decide(held: HeldCommand) -> bool:
        seen.append(held)
        return False

    bench.grants.decide = decide
    with psycopg.connect(table.url(), autocommit=True) as db:
        db.execute("drop table if exists big, none; create table big (a int); create table none (a int)")
        db.execute("insert into big select generate_series(1, 1234); analyze big")
        waits_until(lambda: db.execute("select pg_stat_get_live_tuples('big'::regclass)").fetchone() == (1234,))
    with psycopg.connect(bench.url()) as c, pytest.raises(psycopg.errors.InsufficientPrivilege):
        c.execute("delete from public.big using none, absent")
    assert {(size.relation, size.rows) for size in seen[0].sizes} == {("public.big", 1234)}
    assert len(seen[0].resolved) == 4 + 3


def test_nothing_of_a_pipeline_is_upstream_while_one_command_of_it_waits(bench: Any, table: Any) -> None:
    seen: list[Any] = []
    size = table.log_size()

    def decide(held: HeldCommand) -> bool:
        seen.append((backend(table), table.log_since(size)))
        return False

    bench.grants.decide = decide
    with psycopg.connect(bench.url(extra="?application_name=held"), autocommit=True) as c:
        tried = [
            wire.parse(b"insert into job_log values ($1)", b"", (INT4,)), wire.bind(values=(b"3",)), wire.execute(),
            wire.parse(b"delete from job_log"), wire.bind(), wire.execute(), wire.SYNC,
        ]  # fmt: skip
        assert errors(say(c, *tried)) == ["42501"]
    [(state, log)] = seen
    assert state == {"state": "idle", "no_xid": True, "no_xmin": True, "locks": 0}
    assert "insert into job_log values ($1)" not in log
    assert rows(table) == 2


def test_the_notice_names_the_request_and_where_to_answer_it_and_comes_again(make_bench: Any, table: Any) -> None:
    bench = make_bench(holding=Holding(wire_seconds=5.0, notice_seconds=0.05))
    notices: list[Any] = []
    with psycopg.connect(bench.url()) as c:
        c.add_notice_handler(lambda d: notices.append((d.sqlstate, d.message_primary, d.message_hint)))

        def answer_later() -> None:
            waits_until(lambda: len(notices) >= 3)
            bench.grants.answer(bench.journal.of(FrameKind.HOLD)[0], True)

        thread = threading.Thread(target=answer_later)
        thread.start()
        assert c.execute("delete from job_log").rowcount == 2
        thread.join()
    request = approval_id(bench.journal.of(FrameKind.HOLD)[0].hold)
    assert set(notices) == {
        (
            "01TL0",
            f"tallystick: this command waits for approval {request}",
            f"http://127.0.0.1:7480/approvals/{request}",
        )
    }


# --- what ends it -----------------------------------------------------------------------


def test_a_denial_in_a_transaction_fails_it_and_the_connection_goes_on(bench: Any, table: Any) -> None:
    bench.grants.decide = lambda held: False
    with psycopg.connect(bench.url()) as c:
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="req-"):
            c.execute("delete from job_log")
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            c.execute("select 1")
        c.rollback()
        assert c.execute("select count(*) from job_log").fetchone() == (2,)


def test_an_expiry_in_a_transaction_fails_it_and_the_connection_goes_on(make_bench: Any, table: Any) -> None:
    bench = make_bench(holding=Holding(wire_seconds=0.1))
    with psycopg.connect(bench.url()) as c:
        with pytest.raises(psycopg.Error, match="req-") as e:
            c.execute("delete from job_log")
        assert e.value.sqlstate == "TL001"
        c.rollback()
        assert c.execute("select count(*) from job_log").fetchone() == (2,)


def grant_of(bench: Any, use: Callable[[], Any]) -> list[Any]:
    """The grant that `use` gets, which is spoilt: `first` holds the real one."""
    first: list[Any] = []

    def keep(grant: Any) -> Any:
        first.append(grant)
        return dataclasses.replace(grant, votes=())

    bench.grants.decide, bench.grants.change = (lambda held: True), keep
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="votes"):
        use()
    bench.grants.change = lambda grant: dataclasses.replace(first[0], hold=grant.hold)
    return first


ASKED = "delete from job_log where a > %s or true"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (ASKED, 1),  # another value
        (ASKED + " ", 0),  # another text
        ("delete from only job_log where a > %s or true", 0),
        (ASKED, "0"),  # another type
        (ASKED, None),
    ],
)
def test_a_changed_command_is_not_released_by_the_approval_of_another(
    bench: Any, table: Any, text: str, value: Any
) -> None:
    with psycopg.connect(bench.url(), autocommit=True) as c:
        grant_of(bench, lambda: c.execute(ASKED, (0,)))
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="another command"):
            c.execute(text, (value,))  # type: ignore[arg-type]
        assert rows(table) == 2
        assert c.execute(ASKED, (0,)).rowcount == 2  # the same, and it is released


def test_an_approval_is_for_the_tables_that_were_meant(bench: Any, table: Any) -> None:
    """The same text again, where the name leads to another table: another command."""
    with psycopg.connect(bench.url(), autocommit=True) as c:
        grant_of(bench, lambda: c.execute("delete from job_log"))
        c.execute("create temp table job_log (a int)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="another command"):
            c.execute("delete from job_log")


def test_what_changes_while_it_waits_voids_the_approval(bench: Any, table: Any) -> None:
    def decide(held: HeldCommand) -> bool:
        with psycopg.connect(table.url(), autocommit=True) as c:
            c.execute("alter table job_log rename to job_log_old; create table job_log (a int)")
        return True

    bench.grants.decide = decide
    try:
        with psycopg.connect(bench.url(), autocommit=True) as c:
            with pytest.raises(psycopg.Error, match="changed since") as e:
                c.execute("delete from job_log")
            assert e.value.sqlstate == "TL001"
        assert rows(table, "job_log_old") == 2
    finally:
        with psycopg.connect(table.url(), autocommit=True) as c:
            c.execute("drop table job_log_old")


# --- by the extended protocol, with values ------------------------------------------------

WITH_VALUES = [
    "delete from job_log where a > $1 or true",
    "with d as (delete from job_log where a > $1 returning a) select count(*) from d",
    "explain analyze delete from job_log where a > $1 or true",
    "select im($1)",
    "select $1, (select im(1))",
    "merge into job_log t using (select $1::int a) s on true when matched then delete",
    "update job_log set a = $1",
    "create table copied as select im($1)",
    "insert into job_log select im($1)",
    "declare c cursor for select im($1)",
    "prepare p as delete from job_log",
    "do $$ begin delete from job_log; end $$",
    "call tell($1)",
]


@pytest.mark.parametrize("text", WITH_VALUES)
def test_held_with_its_values_before_bind_goes_upstream(bench: Any, table: Any, text: str) -> None:
    """Bind plans, and planning runs immutable functions: not even a Bind alone, with a Flush, may arrive."""
    bench.grants.decide = lambda held: False
    size = table.log_size()
    values, oids = ((b"0",), (INT4,)) if "$1" in text else ((), ())
    with psycopg.connect(bench.url(), autocommit=True) as c:
        send(c, wire.parse(text.encode(), b"", oids), wire.bind(values=values), wire.execute(), wire.FLUSH)
        waits_until(lambda: bench.journal.of(FrameKind.REFUSED))
        send(c, wire.SYNC)
        assert "42501" in errors(answers(c))
        assert c.execute("select 1").fetchone() == (1,)
    [held] = bench.journal.of(FrameKind.HOLD)
    assert (held.text, held.binds, held.param_oids) == (text, values, oids)
    assert rows(table) == 2
    assert text not in table.log_since(size)


@pytest.mark.parametrize("text", ["select 1; delete from job_log", "begin; delete from job_log; commit"])
def test_a_second_statement_is_held_with_the_first(bench: Any, table: Any, text: str) -> None:
    bench.grants.decide = lambda held: False
    size = table.log_size()
    with psycopg.connect(bench.url(), autocommit=True) as c:
        assert errors(say(c, wire.query(text.encode()))) == ["42501"]
        assert c.info.transaction_status.name == "IDLE"
    assert text not in table.log_since(size)


def test_a_large_open_group_in_pieces_waits_for_no_sync_to_be_asked_about(bench: Any, table: Any) -> None:
    """More than a buffer may hold came without a Sync: the first part is upstream, and it must still be settled."""
    bench.grants.decide = lambda held: False
    filler = b"select '" + b"x" * 60_000 + b"'"
    parts = [wire.parse(filler) + wire.bind() + wire.execute() for _ in range(40)]
    evil = [wire.parse(b"delete from job_log"), wire.bind(), wire.execute(), wire.SYNC]
    with psycopg.connect(bench.url(), autocommit=True) as c:
        got: list[Any] = []
        reader = threading.Thread(target=lambda: got.extend(answers(c)))
        reader.start()
        with socket.socket(fileno=os.dup(c.pgconn.socket)) as s:
            s.setblocking(True)
            s.sendall(b"".join([*parts, *evil]))
        reader.join(15)
        assert errors(got) in (["42501"], ["TL001"])
    assert rows(table) == 2


def test_two_held_in_one_group_are_both_asked_about(bench: Any, table: Any) -> None:
    bench.grants.decide = lambda held: True
    both = [wire.parse(b"delete from job_log"), wire.bind(), wire.execute()] * 2
    with psycopg.connect(bench.url(), autocommit=True) as c:
        assert errors(say(c, *both, wire.SYNC)) == []
    assert len(bench.journal.of(FrameKind.HOLD)) == 2
    assert len(bench.journal.of(FrameKind.RELEASED)) == 2
    assert rows(table) == 0


def test_identifiers_of_a_held_command_may_be_anything(bench: Any, table: Any) -> None:
    """What is asked in the session about names is asked with parameters: a name cannot be a command."""
    name = "x'; delete from job_log; --\""
    with psycopg.connect(table.url(), autocommit=True) as c:
        c.execute(compose.SQL("drop table if exists {n}; create table {n} (a int)").format(n=compose.Identifier(name)))
    bench.grants.decide = lambda held: True
    with psycopg.connect(bench.url(), autocommit=True) as c:
        c.execute(compose.SQL("delete from {n}").format(n=compose.Identifier(name)))
    with psycopg.connect(table.url(), autocommit=True) as c:
        c.execute(compose.SQL("drop table {n}").format(n=compose.Identifier(name)))
    assert rows(table) == 2
