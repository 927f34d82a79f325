"""The behaviour step as a stage: the same alerts again, whatever comes twice and wherever it dies; bounded; sealed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bus.topics import EVENTS, GRANTS, Message
from policy.rules import Rules, parse
from schemas.codec import decode, encode
from schemas.ids import START, Position
from schemas.records import Alert, EventBatch, Learning, PolicyInForce, Suspended
from seal import keyfiles
from seal.box import CannotOpen
from seal.event_batch import check_batch, sign_batch
from seal.suspension import check_suspension
from stream.behaviour import memory
from stream.behaviour_stage import BehaviourStage, SealedRows, Watched
from stream.runner import OFFSET, OUTPUTS, STATE, turn
from tests.stream.behaving import DAY_US, HOUR_US, MONDAY_US, SECOND_US, Does, Log
from tests.stream.conftest import MemoryBus

RULES = parse(
    "rules: []\nbehaviour:\n  alert_at: 30\n  suspend_at: 60\n  warm_up: 2d\n  suspend: identity\n"
    "  classes: [{name: ci, identities: ['ci/*']}]\n"
)

NOW_US = time.time_ns() // 1000 + 3_600_000_000  # keys are good from a minute before they are made, and tests run long
"""The bus's time, for which keys are enrolled; what the entries tell of may be long ago."""


class Killed(Exception):
    """Stands for kill -9."""


@pytest.fixture
def new(keys: Path) -> Callable[..., BehaviourStage]:
    signer, enrolled = keyfiles.load_signer(keys, "behaviour"), keyfiles.enrolled(keys)
    box = SealedRows(keyfiles.load_state_key(keys, "behaviour"))

    def make(done: Watched | None = None, rules: Rules = RULES, most: int = 50_000) -> BehaviourStage:
        return BehaviourStage(signer, box, enrolled, rules, done, most)

    return make


@pytest.fixture
def log(keys: Path, bus: MemoryBus) -> Log:
    """Some days of two identities, and a misuse at the end: alerts, and a suspension."""
    made, does = Log(keyfiles.load_signer(keys, "pipeline")), Does()
    for day in range(8):
        for subject in ("ci/one", "ci/two"):
            at_us = MONDAY_US + day * DAY_US + 9 * HOUR_US
            opened = does.open(at_us, subject)
            commands = [does.command(at_us + n * SECOND_US, opened.session, f"t{'ab'[n % 2]}") for n in range(4)]
            made.add(opened, *commands[:2])
            made.add(*commands[2:], does.close(at_us + HOUR_US, opened.session))
    at_us = MONDAY_US + 8 * DAY_US + 3 * HOUR_US
    opened = does.open(at_us, "ci/one", address="172.16.0.9:1")
    made.add(opened, does.command(at_us, opened.session, "users", rows=10**6))
    made.add(does.command(at_us + 1, opened.session, "secrets", "delete"))
    made.add(does.open(at_us + 2, "ci/three"))
    return made


def messages(log: Log) -> list[Message]:
    return [Message(EVENTS, 0, n, b"k", value, NOW_US + n) for n, value in enumerate(log.messages)]


def said(outputs: list[bytes]) -> list[object]:
    return [decode(e.leaf).body for value in outputs for e in decode(value).events]


async def run(new: Callable[..., BehaviourStage], bus: MemoryBus, die: str = "", at: int = 10**9) -> MemoryBus:
    """Until all is read; with a death at one place of one turn."""
    n = 0

    def place(name: str) -> None:
        nonlocal n
        n += name == OUTPUTS
        if name == die and n == at:
            n += 1
            raise Killed

    while True:
        table, consumer = bus.table("behaviour"), await bus.consumer("behaviour", [EVENTS])
        stage = new()
        stage.restore(await table.items(), await bus.identity(EVENTS))
        try:
            while await turn(stage, consumer, bus, table, most=3, timeout_s=0, at=place):
                pass
            return bus
        except Killed:
            continue


async def filled(log: Log) -> MemoryBus:
    bus = MemoryBus(now_us=NOW_US)
    await bus.send(EVENTS, [(b"k", value) for value in log.messages])
    return bus


def own(bus: MemoryBus, *, once: bool = True) -> list[bytes]:
    """What the step wrote, as the ledger takes it: the first message of each position."""
    found: dict[Position, bytes] = {}
    for message in bus.topics[EVENTS]:
        batch = decode(message.value)
        if batch.source.startswith("behaviour:"):
            assert found.setdefault(batch.last, message.value) == message.value, "the same position, other bytes"
    return list(found.values())


async def test_alerts_are_signed_chained_and_told_to_the_gateways(
    new: Callable[..., BehaviourStage], log: Log, keys: Path
) -> None:
    bus = await run(new, await filled(log))
    enrolled, prior = keyfiles.enrolled(keys), START
    for value in own(bus):
        batch: EventBatch = decode(value)
        check_batch(batch, enrolled, NOW_US)
        assert batch.prior == prior
        prior = batch.last
    bodies = said(own(bus))
    assert [type(b).__name__ for b in bodies].count("Suspended") == 1
    assert [b.subject for b in bodies if isinstance(b, Learning)] == ["ci/one", "ci/two", "ci/three"]
    assert {b.subject for b in bodies if isinstance(b, Alert)} == {"ci/one"}
    told = [decode(m.value) for m in bus.topics[GRANTS]]
    assert told == [b for b in bodies if isinstance(b, Suspended)]
    check_suspension(told[0], enrolled, NOW_US)


@pytest.mark.parametrize("die", [OUTPUTS, STATE, OFFSET])
async def test_death_at_each_place_of_each_turn_says_nothing_else(
    new: Callable[..., BehaviourStage], log: Log, die: str
) -> None:
    expected = own(await run(new, await filled(log)))
    assert len(expected) > 3
    turns = len(log.messages) // 3 + 3
    for at in range(1, turns):
        assert own(await run(new, await filled(log), die, at)) == expected, at


def test_a_replay_gives_the_same_bytes_also_from_rows_at_every_message(
    new: Callable[..., BehaviourStage], log: Log
) -> None:
    stage = new()
    stage.restore({}, "t")
    whole = [o for m in messages(log) for o in stage.apply(m)]
    rows: dict[bytes, bytes] = {}
    again = []
    for message in messages(log):
        fresh = new()
        fresh.restore(rows, "t")
        again += fresh.apply(message)
        for key, row in fresh.changes().items():
            if row is None:
                rows.pop(key, None)
            else:
                rows[key] = row
    assert again == whole
    assert {o.topic for o in whole} == {EVENTS, GRANTS}


def test_what_comes_again_at_its_offset_or_another_says_nothing(new: Callable[..., BehaviourStage], log: Log) -> None:
    done = Watched()
    stage = new(done)
    stage.restore({}, "t")
    for message in messages(log):
        stage.apply(message)
    before = replace(done)
    later = len(log.messages)
    for message in messages(log):
        assert stage.apply(message) == ()
        assert list(stage.apply(replace(message, offset=later + message.offset))) == []
    assert done == before


def test_what_no_enrolled_pipeline_signed_is_not_believed(
    new: Callable[..., BehaviourStage], log: Log, keys: Path
) -> None:
    done = Watched()
    stage = new(done)
    stage.restore({}, "t")
    batch: EventBatch = decode(log.messages[0])
    forged = [
        encode(replace(batch, signature=bytes(64))),
        encode(sign_batch(keyfiles.load_signer(keys, "behaviour"), batch)),
        encode(PolicyInForce("v", "by", 1)),
        b"nothing of ours",
    ]
    for n, value in enumerate(forged):
        assert list(stage.apply(Message(EVENTS, 0, n, b"k", value, NOW_US))) == []
    assert done.strangers == 3, "what is no EventBatch is the ledger's to tell"
    assert done.identities == 0


def test_a_leaf_that_is_none_stops_nothing(new: Callable[..., BehaviourStage], log: Log, keys: Path) -> None:
    batch: EventBatch = decode(log.messages[0])
    bad = replace(batch.events[0], leaf=b"\xc3\x01" + bytes(20))
    signer = keyfiles.load_signer(keys, "pipeline")
    odd = encode(sign_batch(signer, replace(batch, events=(bad, *batch.events))))
    done = Watched()
    stage = new(done)
    stage.restore({}, "t")
    stage.apply(Message(EVENTS, 0, 0, b"k", odd, NOW_US))
    assert (done.strangers, done.exchanges) == (1, 2)


def test_rows_are_sealed_each_under_its_name(new: Callable[..., BehaviourStage], log: Log) -> None:
    stage = new()
    stage.restore({}, "t")
    for message in messages(log):
        stage.apply(message)
    rows = {key: row for key, row in stage.changes().items() if row is not None}
    assert b"172.16" not in b"".join(rows.values())
    heads = sorted(key for key in rows if key.startswith(b"i/"))
    assert len(heads) == 3
    swapped = {**rows, heads[0]: rows[heads[1]], heads[1]: rows[heads[0]]}
    with pytest.raises(CannotOpen):
        new().restore(swapped, "t")


def test_a_topic_that_was_made_again_is_read_from_its_start_and_what_is_known_is_dropped(
    new: Callable[..., BehaviourStage], log: Log
) -> None:
    stage = new()
    stage.restore({}, "t")
    for message in messages(log):
        stage.apply(message)
    rows = {key: row for key, row in stage.changes().items() if row is not None}
    after = new()
    after.restore(rows, "another")
    assert [o for m in messages(log) for o in after.apply(m)] == []


def test_many_identities_are_bounded_and_so_is_what_one_of_them_does(
    new: Callable[..., BehaviourStage], keys: Path
) -> None:
    rows: dict[bytes, bytes] = {}
    stage = new(most=300)
    stage.restore({}, "t")
    log, does = Log(keyfiles.load_signer(keys, "pipeline")), Does()

    def take(*bodies: object) -> None:
        value = log.add(*bodies)  # type: ignore[arg-type]
        stage.apply(Message(EVENTS, 0, len(log.messages), b"k", value, NOW_US))
        for key, row in stage.changes().items():
            if row is None:
                rows.pop(key, None)
            else:
                rows[key] = row

    first = does.open(MONDAY_US, "ci/busy")
    take(first)
    for n in range(20):
        at_us = MONDAY_US + n * SECOND_US
        take(*(does.command(at_us, first.session, f"t{n}x{chr(97 + i % 26)}{chr(97 + i // 26)}", statement=f"{n} {i}")
               for i in range(100)))  # fmt: skip
    name = memory.identity_name("ci/busy").encode()
    assert len(rows[b"s/" + name]) < 40_000
    assert max(map(len, rows.values())) < 128 * 1024
    for n in range(600):
        at_us = MONDAY_US + (100 + n) * SECOND_US
        opened = does.open(at_us, f"ci/{n}")
        take(opened, does.close(at_us, opened.session))
    heads = [key for key in rows if key.startswith(b"i/")]
    assert len(heads) <= 300
    assert b"i/" + name not in heads, "who came last stays"
    assert b"i/" + memory.identity_name("ci/599").encode() in heads
    assert len(rows) < 2 * 300 + 20
    fresh = new(most=300)
    fresh.restore(rows, "t")


def test_an_entry_of_another_kind_is_passed_by(new: Callable[..., BehaviourStage], keys: Path) -> None:
    log = Log(keyfiles.load_signer(keys, "pipeline"))
    stage = new()
    stage.restore({}, "t")
    value = log.add(PolicyInForce("v", "by", 1))
    assert list(stage.apply(Message(EVENTS, 0, 0, b"k", value, NOW_US))) == []
