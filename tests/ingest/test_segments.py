"""`segment` tells the truth, also while timers cut and releases put: a segment reads alone only because of it."""

import asyncio
import os
import random

import pytest

from bus import journal
from ingest import recorder as module
from ingest.settings import Durability
from schemas.frames import ASKING, FrameKind


@pytest.mark.parametrize("seed", range(5))
async def test_every_frame_is_in_the_segment_that_was_named_when_it_was_put(room, monkeypatch, seed) -> None:
    monkeypatch.setattr(module, "LATE_S", 0.001)
    monkeypatch.setattr(module, "SEGMENT_BYTES", 3000)
    monkeypatch.setattr(module, "CHUNK_BYTES", 2000)
    monkeypatch.setattr(module, "EARLY_BYTES", 1500)
    chance = random.Random(seed)
    r = room.recorder(epoch_s=0.02)
    await r.start()
    named: dict[bytes, int] = {}
    put = [0]
    waiting = [0]

    def frame() -> bytes:
        put[0] += 1
        data = b"%06d" % put[0] + bytes(chance.choice([0, 10, 500]))
        named[data] = r.segment
        return data

    def released() -> None:
        waiting[0] -= 1
        if chance.random() < 0.5:
            r.put(1, FrameKind.SERVER, frame())

    for _ in range(300):
        what = chance.random()
        if what < 0.5:
            kind = chance.choice([Durability.WRITE, Durability.FSYNC])
            waiting[0] += 1
            r.put_command(1, FrameKind.CLIENT, frame(), kind, released, lambda e: pytest.fail(str(e)))
        elif what < 0.8:
            r.put(1, FrameKind.SERVER, frame())
        elif what < 0.85:
            r.cut_now()
        else:
            await asyncio.sleep(chance.choice([0, 0.002]))
    async with asyncio.timeout(30):
        while waiting[0]:
            await asyncio.sleep(0.001)
    r.close()
    found = {f.data: n for n, frames in enumerate(room.segments()) for f in frames if f.kind is not FrameKind.BOOT}
    assert found == named
    order = [f.data[:6] for frames in room.segments() for f in frames if f.kind is not FrameKind.BOOT]
    assert order == sorted(order)


async def test_a_large_turn_is_cut_at_frames(room, command, monkeypatch) -> None:
    monkeypatch.setattr(module, "CHUNK_BYTES", 1000)
    r = room.recorder()
    await r.start()
    answers = [command(r, b"%d" % n * 300) for n in range(10)]
    assert await asyncio.gather(*answers) == ["released"] * 10
    assert r.chunks >= 4
    r.close()
    assert room.data() == [b"%d" % n * 300 for n in range(10)]


async def test_a_segment_says_whether_the_approvals_step_is_told_of_anything_in_it(room) -> None:
    r = room.recorder()
    await r.start()
    for kind in (FrameKind.SERVER, FrameKind.HOLD, FrameKind.SERVER, FrameKind.GONE, FrameKind.DECISION):
        r.put(1, kind, b"x")
        r.cut_now()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    r.close()
    found = list(journal.read(room.place))
    kinds = [[f.kind for f in frames] for frames in room.segments()]
    assert [segment.asks for segment in found] == [any(k in ASKING for k in some) for some in kinds]
    assert [segment.asks for segment in found].count(True) == 3, "the boot, the hold and its end"


async def test_a_tail_that_the_next_boot_signs_may_hold_anything(room) -> None:
    r = room.recorder()
    await r.start()
    r.put(1, FrameKind.SERVER, b"x")
    r.cut_now()
    await asyncio.sleep(0)
    r.put(1, FrameKind.HOLD, b"x")
    r._turn()  # written, and in a segment that nobody closes
    r._due.cancel()
    os.close(r._lock)
    again = room.recorder()
    await again.start()
    again.close()
    (tail,) = [segment for segment in journal.read(room.place) if segment.recovered]
    assert tail.asks
