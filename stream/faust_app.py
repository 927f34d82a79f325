"""A stage as a Faust worker: outputs, then state, then offset, each acknowledged by Kafka before the next.

Faust gives what it is good at: the group, partitions that move, changelogs that are
read back. It is trusted with nothing else (faust-streaming 0.15.3, each seen or read): a
record that raises, that cannot be decoded or that is skipped while partitions move is
acknowledged all the same, a gap of one in the acknowledged offsets is passed over, a
table write is sent some time later. So its acknowledgements are off and a turn commits
for itself; nothing escapes a turn: an exception ends the process before the commit,
and the next start goes on from what is durable. Poison is the stage's own business:
it makes outputs of it.

State is one stage a partition, restored from that partition's rows and thrown away
when partitions move. Four things keep a partition whole: a message is only taken in
the generation of the group that it was fetched in; within one, offsets have no hole;
before rows are written the group's coordinator says that we still own the partition
(a worker that slept through its session is refused); and rows land where ours ended,
or somebody else wrote between them.
"""

from __future__ import annotations

import asyncio
import math
import os
import ssl
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import faust
import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from faust.transport.consumer import Consumer
from faust.transport.drivers import aiokafka as aiokafka_driver
from faust.types import TP, EventT
from mode.utils.objects import cached_property
from mode.utils.queues import FlowControlEvent

from bus.kafka_client import Client, KafkaSettings
from bus.kafka_topics import LARGEST_BATCH
from bus.topics import BusDown, BusRefused, Message, check_size
from stream.faust_logs import quieten
from stream.faust_rows import CHANGELOG_BATCH, RowTable, changelog_config
from stream.pipeline import Output
from stream.runner import MOST, OFFSET, OUTPUTS, STATE, Stage, by_topic, nothing
from stream.standstill import Standstill

TURN_BYTES = 4 * 1024 * 1024
"""Input of one turn; a single message may be larger."""
ROW_BYTES = 128 * 1024
"""A row above this is written, and said."""
SESSION_S, HEARTBEAT_S = 6.0, 1.5
"""A killed worker's partitions are given away after the first; the others hear of it within the second."""
WATCH_S = 2.0
STANDS_S = 90.0
"""A worker that has work and moves nothing for so long ends itself. Longer than a group waits for a member (60 s)."""
_TAKE_S = 0.05
_QUEUE = 128  # messages that Faust holds ready, of up to 1 MiB each
FAILED = 70
"""The exit code (EX_SOFTWARE) of a process that ended itself."""

_log = structlog.get_logger()


class CannotGoOn(RuntimeError):
    """This process may not write another byte; a new one goes on from what is durable."""


class _Flow(FlowControlEvent):
    """Queues are emptied when partitions are revoked, and not again when reading goes on.

    Faust's own flow lost the first message after a recovery (seen once in some thirty): reading begins while it
    still asks where to begin, and what came by then was cleared away. So might a standby's rows be (read).
    """

    def resume(self) -> None:
        self._suspend.clear()
        self._resume.set()


class _Active(set[TP]):
    """What may be read now, as it stands, and nothing where it is empty."""

    def __init__(self, live: set[TP]) -> None:
        super().__init__()
        self._live = live

    def __contains__(self, tp: object) -> bool:
        return tp in self._live

    def __bool__(self) -> bool:
        return True


class _Consumer(aiokafka_driver.Consumer):
    """Reads of the partitions that are not paused, and of no other.

    To aiokafka no partitions are all of them. Faust asks it on another thread and leaves it the set that it changes:
    when a recovery was done, and the changelogs paused, a read that had begun went on to take what was not its yet, and
    that was dropped. Nothing was lost, but what came next ended the worker, at one start in fifty of a busy machine.
    """

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:
        live = None if active_partitions is None else _Active(active_partitions)
        return await super()._getmany(live, timeout)


class _Transport(aiokafka_driver.Transport):
    Consumer = _Consumer


class _App(faust.App):
    """Faust without its folders, and with our flow and our consumer."""

    def _new_transport(self) -> Any:
        return _Transport(self.conf.broker_consumer, self)

    def _create_directories(self) -> None:
        """Nothing of ours is on disk."""

    @cached_property
    def flow_control(self) -> FlowControlEvent:
        return _Flow(loop=self.loop)


@dataclass(slots=True)
class _Owned:
    """A partition that is ours. `next` is the offset that must come next; None before the first."""

    stage: Stage
    next: int | None = None


class FaustWorker:
    """A stage, its group and its table, until `stop()`: as `stream.workers.Worker`, in a process of its own."""

    def __init__(
        self,
        settings: KafkaSettings,
        new: Callable[[], Stage],
        topic: str,
        group: str,
        at: Callable[[str], None] = nothing,
    ) -> None:
        self._settings, self._new, self._topic, self._group, self._at = settings, new, topic, group, at
        self._stop = asyncio.Event()
        self._turning = asyncio.Lock()
        self._owned: dict[int, _Owned] = {}
        self._known_ours = -math.inf  # when the coordinator last said so, by the loop's clock
        self.ready = False
        self.handled = 0
        self.large_rows = 0

    def stop(self) -> None:
        self._stop.set()

    @property
    def assigned(self) -> tuple[int, ...]:
        return tuple(sorted(self._owned))

    @property
    def stages(self) -> Mapping[int, Stage]:
        """By partition, as applied: at most one turn ahead of what is stored."""
        return {partition: owned.stage for partition, owned in self._owned.items()}

    def lag(self) -> dict[int, int]:
        """By partition: messages that are in Kafka and not yet handled. A partition not yet read from is left out."""
        found = {}
        for partition, owned in self._owned.items():
            tp = self._tp(partition)
            if owned.next is not None and tp in self._consumer.assignment():
                found[partition] = max(0, (self._consumer.highwater(tp) or 0) - owned.next)
        return found

    async def run(self) -> None:
        """Until `stop()`: then the turn in hand is done and the group left. On any error the process ends."""
        await or_end(self._run())

    async def _run(self) -> None:
        quieten()
        self._client = Client(self._settings)
        await self._client.open()
        try:
            await self._work(await self._made())
        finally:
            await self._client.close()

    async def _made(self) -> int:
        """How many partitions there are; their changelog is there too, with our settings if it was not."""
        settings = self._settings
        self._reads = await self._identity()
        partitions = len((await self._client.topic(settings.topic(self._topic))).leaders)
        name = settings.topic(f"{self._group}-changelog")
        if refused := await self._client.create(partitions, settings.replication, {name: changelog_config(settings)}):
            raise CannotGoOn("; ".join(refused))
        await self._client.led([name])
        if len((await self._client.topic(name)).leaders) != partitions:
            raise CannotGoOn(f"{name} has not as many partitions as {settings.topic(self._topic)}")
        return partitions

    async def _identity(self) -> str:
        """Of the topic, as `KafkaBus.identity` gives it: another one when it was deleted and made again."""
        return f"{self._client.cluster}/{(await self._client.topic(self._settings.topic(self._topic))).id}"

    async def _work(self, partitions: int) -> None:
        app = self._build(partitions, self._client.reach.get("ssl_context"))
        self._consumer = cast(Consumer, app.consumer)
        self._reach = {"bootstrap_servers": list(self._settings.servers), **self._client.reach}
        safe = {**self._reach, "acks": "all", "enable_idempotence": True}
        self._outputs = AIOKafkaProducer(max_request_size=LARGEST_BATCH, **safe)
        self._states = AIOKafkaProducer(max_batch_size=CHANGELOG_BATCH, **safe)
        async with self._outputs, self._states:
            living = asyncio.create_task(or_end(self._live(app)))
            watching = asyncio.create_task(or_end(self._watch()))
            await self._stop.wait()
            watching.cancel()
            async with self._turning:
                self.ready = False  # the turn in hand is done, and none begins any more
            living.cancel()
            async with asyncio.timeout(self._settings.timeout_s):
                await app.stop()

    async def _watch(self) -> None:
        """Faust may read nothing more, of a topic that was made again or at all, and says so to nobody."""
        standstill = Standstill(STANDS_S)
        while True:
            await asyncio.sleep(WATCH_S)
            try:
                await self._same_topic()
                await self._moves(standstill)
            except BusRefused:
                raise
            except BusDown as e:
                standstill.moved(asyncio.get_running_loop().time())
                _log.warning("Kafka does not say which topic this is", topic=self._topic, fault=str(e))

    async def _moves(self, standstill: Standstill) -> None:
        """Raises CannotGoOn, BusDown."""
        now = asyncio.get_running_loop().time()
        if self._turning.locked():  # a turn, however long: what it waits for has limits of its own
            standstill.moved(now)
        elif standstill.asks(now, self.handled if self.ready else (self._table.kept.taken,)) and standstill.stands(
            now, await self._due()
        ):
            raise CannotGoOn(f"nothing moved for {STANDS_S:g} s, with work to do")

    async def _due(self) -> frozenset[object]:
        """What is there to do: to get ready, or the next offset of each partition that has more. Raises BusDown."""
        if not self.ready:
            return frozenset(["get ready"])
        found = set()
        topic, group = self._settings.topic(self._topic), self._settings.group(self._group)
        committed = await self._client.committed(group, {topic: [*self._owned]}) if self._owned else {}
        for partition, owned in tuple(self._owned.items()):
            due = int(committed.get((topic, partition), (0, ""))[0]) if owned.next is None else owned.next
            due = max(due, await self._client.begin(topic, partition))
            if due < await self._client.end(topic, partition):
                found.add((partition, due))
        return frozenset(found)

    async def _same_topic(self) -> None:
        """Raises CannotGoOn, BusDown; BusRefused if it is not there."""
        if await self._identity() != self._reads:
            raise CannotGoOn(f"the topic {self._topic} was made again")

    async def _live(self, app: faust.App) -> None:
        """Raises CannotGoOn when Faust gave up."""
        await app.start()
        await app.wait_until_stopped()
        raise CannotGoOn("Faust gave up") from app.crash_reason

    def _tp(self, partition: int) -> TP:
        return TP(self._settings.topic(self._topic), partition)

    def _build(self, partitions: int, tls: ssl.SSLContext | None) -> faust.App:
        settings = self._settings
        app = _App(
            settings.group(self._group),
            broker=[f"aiokafka://{server}" for server in settings.servers],
            broker_credentials=_credentials(settings, tls),
            store="memory://",
            topic_partitions=partitions,
            topic_replication_factor=settings.replication,
            topic_disable_leader=True,
            table_standby_replicas=1,
            broker_session_timeout=SESSION_S,
            broker_heartbeat_interval=HEARTBEAT_S,
            broker_request_timeout=settings.timeout_s,
            producer_request_timeout=settings.timeout_s,
            consumer_max_fetch_size=LARGEST_BATCH,
            consumer_auto_offset_reset="earliest",
            stream_buffer_maxsize=_QUEUE,
            stream_wait_empty=False,  # `_turning` waits, for one turn and no more
            value_serializer="raw",
            web_enabled=False,
        )
        self._table = RowTable(app, settings.topic(f"{self._group}-changelog"), partitions, self._recovered)
        app.tables.add(self._table)
        # Without its serializer, by type alone, a value is taken for JSON, and what is none is acknowledged unseen.
        topic = app.topic(
            settings.topic(self._topic),
            key_type=bytes,
            value_type=bytes,
            key_serializer="raw",
            value_serializer="raw",
            allow_empty=True,
            acks=False,
        )

        app.agent(topic, name=self._group)(self._agent)
        app.on_partitions_revoked.connect(self._revoked, weak=False)
        return app

    async def _revoked(self, *_: Any, **__: Any) -> None:
        """Partitions may move only between two turns; whoever comes back starts from the rows."""
        async with self._turning:
            self.ready = False
            self._owned.clear()

    def _recovered(self, partitions: frozenset[int]) -> None:
        try:
            owned = {}
            for partition in partitions:
                stage = self._new()
                stage.restore(dict(self._table.kept.rows(partition)), self._reads)
                owned[partition] = _Owned(stage)
            self._owned, self._known_ours = owned, -math.inf
            self.ready = True
        except BaseException as e:  # noqa: BLE001 (Faust would log it and go on)
            _end(e)

    async def _agent(self, stream: Any) -> None:
        """Faust would start it again, behind the messages that were in hand: so it ends by `stop` alone."""
        try:
            async for events in stream.noack().noack_take(MOST, within=_TAKE_S):
                await self._taken(events)
            if not self._stop.is_set():
                raise CannotGoOn("Faust reads no more")
        except BaseException as e:
            if self._stop.is_set() and isinstance(e, asyncio.CancelledError):
                raise
            _end(e)

    async def _taken(self, events: Sequence[EventT[Any]]) -> None:
        for some in _turns(events):
            async with self._turning:
                if self._stop.is_set():
                    return
                await self._turn([event for event in some if self._is_ours(event)])

    def _is_ours(self, event: EventT[Any]) -> bool:
        """An event fetched before partitions moved is left: whoever owns its partition now is given it again."""
        message = event.message
        return message.generation_id == self._consumer.app.consumer_generation_id and message.partition in self._owned

    async def _turn(self, events: Sequence[EventT[Any]]) -> None:
        await self._same_topic()  # in another one Faust may read on at its old offset, past all that is before it
        outputs: list[Output] = []
        begins: dict[int, int] = {}
        ends: dict[int, int] = {}
        for event in events:
            partition, offset = event.message.partition, event.message.offset
            owned = self._owned[partition]
            if owned.next is None:
                owned.next = await self._first(partition, offset)
            if offset > owned.next:
                raise CannotGoOn(f"partition {partition}: {offset} came where {owned.next} was due")
            if offset == owned.next:
                begins.setdefault(partition, offset)
                outputs.extend(owned.stage.apply(_message(self._topic, event)))
                owned.next = ends[partition] = offset + 1
                await asyncio.sleep(0)  # heartbeats and health checks go on between two messages
        for topic, items in by_topic(outputs):
            await self._send(topic, items)
        self._at(OUTPUTS)
        if asyncio.get_running_loop().time() - self._known_ours > SESSION_S / 2:
            await self._commit(begins)
        for partition in begins:
            changes = self._owned[partition].stage.changes()
            if changes:
                await self._put(partition, changes)
        self._at(STATE)
        await self._commit(ends)
        self._at(OFFSET)
        self.handled += len(events)

    async def _first(self, partition: int, offset: int) -> int:
        """The offset that is due first since the partition became ours: what the group committed, if it is there."""
        group, topic = self._settings.group(self._group), self._settings.topic(self._topic)
        due, _ = (await self._client.committed(group, {topic: [partition]})).get((topic, partition), (0, ""))
        if offset <= due:
            return offset
        found = await self._next(partition, int(due))
        if found == offset and due:
            _log.error("messages are gone that were not read", topic=self._topic, partition=partition, after=due)
        return found

    async def _next(self, partition: int, offset: int) -> int:
        """The offset of the first message at or after `offset`, from Kafka and not from Faust."""
        tp = TopicPartition(*self._tp(partition))
        async with AIOKafkaConsumer(auto_offset_reset="earliest", enable_auto_commit=False, **self._reach) as reader:
            reader.assign([tp])
            reader.seek(tp, offset)
            return int((await reader.getone()).offset)

    async def _send(self, topic: str, items: Sequence[tuple[bytes, bytes]]) -> None:
        """Acknowledged by all in-sync replicas when it returns, in this order for each key."""
        check_size(items)
        name = self._settings.topic(topic)
        sent = [await self._outputs.send(name, value, key=key) for key, value in items]
        await asyncio.gather(*sent)

    async def _commit(self, offsets: Mapping[int, int]) -> None:
        """Everything before these offsets is done with. The coordinator refuses whom it has given up for dead."""
        if not offsets:
            return
        now = asyncio.get_running_loop().time()
        if not await self._consumer._commit({self._tp(partition): offset for partition, offset in offsets.items()}):
            raise CannotGoOn("the group went on without this worker, or its offsets could not be committed")
        self._known_ours = now

    async def _put(self, partition: int, changes: Mapping[bytes, bytes | None]) -> None:
        """All of one partition's rows in one record batch: durable all or none."""
        batch = self._states.create_batch()
        for key, value in changes.items():
            size = len(value or b"")
            if size > ROW_BYTES:
                self.large_rows += 1
                _log.warning("a row of state is large", partition=partition, bytes=size)
            if size > CHANGELOG_BATCH or batch.append(key=key, value=value, timestamp=None) is None:
                total = sum(len(value or b"") for value in changes.values())
                raise CannotGoOn(f"partition {partition}: {total} bytes of state in one turn, {CHANGELOG_BATCH} fit")
        batch.close()
        done = await (await self._states.send_batch(batch, self._table.changelog_topic_name, partition=partition))
        rows = self._table.kept
        if done.offset != rows.at(partition) + 1:
            raise CannotGoOn(f"partition {partition}: somebody else wrote to the changelog")
        rows.wrote(partition, changes, done.offset + len(changes) - 1)


def _credentials(settings: KafkaSettings, tls: ssl.SSLContext | None) -> Any:
    if settings.user:
        return faust.SASLCredentials(
            username=settings.user, password=settings.password, mechanism=settings.mechanism, ssl_context=tls
        )
    return None if tls is None else faust.SSLCredentials(tls)


def _message(topic: str, event: EventT[Any]) -> Message:
    m = event.message
    time_us = round(m.timestamp * 1000) * 1000  # Kafka's milliseconds, which Faust gives as seconds
    return Message(topic, m.partition, m.offset, m.key or b"", m.value or b"", time_us)


def _turns(events: Sequence[EventT[Any]]) -> Iterator[list[EventT[Any]]]:
    """Cut so that one turn's input is bounded by bytes, never by time."""
    some: list[EventT[Any]] = []
    size = 0
    for event in events:
        more = len(event.message.value or b"")
        if some and size + more > TURN_BYTES:
            yield some
            some, size = [], 0
        some.append(event)
        size += more
    if some:
        yield some


async def or_end(doing: Awaitable[None]) -> None:
    try:
        await doing
    except asyncio.CancelledError:
        raise
    except BaseException as e:  # noqa: BLE001
        _end(e)


def _end(error: BaseException) -> None:
    """One line, of type and place alone unless the words are ours; then nothing of this process runs any more."""
    reason = str(error) if isinstance(error, CannotGoOn | BusDown) else ""
    _log.error("the stream worker ends", exc_info=error, reason=reason)
    os._exit(FAILED)
