"""The publisher: every closed segment, in order, at least once, whatever dies."""

import asyncio
import itertools
import json
import os
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bus.follow import offset_of
from bus.journal import epochs
from bus.kafka import KafkaBus, KafkaSettings
from bus.publisher import POSITION, ROOM, Lag, Publisher
from bus.topics import JOURNAL, LARGEST_MESSAGE, BusDown, MessageTooLarge, check_size
from schemas.codec import decode
from tests.bus.segments import NAME, Writer
from tools.services import Kafka


@dataclass
class MemoryBus:
    """What a publisher needs of a bus: it takes, or is down."""

    id: str = "cluster/topic"
    down: bool = False
    sent: list[bytes] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)  # of each send
    refused: int = 0
    asked: Callable[[], None] = lambda: None

    async def identity(self, topic: str) -> str:
        assert topic == JOURNAL
        self.asked()
        if self.down:
            raise BusDown("away")
        return self.id

    def producer(self) -> Any:
        return self

    async def send(self, topic: str, items: Sequence[tuple[bytes, bytes]]) -> None:
        assert topic == JOURNAL
        check_size(items)
        if self.down:
            self.refused += 1
            raise BusDown("away")
        assert {key for key, _ in items} == {NAME.encode()}
        self.sent += [value for _, value in items]
        self.sizes.append(sum(len(value) for _, value in items))

    def chunks(self) -> list[bytes]:
        return [b"".join(decode(value).chunks) for value in self.sent]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / NAME


async def until(ready: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not ready():
            await asyncio.sleep(0.005)


@pytest.fixture
async def started() -> AsyncIterator[Callable[[Publisher], asyncio.Task[None]]]:
    tasks: list[asyncio.Task[None]] = []

    def start(publisher: Publisher) -> asyncio.Task[None]:
        tasks.append(asyncio.create_task(publisher.run()))
        return tasks[-1]

    yield start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_segments_are_copied_as_they_are_closed_and_stop_waits_for_the_last(
    place: Path, started: Callable[[Publisher], asyncio.Task[None]]
) -> None:
    writer, bus = Writer(place), MemoryBus()
    writer.segment(b"a", b"b")
    publisher = Publisher(bus, place)
    task = started(publisher)
    await until(lambda: bus.chunks() == [b"ab"])
    writer.segment(b"c")
    await until(lambda: bus.chunks() == [b"ab", b"c"] and publisher.lag() == Lag(0, 0.0))
    writer.next_epoch()
    writer.segment(b"d")
    publisher.stop()
    await task
    assert bus.chunks() == [b"ab", b"c", b"d"]


async def test_what_is_closed_before_stop_is_sent_though_it_had_just_looked(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bus.publisher.LOOK_S", -1.0)  # so that it asks for the topic after each look
    writer, asked = Writer(place), itertools.count(1)

    def once() -> None:
        if next(asked) == 3:
            writer.segment(b"late")
            publisher.stop()

    bus = MemoryBus(asked=once)
    publisher = Publisher(bus, place)
    await publisher.run()
    assert bus.chunks() == [b"late"]


async def test_a_restart_goes_on_behind_what_was_sent(place: Path) -> None:
    writer, bus = Writer(place), MemoryBus()
    for chunk in (b"a", b"b"):
        writer.segment(chunk)
        publisher = Publisher(bus, place)
        publisher.stop()
        await publisher.run()
    assert bus.chunks() == [b"a", b"b"]
    assert json.loads((place / POSITION).read_bytes())["sent"] == offset_of(0, 1)


@pytest.mark.parametrize("content", [b"", b"{}", b"null", b'{"topic": 1, "sent": "x", "caught_up": 0}'])
async def test_a_position_that_cannot_be_read_means_everything_again(place: Path, content: bytes) -> None:
    Writer(place).segment(b"a")
    (place / POSITION).write_bytes(content)
    bus = MemoryBus()
    publisher = Publisher(bus, place)
    publisher.stop()
    await publisher.run()
    assert bus.chunks() == [b"a"]


async def test_on_another_topic_everything_that_is_on_disk_goes_again(
    place: Path, started: Callable[[Publisher], asyncio.Task[None]]
) -> None:
    writer, bus = Writer(place), MemoryBus()
    writer.segment(b"a")
    publisher = Publisher(bus, place)
    task = started(publisher)
    await until(lambda: bus.chunks() == [b"a"])
    bus.id = "cluster/topic made again"  # noticed though nothing fails and nothing is to be sent
    await until(lambda: bus.chunks() == [b"a", b"a"])
    publisher.stop()
    await task
    assert json.loads((place / POSITION).read_bytes())["topic"] == bus.id
    bus.id = "another cluster/topic"
    publisher = Publisher(bus, place)
    publisher.stop()
    await publisher.run()
    assert bus.chunks() == [b"a", b"a", b"a"]


async def test_a_bus_that_is_down_is_waited_for_and_the_lag_is_what_it_keeps_waiting(
    place: Path, started: Callable[[Publisher], asyncio.Task[None]]
) -> None:
    now = [1_000.0]
    writer, bus = Writer(place), MemoryBus()
    publisher = Publisher(bus, place, clock=lambda: now[0])
    task = started(publisher)
    now[0] = 5_000.0
    writer.segment(b"first")
    await until(lambda: bus.chunks() == [b"first"])
    bus.down = True
    writer.segment(b"x" * 1000)
    await until(lambda: bus.refused > 0)
    assert publisher.lag().size >= 1000
    writer.segment(b"y" * 1000)
    await until(lambda: publisher.lag().size >= 2000)
    now[0] = 5_007.0
    assert publisher.lag().seconds == 7.0
    bus.down = False
    await until(lambda: len(bus.sent) == 3 and publisher.lag() == Lag(0, 0.0))
    bus.down = True
    writer.segment(b"z")
    publisher.stop()
    await task  # what cannot be sent stays on disk
    assert bus.chunks() == [b"first", b"x" * 1000, b"y" * 1000]


async def test_what_is_held_in_memory_does_not_grow_with_what_waits(place: Path) -> None:
    writer, bus = Writer(place), MemoryBus()
    for _ in range(40):
        writer.segment(bytes(512 * 1024))
    publisher = Publisher(bus, place)
    publisher.stop()
    await publisher.run()
    assert len(bus.sent) == 40
    assert max(bus.sizes) <= ROOM + 513 * 1024  # the last may pass the mark


async def test_a_segment_that_no_bus_takes_is_an_error_and_nothing_behind_it_goes(place: Path) -> None:
    writer, bus = Writer(place), MemoryBus()
    writer.segment(b"a")
    writer.segment(bytes(LARGEST_MESSAGE))
    writer.segment(b"c")
    with pytest.raises(MessageTooLarge):
        await Publisher(bus, place).run()
    assert b"c" not in bus.chunks()


async def test_files_go_once_covered_and_the_newest_stays(place: Path) -> None:
    writer = Writer(place)
    for _ in range(3):
        writer.segment(b"x")
        writer.next_epoch()
    publisher = Publisher(MemoryBus(), place)
    assert await publisher.prune_journal(NAME, 0) == []
    assert await publisher.prune_journal(NAME, 2) == [0, 1]
    assert await publisher.prune_journal(NAME, 9) == [2]
    assert epochs(place) == [3]
    with pytest.raises(ValueError, match="is not"):
        await publisher.prune_journal("another", 1)


# --- on Kafka, with kill -9 ------------------------------------------------------------------

PROGRAM = """
import asyncio, sys
from pathlib import Path
from bus.kafka import KafkaBus, KafkaSettings
from bus.publisher import Publisher

async def main():
    settings = KafkaSettings((sys.argv[1],), prefix=sys.argv[2], replication=1, min_insync=1, timeout_s=5.0)
    bus = await KafkaBus.open(settings)
    await Publisher(bus, Path(sys.argv[3])).run()

asyncio.run(main())
"""


@pytest.mark.timeout(300)  # two starts of a broker and six of Python, on whatever machine
async def test_every_segment_arrives_in_order_though_publisher_and_broker_are_killed(
    kafka: Kafka, place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    seed = int(os.environ.get("TALLYSTICK_SEED", "1"))
    print(f"TALLYSTICK_SEED={seed}")
    chance = random.Random(seed)
    # The reader is patient: on a busy machine a broker takes its time to start.
    settings = KafkaSettings((kafka.servers,), prefix="publisher", replication=1, min_insync=1, timeout_s=60.0)
    bus = await KafkaBus.open(settings)
    await bus.ensure_topics()
    reader = await bus.consumer("g", [JOURNAL])
    writer, written, arrived = Writer(place), 0, [0]
    command = [sys.executable, "-c", PROGRAM, kafka.servers, "publisher", str(place)]
    process = subprocess.Popen(command)

    async def read() -> None:
        """Checks as it reads: a segment that is new is the next one."""
        while arrived[0] < 1200:
            for message in await reader.batch(100, 0.5):
                number = int(decode(message.value).chunks[0])
                assert number <= arrived[0], f"{number} came before {arrived[0]}"
                arrived[0] = max(arrived[0], number + 1)

    reading = asyncio.create_task(read())
    try:
        for round_ in range(6):
            target = chance.randrange(written, written + 180)  # killed somewhere in what this round writes
            for _ in range(200 if round_ < 5 else 1200 - written):
                writer.segment(b"%d" % written, bytes(chance.randrange(20_000)))
                written += 1
                if not chance.randrange(100):
                    writer.next_epoch()
                await asyncio.sleep(0)
            async with asyncio.timeout(120):
                while arrived[0] < target and not reading.done():
                    await asyncio.sleep(0.005)
            if round_ % 3 == 2:
                await asyncio.to_thread(kafka.kill)
                await asyncio.to_thread(kafka.start)
            process.kill()
            process.wait()
            process = subprocess.Popen(command)
        async with asyncio.timeout(120):
            await reading
    finally:
        reading.cancel()
        process.kill()
        process.wait()
        await bus.close()
    assert arrived[0] == written == 1200
