"""Journal topic to signed checkpoint, on a real Kafka and a real MinIO, beside plain aiokafka with the same bytes.

    .venv/bin/python -m bench.pipeline [--seconds 10] [--workers 1 2]

Every role is a process of its own, as users run it; what recorders write is made by hand
(`tests/stream/traffic.py`: 8 recorders with 8 sessions each, 50 exchanges a segment). In turns in one run:

    burst   everything is sent at once: exchanges/s from the first send to the last `Covered` mark
    steady  a share of that rate, a segment a recorder every 20 ms and more: how long from handing a segment to
            Kafka (a gateway's commands waited up to 20 ms in it before) to hearing that its checkpoint is signed
    plain   the same segments in the same ways, produced and consumed by aiokafka and nothing else

All processes share the machine's cores with Kafka, MinIO and this bench. It ends with an error if the ledger has not
one entry an exchange.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.partitioner import murmur2

from bus.kafka import KafkaBus
from bus.topics import COVERED, JOURNAL
from schemas.codec import decode
from schemas.ids import RecorderId, Source, journal_source
from schemas.records import Covered
from tallystick import backends, config, setup
from tallystick.demo_stage import command
from tallystick.roles import read_rules
from tests.conftest import free_port
from tests.ledger.locked import make_bucket
from tests.stream.traffic import Recording, Segment
from tools.services import Kafka, Minio, Unavailable, kafka, minio

PARTITIONS, RECORDERS = 4, 8
A_SEGMENT = 50  # exchanges
WARM = 200  # segments
SHARES = (0.5, 0.8)  # of what a burst gave
STALL_S = 60.0
SETTINGS = f"batch_seconds = 1\n[kafka]\npartitions = {PARTITIONS}\nreplication = 1\nmin_insync = 1\n"
TICKS = os.sysconf("SC_CLK_TCK")

Sent = tuple[int, Segment]  # number of its recorder
Send = Callable[[Sequence[Sent]], Awaitable[None]]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=10, help="of each measurement, about")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    args = parser.parse_args()
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tallystick-bench-")))
        try:
            broker, store = stack.enter_context(kafka(place / "kafka")), stack.enter_context(minio(place / "minio"))
        except Unavailable as e:
            print(f"nothing is measured: {e}")
            return
        asyncio.run(compare(place, broker, store, args.seconds, args.workers))


async def compare(place: Path, broker: Kafka, store: Minio, seconds: float, workers: Sequence[int]) -> None:
    print(f"{os.cpu_count()} cores for Kafka, MinIO, ledger, mask workers and this bench; {seconds:g} s each")
    async with Plain(broker) as plain:
        for count in workers:
            with Deployment(place / f"workers-{count}", broker, store, count) as deployed:
                await measure(deployed, seconds, plain)


# --- the deployment ----------------------------------------------------------------


class Deployment:
    """A ledger, the step that asks, and so many mask workers, ended with it; topics, bucket and keys of its own."""

    def __init__(self, place: Path, broker: Kafka, store: Minio, workers: int) -> None:
        self.name, self.workers = place.name, workers
        bucket = make_bucket(store, self.name, place.parent)
        made = setup.make(
            place,
            target="postgresql://nobody@127.0.0.1:1/orders",
            approvals=f"127.0.0.1:{free_port()}",
            bus=f"kafka://{broker.servers}",
            store=bucket.url(),
            more=SETTINGS + f'prefix = "{self.name}"\n',
        )
        self.config, self._file = config.load(made.config), made.config
        self.processes: dict[str, int] = {"kafka": broker.pid, "minio": store.pid, "bench": os.getpid()}
        self._roles: list[subprocess.Popen[str]] = []
        policy_version = read_rules(self.config).version
        self.recordings = [
            Recording(name, self.config.keys, policy_version, seed) for seed, name in enumerate(recorders())
        ]

    def __enter__(self) -> Deployment:
        try:
            self._start("ledger", "ledger")
            self._start("ask", "worker", "--steps", "ask")
            for n in range(self.workers):
                self._start(f"mask {n + 1}", "worker", "--steps", "mask")
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self, name: str, *arguments: str) -> None:
        role = subprocess.Popen(
            [*command(*arguments), "--config", str(self._file)], stdout=subprocess.PIPE, text=True
        )  # it says "ready", and no more
        self._roles.append(role)
        self.processes[name] = role.pid
        assert role.stdout is not None
        if not role.stdout.readline().startswith("ready"):
            raise SystemExit(f"{name} did not start")

    def __exit__(self, *_: object) -> None:
        for role in self._roles:
            role.terminate()
        for role in self._roles:
            role.wait(60)

    def segments(self, count: int) -> list[Sent]:
        """Of all recorders in turn."""
        at_us = time.time_ns() // 1000
        return [(n % RECORDERS, self.recordings[n % RECORDERS].segment(A_SEGMENT, at_us)) for n in range(count)]

    def cpu_s(self) -> dict[str, float]:
        """Of each process, so far; nothing where there is no /proc."""
        found = {}
        for name, pid in self.processes.items():
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                return {}
            found[name] = (int(fields[11]) + int(fields[12])) / TICKS
        return found


def recorders() -> list[RecorderId]:
    """As many for each partition of the journal."""
    found: list[RecorderId] = []
    taken = [0] * PARTITIONS
    number = 0
    while len(found) < RECORDERS:
        name = RecorderId(f"orders-db.0.{number:08x}")
        partition = (murmur2(name.encode()) & 0x7FFFFFFF) % PARTITIONS
        if taken[partition] < RECORDERS // PARTITIONS:
            taken[partition] += 1
            found.append(name)
        number += 1
    return found


# --- measuring ----------------------------------------------------------------------


@dataclass
class Watch:
    """When each segment was sent, and when it was heard of again."""

    waiting: dict[int, deque[tuple[int, float]]] = field(default_factory=dict)  # by recorder: (last chunk, sent)
    took_s: list[float] = field(default_factory=list)
    left: int = 0
    done: asyncio.Event = field(default_factory=asyncio.Event)
    heard_at: float = 0.0

    def sent(self, items: Sequence[Sent]) -> None:
        now = time.perf_counter()
        for recorder, segment in items:
            self.waiting.setdefault(recorder, deque()).append((segment.last, now))
        self.left += len(items)
        self.done.clear()

    def heard(self, recorder: int, upto: int) -> None:
        self.heard_at = time.perf_counter()
        waiting = self.waiting.get(recorder, deque())
        while waiting and waiting[0][0] <= upto:
            self.took_s.append(self.heard_at - waiting.popleft()[1])
            self.left -= 1
        if not self.left:
            self.done.set()

    async def all(self) -> None:
        """Until all that was sent was heard of. SystemExit if nothing more comes."""
        while self.left:
            before = self.left
            try:
                await asyncio.wait_for(self.done.wait(), STALL_S)
            except TimeoutError:
                if self.left == before:
                    raise SystemExit(f"{self.left} segments did not come through in {STALL_S:g} s") from None


async def burst(send: Send, watch: Watch, items: list[Sent]) -> float:
    """Exchanges/s."""
    began = time.perf_counter()
    for at in range(0, len(items), 32):
        watch.sent(items[at : at + 32])
        await send(items[at : at + 32])
    await watch.all()
    return len(items) * A_SEGMENT / (watch.heard_at - began)


async def steady(send: Send, watch: Watch, items: list[Sent], rate: float) -> tuple[float, float]:
    """(p50, p99) seconds; `rate` in exchanges/s. What is late is sent at once: nothing waits for an answer."""
    watch.took_s.clear()
    began, sending = time.perf_counter(), set()
    for n, item in enumerate(items):
        await asyncio.sleep(max(0.0, began + n * A_SEGMENT / rate - time.perf_counter()))
        watch.sent([item])
        task = asyncio.ensure_future(send([item]))
        sending.add(task)
        task.add_done_callback(sending.discard)
    await watch.all()
    cut = statistics.quantiles(watch.took_s, n=100)
    return cut[49], cut[98]


async def measure(deployed: Deployment, seconds: float, plain: Plain) -> None:
    bus = await KafkaBus.open(backends.kafka_settings(deployed.config))
    covered, producer = await bus.consumer("", [COVERED]), bus.producer()
    numbers: dict[Source, int] = {journal_source(r.recorder): n for n, r in enumerate(deployed.recordings)}
    watch, entries = Watch(), 0

    async def listen() -> None:
        nonlocal entries
        while True:
            for message in await covered.batch(1000, 0.5):
                mark = decode(message.value)
                if isinstance(mark, Covered) and mark.source in numbers:
                    entries = max(entries, mark.size)
                    watch.heard(numbers[mark.source], mark.last.minor)

    async def send(items: Sequence[Sent]) -> None:
        await producer.send(JOURNAL, [(deployed.recordings[n].recorder.encode(), s.encoded) for n, s in items])

    listening = asyncio.create_task(listen())
    warm = await burst(send, watch, deployed.segments(WARM))
    before, items = entries, deployed.segments(max(WARM, int(warm * seconds / A_SEGMENT)))
    used, exchanges = deployed.cpu_s(), len(items) * A_SEGMENT
    rate = await burst(send, watch, items)
    cost = {name: (now - used[name]) / exchanges * 1e6 for name, now in deployed.cpu_s().items()}
    if entries - before != exchanges:
        raise SystemExit(f"{exchanges} exchanges, {entries - before} entries")
    plain_rate = await burst(plain.send, plain.watch, items)
    said = f"{deployed.workers} mask worker{'s' * (deployed.workers > 1)}"
    size = sum(len(segment.encoded) for _, segment in items) / exchanges
    show(said, f"burst   {rate:8,.0f} exchanges/s of {size:.0f} bytes   {rate / plain_rate:.3f} of plain aiokafka")
    show("", "        CPU, us an exchange: " + "  ".join(f"{name} {spent:.0f}" for name, spent in cost.items()))
    show("plain aiokafka", f"burst   {plain_rate:8,.0f} exchanges/s")
    for offered in (rate * share for share in SHARES):
        items = deployed.segments(max(WARM, int(offered * seconds / A_SEGMENT)))
        for who, path, seen in ((said, send, watch), ("plain aiokafka", plain.send, plain.watch)):
            p50, p99 = await steady(path, seen, items, offered)
            show(who, f"steady  {offered:8,.0f} exchanges/s   p50 {p50:6.3f} s   p99 {p99:6.3f} s")
    listening.cancel()
    await bus.close()


def show(who: str, what: str) -> None:
    print(f"{who:16}{what}", flush=True)


class Plain:
    """aiokafka alone, idempotent and acks=all: one producer and one consumer, in this process."""

    def __init__(self, broker: Kafka) -> None:
        self._servers = broker.servers
        self.watch = Watch()

    async def __aenter__(self) -> Plain:
        admin = AIOKafkaAdminClient(bootstrap_servers=self._servers)
        await admin.start()
        await admin.create_topics([NewTopic("plain", PARTITIONS, 1)])
        await admin.close()
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self._servers, acks="all", enable_idempotence=True, max_batch_size=512 * 1024
        )
        self._consumer = AIOKafkaConsumer("plain", bootstrap_servers=self._servers, auto_offset_reset="earliest")
        await self._producer.start()
        await self._consumer.start()
        self._listening = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listening.cancel()
        await self._producer.stop()
        await self._consumer.stop()

    async def send(self, items: Sequence[Sent]) -> None:
        sent = [
            await self._producer.send("plain", s.encoded, key=b"%d %d" % (n, s.last), partition=n % PARTITIONS)
            for n, s in items
        ]
        await asyncio.gather(*sent)

    async def _listen(self) -> None:
        while True:
            for records in (await self._consumer.getmany(timeout_ms=500)).values():
                for record in records:
                    recorder, last = map(int, record.key.split())
                    self.watch.heard(recorder, last)


if __name__ == "__main__":
    main()
