"""What is unusual, through the whole system: from a client's command to an alert in the ledger, and to its refusal."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import psycopg
import pytest

from schemas.records import Alert, Exchange, Learning, Result, Suspended
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
