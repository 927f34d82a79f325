"""No record, no action: what was released is in the journal, whatever happens to the process or the disk."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bus import journal
from ingest.recorder import RecorderTaken
from ingest.settings import Durability
from schemas.codec import decode
from schemas.frames import Frame, FrameKind
from schemas.records import BootMark, EventBatch, LedgerEntry


def frames(room) -> list[Frame]:  # type: ignore[no-untyped-def]
    return [f for segment in room.segments() for f in segment]


async def test_the_frames_of_a_turn_are_one_chunk_and_read_back(room, command) -> None:
    r = room.recorder()
    await r.start()
    answers = await asyncio.gather(*(command(r, b"q%d" % n, session=n) for n in range(8)))
    assert answers == ["released"] * 8
    assert r.chunks == 2  # the boot mark's, and one for all eight
    r.put(3, FrameKind.SERVER, b"answer")
    r.close()
    got = frames(room)
    assert isinstance(decode(got[0].data), BootMark)
    assert [(f.session, f.data) for f in got[1:]] == [*((n, b"q%d" % n) for n in range(8)), (3, b"answer")]
    batch = decode(room.bus.values[0])
    assert isinstance(batch, EventBatch)
    assert isinstance(decode(batch.events[0].leaf), LedgerEntry)


@pytest.mark.parametrize("durability", [Durability.WRITE, Durability.FSYNC])
async def test_one_released_command_that_fails_strands_no_other(room, command, durability) -> None:
    r = room.recorder()
    await r.start()

    def closed() -> None:
        raise RuntimeError("transport is closed")

    r.put_command(1, FrameKind.CLIENT, b"a", durability, closed, lambda e: None)
    assert await command(r, b"b", durability, session=2) == "released"
    r.close()


async def test_a_full_disk_refuses_and_no_number_gets_two_contents(room, command, monkeypatch) -> None:
    r = room.recorder()
    await r.start()
    assert await command(r, b"before", session=1) == "released"
    real = os.pwrite
    tried: list[bytes] = []

    def full(fd: int, data: bytes, at: int) -> int:
        tried.append(bytes(data))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(journal.os, "pwrite", full)
    assert await command(r, b"while full", session=1) == "JournalUnwritable"
    assert await command(r, b"while full too", session=2) == "JournalUnwritable"
    r.put(1, FrameKind.SERVER, b"an answer that waits")
    chunks = {data for data in tried if data.startswith(b"C")}
    assert len(chunks) == 1  # the same sealed bytes each time
    monkeypatch.setattr(journal.os, "pwrite", real)
    while await command(r, b"after", session=1) != "released":
        await asyncio.sleep(0.05)
    r.close()
    data = [f.data for f in frames(room) if f.kind in (FrameKind.CLIENT, FrameKind.SERVER)]
    assert data.index(b"an answer that waits") < data.index(b"after")


async def test_two_processes_never_write_one_journal(room) -> None:
    r = room.recorder()
    await r.start()
    with pytest.raises(RecorderTaken):
        room.recorder()
    r.close()


async def test_an_epoch_ends_and_the_next_goes_on_from_it(room, command) -> None:
    r = room.recorder(epoch_s=0.0)
    await r.start()
    for n in range(4):
        assert await command(r, b"%d" % n, session=1) == "released"
        before = r.segment
        r.cut_now()
        while r.segment == before:
            await asyncio.sleep(0)
    r.close()
    assert len(journal.epochs(room.place)) >= 3
    assert [f.data for f in frames(room) if f.kind is FrameKind.CLIENT] == [b"0", b"1", b"2", b"3"]


CHILD = """
import asyncio, sys
sys.path.insert(0, {root!r})
import importlib.util
spec = importlib.util.spec_from_file_location("t", {me!r})
t = importlib.util.module_from_spec(spec)
spec.loader.exec_module(t)
from pathlib import Path
async def main():
    r = t.Room(Path({keys!r})).recorder()
    command = t.command._get_wrapped_function()()
    await r.start()
    n = 0
    while True:
        kind = t.Durability.FSYNC if n % 3 == 0 else t.Durability.WRITE
        await command(r, b"%d.%d" % (r.boot, n), kind)
        print(f"{{r.boot}}.{{n}}", flush=True)
        n += 1
asyncio.run(main())
"""


def test_killed_at_any_moment_what_was_released_is_in_the_journal(room) -> None:
    script = CHILD.format(
        root=str(Path(__file__).parents[2]), me=str(Path(__file__).with_name("conftest.py")), keys=str(room.keys)
    )
    released: list[bytes] = []
    for lines in (1, 7, 60, 200, 3):
        child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
        assert child.stdout is not None
        released += [child.stdout.readline().strip() for _ in range(lines)]
        child.send_signal(signal.SIGKILL)
        released += [line.strip() for line in child.stdout if line.endswith(b"\n")]
        child.wait()

    async def one_more_boot() -> None:
        r = room.recorder()
        await r.start()
        assert r.boot == 5
        r.close()

    asyncio.run(one_more_boot())
    recorded = [f.data for f in frames(room) if f.kind is FrameKind.CLIENT]
    assert len(recorded) == len(set(recorded))
    assert set(released) - {b""} <= set(recorded)
