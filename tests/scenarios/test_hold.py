"""A held command through the whole system: client, gateway, journal, masker, approvals step, reviewer, and back."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

from policy import rules
from schemas.records import (
    ApprovalMoved,
    ApprovalRequest,
    Exchange,
    Grant,
    Hold,
    HoldGone,
    PolicyInForce,
    Refusal,
    Released,
    Result,
    SessionOpened,
    Vote,
)
from tests.scenarios.conftest import Deployment, Make, asleep

REQUEST = re.compile(r"req-[a-z2-7]{16}")
HOLD = "hold = {wire_seconds = 20.0, lookup_seconds = 3.0, notice_seconds = 5.0}"


@dataclass
class Running:
    """One command in a thread."""

    db: psycopg.Connection[Any]
    sql: str
    params: tuple[Any, ...] | None = None
    request: str = ""
    told_after: float = 0.0
    rows: int = -1
    error: str = ""
    told: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)

    def start(self) -> Running:
        self.db.add_notice_handler(self._notice)
        self.started = time.monotonic()
        threading.Thread(target=self._run, daemon=True).start()
        return self

    def _notice(self, notice: Any) -> None:
        found = REQUEST.search(notice.message_primary or "")
        if found:
            self.request = found[0]
            self.told_after = self.told_after or time.monotonic() - self.started
            self.told.set()

    def _run(self) -> None:
        try:
            self.rows = self.db.execute(self.sql, self.params).rowcount
        except psycopg.Error as e:
            self.error = f"{e.sqlstate}"
            found = REQUEST.search(f"{e.diag.message_primary} {e.diag.message_hint} {e.diag.message_detail}")
            self.request = found[0] if found else self.request
        finally:
            self.db.remove_notice_handler(self._notice)
            self.done.set()

    def held(self) -> Running:
        assert self.told.wait(20), f"not held: {self.error} {self.rows}"
        return self

    def ended(self) -> Running:
        assert self.done.wait(30)
        return self


def _vote(deployment: Deployment, word: str, request: str) -> Any:
    """As a reviewer would; the client hears of its hold a moment before the door knows of the request."""
    end = time.monotonic() + 20
    while True:
        said = deployment.reviewer(word, request, "--reason", "seen", "--yes")
        if said.returncode == 0 or time.monotonic() > end:
            assert said.returncode == 0, said.stderr
            return said


def _table(deployment: Deployment, name: str) -> None:
    with psycopg.connect(deployment.postgres.url(database="orders"), autocommit=True) as db:
        db.execute(f"create table {name} as select n from generate_series(1, 10) n")


def _count(deployment: Deployment, name: str) -> int:
    with psycopg.connect(deployment.postgres.url(database="orders")) as db:
        row = db.execute(f"select count(*) from {name}").fetchone()
        return int(row[0]) if row else -1


@pytest.fixture
def running(deploy: Make) -> Deployment:
    deployment = deploy(more_gateway=HOLD)
    deployment.up.start()
    return deployment


@pytest.mark.timeout(240)
def test_denied_approved_used_once_and_what_the_ledger_says(running: Deployment) -> None:
    for name in ("denied", "approved", "changed"):
        _table(running, name)

    # psycopg's default mode sends BEGIN first: held inside the fresh transaction, and quickly.
    with psycopg.connect(running.url) as db:
        one = Running(db, "delete from denied").start().held()
        assert one.told_after < 0.5
        _vote(running, "deny", one.request)
        assert one.ended().error == "42501"
        db.rollback()
        assert db.execute("select 1").fetchone() == (1,)
    assert _count(running, "denied") == 10

    with psycopg.connect(running.url) as db:
        two = Running(db, "delete from approved where n > %s or true", (0,)).start().held()
        _vote(running, "approve", two.request)
        assert two.ended().rows == 10, two.error
        db.commit()
    assert _count(running, "approved") == 0

    # The same command again: the approval was used, so it is a new request; the client takes it back.
    with psycopg.connect(running.url, autocommit=True) as db:
        again = Running(db, "delete from approved where n > %s or true", (0,)).start().held()
        assert again.request != two.request
        db.cancel_safe()
        assert again.ended().error == "57014"

    # In a used transaction it is refused at once, the request stays open, and the re-run uses the approval.
    with psycopg.connect(running.url) as db:
        db.execute("insert into changed values (11)")
        refused = Running(db, "delete from changed").start().ended()
        assert refused.error == "TL001", refused
        assert refused.request
        db.rollback()
        _vote(running, "approve", refused.request)
        changed = Running(db, "delete from changed where true").start().held()
        assert changed.request != refused.request, "an approval is for one exact command"
        db.cancel_safe()
        assert changed.ended().error == "57014"
        db.rollback()
        assert _count(running, "changed") == 10
        db.execute("insert into changed values (11)")
        assert Running(db, "delete from changed").start().ended().rows == 11
        db.commit()
    assert _count(running, "changed") == 0

    running.up.stop()
    _ledger_agrees(running)


def _ledger_agrees(deployment: Deployment) -> None:
    bodies = [entry.body for entry in deployment.entries()]
    holds = [b for b in bodies if isinstance(b, Hold)]
    answered = [b.hold for b in bodies if isinstance(b, Grant | Refusal)]
    assert len(answered) == len(set(answered)), "every hold is answered at most once"
    released = [b for b in bodies if isinstance(b, Released)]
    granted = {b.hold for b in bodies if isinstance(b, Grant)}
    assert len(released) == 2
    assert {b.hold for b in released} <= granted
    gone = {b.hold for b in bodies if isinstance(b, HoldGone)}
    assert {h.hold for h in holds} == set(answered) | gone
    assert {b.hold for b in bodies if isinstance(b, HoldGone) and b.why == "kept"} == {b.hold for b in released}
    policy = rules.parse((deployment.place / "policy.yaml").read_text()).version
    in_force = [b for b in bodies if isinstance(b, PolicyInForce)]
    assert {b.version for b in in_force} == {policy}, "the rules in force are on record"
    assert {r.name for b in in_force for r in b.reviewers} == {"alice"}, "and who may approve"
    assert {b.policy_version for b in bodies if isinstance(b, SessionOpened)} == {policy}
    assert [b.choice.value for b in bodies if isinstance(b, Vote)] == ["deny", "approve", "approve"]
    executed = [(b, text) for b, text in deployment.commands() if b.hold and b.result is Result.EXECUTED]
    assert [text for _, text in executed] == ["delete from approved where n > $1 or true", "delete from changed"]
    assert not [b for b in bodies if type(b).__name__ in ("ScreenDisagrees", "Undecoded", "Gap", "Conflict")]
    assert all(isinstance(b, Exchange) for b, _ in executed)


@pytest.mark.timeout(240)
def test_expired_on_the_wire_is_refused_and_recorded(deploy: Make) -> None:
    deployment = deploy(more_gateway="hold = {wire_seconds = 1.0, notice_seconds = 5.0}")
    deployment.up.start()
    _table(deployment, "kept")
    with psycopg.connect(deployment.url, autocommit=True) as db:
        one = Running(db, "delete from kept").start().held().ended()
        assert one.error in ("TL001", "42501"), one.error
        assert db.execute("select count(*) from kept").fetchone() == (10,)
        # The request outlives the wire: approved later, the same command goes through.
        _vote(deployment, "approve", one.request)
        two = Running(db, "delete from kept").start().ended()
        assert two.rows == 10, two.error
    deployment.up.stop()
    bodies = [entry.body for entry in deployment.entries()]
    assert [b.why for b in bodies if isinstance(b, HoldGone)] == ["timeout", "kept"]
    refused = [b for b in bodies if isinstance(b, Exchange) and b.result is Result.REFUSED]
    assert len(refused) == 1


@contextlib.contextmanager
def masker_still(deployment: Deployment) -> Iterator[None]:
    """Stopped, and not in the middle of a write: a process that stops there keeps SQLite from everybody."""
    for _ in range(100):
        with asleep(deployment, "worker --steps mask"):
            databases = (deployment.place / "data" / name for name in ("bus.sqlite", "content.db"))
            if all(_writable(database) for database in databases if database.exists()):
                yield
                return
    pytest.fail("the masker writes all the time")


def _writable(database: Path) -> bool:
    with contextlib.closing(sqlite3.connect(database, timeout=1, isolation_level=None)) as db:
        try:
            db.execute("begin immediate")
        except sqlite3.OperationalError:
            return False
        return True


@pytest.mark.timeout(240)
def test_a_hold_is_asked_about_and_answered_while_the_masker_stands_still(running: Deployment) -> None:
    """Its backlog is what the masker is for; nobody on the wire may wait for it."""
    _table(running, "t")
    with masker_still(running), psycopg.connect(running.url, autocommit=True) as db:
        db.execute("insert into t select n from generate_series(1, 1000) n")
        one = Running(db, "delete from t").start().held()
        _vote(running, "approve", one.request)
        assert one.ended().rows == 1010, one.error
        two = Running(db, "delete from t").start().held()
        db.cancel_safe()
        assert two.ended().error == "57014"
    running.up.stop()
    bodies = [entry.body for entry in running.entries()]
    holds = [b.hold for b in bodies if isinstance(b, Hold)]
    assert len(holds) == 2
    for kind in (Grant, Released):  # once, although the masker came to it later
        assert [b.hold for b in bodies if isinstance(b, kind)] == holds[:1]
    assert [(b.hold, b.why) for b in bodies if isinstance(b, HoldGone)] == [(holds[0], "kept"), (holds[1], "cancelled")]
    asked = [b.content_sha256 for b in bodies if isinstance(b, ApprovalRequest)]
    assert asked == [b.content_sha256 for b in bodies if isinstance(b, Hold)], "shown is what is recorded"


@pytest.mark.timeout(240)
def test_a_killed_gateway_voids_its_holds_and_the_approval_stays(running: Deployment) -> None:
    _table(running, "t")
    with psycopg.connect(running.url, autocommit=True) as db:
        one = Running(db, "delete from t").start().held()
        listed = running.reviewer("requests", "--json")
        end = time.monotonic() + 20
        while one.request not in listed.stdout and time.monotonic() < end:
            listed = running.reviewer("requests", "--json")
        assert any(json.loads(line)["id"] == one.request for line in listed.stdout.splitlines()), listed
        running.up.kill()
        assert one.ended().error
    running.up.start()
    assert _count(running, "t") == 10
    _vote(running, "approve", one.request)
    assert _count(running, "t") == 10, "nobody waits: nothing runs"
    with psycopg.connect(running.url, autocommit=True) as db:
        assert Running(db, "delete from t").start().ended().rows == 10
    running.up.stop()


@pytest.mark.timeout(240)
def test_a_migration_with_two_held_statements_converges(running: Deployment) -> None:
    """Each run gets one further: what was approved before and rolled back is not asked for again."""
    for name in ("first", "second"):
        _table(running, name)
    asked = []
    for _ in range(3):
        with psycopg.connect(running.url) as db:
            one = Running(db, "delete from first").start()
            if not asked:
                asked.append(one.held().request)
                _vote(running, "approve", one.request)
            assert one.ended().rows == 10, one
            two = Running(db, "delete from second").start().ended()
            if two.rows == 10:
                db.commit()
                break
            assert two.error == "TL001"
            asked.append(two.request)
            _vote(running, "approve", two.request)
            db.rollback()
    assert (_count(running, "first"), _count(running, "second")) == (0, 0)
    assert len(asked) == len(set(asked)) == 2, "two approvals, each asked for once"
    running.up.stop()
    bodies = [entry.body for entry in running.entries()]
    assert [b.why for b in bodies if isinstance(b, HoldGone)] == ["undone", "kept", "kept"]
    assert [b.after.value for b in bodies if isinstance(b, ApprovalMoved) and b.request == asked[0]] == [
        "reserved", "approved", "reserved", "used",
    ]  # fmt: skip


@pytest.mark.timeout(240)
def test_revoked_before_its_use_it_does_not_run(running: Deployment) -> None:
    _table(running, "t")
    with psycopg.connect(running.url) as db:
        db.execute("insert into t values (11)")
        one = Running(db, "delete from t").start().ended()
        assert one.error == "TL001"
        db.rollback()
        _vote(running, "approve", one.request)
        _vote(running, "revoke", one.request)
        two = Running(db, "delete from t").start().held()
        assert two.request != one.request
        _vote(running, "revoke", two.request)
        assert two.ended().error == "42501"
    assert _count(running, "t") == 10
