"""What an operator's worst day brings: each an alarm, and entries that say how much; never silence."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from aiokafka.admin import AIOKafkaAdminClient

from bus.kafka_topics import NAMES
from schemas.records import Beat, Exchange, Gap, LedgerAdopted, LedgerEntry, Undecoded
from tallystick import config
from tallystick.demo_stage import command
from tests.conftest import free_port
from tests.scenarios.conftest import BOTH, SHARD, Deployment, Make
from tests.scenarios.test_kill import Load
from tests.scenarios.test_ops import until
from tools import services

MARK = r"mark-([0-9a-z-]+)-end"
full = pytest.mark.parametrize("backing", [pytest.param("full", marks=pytest.mark.full)], indirect=True)


def work(deployment: Deployment, *marks: str, url: str = "") -> None:
    """A session with a command a mark."""
    with psycopg.connect(url or deployment.url, autocommit=True) as db:
        for mark in marks:
            db.execute(f"insert into work (mark) values ('mark-{mark}-end')".encode())


def recorded(deployment: Deployment, *shards: str) -> set[str]:
    return {m for shard in shards or (SHARD,) for _, text in deployment.commands(shard) for m in re.findall(MARK, text)}


def gaps(entries: list[LedgerEntry], source: str) -> list[Gap]:
    bodies = [entry.body for entry in entries]
    return [b for b in bodies if isinstance(b, Gap) and b.missing_source.startswith(source)]


@pytest.fixture
def begun(deploy: Make) -> Deployment:
    """It ran, and has done something."""
    deployment = deploy(more_gateway="hold = {wire_seconds = 5.0}")
    with psycopg.connect(deployment.postgres.url(database="orders"), autocommit=True) as db:
        db.execute("create table work (mark text, n int)")
    deployment.up.start(ready_s=120)
    work(deployment, "first-1", "first-2")
    until(60, lambda: recorded(deployment) >= {"first-1", "first-2"})
    return deployment


@pytest.mark.timeout(400)
@pytest.mark.parametrize("backing", BOTH, indirect=True)
def test_a_gateway_whose_disk_is_lost(begun: Deployment) -> None:
    deployment = begun
    os.kill(deployment.roles()["worker --steps mask"], signal.SIGSTOP)  # what follows is in no ledger yet
    work(deployment, *(f"lost-{n}" for n in range(20)))

    def counted() -> bool:
        return any(isinstance(e.body, Beat) and e.body.opened == 2 for e in deployment.entries())

    until(60, counted)
    deployment.up.kill()
    journal = deployment.place / "data" / "journal"
    (gone,) = (path.name for path in journal.iterdir())
    shutil.rmtree(journal)
    deployment.up.start(ready_s=120)
    work(deployment, "after")
    until(180, lambda: gaps(deployment.entries(), f"journal:{gone}"))
    deployment.up.stop()
    assert "recorder gone" in deployment.alarms()
    (gap,) = gaps(deployment.entries(), f"journal:{gone}")
    print(gap.after, gap.before, gap.reason)
    assert "2 sessions opened, 2 closed" in gap.reason
    found = recorded(deployment)
    assert {"first-1", "first-2", "after"} <= found
    if not deployment.elsewhere:  # embedded: the files were the topic
        assert not [mark for mark in found if mark.startswith("lost-")]
        assert gap.before > gap.after, "so much is missing, and it says so"
    elif gap.before <= gap.after:
        assert found >= {f"lost-{n}" for n in range(20)}, "Kafka had all that was counted"
    assert deployment.verify().code == 12


@contextlib.contextmanager
def gateway(at: Path, log: Path) -> Iterator[subprocess.Popen[str]]:
    with log.open("a") as said:
        process = subprocess.Popen(
            command("gateway", "--config", str(at)), stdout=subprocess.PIPE, stderr=said, text=True
        )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("ready")
        yield process
    finally:
        process.kill()
        process.wait()


@full
@pytest.mark.timeout(400)
def test_two_gateways_on_copies_of_one_disk(begun: Deployment) -> None:
    deployment = begun
    deployment.up.stop()
    data, port = deployment.place / "data", free_port()
    shutil.copytree(data / "journal", deployment.place / "copy" / "journal")
    text = deployment.made.config.read_text()
    text = text.replace('data = "data"', 'data = "copy"').replace(f":{deployment.gateway_port}", f":{port}")
    at = deployment.place / "copy.toml"
    at.write_text(text)
    url = deployment.url.replace(f":{deployment.gateway_port}/", f":{port}/")
    deployment.up.start(ready_s=120)
    log = deployment.place / "copy.log"
    with gateway(at, log) as twin:
        work(deployment, *(f"one-{n}" for n in range(50)))
        work(deployment, *(f"two-{n}" for n in range(5)), url=url)
        until(60, lambda: recorded(deployment) >= {f"one-{n}" for n in range(50)})
        assert twin.wait(60) == 1
    said = log.read_text()
    assert '"alarm": "another recorder of this name"' in said
    assert "its disk was cloned" in said
    with gateway(at, log):
        work(deployment, "new-name", url=url)
        until(60, lambda: "new-name" in recorded(deployment))
    work(deployment, "last")
    deployment.up.stop()
    found, ran = recorded(deployment), set(deployment.executed(MARK))
    assert {m for m in ran if not m.startswith("two-")} <= found
    bodies = [entry.body for entry in deployment.entries()]
    told = [b.reason for b in bodies if isinstance(b, Undecoded)]
    assert {f"two-{n}" for n in range(5)} <= ran - found
    assert told
    assert all(reason.startswith("not a repeat") and " bytes)" in reason for reason in told), told
    assert len({b.session.rpartition("/")[0] for b in bodies if isinstance(b, Exchange)}) == 3
    assert deployment.verify().code in (0, 12)


@full
@pytest.mark.timeout(400)
def test_topics_that_were_made_again(begun: Deployment, kafka: services.Kafka) -> None:
    """In the middle of work, all of them: the journals are on disk, so only what was between the topics can be lost."""
    deployment = begun
    with Load(deployment.url) as load:
        until(60, lambda: len(load.answered) > 300)
        deployment.up.kill()
    asyncio.run(_delete_topics(kafka, deployment))
    checked = deployment.tallystick("check")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    deployment.up.start(ready_s=120)
    work(deployment, "after")
    ran = set(deployment.executed(MARK))

    def settled() -> bool:
        return ran <= recorded(deployment) or bool(gaps(deployment.entries(), "journal:"))

    until(120, lambda: "after" in recorded(deployment))
    until(120, settled)
    deployment.up.stop()
    assert {"another bus", "another journal topic", "another approvals topic"} <= deployment.alarms()
    assert gaps(deployment.entries(), "bus:events/0")
    lost, told = ran - recorded(deployment), gaps(deployment.entries(), "journal:")
    print(f"{len(ran)} ran, {len(lost)} lost, told of by {[(g.after, g.before) for g in told]}")
    assert bool(lost) == bool(told), "what is lost is told of, and nothing else"
    assert deployment.verify().code == 12


async def _delete_topics(kafka: services.Kafka, deployment: Deployment) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.servers)
    await admin.start()
    prefix = config.load(deployment.made.config).kafka.prefix
    names = [f"{prefix}.{name}" for name in NAMES]
    await admin.delete_topics(names)
    while set(names) & set(await admin.list_topics()):
        await asyncio.sleep(0.1)
    await admin.close()


def _copy_of_store(
    deployment: Deployment, request: pytest.FixtureRequest
) -> tuple[Callable[[Path], object], Callable[[Path], None]]:
    """What makes a copy of the store, and what puts it in the store's place; the ledger is stopped."""
    if not deployment.elsewhere:
        place = deployment.place / "data" / "ledger"

        def back(copy: Path) -> None:
            shutil.rmtree(place)
            shutil.copytree(copy, place)

        return lambda copy: shutil.copytree(place, copy), back
    minio: services.Minio = request.getfixturevalue("minio")

    def swapped(copying: Callable[[], object]) -> None:
        minio.stop()
        copying()
        minio.start()

    disk = minio.folder / "data"

    def put(copy: Path) -> None:
        shutil.rmtree(disk)
        shutil.copytree(copy, disk)

    return lambda copy: swapped(lambda: shutil.copytree(disk, copy)), lambda copy: swapped(lambda: put(copy))


@pytest.mark.timeout(400)
@pytest.mark.parametrize("backing", BOTH, indirect=True)
def test_a_bucket_restored_from_yesterdays_copy(
    begun: Deployment, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    deployment = begun
    deployment.up.stop()
    copy, put_back = _copy_of_store(deployment, request)
    copy(tmp_path / "yesterday")
    deployment.up.start(ready_s=120)
    work(deployment, *(f"today-{n}" for n in range(20)))
    until(60, lambda: "today-19" in recorded(deployment))
    deployment.up.stop()
    put_back(tmp_path / "yesterday")
    assert "today-19" not in recorded(deployment)
    refused = deployment.tallystick("ledger")
    assert refused.returncode == 1
    assert "older or another copy of the log" in refused.stderr
    adopted = deployment.tallystick("ledger", "adopt", "--reason", "restored from yesterday's copy")
    assert adopted.returncode == 0, adopted.stderr
    deployment.up.start(ready_s=120)
    work(deployment, "after")
    until(60, lambda: "after" in recorded(deployment, SHARD, "0-2"))
    deployment.up.stop()
    entries = deployment.entries("0-2")
    assert isinstance(entries[0].body, LedgerAdopted)
    lost = set(deployment.executed(MARK)) - recorded(deployment, SHARD, "0-2")
    assert not lost or gaps(entries, "journal:"), lost
    if deployment.elsewhere:
        assert not lost, "Kafka keeps what the ledger had for 72 hours"
    assert deployment.verify().code == 12
