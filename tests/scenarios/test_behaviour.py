"""What is unusual, through the whole system: from a client's command to an alert in the ledger, and to its refusal."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from schemas.records import Alert, Exchange, Learning, Result, Resumed, Suspended
from seal import keyfiles
from tests.scenarios.conftest import Deployment, Make

pytestmark = pytest.mark.timeout(240)


def until(what: Callable[[], object], seconds: float = 30.0) -> float:
    """How long it took."""
    began = time.monotonic()
    while not what():
        assert time.monotonic() - began < seconds
        time.sleep(0.02)
    return time.monotonic() - began


@pytest.fixture
def watched(deploy: Make) -> Callable[[str], Deployment]:
    def make(behaviour: str) -> Deployment:
        deployment = deploy()
        policy = deployment.place / "policy.yaml"
        policy.write_text(f"{policy.read_text()}\nbehaviour:\n  warm_up: 1s\n{behaviour}")
        deployment.up.start()
        with psycopg.connect(deployment.postgres.url(database="orders"), autocommit=True) as db:
            db.execute("create table orders as select n from generate_series(1, 10) n")
            db.execute("create table cards as select n from generate_series(1, 5000) n")
        return deployment

    return make


def listed(deployment: Deployment, *arguments: str) -> list[dict[str, object]]:
    said = deployment.tallystick("alerts", "--json", *arguments)
    return [json.loads(line) for line in said.stdout.splitlines()]


def test_the_usual_is_silent_and_a_mass_read_of_a_new_table_is_told(watched: Callable[[str], Deployment]) -> None:
    deployment = watched("  alert_at: 40\n")
    with psycopg.connect(deployment.url, autocommit=True) as db:
        db.execute("select * from orders")
        time.sleep(1.1)  # the identity's first second is its warm-up
        for _ in range(5):
            db.execute("select * from orders")
        assert listed(deployment) == []
        assert len(db.execute("select * from cards").fetchall()) == 5000
    until(lambda: listed(deployment))
    (alert,) = listed(deployment)
    assert {f["signal"] for f in alert["findings"]} >= {"Behaviour:Volume/Rows", "Behaviour:Relation/FirstSeen"}  # type: ignore[attr-defined]
    assert alert["subject"] == "ci/deploy"
    shown = deployment.tallystick("alerts").stdout
    assert "select cards at orders-db" in shown
    assert "usual: select orders at orders-db" in shown
    assert listed(deployment, "--subject", "nobody") == []
    deployment.up.stop()
    bodies = [entry.body for entry in deployment.entries()]
    assert sum(isinstance(b, Alert) for b in bodies) == 1
    assert [b.subject for b in bodies if isinstance(b, Learning)] == [alert["subject"]]
    assert not [b for b in bodies if isinstance(b, Suspended)]
    assert not [b for b in bodies if isinstance(b, Exchange) and b.result is not Result.EXECUTED]
    assert deployment.verify().code == 0


SUSPENDING = "  alert_at: 40\n  suspend_at: 60\n  suspend: {scope}\n"


def refused(db: psycopg.Connection[object], sql: str = "select * from orders") -> str:
    """The refusal's words, or ""."""
    try:
        db.execute(sql)
    except psycopg.Error as e:
        assert e.sqlstate == "42501", e
        return f"{e.diag.message_primary} {e.diag.message_hint}"
    return ""


def test_a_suspended_identity_runs_nothing_until_a_reviewer_lifts_it(watched: Callable[[str], Deployment]) -> None:
    deployment = watched(SUSPENDING.format(scope="identity"))
    with psycopg.connect(deployment.url, autocommit=True) as db, psycopg.connect(deployment.url) as other:
        db.execute("select * from orders")
        time.sleep(1.1)  # the identity's first second is its warm-up
        other.execute("insert into orders values (11)")
        with other.cursor("portal") as cursor:
            cursor.execute("select * from generate_series(1, 100)")
            db.execute("select * from cards")
            took = until(lambda: refused(db), 10)
            assert took < 2, "from the end of the answer to the first refusal"
            words = refused(db)
            assert "this identity is suspended (sus-" in words
            assert "tallystick resume sus-" in words
            assert refused(db, "begin")
            assert refused(other), "in another session, in a transaction"
        with pytest.raises(psycopg.Error):
            other.commit()
        other.close()
        (alert,) = [a for a in listed(deployment) if a["suspension"]]
        suspension = str(alert["suspension"])
        assert suspension in words
        with psycopg.connect(deployment.url, autocommit=True) as later:
            assert refused(later), "who logs in again is suspended still"

        # A gateway that dies knows it again before its port opens.
        pid = deployment.role("gateway")
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        until(lambda: deployment.role("gateway") not in (None, pid))
        with connected(deployment) as again:
            assert refused(again)
            worker = deployment.role("worker --steps behaviour")
            assert worker is not None
            os.kill(worker, signal.SIGKILL)
            assert refused(again)
            said = deployment.tallystick(
                "resume", suspension, "--reason", "agreed on", "--yes", "--key", str(stranger(deployment))
            )
            assert said.returncode == 1
            assert "the vote does not count" in said.stderr
            assert refused(again)
            said = deployment.reviewer("resume", suspension, "--reason", "agreed on", "--yes")
            assert said.returncode == 0, said.stderr
            until(lambda: not refused(again), 5)
            assert len(again.execute("select * from orders").fetchall()) == 10, "what was not committed is undone"
    assert "lifted by alice" in deployment.tallystick("alerts").stdout
    assert "is over" in deployment.reviewer("resume", suspension, "--reason", "again", "--yes").stderr
    deployment.up.stop()
    bodies = [entry.body for entry in deployment.entries()]
    assert [type(b).__name__ for b in bodies if isinstance(b, Suspended | Resumed)] == ["Suspended", "Resumed"]
    stopped = [b for b in bodies if isinstance(b, Exchange) and b.result is Result.REFUSED]
    assert len(stopped) > 5
    assert {b.sqlstate for b in stopped} == {"42501"}
    assert deployment.verify().code == 0


def stranger(deployment: Deployment) -> Path:
    path = deployment.place / "mallory.key"
    keyfiles.new_reviewer(path)
    return path


def connected(deployment: Deployment) -> psycopg.Connection[object]:
    """Once the gateway is there."""
    end = time.monotonic() + 20
    while True:
        try:
            return psycopg.connect(deployment.url, autocommit=True)
        except psycopg.OperationalError:
            assert time.monotonic() < end
            time.sleep(0.05)


@pytest.mark.slow
def test_a_suspended_session_stops_and_its_identity_goes_on_and_it_ends_by_itself(
    watched: Callable[[str], Deployment],
) -> None:
    deployment = watched(SUSPENDING.format(scope="session") + "  suspend_for: 3s\n")
    with (
        psycopg.connect(deployment.url, autocommit=True) as db,
        psycopg.connect(deployment.url, autocommit=True) as other,
    ):
        db.execute("select * from orders")
        time.sleep(1.1)
        db.execute("select * from cards")
        until(lambda: refused(db), 10)
        assert not refused(other)
        assert until(lambda: not refused(db), 10) < 5
    deployment.up.stop()
    assert sum(isinstance(entry.body, Suspended) for entry in deployment.entries()) == 1
