"""`up`'s supervisor: restarts what dies, gives up where no second try helps, ends all in order."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from tallystick import supervise
from tallystick.supervise import Role, Supervisor

CHILD = """
import signal, sys, os
place = sys.argv[1]
with open(place, "a") as f: f.write("start %d\\n" % os.getpid())
def end(*_):
    with open(place, "a") as f: f.write("end\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("ready here", flush=True)
signal.pause()
"""


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`python -m tallystick X` is `python child.py X` in these tests."""
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    real = asyncio.create_subprocess_exec

    async def start(program: str, *arguments: str, **how: object) -> asyncio.subprocess.Process:
        return await real(program, str(script), *arguments[2:], **how)  # type: ignore[arg-type]

    monkeypatch.setattr(supervise.asyncio, "create_subprocess_exec", start)
    return script


async def _until(condition) -> None:  # type: ignore[no-untyped-def]
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def test_roles_start_in_order_and_what_dies_comes_back(child: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    said: list[str] = []
    up = Supervisor([Role("one", (str(one),)), Role("two", (str(two),))], said.append)
    running = asyncio.create_task(up.run())
    await _until(lambda: "ready" in said)
    assert [line.split() for line in said] == [["one", "here"], ["two", "here"], ["ready"]]
    os.kill(int(one.read_text().split()[1]), signal.SIGKILL)
    await _until(lambda: one.read_text().count("start") == 2)
    os.kill(os.getpid(), signal.SIGTERM)
    assert await running == 0
    assert two.read_text().endswith("end\n")


async def test_a_role_that_no_second_try_helps_ends_all_with_its_code(child: Path, tmp_path: Path) -> None:
    child.write_text("import sys\nsys.exit(2)\n")
    up = Supervisor([Role("one", (str(tmp_path / "one"),))], [].append)
    async with asyncio.timeout(20):
        assert await up.run() == 2


def test_a_child_dies_with_its_parent(tmp_path: Path) -> None:
    """Killed outright, `up` leaves no role behind that holds a port."""
    import subprocess
    import time

    place = tmp_path / "place"
    parent = f"""
import asyncio, sys
from tallystick import supervise
real = asyncio.create_subprocess_exec
async def start(program, *a, **how): return await real(program, "-c", {CHILD!r}, *a[2:], **how)
supervise.asyncio.create_subprocess_exec = start
asyncio.run(supervise.Supervisor([supervise.Role("one", ({str(place)!r},))], lambda s: print(s, flush=True)).run())
"""
    process = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    while process.stdout.readline().strip() != "ready":
        assert process.poll() is None
    process.kill()
    process.wait()
    end = time.monotonic() + 10
    while not place.read_text().endswith("end\n"):
        assert time.monotonic() < end
        time.sleep(0.01)
