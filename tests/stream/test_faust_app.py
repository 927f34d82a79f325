"""The Faust adapter on a real Kafka: whatever dies, each input is counted once, and the rows are what was counted."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from bus.topics import Message
from stream.runner import OFFSET, OUTPUTS, STATE
from tests.stream.counting_worker import CLOSE, GROUP, OUT, TOPIC, CountingStage
from tools.services import Kafka

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("counting_worker.py")
PARTITIONS = 4
PATIENCE_S = 60.0
FAILED = 70


async def until(done: Callable[[], Awaitable[bool]], seconds: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + seconds
    while not await done():
        assert time.monotonic() < deadline, "it did not come to be in time"
        await asyncio.sleep(0.02)


class Worker:
    """A worker process, and the last it said of itself."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self.process, self._log = process, log
        self.said: dict[str, Any] = {"ready": False, "assigned": [], "handled": 0}
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.said = json.loads(line)

    @property
    def log(self) -> str:
        return self._log.read_text()

    async def ready(self, partitions: int | None = None, seconds: float = PATIENCE_S) -> None:
        async def now() -> bool:
            assert self.process.returncode is None, self.log
            said = self.said
            return bool(said["ready"]) and (partitions is None or len(said["assigned"]) == partitions)

        await until(now, seconds)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def end(self) -> int:
        """How it ended, once all it said is read."""
        async with asyncio.timeout(PATIENCE_S):
            code = await self.process.wait()
            await self._reading
        return code

    async def stop(self) -> dict[str, Any]:
        self.signal(signal.SIGTERM)
        assert await self.end() == 0, self.log
        return self.said


class World:
    """Topics of its own in a Kafka, the workers on them, and what should come of their input."""

    def __init__(self, servers: str, folder: Path) -> None:
        self.servers, self.folder = servers, folder
        self.prefix = f"t{uuid.uuid4().hex}"
        self.workers: list[Worker] = []
        self._sent = 0

    async def __aenter__(self) -> World:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.servers)
        await admin.start()
        await admin.create_topics([NewTopic(self.name(topic), PARTITIONS, 1) for topic in (TOPIC, OUT)])
        await admin.close()
        self.producer = AIOKafkaProducer(bootstrap_servers=self.servers, acks="all", linger_ms=5)
        await self.producer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        for worker in self.workers:
            if worker.process.returncode is None:
                worker.process.kill()
            await worker.end()
        await self.producer.stop()

    def name(self, topic: str) -> str:
        return f"{self.prefix}.{topic}"

    async def worker(self, **given: Any) -> Worker:
        folder = self.folder / f"worker{len(self.workers)}"
        folder.mkdir()
        given |= {"servers": self.servers, "prefix": self.prefix}
        with (folder.with_suffix(".log")).open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, PROGRAM, json.dumps(given), cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=asyncio.subprocess.PIPE, stderr=log, limit=2**30,
            )  # fmt: skip
        self.workers.append(Worker(process, folder.with_suffix(".log")))
        return self.workers[-1]

    async def send(self, items: Sequence[tuple[bytes, bytes]]) -> None:
        sent = [await self.producer.send(self.name(TOPIC), value, key=key) for key, value in items]
        await asyncio.gather(*sent)
        self._sent += len(items)

    async def count(self, n: int, keys: int = 50) -> None:
        await self.send([(b"k%d" % (i % keys), b"plus" if i % 7 else CLOSE) for i in range(n)])

    async def read(self, topic: str) -> list[Message]:
        """All that is in it now."""
        found = []
        async with AIOKafkaConsumer(bootstrap_servers=self.servers, auto_offset_reset="earliest") as reader:
            parts = [TopicPartition(self.name(topic), n) for n in range(PARTITIONS)]
            reader.assign(parts)
            ends = await reader.end_offsets(parts)
            while any([await reader.position(part) < ends[part] for part in parts]):
                for part, records in (await reader.getmany(timeout_ms=100)).items():
                    found += [Message(topic, part.partition, r.offset, r.key, r.value, 0) for r in records]
        return found

    async def all_counted(self, seconds: float = PATIENCE_S) -> None:
        """Until the last offset of each partition is done with."""
        numbers = [TopicPartition(self.name(TOPIC), n) for n in range(PARTITIONS)]
        async with AIOKafkaConsumer(
            bootstrap_servers=self.servers, group_id=f"{self.prefix}-{GROUP}", enable_auto_commit=False
        ) as reader:
            reader.assign(numbers)
            ends = await reader.end_offsets(numbers)

            async def done() -> bool:
                return all([(await reader.committed(part) or 0) >= ends[part] for part in numbers])

            await until(done, seconds)

    async def rows(self) -> dict[int, dict[bytes, bytes]]:
        """The table as its changelog has it."""
        found: dict[int, dict[bytes, bytes]] = {n: {} for n in range(PARTITIONS)}
        for row in await self.read(f"{GROUP}-changelog"):
            if row.value is None:
                found[row.partition].pop(row.key, None)
            else:
                found[row.partition][row.key] = row.value
        return found

    async def check(self) -> int:
        """Each input counted once, nothing said twice with other bytes, the rows right. Gives how many were repeats."""
        stages = {n: CountingStage() for n in range(PARTITIONS)}
        wanted = [output.value for m in await self.read(TOPIC) for output in stages[m.partition].apply(m)]
        assert len(wanted) == self._sent
        said = [message.value for message in await self.read(OUT)]
        assert set(said) == set(wanted)
        assert await self.rows() == {n: stage.rows() for n, stage in stages.items()}
        return len(said) - len(wanted)


@pytest.fixture
async def world(kafka: Kafka, tmp_path: Path) -> AsyncIterator[World]:
    async with World(kafka.servers, tmp_path) as made:
        yield made


def told(rows: dict[int, dict[bytes, bytes]]) -> dict[str, dict[str, str]]:
    return {str(n): {k.hex(): v.hex() for k, v in some.items()} for n, some in rows.items()}


@pytest.mark.parametrize("place", [OUTPUTS, STATE, OFFSET])
async def test_a_worker_that_dies_between_two_steps_loses_nothing(world: World, place: str) -> None:
    await world.count(700)
    for turn in (1, 2):
        assert await (await world.worker(die=[place, turn])).end() == 9
    last = await world.worker()
    await world.all_counted()
    await last.stop()
    repeats = await world.check()
    assert (repeats > 0) == (place == OUTPUTS), (
        "what was said before the state was kept is said again, and nothing else"
    )


async def test_rows_come_back_as_they_went_in_after_a_kill(world: World) -> None:
    await world.count(500)
    first = await world.worker()
    await world.all_counted()
    first.signal(signal.SIGKILL)
    assert await first.end() == -signal.SIGKILL
    rows = await world.rows()
    second = await world.worker()
    await second.ready(PARTITIONS)
    said = await second.stop()
    assert said["rows"] == told(rows)
    await world.check()


async def test_a_role_keeps_its_signals_its_root_logger_and_its_folder(world: World) -> None:
    await world.count(10)
    worker = await world.worker()
    await world.all_counted()
    assert (await worker.stop())["untouched"]


async def test_lag_falls_to_nothing_and_a_stopped_worker_has_handled_all(world: World) -> None:
    await world.count(300)
    worker = await world.worker()
    await world.all_counted()

    async def none_left() -> bool:
        return worker.said["handled"] == 300

    await until(none_left)
    assert worker.said["lag"] == {str(n): 0 for n in range(PARTITIONS)}
    assert worker.said["assigned"] == [0, 1, 2, 3]
    await worker.stop()
