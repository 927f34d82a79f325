"""From `events` to the outboxes, and each outbox to its channel: one reader, and one task a channel.

Which message of the bus each channel is done with lies in the group's commit, as its metadata, so nothing
else must survive us: the next start reads on from the channel that is furthest behind, and the others pass
over what they had. What was sent and not yet committed is sent again, under the same id if it is the same.
Requests that notices are about are remembered in a file, and of which topic all this is; it may be lost.

The very first start begins at the end: nobody is told of a history.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from bus.topics import EVENTS, Consumer, Message, OffsetLost
from ledger.batch import Cursor
from ledger.entry import NotALeaf, kind_of, read_leaf
from ledger.sequencer import Append, BadMessage, Unlike, admit, place
from schemas.codec import CodecError, decode
from schemas.ids import Position, Source
from schemas.records import EventBatch, Gap, LeafBody, Undecoded
from seal.event_batch import check_batch
from seal.keyfiles import Enrolled, NotEnrolled
from seal.sign import BadSignature
from tallystick.notify.channels import Channel, MessageRefused, NotSent
from tallystick.notify.notices import TOLD_OF, notice
from tallystick.notify.outbox import TOO_OLD_US, Outbox
from tallystick.notify.outbox import Message as Leaving
from tallystick.notify.requests import Memory

if TYPE_CHECKING:
    from bus.kafka import KafkaBus
    from bus.local import LocalBus

GROUP = "notify"
MESSAGES = 64  # read at a time
POLL_S = 0.25
COMMIT_S = 2.0  # where nothing was delivered meanwhile
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
GIVE_UP_S = 3600.0
"""How long one message is tried; an approval is rarely worth asking for after that."""
REFUSALS = 3
"""How often a message is sent that the receiver says no to."""
CATCH_UP_S = 30.0
"""After so long people are told, however far behind the reader is."""
LEAVE_S = 5.0
"""At the end, what is on its way may arrive."""


@dataclass(slots=True)
class Lane:
    """A channel and what waits for it."""

    channel: Channel
    outbox: Outbox
    upto: int = -1  # offset of `events` that it was done with when we started: up to there it is told nothing
    sent: int = 0  # messages
    failed: int = 0  # tries
    given_up: int = 0  # notices
    pause_s: float = FIRST_PAUSE_S  # grows while the channel is down, whichever message it is that fails
    news: asyncio.Event = field(default_factory=asyncio.Event)


class Notifier:
    def __init__(
        self,
        bus: KafkaBus | LocalBus,
        enrolled: Enrolled,
        lanes: Sequence[Lane],
        remembered: Path,
        clock: Callable[[], int],  # microseconds since 1970
    ) -> None:
        """`remembered` is the file of requests."""
        self._bus, self._enrolled, self.lanes = bus, enrolled, lanes
        self._remembered, self._clock = remembered, clock
        self._stop, self._caught_up = asyncio.Event(), asyncio.Event()
        self._memory = Memory()
        self._cursors: dict[Source, Cursor] = {}
        self._read = -1  # offset of the newest message that was read
        self._committed: dict[str, int] = {}
        self._log = structlog.get_logger()
        self.ready = False
        self.handled = 0

    def stop(self) -> None:
        self._stop.set()

    async def run(self) -> None:
        """Until `stop`. Raises BusDown: whoever runs it starts it again."""
        if self._remembered.exists():
            self._memory = Memory.load(self._remembered.read_bytes())
        consumer = await self._bus.consumer(GROUP, [EVENTS], [0])
        await self._begin(consumer)
        asyncio.get_running_loop().call_later(CATCH_UP_S, self._caught_up.set)
        reading = asyncio.create_task(self._follow(consumer))
        sending = [asyncio.create_task(self._send(lane)) for lane in self.lanes]
        stopping = asyncio.create_task(self._stop.wait())
        try:
            done, _ = await asyncio.wait({reading, stopping, *sending}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            await reading
            await asyncio.wait(sending, timeout=LEAVE_S)
            await self._commit(consumer)
        finally:
            for task in (reading, stopping, *sending):
                task.cancel()
            await asyncio.gather(reading, stopping, *sending, return_exceptions=True)

    # --- reading -----------------------------------------------------------------------

    async def _begin(self, consumer: Consumer) -> None:
        known = await consumer.committed(EVENTS, 0)
        end = await self._bus.end(EVENTS, 0) - 1
        done: dict[str, int] = json.loads(known[1]) if known else {}
        for lane in self.lanes:  # a channel that is new begins at the end
            lane.upto = min(done.get(lane.channel.name, end), end)
        self._read = min((lane.upto for lane in self.lanes), default=end)
        topic = await self._bus.identity(EVENTS)
        if self._memory.topic not in ("", topic):  # Kafka forgets the commits of a topic that is deleted
            self._read = max(done.values(), default=end)
            self._lost(0)
        self._memory.of(topic)
        await self._commit(consumer)
        await consumer.seek(EVENTS, 0, self._read + 1)
        self.ready = True

    async def _follow(self, consumer: Consumer) -> None:
        loop = asyncio.get_running_loop()
        committed, sent = loop.time(), 0
        while not self._stop.is_set():
            await self._turn(consumer)
            now = sum(lane.sent + lane.given_up for lane in self.lanes)
            if now != sent or loop.time() - committed > COMMIT_S:
                await self._commit(consumer)
                committed, sent = loop.time(), now

    async def _turn(self, consumer: Consumer) -> None:
        try:
            messages = await consumer.batch(MESSAGES, POLL_S)
        except OffsetLost as lost:
            self._lost(lost.first)
            await consumer.seek(EVENTS, 0, lost.first)
            return
        for message in messages:
            if message.offset > max(self._read, 0) + 1:  # the embedded bus does not say so, and begins at 1
                self._lost(message.offset)
            self._take(message)
            self._read = message.offset
            await asyncio.sleep(0)
        self.handled += len(messages)
        if len(messages) < MESSAGES:
            self._caught_up.set()

    def _lost(self, first: int) -> None:
        """Messages that the bus deleted before we read them, or a topic that was made again."""
        self._log.error("alarm", alarm="messages lost", after=self._read, first=first)
        at, source = Position(self._read, 0, 0), Source(f"bus:{EVENTS}/0")
        gap = Gap(source, at, max(at, Position(first, 0, 0)), "they were gone before they were told of", self._clock())
        if first <= self._read:  # made again: its offsets are others, and nobody was told of any
            for lane in self.lanes:
                lane.upto = min(lane.upto, first - 1)
        self._tell(gap, source, at, gap.at_us, Message(EVENTS, 0, min(self._read + 1, first), b"", b"", gap.at_us))
        self._read = first - 1

    def _take(self, message: Message) -> None:
        """As the ledger takes it (ledger/service.py): what it would not accept is not told, but that it came is."""
        digest = hashlib.sha256(message.value).digest()
        try:
            batch = decode(message.value)
            if not isinstance(batch, EventBatch):
                raise BadMessage("not an EventBatch")
            check_batch(batch, self._enrolled, message.time_us)
            if TOLD_OF.isdisjoint(kind_of(event.leaf) for event in batch.events):
                batch = replace(batch, events=())  # most have nothing to tell: only where their source stands counts
            seen = admit(batch)
        except (CodecError, BadSignature, NotEnrolled, NotALeaf, BadMessage) as e:
            self._log.error("alarm", alarm="message not accepted", where=message.offset, reason=str(e))
            said = Undecoded(None, EVENTS, f"partition 0 offset {message.offset}", digest, str(e)[:200])
            at = Position(message.offset, 0, 0)
            self._tell(said, Source(f"bus:{EVENTS}/0"), at, message.time_us, message)
            return
        # Where a source stood before we began is not known here, and what is missing before is the ledger's to say.
        self._cursors.setdefault(batch.source, Cursor(batch.prior, b""))
        match place(self._cursors, batch, seen, digest, message.time_us):
            case Append() as placed:
                if placed.gap is not None:
                    self._tell(placed.gap, Source(f"gap:{batch.source}"), batch.prior, message.time_us, message)
                for item, kind in zip(placed.items, placed.kinds, strict=True):
                    if kind in TOLD_OF:
                        entry = read_leaf(item.leaf)
                        self._tell(entry.body, entry.source, entry.position, entry.time_us, message)
                self._cursors[batch.source] = placed.cursor
            case Unlike(conflict, cursor):
                self._tell(conflict, Source(f"conflict:{batch.source}"), conflict.at, message.time_us, message)
                self._cursors[batch.source] = cursor

    def _tell(self, body: LeafBody, source: Source, at: Position, time_us: int, message: Message) -> None:
        told = notice(body, source, at, time_us, message.offset, self._memory)
        if told is None:
            return
        old = self._clock() - message.time_us >= TOO_OLD_US
        for lane in self.lanes:
            if message.offset > lane.upto:
                (lane.outbox.count if old else lane.outbox.add)(told)
                lane.news.set()

    # --- what is done with ---------------------------------------------------------------

    async def _commit(self, consumer: Consumer) -> None:
        """The memory first: it may be ahead of where we stand, never behind."""
        done = {lane.channel.name: self._done(lane) for lane in self.lanes}
        if done == self._committed:
            return
        if self._memory.changed:
            self._memory.changed = False
            await asyncio.to_thread(_write, self._remembered, self._memory.dump())
        upto = Message(EVENTS, 0, min(done.values(), default=self._read), b"", b"", 0)
        await consumer.commit(upto, json.dumps(done, separators=(",", ":")))
        self._committed = done

    def _done(self, lane: Lane) -> int:
        oldest = lane.outbox.oldest
        return max(lane.upto, self._read if oldest is None else oldest - 1)

    # --- sending -------------------------------------------------------------------------

    async def _send(self, lane: Lane) -> None:
        """One message after the other. It begins when all that we missed was read: that goes as a digest."""
        await self._or_stop(self._caught_up.wait())
        loop = asyncio.get_running_loop()
        while not self._stop.is_set():
            pause = lane.outbox.pause(loop.time())
            if pause is None:
                lane.news.clear()
                await self._or_stop(lane.news.wait())
            elif pause > 0:
                await self._or_stop(asyncio.sleep(pause))
            else:
                await self._deliver(lane, lane.outbox.take(loop.time()))

    async def _deliver(self, lane: Lane, leaving: Leaving) -> None:
        """Until it arrived, is given up, or we are told to stop: then it stays on its way, and is sent again."""
        loop = asyncio.get_running_loop()
        began, refusals = loop.time(), 0
        while True:
            try:
                await lane.channel.send(leaving)
            except NotSent as e:
                lane.failed += 1
                refusals += isinstance(e, MessageRefused)
                about = {"channel": lane.channel.name, "kind": leaving.kind}
                self._log.warning("notification not delivered", **about, why=str(e), pause_s=lane.pause_s)
                if refusals >= REFUSALS or loop.time() - began > GIVE_UP_S:
                    self._log.error("alarm", alarm="notification given up", **about, notices=leaving.count, why=str(e))
                    lane.given_up += leaving.count
                    break
                await self._or_stop(asyncio.sleep(lane.pause_s))
                if self._stop.is_set():
                    return
                lane.pause_s = min(lane.pause_s * 2, LONGEST_PAUSE_S)
            else:
                lane.sent, lane.pause_s = lane.sent + 1, FIRST_PAUSE_S
                break
        lane.outbox.done()

    async def _or_stop(self, what: Coroutine[Any, Any, Any]) -> None:
        waiting = {asyncio.create_task(what), asyncio.create_task(self._stop.wait())}
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()


def _write(path: Path, raw: bytes) -> None:
    """Whole or not at all."""
    half = path.with_suffix(".half")
    handle = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as f:
        f.write(raw)
        f.flush()
        os.fsync(f.fileno())
    os.replace(half, path)
