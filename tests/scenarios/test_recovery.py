"""What docs/operations.md says of disaster recovery, done as it says."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from evidence.outcome import Code
from schemas.records import Exchange, Gap
from tests.ledger.locked import make_bucket
from tests.scenarios.conftest import Backing, Deployment, Make, asleep
from tests.scenarios.test_kill import MARKER, Load, _nothing_lost_nothing_twice, _sessions_are_closed, _settle
from tools import services

pytestmark = pytest.mark.full
GROUP = '[kafka]\nprefix = "recovery"\npartitions = 2\nreplication = 1\nmin_insync = 1\n'


@pytest.fixture
def first_kafka(tmp_path: Path, kafka: services.Kafka) -> Iterator[services.Kafka]:
    """One that may be lost. (`kafka` is asked for so that this is skipped, or fails, where it cannot be had.)"""
    with services.kafka(tmp_path / "first") as server:
        yield server


@pytest.fixture
def backing(first_kafka: services.Kafka, minio: services.Minio, tmp_path: Path) -> Callable[[], Backing]:
    store = make_bucket(minio, "recovery", tmp_path).url()
    return lambda: Backing(f"kafka://{first_kafka.servers}", store, GROUP, (first_kafka.folder, minio.folder))


@pytest.mark.timeout(400)
def test_all_of_kafka_is_lost(deploy: Make, first_kafka: services.Kafka, tmp_path: Path) -> None:
    """With commands that the ledger has, some that only Kafka and the journal had, and some that Kafka had not yet."""
    deployment = deploy(more="batch_seconds = 0.2")
    deployment.up.start()
    with psycopg.connect(deployment.postgres.url(database="orders"), autocommit=True) as db:
        db.execute("create table work (mark text, n int)")
    load = Load(deployment.url)
    with load:
        _until(lambda: len(_recorded(deployment)) > 60)
        with asleep(deployment, "ledger"):
            known = len(_recorded(deployment))
            _until(lambda: len(deployment.executed(MARKER)) > known + 200)
            deployment.up.kill()
            first_kafka.kill()
    assert known < len(deployment.executed(MARKER)) - 100
    shutil.rmtree(first_kafka.folder)
    with services.kafka(tmp_path / "second") as second:
        text = deployment.made.config.read_text()
        deployment.made.config.write_text(text.replace(first_kafka.servers, second.servers))
        done = deployment.tallystick("check")
        assert done.returncode == 0, done.stdout + done.stderr
        deployment.up.start()
        before = len(deployment.executed(MARKER))
        with Load(deployment.url, clients=1, first=9) as more:
            _until(lambda: len(deployment.executed(MARKER)) > before + 20)
        _settle(deployment)
        deployment.up.stop()
    load.answered |= more.answered
    _nothing_lost_nothing_twice(deployment, load)
    _sessions_are_closed(deployment)
    log = (deployment.place / "up.log").read_text()
    assert '"alarm": "another bus"' in log
    assert '"alarm": "another journal topic"' in log
    gaps = [body for e in deployment.entries() if isinstance(body := e.body, Gap) and "another bus" in body.reason]
    assert len(gaps) == 1
    assert deployment.verify().code is Code.GAP, "that Kafka was lost stays on record"


def _recorded(deployment: Deployment) -> list[Exchange]:
    return [body for e in deployment.entries() if isinstance(body := e.body, Exchange)]


def _until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 90
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)
