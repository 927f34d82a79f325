"""Between an approval and its command nothing may change what the command means."""

from __future__ import annotations

import contextlib
from typing import Any

import psycopg
import pytest

from tests.ingest.postgres.wire_talk import errors, say
from wire.postgres import messages as wire


@pytest.fixture
def tables(postgres: Any) -> Any:
    with psycopg.connect(postgres.url(), autocommit=True) as c:
        c.execute(
            "drop schema if exists other cascade; create schema other; create table other.scratch (precious int);"
            "drop table if exists scratch, customers, scratch_old; create table scratch (a int);"
            "create table customers (precious int)"
        )
    yield postgres
    with psycopg.connect(postgres.url(), autocommit=True) as c:
        c.execute("drop schema other cascade; drop table if exists scratch, customers, scratch_old")


def precious(postgres: Any) -> int:
    """How many tables of ours there are whose loss nobody approved."""
    with psycopg.connect(postgres.url()) as c:
        found = c.execute("select count(*) from pg_attribute where attname = 'precious' and not attisdropped")
        return int(found.fetchone()[0])  # type: ignore[index]


def ran(sql: str, portal: bytes = b"") -> bytes:
    return wire.parse(sql.encode()) + wire.bind(b"", portal) + wire.execute(portal)


def scratch(postgres: Any) -> int:
    with psycopg.connect(postgres.url()) as c:
        return int(c.execute("select 'scratch'::regclass::oid").fetchone()[0])  # type: ignore[index]


def only(postgres: Any) -> Any:
    """A reviewer who approves that the table which is called scratch now is dropped, and no other."""
    oid = scratch(postgres)

    def decide(held: Any) -> bool:
        names = {claim.name: claim.value for claim in held.resolved}
        return held.text == "drop table scratch" and names["relation scratch"].split()[0] == str(oid)

    return decide


def test_nothing_of_its_group_runs_between_the_resolving_and_the_command(bench: Any, tables: Any) -> None:
    bench.grants.decide = only(tables)
    with psycopg.connect(bench.url(), autocommit=True) as c:
        found = say(
            c,
            ran("alter table scratch rename to scratch_old"),
            ran("alter table customers rename to scratch"),
            ran("drop table scratch"),
            wire.SYNC,
        )
        assert errors(found) == ["TL001"]
    assert precious(tables) == 2


def test_nor_does_a_portal_that_was_bound_before_its_group(bench: Any, tables: Any) -> None:
    bench.grants.decide = only(tables)
    with psycopg.connect(bench.url(), autocommit=True) as c:
        c.execute("begin")
        say(
            c,
            wire.parse(b"alter table scratch rename to scratch_old", b"a") + wire.bind(b"a", b"a"),
            wire.parse(b"alter table customers rename to scratch", b"b") + wire.bind(b"b", b"b"),
            wire.SYNC,
        )
        found = say(c, wire.execute(b"a"), wire.execute(b"b"), ran("drop table scratch"), ran("commit"), wire.SYNC)
        assert errors(found) == ["TL001"]
    assert precious(tables) == 2


def test_a_portal_that_was_approved_does_not_run_under_another_search_path(bench: Any, tables: Any) -> None:
    bench.grants.decide = only(tables)
    with psycopg.connect(bench.url(), autocommit=True) as c:
        found = say(
            c,
            ran("begin"),
            wire.parse(b"drop table scratch", b"d") + wire.bind(b"d", b"later"),
            ran("set search_path to other"),
            wire.execute(b"later"),
            ran("commit"),
            wire.SYNC,
        )
        assert errors(found) == ["TL001"]
    assert precious(tables) == 2


def test_nor_in_a_later_group(bench: Any, tables: Any) -> None:
    bench.grants.decide = only(tables)
    with psycopg.connect(bench.url(), autocommit=True) as c:
        c.execute("begin")
        found = say(c, wire.parse(b"drop table scratch", b"d") + wire.bind(b"d", b"later"), wire.SYNC)
        for change in ("alter table scratch rename to scratch_old", "alter table customers rename to scratch"):
            say(c, wire.query(change.encode()))
        say(c, wire.execute(b"later"), wire.SYNC)
        say(c, wire.query(b"commit"))
        assert errors(found) == ["TL001"]
    assert precious(tables) == 2


def test_an_approved_command_does_not_wait_for_the_next_one(bench: Any, tables: Any) -> None:
    """While the second of a group is asked about, another session gives the name of the first to another table."""

    def decide(held: Any) -> bool:
        if held.text == "drop table customers_2":
            with psycopg.connect(tables.url(), autocommit=True) as other:
                other.execute("set lock_timeout = '100ms'")
                with contextlib.suppress(psycopg.errors.LockNotAvailable):
                    other.execute("alter table scratch rename to scratch_old")
                    other.execute("alter table customers rename to scratch")
        return True

    bench.grants.decide = decide
    with psycopg.connect(tables.url(), autocommit=True) as other:
        other.execute("drop table if exists customers_2; create table customers_2 (a int)")
    with psycopg.connect(bench.url(), autocommit=True) as c:
        assert errors(say(c, ran("drop table scratch"), ran("drop table customers_2"), wire.SYNC)) == []
    assert precious(tables) == 2


@pytest.mark.parametrize("sql", ["select harmless(1)", "call harmful(1)"])
def test_a_function_is_not_another_by_the_time_of_its_approval(bench: Any, tables: Any, sql: str) -> None:
    """Renaming is allowed; whoever waits for an approval may do it meanwhile, in another session."""
    kind = "procedure" if sql.startswith("call") else "function"
    returns = "" if kind == "procedure" else "returns int"
    last = "" if kind == "procedure" else "; select 1"
    name = sql.split()[1].partition("(")[0]
    with psycopg.connect(tables.url(), autocommit=True) as other:
        for made, does in ((name, "insert into scratch values (1)"), ("swapped", "drop table customers")):
            other.execute(f"create {kind} {made}(int) {returns} language sql as $${does}{last}$$")  # type: ignore[arg-type]

    def decide(held: Any) -> bool:
        with psycopg.connect(tables.url(), autocommit=True) as other:
            other.execute(f"alter {kind} {name}(int) rename to asked")  # type: ignore[arg-type]
            other.execute(f"alter {kind} swapped(int) rename to {name}")  # type: ignore[arg-type]
        return True

    bench.grants.decide = decide
    with psycopg.connect(bench.url(), autocommit=True) as c, pytest.raises(psycopg.Error, match="changed since"):
        c.execute(sql)  # type: ignore[arg-type]
    assert precious(tables) == 2
    with psycopg.connect(tables.url(), autocommit=True) as other:
        other.execute(f"drop {kind} {name}(int); drop {kind} asked(int)")  # type: ignore[arg-type]
