"""A second ledger process on one shard, by mistake: one of the two stops and says why, and the log is one log."""

from __future__ import annotations

import os
import signal
import subprocess

import psycopg
import pytest

from schemas.records import Conflict, LedgerStarted
from tallystick.demo_stage import command
from tests.scenarios.conftest import BOTH, Deployment, Make
from tests.scenarios.test_kill import Load, _nothing_lost_nothing_twice, _settle
from tests.scenarios.test_ops import until

WHY = "was written by another ledger process: only one may own shard 0; this one stops"


@pytest.fixture
def running(deploy: Make) -> Deployment:
    deployment = deploy()
    with psycopg.connect(deployment.postgres.url(database="orders"), autocommit=True) as db:
        db.execute("create table work (mark text, n int)")
    deployment.up.start(ready_s=120)
    return deployment


def _second(deployment: Deployment) -> subprocess.Popen[str]:
    """Returns when it has taken the shard; where the first was quicker it is the loser itself, and is tried again."""
    for _ in range(10):
        process = subprocess.Popen(
            command("ledger", "--config", str(deployment.made.config)),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        if process.stdout.readline().startswith("ready"):
            return process
        _, said = process.communicate(timeout=60)
        assert WHY in said
    raise AssertionError("it never took the shard")


@pytest.mark.timeout(400)
@pytest.mark.parametrize("backing", BOTH, indirect=True)
@pytest.mark.parametrize("asleep", [False, True], ids=["at once", "one was asleep"])
def test_the_loser_stops_and_the_log_does_not_fork(running: Deployment, asleep: bool) -> None:
    deployment = running
    with Load(deployment.url, clients=2) as load:
        until(30, lambda: len(load.answered) > 50)
        first = deployment.roles()["ledger"]
        if asleep:
            os.kill(first, signal.SIGSTOP)
        second = _second(deployment)
        try:
            if asleep:
                size = len(deployment.entries())
                until(60, lambda: len(deployment.entries()) > size + 20)
                os.kill(first, signal.SIGCONT)
            # The first finds the second's batch in its place and ends; `up` starts it again, and that ends the second.
            until(60, lambda: deployment.roles().get("ledger", first) != first)
            assert second.wait(60) == 1
            assert second.stderr is not None
            assert WHY in second.stderr.read()
        finally:
            second.kill()
            second.wait()
        log = (deployment.place / "up.log").read_text()
        assert WHY in log or (asleep and "did not give messages" in log), "who slept for long may miss Kafka first"
        before = len(load.answered)
        until(30, lambda: len(load.answered) > before + 50)
    _settle(deployment)
    deployment.up.stop()
    _nothing_lost_nothing_twice(deployment, load)
    bodies = [entry.body for entry in deployment.entries()]
    assert sum(isinstance(b, LedgerStarted) for b in bodies) == 3
    assert not [b for b in bodies if isinstance(b, Conflict)]
    outcome = deployment.verify()
    assert outcome.code == 0, outcome.findings
