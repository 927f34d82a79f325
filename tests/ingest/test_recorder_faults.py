"""A disk that is full, fails to sync, or fails at any write: nothing goes on unrecorded, no number has two contents."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bus import journal
from ingest import recorder as module
from ingest.settings import Durability
from schemas.codec import decode
from schemas.frames import FrameKind


async def until(true) -> None:  # type: ignore[no-untyped-def]
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("kept", [0, 1, 16, 17, 40])
async def test_a_write_that_fails_anywhere_leaves_one_content_a_number(room, command, monkeypatch, kept) -> None:
    """Every fourth write keeps `kept` bytes and then fails, for a hundred commands."""
    real, calls, contents = os.pwrite, [0], {}

    def flaky(fd: int, data: bytes, at: int) -> int:
        calls[0] += 1
        if data[:1] == b"C" and len(data) >= 17:
            contents.setdefault((fd, data[1:9]), set()).add(bytes(data))
        if calls[0] % 4 == 0:
            real(fd, data[:kept], at)
            raise OSError(28, "No space left on device")
        return real(fd, data, at)

    r = room.recorder()
    await r.start()
    monkeypatch.setattr(module, "RETRY_S", 0.001)
    monkeypatch.setattr(journal.os, "pwrite", flaky)
    released = []
    for n in range(100):
        if await asyncio.wait_for(command(r, b"%d" % n), 10) == "released":
            released.append(b"%d" % n)
        else:
            await asyncio.sleep(0.003)
    monkeypatch.undo()
    await until(lambda: r._fault is None)
    r.close()
    recorded = room.data()
    assert 10 < len(released) < 100
    assert set(released) <= set(recorded)
    assert len(recorded) == len(set(recorded))
    assert {len(c) for c in contents.values()} == {1}


async def test_a_sync_that_fails_refuses_all_that_waited_and_ends_the_epoch(room, command, monkeypatch) -> None:
    r = room.recorder()
    await r.start()

    def failing(fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(journal.os, "fdatasync", failing)
    first = command(r, b"a", Durability.FSYNC)
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # in flight now; the next waits behind it
    second = command(r, b"b", Durability.FSYNC)
    assert await asyncio.wait_for(asyncio.gather(first, second), 10) == ["JournalUnwritable"] * 2
    assert await asyncio.wait_for(command(r, b"c"), 10) == "JournalUnwritable"
    monkeypatch.undo()
    await until(lambda: r._fault is None)
    assert await asyncio.wait_for(command(r, b"d", Durability.FSYNC), 10) == "released"
    r.close()
    assert journal.epochs(room.place) == [0, 1]
    assert b"d" in room.data()


async def test_answers_that_find_no_room_are_counted_and_said_and_reading_stops_before(
    room, command, monkeypatch
) -> None:
    told: list[bool] = []
    r = room.recorder(congested=told.append)
    await r.start()
    monkeypatch.setattr(module, "CONGESTED_BYTES", 4000)
    monkeypatch.setattr(module, "MOST_WAITING", 8000)

    def full(fd: int, data: bytes, at: int) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(journal.os, "pwrite", full)
    assert await asyncio.wait_for(command(r, b"q"), 10) == "JournalUnwritable"
    for n in range(12):
        r.put(7, FrameKind.SERVER, b"%d" % n * 1000)
    r.put(8, FrameKind.SERVER, b"small, of another session")
    await until(lambda: told == [True])
    monkeypatch.setattr(journal.os, "pwrite", REAL)
    await until(lambda: r._fault is None)
    assert await asyncio.wait_for(command(r, b"after"), 10) == "released"
    await until(lambda: told == [True, False])
    r.close()
    kept = room.data(FrameKind.SERVER)
    [said] = [decode(d) for d in room.data(FrameKind.ELIDED)]
    assert b"small, of another session" in kept
    whole = sum(len(b"%d" % n * 1000) for n in range(12))
    assert said.size == whole - sum(len(d) for d in kept if not d.startswith(b"small"))
    assert said.size > 0


REAL = os.pwrite


async def test_a_new_epoch_that_cannot_begin_leaves_no_file_and_begins_later(room, command, monkeypatch) -> None:
    r = room.recorder(epoch_s=0.0)
    await r.start()
    assert await command(r, b"a") == "released"
    monkeypatch.setattr(module, "RETRY_S", 0.001)
    real = os.pwrite

    def no_heads(fd: int, data: bytes, at: int) -> int:
        if data.startswith(journal.MAGIC):
            raise OSError(28, "No space left on device")
        return real(fd, data, at)

    monkeypatch.setattr(journal.os, "pwrite", no_heads)
    r.cut_now()
    await until(lambda: r._fault is not None)
    assert await asyncio.wait_for(command(r, b"refused"), 10) == "JournalUnwritable"
    monkeypatch.undo()
    await until(lambda: r._fault is None)
    assert await asyncio.wait_for(command(r, b"b"), 10) == "released"
    r.close()
    assert [d for d in room.data() if d in (b"a", b"b")] == [b"a", b"b"]


CHILD = """
import asyncio, importlib.util, resource, sys
from pathlib import Path
def load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    made = importlib.util.module_from_spec(spec)
    sys.modules[name] = made
    spec.loader.exec_module(made)
    return made
t = load("t", {conftest!r})
command = t.command._get_wrapped_function()()
async def main():
    r = t.Room(Path({keys!r})).recorder()
    await r.start()
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, resource.RLIM_INFINITY))
    refused = 0
    for n in range(100):
        said = await command(r, b"%05d" % n * 200)
        print(n if said == "released" else said, flush=True)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    while await command(r, b"again") != "released":
        await asyncio.sleep(0.01)
    r.close()
asyncio.run(main())
"""


def test_a_real_limit_of_the_kernel_is_refusal_then_goes_on(room) -> None:
    script = CHILD.format(conftest=str(Path(__file__).parent / "conftest.py"), keys=str(room.keys))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, env=environment, timeout=60)
    assert ran.returncode == 0, ran.stderr.decode()[-2000:]
    lines = [line for line in ran.stdout.decode().splitlines() if line.isdigit() or line == "JournalUnwritable"]
    released = {b"%05d" % int(line) * 200 for line in lines if line.isdigit()}
    assert 20 < len(released) < 60
    assert "JournalUnwritable" in lines
    recorded = room.data()
    assert released <= set(recorded)
    assert recorded[-1] == b"again"


async def test_a_command_that_came_while_nothing_was_written_is_refused_though_space_is_back(
    room, command, monkeypatch
) -> None:
    """Its frame is in no journal; space came back between its arrival and its turn, and it went upstream."""
    r = room.recorder()
    await r.start()

    def full(fd: int, data: bytes, at: int) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(journal.os, "pwrite", full)
    assert await asyncio.wait_for(command(r, b"first"), 10) == "JournalUnwritable"
    late = command(r, b"late")
    monkeypatch.undo()
    r._retrying.cancel()
    r._retry()  # the timer, run before this turn as the loop may
    assert r._fault is None
    assert await asyncio.wait_for(late, 10) == "JournalUnwritable"
    assert await asyncio.wait_for(command(r, b"after"), 10) == "released"
    r.close()
    assert b"late" not in room.data()
    assert b"after" in room.data()
