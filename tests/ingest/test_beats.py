"""Boots and beats: signed, in order, without holes of ours, whatever the bus and the process do; files that go."""

import asyncio

import pytest

from bus.local import LocalBus
from bus.topics import COVERED, JOURNAL, Message, OffsetLost
from ingest import beats, journal_home
from ingest.recorder import NotAlone
from schemas.codec import decode, encode
from schemas.ids import START, Position, RecorderId, journal_source
from schemas.records import Beat, Boot, Covered
from seal import keyfiles
from seal.event_batch import check_batch


def bodies(room) -> list[Boot | Beat]:  # type: ignore[no-untyped-def]
    return [decode(b.events[0].leaf).body for b in room.bus.batches]


async def until(true) -> None:  # type: ignore[no-untyped-def]
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.005)


def check_no_hole(room) -> None:  # type: ignore[no-untyped-def]
    """As the ledger does: a repeat has the same bytes, anything else goes on from the position before."""
    known, at, newest = keyfiles.enrolled(room.keys), START, b""
    for value, batch in zip(room.bus.values, room.bus.batches, strict=True):
        check_batch(batch, known, known.all[0].from_us + 1)
        if batch.last == at:
            assert value == newest
            continue
        assert batch.prior == at
        at, newest = batch.last, value


async def test_a_boot_beats_and_says_farewell_with_true_counts(room, command) -> None:
    r = room.recorder(beat_s=0.01)
    await r.start()
    r.session_opened()
    r.session_opened()
    r.session_closed()
    await command(r, b"q")
    await until(lambda: len(room.bus.values) >= 3)
    await r.stop()
    boot, *beaten = bodies(room)
    assert isinstance(boot, Boot)
    assert (boot.boot, boot.previous_boot, boot.previous_epoch) == (0, -1, -1)
    last = beaten[-1]
    assert (last.opened, last.closed, last.chunks, last.farewell) == (2, 1, 2, True)
    assert (last.head.epoch, last.head.chunk) == (0, 1)
    assert [b.farewell for b in beaten[:-1]] == [False] * (len(beaten) - 1)
    check_no_hole(room)


async def test_a_boot_tells_the_policy_it_screens_by(room) -> None:
    r = room.recorder()
    await r.start()
    await r.stop()
    told = [decode(event.leaf) for event in room.bus.batches[0].events]
    assert [(entry.position, type(entry.body).__name__) for entry in told] == [
        (Position(0, 0, 0), "Boot"),
        (Position(0, 0, 1), "PolicyInForce"),
    ]
    assert (told[1].body.version, told[1].body.by) == ("policy", r.recorder)
    check_no_hole(room)


async def test_the_next_boot_names_the_one_before_and_its_end(room, command) -> None:
    for n in range(3):
        r = room.recorder()
        await r.start()
        await command(r, b"q")
        if n == 1:
            r.close()
        else:
            await r.stop()
    boots = list(dict.fromkeys(b for b in bodies(room) if isinstance(b, Boot)))  # the last one before a crash repeats
    assert [(b.boot, b.previous_boot, b.previous_epoch, b.previous_chunk) for b in boots] == [
        (0, -1, -1, -1),
        (1, 0, 0, 1),
        (2, 1, 1, 1),
    ]
    check_no_hole(room)


async def test_a_bus_that_is_down_gets_the_same_beat_later_and_traffic_goes_on(room, command, monkeypatch) -> None:
    monkeypatch.setattr(beats, "RETRY_S", 0.005)
    r = room.recorder(beat_s=0.01)
    await r.start()
    room.bus.down = True
    await asyncio.sleep(0.1)
    assert await asyncio.wait_for(command(r, b"q"), 10) == "released"
    assert len(room.bus.values) == 1
    room.bus.down = False
    await until(lambda: len(room.bus.values) >= 3)
    await r.stop()
    check_no_hole(room)


async def test_a_beat_that_never_got_through_is_sent_by_the_next_boot(room, monkeypatch) -> None:
    monkeypatch.setattr("ingest.recorder.FAREWELL_S", 0.05)
    r = room.recorder()
    await r.start()
    room.bus.down = True
    await r.stop()
    room.bus.down = False
    again = room.recorder()
    await again.start()
    again.close()
    assert [type(b).__name__ for b in bodies(room)] == ["Boot", "Beat", "Boot"]
    check_no_hole(room)


async def test_a_lost_disk_is_a_new_recorder(room) -> None:
    r = room.recorder()
    await r.start()
    r.close()
    for path in room.place.glob("*.tsj"):
        path.unlink()
    again = room.recorder()
    await again.start()
    assert again.recorder != r.recorder
    assert again.boot == 0
    again.close()


async def test_journal_files_go_once_the_ledger_has_them_and_they_were_read(room, command, tmp_path) -> None:
    bus = LocalBus(tmp_path)
    r = room.recorder(
        bus=bus.producer(), epoch_s=0.0, covered=await bus.consumer("covered", [COVERED]), prune=bus.prune_journal
    )
    await r.start()
    for n in range(3):
        before = r.segment
        await command(r, b"%d" % n)
        r.cut_now()
        await until(lambda before=before: r.segment > before)
    reader = await bus.consumer("mask", [JOURNAL])
    got = await reader.batch(100, 1)
    assert {m.offset >> 32 for m in got} >= {0, 1, 2}
    await reader.commit(got[-1])
    source = journal_source(r.recorder)
    mark = encode(Covered(source, Position(2, 0, 0), "0", 9))
    await bus.producer().send(COVERED, [(b"another", b"x"), (source.encode(), mark)])
    assert r._coverage is not None
    await r._coverage.look()
    assert min(p.name for p in room.place.glob("*.tsj")) == "0000000002.tsj"
    assert r._next_beat(farewell=False).covered_epoch == 2
    r.close()
    await bus.close()


@pytest.mark.parametrize(("covered", "alone"), [((0, 0), True), ((0, 5_000), False), ((1, 0), False)])
async def test_a_recorder_of_which_the_ledger_has_more_than_it_wrote_has_a_twin_and_ends(
    room, monkeypatch, tmp_path, covered, alone
) -> None:
    monkeypatch.setattr("ingest.recorder.COVERED_S", 0.02)
    bus = LocalBus(tmp_path)
    r = room.recorder(bus=bus.producer(), covered=await bus.consumer("covered", [COVERED]), prune=bus.prune_journal)
    await r.start()
    ending = asyncio.create_task(r.alone())
    source = journal_source(r.recorder)
    mark = encode(Covered(source, Position(*covered, 7), "0", 9))
    await bus.producer().send(COVERED, [(source.encode(), mark)])
    if alone:
        await until(lambda: r._coverage.last[:2] == covered)
        assert not ending.done()
        ending.cancel()
    else:
        with pytest.raises(NotAlone, match="cloned"):
            await asyncio.wait_for(ending, 5)
    await r.stop()
    assert (journal_home.identity("orders.0", room.journal)[0] == r.recorder) is alone
    await bus.close()


async def test_a_recorder_with_a_twin_ends_also_where_its_disk_takes_no_mark_of_that(
    room, monkeypatch, tmp_path
) -> None:  # type: ignore[no-untyped-def]
    """It would go on recording what is taken for the other's; the next start meets its twin again."""
    monkeypatch.setattr("ingest.recorder.COVERED_S", 0.005)

    def full(place) -> None:  # type: ignore[no-untyped-def]
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ingest.recorder.give_up", full)
    bus = LocalBus(tmp_path)
    r = room.recorder(covered=await bus.consumer("recorder-0", [COVERED]), prune=bus.prune_journal)
    await r.start()
    source = journal_source(r.recorder)
    mark = encode(Covered(source, Position(1, 0, 0), "0", 1))
    await bus.producer().send(COVERED, [(source.encode(), mark)])
    with pytest.raises(NotAlone):
        async with asyncio.timeout(10):
            await r.alone()
    await r.stop()
    await bus.close()


async def test_marks_that_were_deleted_are_passed_over_and_the_next_one_counts() -> None:
    """The newest mark of a source is kept, or comes: what was lost before it says nothing more."""
    recorder = RecorderId("orders.0.00000000")
    pruned: list[int] = []

    class Marks:
        lost = True

        async def seek(self, topic: str, partition: int, offset: int) -> None:
            assert (topic, partition, offset) == (COVERED, 0, 7)
            self.lost = False

        async def batch(self, most: int, timeout_s: float) -> list[Message]:
            if self.lost:
                raise OffsetLost(COVERED, 0, 3, 7, 9)
            mark = Covered(journal_source(recorder), Position(4, 0, 0), "0", 1)
            return [Message(COVERED, 0, 7, mark.source.encode(), encode(mark), 0)]

    async def prune(_: str, epoch: int) -> None:
        pruned.append(epoch)

    coverage = beats.Coverage(recorder, Marks(), prune, lambda: (9, 0))  # type: ignore[arg-type]
    await coverage.look()
    await coverage.look()
    assert pruned == [4]
