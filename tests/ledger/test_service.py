"""The ledger role against a bus in memory: exactly once, whatever is delivered again and wherever it dies."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from bus.topics import COVERED, EVENTS, Message, OffsetLost
from ledger import layout
from ledger.batch import decode as decode_batch
from ledger.entry import leaf_bytes, read_leaf
from ledger.recovery import CannotRecover
from ledger.service import Cut, LedgerService
from ledger.store import FileStore
from ledger.writer import Fenced
from schemas.codec import decode, encode
from schemas.ids import START, Position, RecorderId, Source
from schemas.records import (
    Beat,
    Boot,
    ChainHead,
    Conflict,
    Covered,
    Event,
    EventBatch,
    Gap,
    KeyEnrolled,
    LeafBody,
    LedgerAlive,
    LedgerEntry,
    LedgerStarted,
    Refusal,
    Undecoded,
)
from seal.event_batch import sign_batch
from seal.keyfiles import Enrolled, enrolment_message
from seal.sign import Domain, Signer

SIGNER = Signer("ledger", bytes(range(32)))
ROOT = Signer("root", bytes([1] * 32))
GATEWAY = Signer("gateway", bytes([2] * 32))
PIPELINE = Signer("pipeline", bytes([3] * 32))
ORIGIN, SHARD = "tallystick.test/shard-0", "shard-0"
SOURCE = Source("beats:r")


# --- a bus in memory --------------------------------------------------------------------


@dataclass
class MemoryBus:
    """Keeps `bus.topics`: at least once, and what the group committed survives the service."""

    cluster: str = "cluster-1"
    topics: dict[str, list[Message]] = field(default_factory=dict)
    groups: dict[str, tuple[int, str]] = field(default_factory=dict)
    grown: asyncio.Event = field(default_factory=asyncio.Event)
    first: int = 0  # messages before it were deleted

    async def identity(self, topic: str) -> str:
        return self.cluster

    async def send(self, topic: str, items: Sequence[tuple[bytes, bytes]]) -> None:
        log = self.topics.setdefault(topic, [])
        for key, value in items:
            log.append(Message(topic, 0, len(log), key, value, 1_000_000))
        self.grown.set()

    def producer(self) -> MemoryBus:
        return self

    async def consumer(
        self, group: str, topics: Sequence[str], partitions: Sequence[int] | None = None
    ) -> MemoryConsumer:
        return MemoryConsumer(self, group, topics[0], self.groups.get(group, (-1, ""))[0] + 1)

    async def close(self) -> None: ...


@dataclass
class MemoryConsumer:
    bus: MemoryBus
    group: str
    topic: str
    at: int

    async def batch(self, most: int, timeout_s: float) -> list[Message]:
        log = self.bus.topics.setdefault(self.topic, [])
        if not self.bus.first <= self.at <= len(log):
            raise OffsetLost(self.topic, 0, self.at, self.bus.first, len(log))
        if self.at >= len(log):
            self.bus.grown.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.bus.grown.wait(), timeout_s)
        found = log[self.at : self.at + most]
        self.at += len(found)
        return found

    async def commit(self, upto: Message, metadata: str = "") -> None:
        self.bus.groups[self.group] = (upto.offset, metadata)

    async def committed(self, topic: str, partition: int) -> tuple[int, str] | None:
        return self.bus.groups.get(self.group)

    async def seek(self, topic: str, partition: int, offset: int) -> None:
        self.at = offset


# --- messages and what came of them -------------------------------------------------------


def enrolled() -> Enrolled:
    unsigned = [KeyEnrolled(s.name, s.name, s.public, 0, 2**62, b"") for s in (GATEWAY, PIPELINE)]
    signed = [replace(one, signature=ROOT.sign(Domain.ENROLMENT, enrolment_message(one))) for one in unsigned]
    return Enrolled(ROOT.public, signed)


def beat(n: int, opened: int = 0) -> LeafBody:
    return Beat(RecorderId("r"), 0, n, opened, 0, 0, ChainHead(0, 0, b""), -1, -1, False, n)


def message(first: int, last: int, opened: int = 0, signer: Signer = GATEWAY, body: LeafBody | None = None) -> bytes:
    events = tuple(
        Event(leaf_bytes(LedgerEntry(SOURCE, Position(0, n), n, body=body or beat(n, opened))), b"content")
        for n in range(first, last + 1)
    )
    prior = Position(0, first - 1) if first else START
    return encode(sign_batch(signer, EventBatch(SOURCE, RecorderId("r"), prior, Position(0, last), events, "", b"")))


FAST = Cut(soon_s=0.01, late_s=0.03)


def service(bus: MemoryBus, place: Path, **more: object) -> LedgerService:
    more.setdefault("cut", FAST)
    return LedgerService(
        bus, FileStore(place), SIGNER, ORIGIN, enrolled(), SHARD, clock=lambda: 1_000_000, version="1", **more
    )  # type: ignore[arg-type]


async def serve(bus: MemoryBus, place: Path, until: int = 0, **more: object) -> None:
    """Runs until the ledger has heard `until` messages (all, if 0), then stops it gracefully."""
    role = service(bus, place, **more)
    running = asyncio.create_task(role.run())
    ready = asyncio.create_task(role.ready.wait())
    await asyncio.wait({running, ready}, return_when=asyncio.FIRST_COMPLETED)
    ready.cancel()
    want = (until or len(bus.topics.get(EVENTS, []))) - 1
    async with asyncio.timeout(20):
        while not running.done() and role.head.consumed is not None and role.head.consumed.offset < want:
            await asyncio.sleep(0.005)
    role.stop()
    await running


async def send(bus: MemoryBus, *values: bytes) -> None:
    await bus.send(EVENTS, [(b"r", v) for v in values])


def entries(place: Path) -> list[LedgerEntry]:
    store = FileStore(place)
    batches = [decode_batch(store.get(k)) for k in store.keys(layout.batches(SHARD))]
    return [read_leaf(i.leaf) for b in batches for i in b.items]


def beats(place: Path) -> list[int]:
    return [e.position.minor for e in entries(place) if isinstance(e.body, Beat)]


def bodies(place: Path, kind: type) -> list[LeafBody]:
    return [e.body for e in entries(place) if isinstance(e.body, kind)]


# --- what holds -----------------------------------------------------------------------------


async def test_messages_become_entries_once_and_are_covered(tmp_path: Path) -> None:
    bus = MemoryBus()
    await send(bus, message(0, 2), message(3, 5))
    await serve(bus, tmp_path)
    assert beats(tmp_path) == [0, 1, 2, 3, 4, 5]
    marks = [decode(m.value) for m in bus.topics[COVERED]]
    assert marks[-1] == Covered(SOURCE, Position(0, 5), SHARD, len(entries(tmp_path)))
    assert [type(e.body) for e in entries(tmp_path)][:2] == [LedgerStarted, KeyEnrolled]


async def test_the_same_message_again_changes_nothing_but_the_mark_is_sent_again(tmp_path: Path) -> None:
    bus = MemoryBus()
    await send(bus, message(0, 2), message(3, 5))
    await serve(bus, tmp_path)
    before, marks = len(entries(tmp_path)), len(bus.topics[COVERED])
    await send(bus, message(3, 5), message(0, 2), message(6, 6))
    await serve(bus, tmp_path)
    assert beats(tmp_path) == [0, 1, 2, 3, 4, 5, 6]
    assert len(entries(tmp_path)) == before + 2  # LedgerStarted and the one new beat; enrolments are written once
    assert len(bus.topics[COVERED]) > marks


async def test_what_is_missing_is_a_gap_and_what_is_unlike_a_conflict(tmp_path: Path) -> None:
    bus = MemoryBus()
    await send(bus, message(0, 2), message(5, 6), message(5, 6, opened=9), message(5, 6, opened=9))
    await serve(bus, tmp_path)
    assert beats(tmp_path) == [0, 1, 2, 5, 6]
    (gap,) = bodies(tmp_path, Gap)
    assert isinstance(gap, Gap)
    assert (gap.after, gap.before) == (Position(0, 2), Position(0, 4))
    assert len(bodies(tmp_path, Conflict)) == 1


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"noise", "marker"),
        (message(0, 0)[:-3], "body"),
        (message(0, 0, signer=Signer("gateway", bytes([9] * 32))), "signature"),
        (message(0, 0, signer=Signer("stranger", bytes([2] * 32))), "enrolled"),
        (encode(LedgerEntry(SOURCE, START, 0, body=LedgerAlive(0))), "EventBatch"),
    ],
)
async def test_what_no_enrolled_producer_signed_is_not_accepted_but_said(
    tmp_path: Path, value: bytes, reason: str
) -> None:
    bus = MemoryBus()
    await send(bus, value, message(0, 1))
    await serve(bus, tmp_path)
    (said,) = bodies(tmp_path, Undecoded)
    assert isinstance(said, Undecoded)
    assert reason in said.reason
    assert said.where == "cluster-1/0@0"
    assert beats(tmp_path) == [0, 1]
    await serve(bus, tmp_path)
    assert len(bodies(tmp_path, Undecoded)) == 1


class Died(Exception):
    pass


@pytest.mark.parametrize("step", ["encoded", "batch", "checkpoint", "covered"])
@pytest.mark.parametrize("time", [1, 2, 3])
async def test_dying_at_any_step_of_any_commit_loses_nothing_and_doubles_nothing(
    tmp_path: Path, step: str, time: int
) -> None:
    bus = MemoryBus()
    await send(bus, *[message(n, n + 1) for n in range(0, 20, 2)])
    left = time

    def die(at: str) -> None:
        nonlocal left
        left -= at == step
        if at == step and left == 0:
            raise Died

    with pytest.raises(Died):
        await serve(bus, tmp_path, at_step=die, cut=replace(FAST, entries=5))
    await serve(bus, tmp_path, cut=replace(FAST, entries=5))
    assert beats(tmp_path) == list(range(20))
    last = decode(bus.topics[COVERED][-1].value)
    assert last.last == Position(0, 19)


def beats_of(recorder: str, n: int, *, farewell: bool = False, boot: bool = False) -> bytes:
    """The first `n` beats of a recorder, whose last says five sessions opened, four closed and nine chunks written."""
    source = Source(f"beats:{recorder}")
    bodies: list[LeafBody] = [
        Beat(RecorderId(recorder), 0, k, 5, 4, 9, ChainHead(0, 8, b""), -1, -1, farewell and k == n - 1, k)
        for k in range(n)
    ]
    if boot:
        bodies[0] = Boot(RecorderId(recorder), 0, -1, -1, -1, "1", 7)
    events = tuple(
        Event(leaf_bytes(LedgerEntry(source, Position(0, k), k, body=body)), b"") for k, body in enumerate(bodies)
    )
    batch = EventBatch(source, RecorderId(recorder), START, Position(0, n - 1), events, "", b"")
    return encode(sign_batch(GATEWAY, batch))


def journal_of(recorder: str, chunk: int) -> bytes:
    source = Source(f"journal:{recorder}")
    batch = EventBatch(source, RecorderId(recorder), START, Position(0, chunk, 99), (), "", b"")
    return encode(sign_batch(PIPELINE, batch))


OLD, NEW = "orders-db.0.aaaaaaaa", "orders-db.0.bbbbbbbb"
SOON_GONE = replace(FAST, silent_s=0.0)


@pytest.mark.parametrize("restart", [False, True])
async def test_a_recorder_whose_place_another_took_is_a_gap_that_says_how_much(tmp_path: Path, restart: bool) -> None:
    bus = MemoryBus()
    await send(bus, beats_of(OLD, 3), journal_of(OLD, 2))
    if restart:
        await serve(bus, tmp_path, cut=SOON_GONE)
        assert bodies(tmp_path, Gap) == []
    await send(bus, beats_of(NEW, 1, boot=True))
    await serve(bus, tmp_path, cut=SOON_GONE)
    (gap,) = bodies(tmp_path, Gap)
    assert isinstance(gap, Gap)
    assert (gap.missing_source, gap.after, gap.before) == (f"journal:{OLD}", Position(0, 2, 99), Position(0, 8))
    assert "5 sessions opened, 4 closed, journal written up to epoch 0 chunk 8" in gap.reason
    assert "unknown" in gap.reason
    await send(bus, beats_of("orders-db.0.cccccccc", 2))
    await serve(bus, tmp_path, cut=SOON_GONE)
    assert len([g for g in bodies(tmp_path, Gap) if OLD in g.missing_source]) == 1, "told once"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([beats_of(OLD, 3, farewell=True), journal_of(OLD, 8)], [beats_of(NEW, 1)]),  # at rest, and all of it is here
        ([beats_of(OLD, 3)], [beats_of("orders-dc.0.bbbbbbbb", 1)]),  # another gateway
        ([beats_of(OLD, 3)], [beats_of("orders-db.1.bbbbbbbb", 1)]),  # another worker
    ],
)
async def test_nobody_is_gone_who_only_stopped_or_is_another(
    tmp_path: Path, first: list[bytes], second: list[bytes]
) -> None:
    bus = MemoryBus()
    await send(bus, *first, *second)
    await serve(bus, tmp_path, cut=SOON_GONE)
    assert bodies(tmp_path, Gap) == []


@pytest.mark.parametrize("restart", [False, True])
async def test_a_journal_that_lost_signed_chunks_before_they_were_read_is_a_gap(tmp_path: Path, restart: bool) -> None:
    bus = MemoryBus()
    await send(bus, beats_of(OLD, 3), journal_of(OLD, 2))
    if restart:
        await serve(bus, tmp_path)
    source, recorder = Source(f"beats:{OLD}"), RecorderId(OLD)
    body = Boot(recorder, 1, 0, 0, 5, "1", 7)
    event = Event(leaf_bytes(LedgerEntry(source, Position(1, 0), 7, body=body)), b"")
    batch = EventBatch(source, recorder, Position(0, 2), Position(1, 0), (event,), "", b"")
    await send(bus, encode(sign_batch(GATEWAY, batch)))
    await serve(bus, tmp_path)
    (gap,) = bodies(tmp_path, Gap)
    assert isinstance(gap, Gap)
    assert (gap.missing_source, gap.after, gap.before) == (f"journal:{OLD}", Position(0, 5), Position(0, 8))
    assert "boot 1 found the journal up to epoch 0 chunk 5" in gap.reason
    await serve(bus, tmp_path)
    assert len(bodies(tmp_path, Gap)) == 1, "told once"


async def test_a_replica_that_speaks_now_and_then_is_not_gone(tmp_path: Path) -> None:
    bus = MemoryBus()
    await send(bus, beats_of(OLD, 3), beats_of(NEW, 2))
    await serve(bus, tmp_path)
    assert bodies(tmp_path, Gap) == []


async def test_what_a_farewell_counted_and_never_came_is_a_gap(tmp_path: Path) -> None:
    bus = MemoryBus()
    await send(bus, beats_of(OLD, 3, farewell=True), journal_of(OLD, 7), beats_of(NEW, 1))
    await serve(bus, tmp_path, cut=SOON_GONE)
    (gap,) = bodies(tmp_path, Gap)
    assert isinstance(gap, Gap)
    assert (gap.after, gap.before) == (Position(0, 7, 99), Position(0, 8))
    assert "unknown" not in gap.reason


async def test_a_lost_bus_offset_costs_nothing(tmp_path: Path) -> None:
    bus = MemoryBus()
    await send(bus, message(0, 2), message(3, 5))
    await serve(bus, tmp_path)
    bus.groups.clear()
    await send(bus, message(6, 7))
    await serve(bus, tmp_path)
    assert beats(tmp_path) == list(range(8))


async def test_another_bus_is_said_and_read_from_its_start(tmp_path: Path) -> None:
    bus = MemoryBus()
    await send(bus, message(0, 2), message(3, 5))
    await serve(bus, tmp_path)
    other = MemoryBus(cluster="cluster-2")
    await send(other, message(3, 5), message(6, 7))
    await serve(other, tmp_path)
    assert beats(tmp_path) == list(range(8))
    (gap,) = bodies(tmp_path, Gap)
    assert isinstance(gap, Gap)
    assert "cluster-2" in gap.reason


async def test_messages_that_the_bus_no_longer_has_are_a_gap_and_the_rest_is_taken(tmp_path: Path) -> None:
    bus = MemoryBus()
    await send(bus, message(0, 2))
    await serve(bus, tmp_path)
    await send(bus, message(3, 5), message(6, 7), message(8, 9))
    bus.first = 2
    await serve(bus, tmp_path)
    assert beats(tmp_path) == [0, 1, 2, 6, 7, 8, 9]
    on_the_bus, of_the_source = (gap for gap in bodies(tmp_path, Gap) if isinstance(gap, Gap))
    assert (on_the_bus.missing_source, on_the_bus.after.major, on_the_bus.before.major) == ("bus:events/0", 0, 2)
    assert (of_the_source.after, of_the_source.before) == (Position(0, 2), Position(0, 5))


async def test_a_bus_that_has_less_than_it_had_is_said_and_what_it_takes_afterwards_is_not_passed_over(
    tmp_path: Path,
) -> None:
    bus = MemoryBus()
    await send(bus, message(0, 2), message(3, 5), message(6, 7))
    await serve(bus, tmp_path)
    del bus.topics[EVENTS][1:]
    bus.groups.clear()
    role = service(bus, tmp_path)
    running = asyncio.create_task(role.run())
    await role.ready.wait()
    await send(bus, message(8, 9))
    async with asyncio.timeout(20):
        while beats(tmp_path) != [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]:
            assert not running.done()
            await asyncio.sleep(0.005)
    role.stop()
    await running
    (gap,) = bodies(tmp_path, Gap)
    assert isinstance(gap, Gap)
    assert gap.reason == "the bus has less than it had: it ends at 1"


async def test_a_topic_that_is_made_again_under_a_running_ledger_ends_it(tmp_path: Path) -> None:
    bus = MemoryBus()
    await send(bus, message(0, 2))
    role = service(bus, tmp_path)
    running = asyncio.create_task(role.run())
    await role.ready.wait()
    async with asyncio.timeout(20):
        while role.head.consumed is None or role.head.consumed.offset < 0:
            await asyncio.sleep(0.005)
    bus.cluster = "cluster-1/made again"
    bus.topics[EVENTS].clear()
    with pytest.raises(OffsetLost):
        await running
    await send(bus, message(0, 2), message(3, 5))
    await serve(bus, tmp_path)
    assert beats(tmp_path) == [0, 1, 2, 3, 4, 5]


async def test_an_older_copy_of_the_store_is_refused(tmp_path: Path) -> None:
    bus = MemoryBus()
    await send(bus, message(0, 2))
    await serve(bus, tmp_path / "a")
    with pytest.raises(CannotRecover, match="older or another copy"):
        await serve(bus, tmp_path / "empty")


async def test_a_writer_that_went_on_between_two_looks_is_no_older_copy(tmp_path: Path) -> None:
    class Busy(MemoryBus):
        """Asked between the look at the store and the one at the bus."""

        alone = True

        async def consumer(self, group: str, topics: Sequence[str], partitions: Sequence[int]) -> MemoryConsumer:
            if self.alone:
                self.alone = False
                await serve(self, tmp_path)
            return await super().consumer(group, topics, partitions)

    bus = Busy()
    await send(bus, message(0, 2))
    with pytest.raises(Fenced, match="only one may own shard shard-0"):
        await serve(bus, tmp_path)
    await serve(bus, tmp_path)
    assert beats(tmp_path) == [0, 1, 2]


async def test_a_second_process_takes_the_shard_and_the_first_gives_it_up(tmp_path: Path) -> None:
    bus = MemoryBus()
    first = service(bus, tmp_path)
    running = asyncio.create_task(first.run())
    await first.ready.wait()
    await serve(MemoryBus(), tmp_path)
    await send(bus, message(0, 2))
    with pytest.raises(Fenced, match="only one may own shard shard-0"):
        await running
    assert beats(tmp_path) == []
    await serve(bus, tmp_path)
    assert beats(tmp_path) == [0, 1, 2]


async def test_an_approval_does_not_wait_for_others(tmp_path: Path) -> None:
    """`late_s` is an hour here: only what is urgent is committed before the end."""
    bus = MemoryBus()
    role = service(bus, tmp_path, cut=Cut(soon_s=0.01, late_s=3600))
    running = asyncio.create_task(role.run())
    await role.ready.wait()
    start = role.head.seq
    await send(bus, message(0, 0))
    await asyncio.sleep(0.1)
    assert role.head.seq == start
    refusal = Refusal("hold-1", "r", "req-1", "denied", 1)  # type: ignore[arg-type]
    await send(bus, message(1, 1, body=refusal))
    async with asyncio.timeout(10):
        while role.head.seq == start:
            await asyncio.sleep(0.005)
    await send(bus, message(2, 2))
    await asyncio.sleep(0.05)
    assert role.head.seq == start + 1
    role.stop()
    await running
    assert beats(tmp_path) == [0, 2]  # stopping committed what waited


async def test_an_idle_shard_says_that_it_lives(tmp_path: Path) -> None:
    role = service(MemoryBus(), tmp_path, cut=Cut(alive_s=0.02))
    running = asyncio.create_task(role.run())
    await role.ready.wait()
    async with asyncio.timeout(10):
        while role.head.seq < 2:
            await asyncio.sleep(0.005)
    role.stop()
    await running
    assert bodies(tmp_path, LedgerAlive)


async def test_a_message_is_never_cut_in_two(tmp_path: Path) -> None:
    bus = MemoryBus()
    await send(bus, message(0, 9), message(10, 14), message(15, 15))
    await serve(bus, tmp_path, cut=replace(FAST, entries=4))
    store = FileStore(tmp_path)
    sizes = [decode_batch(store.get(k)).meta.count for k in store.keys(layout.batches(SHARD))]
    assert sizes[1:] == [10, 5, 1]
    assert beats(tmp_path) == list(range(16))
