"""The Faust adapter on a real Kafka: whatever dies, each input is counted once, and the rows are what was counted."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from bus import kafka_topics
from bus.kafka_client import Client, KafkaSettings
from bus.topics import APPROVALS, GRANTS, BusRefused, Message
from schemas.codec import decode, encode
from schemas.records import Pending, Refusal
from stream import faust_app
from stream.faust_app import FaustWorker
from stream.faust_rows import changelog_config
from stream.runner import OFFSET, OUTPUTS, STATE
from tests.approvals.conftest import Office
from tests.stream.counting_worker import BIG, CLOSE, GROUP, OUT, TOPIC, CountingStage
from tools.services import Kafka

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("counting_worker.py")
PARTITIONS = 4
PATIENCE_S = 150.0  # more than a worker that stands still has
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
        self.began = False
        self.said: dict[str, Any] = {"ready": False, "assigned": [], "handled": 0}
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.said, self.began = json.loads(line), True

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

    async def _listens(self) -> bool:
        """For signals: a Python that has only begun is ended by one. It says its first word after that."""
        return self.began or self.process.returncode is not None

    async def end(self) -> int:
        """How it ended, once all it said is read."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                code = await self.process.wait()
                await self._reading
        except TimeoutError:
            raise AssertionError(f"it did not end; it said {self.said}, and to its log: {self.log}") from None
        return code

    async def stop(self) -> dict[str, Any]:
        await until(self._listens)
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
            there = await reader._client._wait_on_metadata(self.name(topic))
            parts = [TopicPartition(self.name(topic), n) for n in sorted(there)]
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

    async def identity(self) -> str:
        """Of the topic that the workers read."""
        client = Client(KafkaSettings((self.servers,), self.prefix))
        await client.open()
        try:
            return f"{client.cluster}/{(await client.topic(self.name(TOPIC))).id}"
        finally:
            await client.close()

    async def make_again(self) -> None:
        """Deletes the topic that the workers read, and makes it anew."""
        admin, before = AIOKafkaAdminClient(bootstrap_servers=self.servers), await self.identity()
        await admin.start()
        await admin.delete_topics([self.name(TOPIC)])

        async def made() -> bool:
            await admin.create_topics([NewTopic(self.name(TOPIC), PARTITIONS, 1)])
            try:
                return await self.identity() != before
            except BusRefused:
                return False

        await until(made)
        await admin.close()

    async def check(self) -> int:
        """Each input counted once, nothing said twice with other bytes, the rows right. Gives how many were repeats."""
        stages = {n: CountingStage() for n in range(PARTITIONS)}
        for stage in stages.values():
            stage.restore({}, await self.identity())
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


async def test_a_worker_that_is_slow_to_start_under_load_reads_all_in_order_and_goes_on(world: World) -> None:
    await world.count(500)
    first = await world.worker()
    await world.all_counted()
    await first.stop()
    sending = asyncio.create_task(_go_on_counting(world))
    worker = await world.worker(slow_start=True)
    await worker.ready(PARTITIONS)
    handled = int(worker.said["handled"])

    async def goes_on() -> bool:
        assert worker.process.returncode is None, worker.log
        return int(worker.said["handled"]) > handled + 200

    await until(goes_on)
    sending.cancel()
    await world.all_counted()
    await worker.stop()
    await world.check()


async def _go_on_counting(world: World) -> None:
    while True:
        await asyncio.shield(world.count(20))
        await asyncio.sleep(0.02)


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


async def test_a_stop_that_comes_at_once_is_heard(world: World) -> None:
    worker = await world.worker()

    async def begun() -> bool:
        return bool(worker.log)

    await until(begun)
    await worker.stop()


async def both(world: World, **given: Any) -> tuple[Worker, Worker]:
    """Two workers, each with half of the partitions; the first has had them all and been asked for half."""
    first = await world.worker(**given)
    await first.ready(PARTITIONS)
    second = await world.worker()
    await second.ready(PARTITIONS // 2)
    await first.ready(PARTITIONS // 2)
    return first, second


async def test_a_killed_workers_partitions_are_taken_over_within_15_s(world: World) -> None:
    first, second = await both(world)
    await world.count(400)
    await world.all_counted()
    first.signal(signal.SIGKILL)
    began = time.monotonic()
    await world.count(40)
    await world.all_counted(15)
    print(f"taken over in {time.monotonic() - began:.1f} s")
    assert len((await second.stop())["rows"]) == PARTITIONS
    await world.check()


async def test_a_worker_that_slept_through_its_session_writes_nothing_more(world: World) -> None:
    """It sleeps between its outputs and its rows; when it wakes, another has long counted on."""
    first, second = await both(world, sleep=[OUTPUTS, 2])
    await world.count(400)
    await second.ready(PARTITIONS)
    await world.all_counted()
    first.signal(signal.SIGCONT)
    assert await first.end() == FAILED
    assert "the group went on without this worker" in first.log
    await world.check()  # at once: what is counted later would write over what it wrote
    await second.stop()


async def test_rows_that_somebody_else_wrote_end_the_worker(world: World) -> None:
    await world.count(100)
    worker = await world.worker()
    await world.all_counted()
    await world.producer.send_and_wait(world.name(f"{GROUP}-changelog"), b"theirs", key=b"key/x", partition=0)
    await world.count(100)
    assert await worker.end() == FAILED
    assert "somebody else wrote to the changelog" in worker.log


async def test_a_topic_that_was_made_again_ends_the_worker_and_the_next_one_reads_all_of_it(world: World) -> None:
    """Else it reads on at its old offset there, and all before it is gone without a word."""
    await world.count(400)
    worker = await world.worker()
    await world.all_counted()
    await world.make_again()
    await world.count(200)
    assert await worker.end() == FAILED
    assert "was made again" in worker.log or "there is no topic" in worker.log or "has no topic" in worker.log
    before = len(await world.read(OUT))
    await world.worker()

    async def all_said() -> bool:
        return len(await world.read(OUT)) == before + 200

    await until(all_said)


@pytest.mark.parametrize("where", ["recovery", "reading"])
async def test_a_worker_that_stands_still_with_work_to_do_ends_and_the_next_one_does_it(
    world: World, where: str
) -> None:
    worker = await world.worker(stands=[where, 6.0])
    await world.count(100)
    assert await worker.end() == FAILED
    assert "nothing moved for 6 s, with work to do" in worker.log
    second = await world.worker()
    await world.all_counted()
    await second.stop()
    await world.check()


async def test_a_worker_without_work_may_stand_still_and_what_comes_late_is_no_standstill(world: World) -> None:
    worker = await world.worker(stands=["nowhere", 6.0])
    await world.count(10)
    await world.all_counted()
    for _ in range(3):  # past its patience
        await asyncio.sleep(3.5)
        assert worker.process.returncode is None, worker.log
    await world.count(10)
    await world.all_counted()
    await worker.stop()
    await world.check()


async def test_a_large_row_is_carried_and_one_that_no_changelog_takes_is_said(world: World) -> None:
    await world.send([(BIG + b"200000", b"plus"), (BIG + b"200000", b"plus")])
    worker = await world.worker()
    await world.all_counted()
    worker.signal(signal.SIGKILL)
    await worker.end()
    assert "a row of state is large" in worker.log
    await world.check()
    await world.send([(BIG + b"20000000", b"plus")])
    worker = await world.worker()
    assert await worker.end() == FAILED
    assert "20000" in worker.log
    assert "bytes of state in one turn, 16777216 fit" in worker.log


async def test_faust_and_its_client_print_no_key_and_no_value(world: World) -> None:
    """With their loggers at DEBUG, and a root logger that prints whatever it is given."""
    await world.send([(b"planted-key-%d" % n, b"planted-value") for n in range(50)])
    worker = await world.worker(debug=True)
    await world.all_counted()
    await world.send([(b"planted-key-%d" % n, b"planted-value") for n in range(50)])
    await world.all_counted()
    await worker.stop()
    assert worker.log.count("said by a library") > 50
    assert "planted" not in worker.log


async def test_a_hold_expires_by_ticks_alone_and_is_refused_once_over_a_kill(world: World) -> None:
    settings = KafkaSettings((world.servers,), world.prefix, PARTITIONS, replication=1, min_insync=1)
    client = Client(settings)
    await client.open()
    await kafka_topics.ensure(client, settings)
    await client.close()

    async def answers() -> list[Message]:
        return await world.read(GRANTS)

    async def pending() -> bool:
        return len(await answers()) == 1

    async def refused() -> bool:
        return any(isinstance(decode(message.value), Refusal) for message in await answers())

    worker = await world.worker(approvals=True)
    await worker.ready()
    now = time.time_ns() // 1000
    raised = Office().hold(1, now, deadline_us=now + 6_000_000)
    await world.producer.send_and_wait(settings.topic(APPROVALS), encode(raised), key=raised.recorder.encode())
    await until(pending)
    worker.signal(signal.SIGKILL)
    worker = await world.worker(approvals=True)
    await until(refused)
    await worker.stop()
    assert [type(decode(value)) for value in dict.fromkeys(m.value for m in await answers())] == [Pending, Refusal]


@pytest.mark.parametrize(
    "module", ["tallystick.cli", "tallystick.roles.workers", "tallystick.roles.gateway", "stream.workers"]
)
def test_only_a_faust_worker_loads_faust(module: str) -> None:
    program = f"import sys, {module}; sys.exit('faust' in sys.modules or 'mode' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0


def lines_of(*functions: Any) -> list[int]:
    found = {
        line for f in functions for _, _, line in f.__code__.co_lines() if line and line != f.__code__.co_firstlineno
    }
    return sorted(found)


async def raised_at(world: World, lines: Sequence[int]) -> int:
    """A worker for each line, which raises there the first time, or the second. Gives how many came to their line."""
    reached = 0
    for line in lines:
        worker = await world.worker(**{"raise": [line, 1 + line % 2]})
        await world.count(60)
        counting, ending = asyncio.create_task(world.all_counted()), asyncio.create_task(worker.end())
        await asyncio.wait({counting, ending}, return_when=asyncio.FIRST_COMPLETED)
        counting.cancel()
        if not ending.done():
            worker.signal(signal.SIGTERM)
        code = await ending
        assert code in {0, FAILED}, worker.log
        reached += code == FAILED
    last = await world.worker()
    await world.all_counted()
    await last.stop()
    await world.check()
    return reached


def lines_of_a_turn() -> list[int]:
    one = FaustWorker
    turn = (one._agent, one._taken, one._is_ours, one._turn, one._first, one._send, one._commit, one._put)
    return lines_of(*turn, one._revoked, one._recovered, faust_app._message, faust_app._turns)


@pytest.mark.timeout(300)
async def test_an_error_at_a_line_of_the_turn_ends_the_worker_and_loses_nothing(world: World) -> None:
    lines = lines_of_a_turn()[4::12]
    assert await raised_at(world, lines) >= len(lines) // 2


@pytest.mark.slow
@pytest.mark.timeout(3000)
async def test_an_error_at_any_line_of_the_turn_ends_the_worker_and_loses_nothing(world: World) -> None:
    lines = lines_of_a_turn()
    assert await raised_at(world, lines) >= len(lines) // 2


async def killed_at_random(world: World, kills: int) -> None:
    """Two workers; one is killed, or sleeps past its session, at a random time, and another is started."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    workers = list(await both(world))
    for _ in range(kills):
        await world.count(chance.randrange(50, 800))
        await asyncio.sleep(chance.uniform(0, 3))  # not for luck: to meet the workers in any state
        victim = workers.pop(chance.randrange(2))
        if chance.random() < 0.25:
            victim.signal(signal.SIGSTOP)
            await workers[0].ready(PARTITIONS)
            victim.signal(signal.SIGCONT)
            await world.count(50)
        victim.signal(signal.SIGKILL)
        workers.append(await world.worker())
    await world.all_counted(120)
    for worker in workers:
        await worker.stop()
    repeats = await world.check()
    print(f"{world._sent} counted, {repeats} said again")


@pytest.mark.timeout(300)
async def test_two_workers_and_five_kills_at_random(world: World) -> None:
    await killed_at_random(world, 5)


@pytest.mark.slow
@pytest.mark.timeout(3000)
async def test_two_workers_and_fifty_kills_at_random(world: World) -> None:
    await killed_at_random(world, 50)


async def opened_and_closed(world: World, sessions: int) -> None:
    """However many keys came and went, one row a partition is left, and compaction leaves few records."""
    worker = await world.worker()
    await worker.ready(PARTITIONS)
    for start in range(0, sessions, 1000):
        keys = [b"session/%d" % n for n in range(start, min(sessions, start + 1000))]
        await world.send([(key, b"plus") for key in keys])
        await world.send([(key, CLOSE) for key in keys])
    began = time.monotonic()
    await world.all_counted(3000)
    print(f"{2 * sessions / (time.monotonic() - began):.0f} messages a second at the least")
    assert all(list(rows) == [b"applied"] for rows in (await world.rows()).values())
    changelog = world.name(f"{GROUP}-changelog")
    admin = AIOKafkaAdminClient(bootstrap_servers=world.servers)
    await admin.start()
    settings = KafkaSettings((world.servers,), replication=1, min_insync=1)
    soon = {"segment.ms": "100", "delete.retention.ms": "0", "min.cleanable.dirty.ratio": "0.01"}
    soon = changelog_config(settings) | soon
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, changelog, soon)])
    await admin.close()

    async def few_left() -> bool:
        await world.send([(b"session/last", CLOSE)] * 4 + [(b"s%d" % n, CLOSE) for n in range(40)])  # rolls segments
        await asyncio.sleep(1)
        return len(await world.read(f"{GROUP}-changelog")) < 2000

    await until(few_left, 180)
    rows = (await worker.stop())["rows"]
    assert all(list(some) == [b"applied".hex()] for some in rows.values())
    await world.check()


@pytest.mark.timeout(300)
async def test_20_000_sessions_that_closed_leave_a_bounded_table(world: World) -> None:
    await opened_and_closed(world, 20_000)


@pytest.mark.slow
@pytest.mark.timeout(7000)
async def test_a_million_sessions_that_closed_leave_a_bounded_table(world: World) -> None:
    await opened_and_closed(world, 1_000_000)


@pytest.mark.slow
@pytest.mark.timeout(1800)
async def test_200_000_live_keys_are_taken_over_within_15_s(world: World) -> None:
    first, second = await both(world)
    for start in range(0, 200_000, 5000):
        await world.send([(b"key%d" % n, b"plus") for n in range(start, start + 5000)])
    await world.all_counted(900)
    first.signal(signal.SIGKILL)
    began = time.monotonic()
    await world.count(40)
    await world.all_counted(15)
    print(f"taken over in {time.monotonic() - began:.1f} s")
    await second.stop()
    await world.check()
