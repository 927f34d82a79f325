"""The ledger role's loop: messages in, entries under a checkpoint, `Covered` marks out.

It owns one shard, which is one partition of `events`, and stops with a named error rather
than guess: `Fenced` (another process owns the shard), `CannotRecover`, `StoreBroken`,
`BusDown`. Whoever runs it starts it again; recovery goes on from the store alone.
What is not by an enrolled producer is never accepted: an alarm, and an `Undecoded` entry.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import structlog

from bus.topics import COVERED, EVENTS, Bus, Consumer, Message, OffsetLost
from ledger.batch import Consumed, Cursor, Item
from ledger.entry import leaf_bytes
from ledger.recovery import CannotRecover, Head, read_tripwire, refuse_older_store
from ledger.sequencer import Append, BadMessage, Repeat, Unlike, admit, gone, place
from ledger.store import Store
from ledger.succession import origin_of, shards
from ledger.writer import Writer
from schemas.codec import HEADER, CodecError, decode, encode, schema_header
from schemas.ids import Position, Source
from schemas.records import (
    Covered,
    EventBatch,
    Gap,
    KeyEnrolled,
    LeafBody,
    LedgerAlive,
    LedgerEntry,
    LedgerStarted,
    Undecoded,
    WormProbe,
)
from seal.event_batch import check_batch
from seal.keyfiles import Enrolled, NotEnrolled
from seal.sign import BadSignature, Signer

URGENT = frozenset(
    {
        "ApprovalRequest",
        "Vote",
        "Grant",
        "Refusal",
        "Released",
        "Hold",
        "ReviewOverdue",
        "Alert",
        "Suspended",
        "Resumed",
    }
)
MOST_EVENTS = 32_768  # in one message, which is never cut in two
MESSAGES = 32  # read at a time: bounds memory
POLL_S = 0.25  # how soon `stop` is seen


@dataclass(frozen=True, slots=True)
class Cut:
    """When a batch is cut."""

    entries: int = 4096
    size: int = 8 * 1024 * 1024
    soon_s: float = 1.0  # if an approval waits, or more than `soon_entries`
    soon_entries: int = 256
    late_s: float = 10.0
    alive_s: float = 3600.0  # an idle shard says that it lives
    silent_s: float = 60.0  # after which a recorder whose place another took is gone


@dataclass(slots=True)
class _Waiting:
    """What goes into the next batch."""

    seq: int
    cursors: dict[Source, Cursor]
    items: list[Item] = field(default_factory=list)
    size: int = 0
    own: int = 0  # entries of the ledger itself
    since: float = 0.0
    urgent: bool = False
    moved: set[Source] = field(default_factory=set)
    enrolled: set[bytes] = field(default_factory=set)


class LedgerService:
    def __init__(
        self,
        bus: Bus,
        store: Store,
        signer: Signer,
        origin: str,
        enrolled: Enrolled,
        shard: str,
        *,
        clock: Callable[[], int],  # microseconds since 1970
        version: str,
        partition: int = 0,
        cut: Cut = Cut(),
        probed: WormProbe | None = None,  # of this store, just now: an entry
        at_step: Callable[[str], None] | None = None,  # is told of each step: of the time it took, or to die there
    ) -> None:
        self._bus, self._store, self._signer, self._origin = bus, store, signer, origin
        self._enrolled, self._partition = enrolled, partition
        self._first = self.shard = shard  # `run` finds out under which name it goes on
        self._clock, self._version, self._cut, self._probed = clock, version, cut, probed
        self._at = at_step or (lambda _: None)
        self._stopping = asyncio.Event()
        self.ready = asyncio.Event()
        self._log = structlog.get_logger().bind(shard=shard)

    def stop(self) -> None:
        """`run` commits what waits, and returns."""
        self._stopping.set()

    @property
    def head(self) -> Head:
        """Where the shard stands; after `ready`."""
        return self._writer.head

    @property
    def taken(self) -> int:
        """Offset of the newest message of `events` that was taken; after `ready`."""
        return self._consumed.offset

    @property
    def waiting_s(self) -> float:
        """How long the oldest entry waits for its checkpoint; 0 if none does. After `ready`."""
        return self._now() - self._waiting.since if self._waiting.items else 0.0

    async def run(self) -> None:
        """Until `stop`. Raises Fenced, CannotRecover, StoreBroken, BusDown."""
        self._now = asyncio.get_running_loop().time
        self.shard = (await asyncio.to_thread(shards, self._store, self._first))[-1]
        origin = origin_of(self._origin, self._first, self.shard)
        self._writer = await asyncio.to_thread(Writer, self._store, self.shard, origin, self._signer, self._at)
        self._consumer: Consumer = await self._bus.consumer(f"ledger-{self._first}", [EVENTS], [self._partition])
        self._producer = self._bus.producer()
        self._last: Message | None = None
        self._committed_at = self._began = self._now()
        self._moved_at: dict[Source, float] = {}
        self._waiting = self._fresh()
        await self._start()
        self.ready.set()
        while not self._stopping.is_set():
            await self._turn(POLL_S)
        while await self._turn(0.0):
            pass  # what came before the end is still taken
        await self._commit()

    # --- start --------------------------------------------------------------------

    async def _start(self) -> None:
        head = self.head
        known = await self._consumer.committed(EVENTS, self._partition)
        if known is not None and known[1]:
            try:
                refuse_older_store(head, read_tripwire(known[1]), self._first, self.shard)
            except CannotRecover:
                await asyncio.to_thread(self._writer.still_newest)  # a writer beside us went on between our two looks
                raise
        self._bus_now = await self._bus.identity(EVENTS)
        self._consumed = Consumed(self._bus_now, EVENTS, self._partition, -1)
        if head.consumed is not None:
            await self._resume(head.consumed)
        await self._own(LedgerStarted(self._version, head.tree.size, self._store.name, self._clock()))
        if self._probed is not None:
            await self._own(self._probed)
        for enrolment in self._enrolled.all:
            await self._enrol(enrolment)
        # The first batch is committed before anything is taken: it fences a writer before us.
        await self._commit()
        await self._tell(head.cursors)  # marks that a crash after the checkpoint kept from being sent

    async def _resume(self, consumed: Consumed) -> None:
        if consumed.cluster == self._bus_now:
            self._consumed = consumed
            if consumed.offset >= 0 or self.shard != self._first:  # a successor reads again what its group had
                await self._consumer.seek(EVENTS, self._partition, consumed.offset + 1)
            return
        # Offsets mean nothing on another bus, or in a topic that was made again. It is read from its start; cursors
        # drop what is known.
        at = Position(consumed.offset, 0, 0)
        self._log.error("alarm", alarm="another bus", before=consumed.cluster, now=self._bus_now)
        source = Source(f"bus:{consumed.topic}/{consumed.partition}")
        await self._own(
            Gap(source, at, at, f"another bus: {consumed.cluster} before, now {self._bus_now}", self._clock())
        )

    async def _enrol(self, enrolment: KeyEnrolled) -> None:
        name = hashlib.sha256(encode(enrolment)).digest()[:16]
        if name not in self.head.enrolled:
            await self._own(enrolment)
            self._waiting.enrolled.add(name)

    # --- one turn -----------------------------------------------------------------

    async def _turn(self, longest_s: float) -> int:
        """How many messages it took. A read is never cancelled: what it had taken would be passed over."""
        try:
            messages = await self._consumer.batch(MESSAGES, min(longest_s, self._until_due()))
        except OffsetLost as lost:
            await self._go_on_behind(lost)
            messages = []
        repeated: set[Source] = set()
        for message in messages:
            await self._take(message, repeated)
        if self._until_due() <= 0:
            if not self._waiting.items:
                await self._own(LedgerAlive(self._clock()))
            await self._commit()
        if repeated:  # somebody did not hear that these are covered
            await self._tell(repeated)
        return len(messages)

    async def _go_on_behind(self, lost: OffsetLost) -> None:
        """What should come next is not there: said, and never skipped in silence. Raises OffsetLost on another bus:
        the next start says that."""
        if await self._bus.identity(EVENTS) != self._bus_now:
            raise lost
        self._log.error("alarm", alarm="messages lost", after=self._consumed.offset, first=lost.first, end=lost.end)
        source = Source(f"bus:{EVENTS}/{self._partition}")
        after, before = Position(self._consumed.offset, 0, 0), Position(lost.first, 0, 0)
        reason = "the bus no longer has these messages"
        if before <= after:  # a bus that lost its end; it is read again, and cursors drop what is known
            before, reason = after, f"the bus has less than it had: it ends at {lost.end}"
        await self._own(Gap(source, after, before, reason, self._clock()))
        self._consumed = Consumed(self._bus_now, EVENTS, self._partition, lost.first - 1)
        await self._consumer.seek(EVENTS, self._partition, lost.first)

    def _until_due(self) -> float:
        w, cut = self._waiting, self._cut
        if not w.items:
            return max(0.0, self._committed_at + cut.alive_s - self._now())
        soon = w.urgent or len(w.items) > cut.soon_entries
        return max(0.0, w.since + (cut.soon_s if soon else cut.late_s) - self._now())

    async def _take(self, message: Message, repeated: set[Source]) -> None:
        if message.partition != self._partition:
            raise RuntimeError(f"partition {message.partition} of {EVENTS} is no part of shard {self.shard}")
        if message.offset <= self._consumed.offset:
            return
        digest = hashlib.sha256(message.value).digest()
        try:
            batch = decode(message.value)
            if not isinstance(batch, EventBatch):
                raise BadMessage("not an EventBatch")
            check_batch(batch, self._enrolled, message.time_us)
            seen = admit(batch)
            if len(seen) > MOST_EVENTS or len({e.leaf[:HEADER] for e in batch.events}) > 1:
                raise BadMessage("too many events in one message, or events of several schemas")
        except (CodecError, BadSignature, NotEnrolled, BadMessage) as e:
            where = f"{self._bus_now}/{message.partition}@{message.offset}"
            self._log.error("alarm", alarm="message not accepted", where=where, reason=str(e))
            await self._own(Undecoded(None, EVENTS, where, digest, str(e)[:200]))
        else:
            await self._place(batch, place(self._waiting.cursors, batch, seen, digest, self._clock()), repeated)
        self._consumed = Consumed(self._bus_now, EVENTS, message.partition, message.offset)
        self._last = message

    async def _place(self, batch: EventBatch, placed: Append | Repeat | Unlike, repeated: set[Source]) -> None:
        if isinstance(placed, Repeat):
            repeated.add(batch.source)
            return
        if isinstance(placed, Unlike):
            self._log.error("alarm", alarm="one position, two messages", source=batch.source)
            await self._own(placed.conflict)
            self._waiting.cursors[batch.source] = placed.cursor
            return
        await self._room_for(placed.items)  # so that the gap and what follows it are one commit
        if placed.gap is not None:
            self._log.error("alarm", alarm="gap", source=batch.source)
            await self._own(placed.gap)
            await self._room_for(placed.items)  # only if these are of another schema than the gap's entry
        if placed.shrunk is not None:
            self._log.error("alarm", alarm="journal shorter than it was", source=batch.source)
            await self._own(placed.shrunk)
            await self._room_for(placed.items)
        for item in placed.items:
            self._add(item)
        w = self._waiting
        w.urgent = w.urgent or not URGENT.isdisjoint(placed.kinds)
        w.cursors[batch.source] = placed.cursor
        w.moved.add(batch.source)
        self._moved_at[batch.source] = self._now()
        if placed.cursor.heard is not None:
            await self._say_who_is_gone(batch.source)

    async def _say_who_is_gone(self, beats: Source) -> None:
        """A disk that is lost is a recorder that falls silent while another of its gateway speaks."""
        for source, (gap, cursor) in gone(self._waiting.cursors, beats, self._clock()).items():
            newest = max(self._moved_at.get(s, self._began) for s in (source, gap.missing_source))
            if self._now() - newest > self._cut.silent_s:
                self._log.error("alarm", alarm="recorder gone", source=source)
                await self._own(gap)
                self._waiting.cursors[source] = cursor

    # --- what waits, and the commit -------------------------------------------------

    def _fresh(self) -> _Waiting:
        return _Waiting(self.head.seq + 1, dict(self.head.cursors))

    async def _own(self, body: LeafBody) -> None:
        """An entry of the ledger's own."""
        source = Source(f"shard:{self.shard}")
        await self._room_for((Item(schema_header(LedgerEntry), b""),))
        w = self._waiting
        entry = LedgerEntry(source, Position(w.seq, w.own, 0), self._clock(), body=body)
        w.own += 1
        self._add(Item(leaf_bytes(entry), b""))

    def _add(self, item: Item) -> None:
        w = self._waiting
        if not w.items:
            w.since = self._now()
        w.items.append(item)
        w.size += len(item.leaf) + len(item.content)

    async def _room_for(self, items: tuple[Item, ...]) -> None:
        """A message is never cut in two, and a batch has leaves of one schema: commit what waits, if need be."""
        w = self._waiting
        if not w.items or not items:
            return
        size = w.size + sum(len(i.leaf) + len(i.content) for i in items)
        other = w.items[-1].leaf[:HEADER] != items[0].leaf[:HEADER]
        if other or len(w.items) + len(items) > self._cut.entries or size > self._cut.size:
            await self._commit()

    async def _commit(self) -> None:
        w = self._waiting
        if not w.items:
            return
        await asyncio.to_thread(self._writer.commit, w.items, w.cursors, self._consumed, frozenset(w.enrolled))
        self._waiting = self._fresh()
        self._committed_at = self._now()
        await self._tell(w.moved)
        self._at("covered")
        if self._last is not None:
            await self._consumer.commit(self._last, self.head.tripwire(self.shard))

    async def _tell(self, sources: Iterable[Source]) -> None:
        """`Covered` marks: only what is in the store under a checkpoint, never what waits."""
        head = self.head
        known = [(s, head.cursors[s].last) for s in sorted(sources) if s in head.cursors]
        if known:
            size = head.tree.size
            marks = [(s.encode(), encode(Covered(s, last, self.shard, size))) for s, last in known]
            await self._producer.send(COVERED, marks)
