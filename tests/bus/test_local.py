"""The contract of a bus on the embedded one, and what only that one does."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from bus import journal
from bus.follow import DAMAGE, offset_of
from bus.local import LocalBus
from bus.topics import APPROVALS, COVERED, EVENTS, JOURNAL, BusDown
from schemas.codec import decode
from schemas.ids import RecorderId
from schemas.records import JournalSegment
from seal.segment import CHAIN_START, next_chain
from tests.bus.contract import Contract, values

NAME = "g.0.00000000"


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[LocalBus]:
    made = LocalBus(tmp_path)
    yield made
    await made.close()


def write_epoch(directory: Path, epoch: int, segments: list[list[bytes]]) -> journal.JournalWriter:
    directory.mkdir(exist_ok=True, parents=True)
    prior = (epoch - 1, 0) if epoch else (-1, -1)
    facts = JournalSegment(RecorderId(NAME), 1, epoch, 0, -1, *prior, CHAIN_START, "k", b"", "g", False, b"", ())
    writer, number, chain = journal.JournalWriter(directory, facts), 0, CHAIN_START
    for chunks in segments:
        for chunk in chunks:
            writer.append_chunk(number, chunk)
            number += 1
        chain = next_chain(chain, chunks)
        writer.close_segment(replace(facts, first=number - len(chunks), last=number - 1, chain=chain))
    return writer


class TestContract(Contract):
    """tests/bus/contract.py, on the embedded bus."""


async def test_a_table_keeps_bytes_as_they_are_and_changes_all_at_once(bus: LocalBus) -> None:
    table = bus.table("t")
    await table.put({b"1": b"\x00{", b"gone": b"x"})
    await table.put({b"gone": None, b"2": b""})
    assert await table.items() == {b"1": b"\x00{", b"2": b""}
    assert await table.get(b"gone") is None
    assert await bus.table("u").items() == {}


async def test_the_cluster_keeps_its_identity(bus: LocalBus, tmp_path: Path) -> None:
    again = LocalBus(tmp_path)
    assert again.cluster == bus.cluster
    await again.close()


async def test_there_is_one_partition_and_another_is_refused(bus: LocalBus) -> None:
    for topic, partition in ((EVENTS, 1), (JOURNAL, 0)):
        with pytest.raises(ValueError, match="partition 0"):
            await bus.consumer("g", [topic], [partition])


async def test_segments_come_as_they_are_closed_and_the_open_tail_waits(bus: LocalBus) -> None:
    writer = write_epoch(bus.journal_dir / NAME, 0, [[b"a", b"b"], [b"c"]])
    writer.append_chunk(3, b"open")
    consumer = await bus.consumer("mask", [JOURNAL])
    got = await consumer.batch(10, 1)
    assert [decode(m.value).chunks for m in got] == [(b"a", b"b"), (b"c",)]
    assert [(m.key, m.offset) for m in got] == [(NAME.encode(), 1), (NAME.encode(), 2)]
    await consumer.commit(got[0])
    assert [m.offset for m in await (await bus.consumer("mask", [JOURNAL])).batch(10, 1)] == [2]
    assert await consumer.batch(10, 0.01) == []
    write_epoch(bus.journal_dir / "other.0.11111111", 0, [[b"z"]])
    assert [m.key for m in await consumer.batch(10, 1)] == [b"other.0.11111111"]
    await consumer.seek(JOURNAL, got[0].partition, got[1].offset)
    assert [m.offset for m in await consumer.batch(10, 1)] == [2]


async def test_a_file_that_grows_is_followed_into_the_next_epoch(bus: LocalBus) -> None:
    consumer = await bus.consumer("mask", [JOURNAL])
    write_epoch(bus.journal_dir / NAME, 0, [[b"a"]])
    assert [m.offset for m in await consumer.batch(10, 1)] == [0]
    write_epoch(bus.journal_dir / NAME, 1, [[b"b"]])
    assert [m.offset for m in await consumer.batch(10, 1)] == [offset_of(1, 0)]


async def test_damage_is_one_message_with_its_place_and_reading_goes_on(bus: LocalBus) -> None:
    path = write_epoch(bus.journal_dir / NAME, 0, [[b"a" * 40], [b"b" * 40]]).path
    write_epoch(bus.journal_dir / NAME, 1, [[b"c"]])
    path.write_bytes(path.read_bytes().replace(b"b" * 40, b"b" * 39 + b"X"))
    got = await (await bus.consumer("mask", [JOURNAL])).batch(10, 1)
    assert [m.offset for m in got] == [0, offset_of(0, 0xFFFFFFFF), offset_of(1, 0)]
    assert got[1].value.startswith(DAMAGE + b"0000000000.tsj: does not read from offset")


async def test_files_go_once_covered_and_read_and_the_newest_stays(bus: LocalBus) -> None:
    for epoch in range(3):
        write_epoch(bus.journal_dir / NAME, epoch, [[b"x"]])
    consumer = await bus.consumer("mask", [JOURNAL])
    got = await consumer.batch(10, 1)
    assert await bus.prune_journal(NAME, 5) == []  # nobody committed yet
    await consumer.commit(got[1])
    assert await bus.prune_journal(NAME, 0) == []  # not covered yet
    assert await bus.prune_journal(NAME, 5) == [0]
    await consumer.commit(got[2])
    assert await bus.prune_journal(NAME, 5) == [1]
    assert journal.epochs(bus.journal_dir / NAME) == [2]


async def test_messages_go_once_committed_and_only_the_last_mark_of_a_source_stays(bus: LocalBus) -> None:
    await bus.producer().send(EVENTS, [(b"", b"1"), (b"", b"2"), (b"", b"3")])
    await bus.producer().send(COVERED, [(b"s", b"old"), (b"t", b"only"), (b"s", b"new")])
    ledger = await bus.consumer("ledger", [EVENTS])
    await ledger.commit((await ledger.batch(10, 1))[1])
    await bus.prune()
    assert values(await (await bus.consumer("late", [EVENTS])).batch(10, 1)) == [b"3"]
    assert values(await (await bus.consumer("late", [COVERED])).batch(10, 1)) == [b"only", b"new"]
    before = (await (await bus.consumer("late", [EVENTS])).batch(1, 1))[0].offset
    await bus.producer().send(EVENTS, [(b"", b"4")])
    assert (await (await bus.consumer("late", [EVENTS])).batch(10, 1))[-1].offset > before


@pytest.mark.parametrize(("group", "days"), [("notify", 1), ("behaviour", 7)])
async def test_a_step_beside_the_record_is_waited_for_some_days_and_no_longer(
    bus: LocalBus, group: str, days: int
) -> None:
    await bus.producer().send(EVENTS, [(b"", b"%d" % n) for n in range(5)])
    ledger, notify = await bus.consumer("ledger", [EVENTS]), await bus.consumer(group, [EVENTS])
    await ledger.commit((await ledger.batch(10, 1))[3])
    await notify.commit((await notify.batch(10, 1))[0])
    await bus.prune()
    assert values(await (await bus.consumer("late", [EVENTS])).batch(10, 1)) == [b"1", b"2", b"3", b"4"]
    day_us = days * 24 * 3600 * 1_000_000
    minute_us = 60 * 1_000_000
    await bus.run(lambda db: db.execute("UPDATE topic_events SET time_us = time_us - ?", (day_us - minute_us,)))
    await bus.prune()
    assert values(await (await bus.consumer("late", [EVENTS])).batch(10, 1)) == [b"1", b"2", b"3", b"4"]
    await bus.run(lambda db: db.execute("UPDATE topic_events SET time_us = time_us - ? WHERE at <= 3", (minute_us,)))
    await bus.prune()
    assert values(await (await bus.consumer("late", [EVENTS])).batch(10, 1)) == [b"3", b"4"]
    await bus.run(lambda db: db.execute("UPDATE topic_events SET time_us = time_us - ?", (day_us,)))
    await bus.prune()
    assert values(await (await bus.consumer("late", [EVENTS])).batch(10, 1)) == [b"4"]  # what the ledger lacks stays


async def test_every_step_is_durable_when_its_hook_is_called(tmp_path: Path) -> None:
    for step in ("outputs", "state", "offset"):
        ended = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / step), step], timeout=60)
        assert ended.returncode == 7
        again = LocalBus(tmp_path / step)
        assert values(await (await again.consumer("x", [EVENTS])).batch(1, 1)) == [b"out"]
        assert await again.table("t").get(b"k") == (None if step == "outputs" else b"v")
        assert len(await (await again.consumer("g", [APPROVALS])).batch(1, 0.05)) == (0 if step == "offset" else 1)
        await again.close()


KILLED = """
import asyncio, os, sys
from pathlib import Path
from bus.local import LocalBus
from bus.topics import APPROVALS, EVENTS

async def main():
    bus = LocalBus(Path(sys.argv[1]))
    await bus.producer().send(APPROVALS, [(b"", b"in")])
    bus.after = lambda step: os._exit(7) if step == sys.argv[2] else None
    consumer = await bus.consumer("g", [APPROVALS])
    message = (await consumer.batch(1, 1))[0]
    await bus.producer().send(EVENTS, [(b"", b"out")])
    await bus.table("t").put({b"k": b"v"})
    await consumer.commit(message)

asyncio.run(main())
"""

WRITER = """
import asyncio, sys
from pathlib import Path
from bus.local import LocalBus

async def main():
    bus = LocalBus(Path(sys.argv[1]))
    for i in range(40):
        await bus.producer().send("events", [(b"k", sys.argv[2].encode() + b"%d" % i)])
    await bus.close()

asyncio.run(main())
"""


async def test_processes_write_at_once_and_nothing_is_lost_or_twice(bus: LocalBus, tmp_path: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), n]) for n in "ab"]
    consumer, got = await bus.consumer("g", [EVENTS]), []
    async with asyncio.timeout(60):
        while len(got) < 80:
            got += values(await consumer.batch(100, 1))
    assert [w.wait(30) for w in writers] == [0, 0]
    for name in (b"a", b"b"):
        assert [v for v in got if v.startswith(name)] == [name + b"%d" % i for i in range(40)]


async def test_a_bus_that_cannot_be_opened_or_written_says_so(bus: LocalBus, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BusDown, match="cannot be opened"):
        LocalBus(tmp_path / "file")
    await bus.run(lambda db: db.execute("PRAGMA query_only = 1"))
    with pytest.raises(BusDown):
        await bus.producer().send(EVENTS, [(b"", b"x")])
    with pytest.raises(ValueError, match="no topic"):
        await bus.producer().send("journal", [(b"", b"x")])


async def test_waiting_costs_little(bus: LocalBus) -> None:
    write_epoch(bus.journal_dir / NAME, 0, [[b"a"]])
    consumer = await bus.consumer("g", [JOURNAL, EVENTS])
    await consumer.batch(10, 1)
    before = sum(os.times()[:2])
    await consumer.batch(10, 1.0)
    assert sum(os.times()[:2]) - before < 0.15


async def test_a_journal_message_has_the_time_of_its_file(bus: LocalBus) -> None:
    """Enrolments are looked up as of that time: with 0 every segment would be a stranger's."""
    before = time.time_ns() // 1000 - 1_000_000
    write_epoch(bus.journal_dir / NAME, 0, [[b"one"]]).close()
    (message,) = await (await bus.consumer("g", [JOURNAL])).batch(10, 1)
    assert before <= message.time_us <= time.time_ns() // 1000 + 1_000_000
