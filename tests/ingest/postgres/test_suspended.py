"""A suspended session runs nothing more: refused on the wire, on record, and never at the target."""

from __future__ import annotations

import contextlib
from typing import Any

import psycopg
import pytest

from schemas.frames import FrameKind
from schemas.ids import AlertId, SessionId, SuspensionId
from schemas.records import HeldCommand, Scope, Suspended
from tests.ingest.postgres.wire_talk import errors, say
from wire.postgres import messages as wire

SUSPENDED = Suspended(
    SuspensionId("sus-" + "a" * 16), AlertId("alr-" + "a" * 16), Scope.IDENTITY, "ci-deploy", SessionId("s"),
    "orders-db", (), 1, 1_800_000_000_000_000, "v", "behaviour", b"",
)  # fmt: skip


class Switch:
    """Stands for ingest.suspensions.Suspensions."""

    def __init__(self, bench: Any) -> None:
        self.on = False
        bench.running.gateway._suspensions = self

    def of(self, subject: str, session: SessionId) -> Suspended | None:
        assert subject == "ci-deploy"
        return SUSPENDED if self.on else None


@pytest.mark.parametrize("sql", ["select 41 + 1", "begin", "set application_name to 'x'", "delete from pg_class"])
@pytest.mark.parametrize("binary", [False, True], ids=["simple", "extended"])
def test_the_next_command_is_refused_whatever_it_is(allowing: Any, postgres: Any, sql: str, binary: bool) -> None:
    switch = Switch(allowing)
    size = postgres.log_size()
    with psycopg.connect(allowing.url(), autocommit=True) as c:
        assert c.execute("select 7").fetchone() == (7,)
        switch.on = True
        with pytest.raises(psycopg.errors.InsufficientPrivilege) as told:
            c.execute(sql, binary=binary)
        assert "this identity is suspended (sus-aaaaaaaaaaaaaaaa)" in str(told.value.diag.message_primary)
        assert "tallystick resume sus-aaaaaaaaaaaaaaaa" in str(told.value.diag.message_hint)
        assert "2027-01-15 08:00:00 UTC" in str(told.value.diag.message_hint)
        switch.on = False
        assert c.execute("select 8").fetchone() == (8,)
    (refused,) = allowing.journal.of(FrameKind.REFUSED)
    assert (refused.why, refused.sqlstate) == ("suspended", "42501")
    assert sql not in postgres.log_since(size)
    assert allowing.running.gateway.metrics.refused["suspended"] == 1


def test_every_command_of_a_pipeline_behind_it(allowing: Any, postgres: Any) -> None:
    switch = Switch(allowing)
    with psycopg.connect(allowing.url(), autocommit=True) as c:
        switch.on = True
        size = postgres.log_size()
        with pytest.raises(psycopg.errors.InsufficientPrivilege), c.pipeline():
            c.execute("select 101")
            c.execute("select 102")
        assert "select 10" not in postgres.log_since(size)


def test_no_more_rows_of_a_portal_that_was_open_before(allowing: Any) -> None:
    switch = Switch(allowing)
    with contextlib.closing(psycopg.connect(allowing.url(), autocommit=True)) as c:
        c.execute("begin")
        parse, bind = wire.parse(b"select generate_series(1, 5)"), wire.bind(b"", b"p")
        got = say(c, parse, bind, wire.execute(b"p", 2), wire.SYNC)
        assert [m.type for m in got].count(0x44) == 2
        switch.on = True
        got = say(c, wire.execute(b"p", 2), wire.SYNC)
        assert 0x44 not in [m.type for m in got]
        assert errors(got) == ["42501"]
    assert [closed.reason.value for closed in allowing.journal.of(FrameKind.CLOSED)] == ["gateway"]


def test_an_approval_that_comes_too_late_is_not_used_up(bench: Any, postgres: Any) -> None:
    switch = Switch(bench)

    def decide(held: HeldCommand) -> bool:
        switch.on = True
        return True

    bench.grants.decide = decide
    with psycopg.connect(postgres.url(), autocommit=True) as c:
        c.execute("drop table if exists job_log; create table job_log (a int); insert into job_log values (1), (2)")
    with psycopg.connect(bench.url(), autocommit=True) as c:
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="suspended"):
            c.execute("delete from job_log")
    assert bench.journal.of(FrameKind.RELEASED) == []
    assert [gone.why for gone in bench.journal.of(FrameKind.GONE)] == ["suspended"]
