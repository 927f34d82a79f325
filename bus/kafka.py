"""The bus on Kafka.

    topics      `<prefix>.<topic>`, made by `ensure_topics`, never by being written to
    groups      `<prefix>-<group>`: only where a committed position and its metadata lie. Nobody joins them: each
                reader is told its partitions, and Kafka's own dividing of partitions is left to Faust
    keys        the partition is murmur2 of the key, as in Java's client and in Faust
    producers   idempotent, acks=all, not compressed: segments are sealed and content is encrypted, so little gives way

A read never starts anywhere but where it was told to, and an offset that is gone is
`OffsetLost`. Whatever fails is BusDown within `timeout_s`; the producer that failed is
given up, since it might still send: what is sent again then comes twice, never in
another order for the first time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition, errors

from bus import kafka_topics
from bus.kafka_client import Client, KafkaSettings, within
from bus.topics import BusDown, Message, OffsetLost, check_size

__all__ = ["KafkaBus", "KafkaConsumer", "KafkaProducer", "KafkaSettings"]

_BATCH_BYTES = 512 * 1024  # of one partition: as much again waits while it is on its way, and then `send` waits
_FETCH_MS = 500  # how long a broker waits for messages: also how often it says that it is there
_FETCH_BYTES = 16 * 1024 * 1024  # read ahead, of each broker


class KafkaBus:
    """One cluster. Made by `open`; `close` ends all readers and producers."""

    def __init__(self, settings: KafkaSettings, client: Client) -> None:
        self.settings, self.client = settings, client
        self._consumers: list[KafkaConsumer] = []
        self._producers: list[KafkaProducer] = []
        self._ending: set[asyncio.Task[None]] = set()

    @classmethod
    async def open(cls, settings: KafkaSettings) -> KafkaBus:
        """Raises BusDown; BusRefused where a certificate, a user or a password is not accepted."""
        client = Client(settings)
        await client.open()
        return cls(settings, client)

    @property
    def cluster(self) -> str:
        return self.client.cluster

    async def ensure_topics(self) -> None:
        """Makes what is missing. Raises TopicProblems where what is there is not as it must be; BusDown."""
        await kafka_topics.ensure(self.client, self.settings)

    async def identity(self, topic: str) -> str:
        return f"{self.cluster}/{(await self.client.topic(self.settings.topic(topic))).id}"

    async def end(self, topic: str, partition: int) -> int:
        """The offset that the next message will have. Raises BusDown."""
        return await self.client.end(self.settings.topic(topic), partition)

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        """By partition, the offset that a group reads next; none where it committed none. Raises BusDown."""
        name = self.settings.topic(topic)
        partitions = range(kafka_topics.partitions_of(topic, self.settings))
        found = await self.client.committed(self.settings.group(group), {name: partitions})
        return {partition: int(offset) for (_, partition), (offset, _) in found.items()}

    async def prune(self, topic: str, partition: int, upto_offset: int) -> int:
        """Deletes this message and all before it in its partition; gives the first offset left. Raises BusDown."""
        return await self.client.delete_before(self.settings.topic(topic), partition, upto_offset + 1)

    def producer(self) -> KafkaProducer:
        made = KafkaProducer(self)
        self._producers.append(made)
        return made

    async def consumer(
        self, group: str, topics: Sequence[str], partitions: Sequence[int] | None = None
    ) -> KafkaConsumer:
        made = KafkaConsumer(self, group, topics)
        await made.open(partitions)
        self._consumers.append(made)
        return made

    def end_later(self, ending: Coroutine[Any, Any, None]) -> None:
        """Something that was given up and takes a while to end; `close` waits for it."""
        task = asyncio.create_task(ending)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def close(self) -> None:
        for consumer in self._consumers:
            await consumer.close()
        for producer in self._producers:
            producer.end()
        await asyncio.gather(*self._ending)
        await self.client.close()


class KafkaProducer:
    def __init__(self, bus: KafkaBus) -> None:
        self._bus = bus
        self._made: AIOKafkaProducer | None = None
        self._known: set[str] = set()  # topics that were seen to be there: writing to one must not make it
        self._making = asyncio.Lock()

    async def send(self, topic: str, items: Sequence[tuple[bytes, bytes]]) -> None:
        check_size(items)
        if topic not in kafka_topics.NAMES:
            raise ValueError(f"{topic!r} is no topic")
        name, seconds = self._bus.settings.topic(topic), self._bus.settings.timeout_s
        acknowledged: list[asyncio.Future[Any]] = []
        producer = None
        try:
            async with within(seconds, f"acknowledge what was sent to {name}"):
                producer = await self._ready(name)
                for key, value in items:  # waits while two batches of a partition are on their way
                    acknowledged.append(await producer.send(name, value=value, key=key))
                await asyncio.gather(*acknowledged)
        except BusDown:
            # It would go on trying, for ever and behind our back; and after a refusal its numbering has a hole.
            self.give_up(producer)
            raise
        finally:
            for future in acknowledged:
                future.cancel()

    async def _ready(self, name: str) -> AIOKafkaProducer:
        async with self._making:
            if self._made is None:
                self._made = await self._start()
            if name not in self._known:
                await self._bus.client.topic(name)
                self._known.add(name)
            return self._made

    async def _start(self) -> AIOKafkaProducer:
        await self._bus.client.dial()  # says why, if it cannot be reached
        made = AIOKafkaProducer(
            bootstrap_servers=list(self._bus.settings.servers),
            acks="all",
            enable_idempotence=True,
            max_batch_size=_BATCH_BYTES,
            max_request_size=kafka_topics.LARGEST_BATCH,
            **self._bus.client.reach,
        )
        try:
            await made.start()
        except BaseException:
            await made.stop()
            raise
        return made

    def end(self) -> None:
        self.give_up(self._made)

    def give_up(self, producer: AIOKafkaProducer | None) -> None:
        """Not another that was made meanwhile: two tasks may send at once, and both fail."""
        if producer is not None and producer is self._made:
            self._made = None
            self._known.clear()
            self._bus.end_later(_end(producer))


async def _end(producer: AIOKafkaProducer) -> None:
    """Without sending what still waits in it. aiokafka has no such end: its `stop` sends on for as long as it takes."""
    sending = producer._sender.sender_task
    sending.cancel()
    await asyncio.wait([sending])  # until what is on its way was answered, or given up
    await producer.stop()
    waiting = producer._message_accumulator
    waiting._pending_batches.update(*waiting._batches.values())  # where each takes itself out when it is done
    for batch in list(waiting._pending_batches):
        batch.future.cancel()  # else a task of aiokafka waits for it, for ever


class KafkaConsumer:
    def __init__(self, bus: KafkaBus, group: str, topics: Sequence[str]) -> None:
        settings = bus.settings
        self._bus, self._group = bus, settings.group(group) if group else ""
        self._word = {settings.topic(topic): topic for topic in topics}
        self._lost: dict[TopicPartition, OffsetLost] = {}
        self._heard: dict[TopicPartition, tuple[int | None, float]] = {}
        self._ids: dict[str, str] = {}
        self._consumer: AIOKafkaConsumer | None = None

    async def open(self, partitions: Sequence[int] | None) -> None:
        """Raises BusDown; BusRefused if a topic is not there."""
        client, seconds = self._bus.client, self._bus.settings.timeout_s
        wanted: dict[str, Sequence[int]] = {}
        for name in self._word:
            topic = await client.topic(name)
            wanted[name] = range(len(topic.leaders)) if partitions is None else partitions
            if not set(wanted[name]) <= set(range(len(topic.leaders))):
                raise ValueError(f"{name} has {len(topic.leaders)} partitions; {list(wanted[name])} were asked for")
            self._ids[name] = topic.id
        known = await client.committed(self._group, wanted) if self._group else {}
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=list(self._bus.settings.servers),
            auto_offset_reset="none",
            enable_auto_commit=False,
            fetch_max_wait_ms=_FETCH_MS,
            fetch_max_bytes=_FETCH_BYTES,
            max_partition_fetch_bytes=kafka_topics.LARGEST_BATCH,
            **client.reach,
        )
        try:
            await client.dial()  # says why, if it cannot be reached
            async with within(seconds, "start a reader"):
                await self._consumer.start()
                every = [TopicPartition(name, partition) for name, own in wanted.items() for partition in own]
                first = await self._consumer.beginning_offsets(every)
                end = await self._consumer.end_offsets(every)
        except BaseException:
            await self.close()
            raise
        self._consumer.assign(every)
        for at in every:  # before anything is awaited: no partition is ever without a position
            offset, metadata = known.get((at.topic, at.partition), (first[at] if self._group else end[at], ""))
            self._consumer.seek(at, offset)
            if metadata and metadata.split(" ", 1)[0] != self._ids[at.topic]:
                self._lost[at] = self._loss(at, offset, first[at], end[at])
            self._heard[at] = (None, time.monotonic())

    def _loss(self, at: TopicPartition, wanted: int, first: int, end: int) -> OffsetLost:
        return OffsetLost(self._word[at.topic], at.partition, wanted, first, end)

    async def batch(self, most: int, timeout_s: float) -> list[Message]:
        if self._lost:
            raise next(iter(self._lost.values()))
        consumer = self._started()
        try:
            async with within(timeout_s + self._bus.settings.timeout_s, "give messages"):
                got = await consumer.getmany(timeout_ms=timeout_s * 1000, max_records=most)
        except BusDown as e:
            if isinstance(e.__cause__, errors.OffsetOutOfRangeError):
                await self._look_at(e.__cause__.args[0])
                return []
            raise
        if not got:
            self._check_heard(consumer)
        return [
            Message(
                self._word[at.topic],
                at.partition,
                record.offset,
                record.key or b"",
                record.value or b"",
                record.timestamp * 1000,
            )
            for at, records in got.items()
            for record in records
        ]

    async def _look_at(self, wanted: dict[TopicPartition, int]) -> None:
        """The broker has no such offset. Raises OffsetLost, unless it has by now: then it is read again."""
        consumer = self._started()
        for at, offset in wanted.items():
            first, end = await self._bounds(at)
            consumer.seek(at, offset)
            if not first <= offset <= end:
                self._lost[at] = self._loss(at, offset, first, end)
                raise self._lost[at]

    def _check_heard(self, consumer: AIOKafkaConsumer) -> None:
        """Nothing came: because there is nothing, or because nobody answers? Raises BusDown for the second."""
        now = time.monotonic()
        for at, (said, since) in self._heard.items():
            answered = consumer.last_poll_timestamp(at)
            if answered != said:
                self._heard[at] = (answered, now)
            elif now - since > self._bus.settings.timeout_s:
                raise BusDown(f"Kafka has not answered for {at.topic}/{at.partition} for {now - since:.0f} s")

    async def commit(self, upto: Message, metadata: str = "") -> None:
        """Raises OffsetLost if the topic was made again since this reader was opened: this is none of its offsets."""
        if not self._group:
            raise ValueError("a consumer without a group commits nothing")
        name = self._bus.settings.topic(upto.topic)
        if (await self._bus.client.topic(name)).id != self._ids[name]:
            at = TopicPartition(name, upto.partition)
            self._lost[at] = self._loss(at, upto.offset + 1, *await self._bounds(at))
            raise self._lost[at]
        about = f"{self._ids[name]} {metadata}"
        await self._bus.client.commit(self._group, name, upto.partition, upto.offset + 1, about)

    async def _bounds(self, at: TopicPartition) -> tuple[int, int]:
        consumer = self._started()
        async with within(self._bus.settings.timeout_s, "say which offsets it has"):
            return (await consumer.beginning_offsets([at]))[at], (await consumer.end_offsets([at]))[at]

    async def committed(self, topic: str, partition: int) -> tuple[int, str] | None:
        name = self._bus.settings.topic(topic)
        found = (await self._bus.client.committed(self._group, {name: [partition]})).get((name, partition))
        return found and (found[0] - 1, found[1].partition(" ")[2])

    async def seek(self, topic: str, partition: int, offset: int) -> None:
        at = TopicPartition(self._bus.settings.topic(topic), partition)
        self._started().seek(at, offset)
        self._lost.pop(at, None)

    def _started(self) -> AIOKafkaConsumer:
        assert self._consumer is not None  # noqa: S101
        return self._consumer

    async def close(self) -> None:
        if self._consumer is None:
            return
        try:
            await self._consumer.stop()
        except asyncio.CancelledError:
            # aiokafka 0.14 waits for fetches that it cancelled, and lets their end out: then its client stays open.
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            await self._consumer._client.close()
