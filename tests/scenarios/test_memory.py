"""Bad input and slow peers cost the gateway a bounded amount of memory. Prints what was measured."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from tests.scenarios.conftest import Deployment, Make

MIB = 1024 * 1024
IDLE = 500


def _gateway_pid(up: int) -> int:
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            if f"PPid:\t{up}\n" in status.read_text() and b"\0gateway\0" in (status.parent / "cmdline").read_bytes():
                return int(status.parent.name)
    raise AssertionError("no gateway process")


class Memory:
    """Resident and peak memory of a process, MiB, from /proc."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def _line(self, name: str) -> float:
        for line in Path(f"/proc/{self._pid}/status").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) / 1024
        raise AssertionError(name)

    @property
    def now(self) -> float:
        return self._line("VmRSS:")

    @property
    def peak(self) -> float:
        return self._line("VmHWM:")


@pytest.fixture
def running(deploy: Make) -> tuple[Deployment, Memory]:
    deployment = deploy()
    deployment.up.start()
    return deployment, Memory(_gateway_pid(deployment.up.process.pid))


def _alive(deployment: Deployment) -> None:
    with psycopg.connect(deployment.url) as db:
        assert db.execute("select 1").fetchone() == (1,)


@pytest.mark.timeout(240)
def test_a_row_of_300_mb_passes_whole_in_steady_memory(running: tuple[Deployment, Memory]) -> None:
    deployment, memory = running
    _alive(deployment)
    before = memory.now
    with psycopg.connect(deployment.url) as db:
        row = db.execute("select repeat('x', 300 * 1024 * 1024)").fetchone()
    assert row is not None
    assert len(row[0]) == 300 * MIB
    print(f"300 MiB row: {before:.0f} MiB before, peak {memory.peak:.0f}")
    assert memory.peak - before < 64
    _alive(deployment)


@pytest.mark.timeout(240)
def test_a_slow_reader_holds_the_target_back(running: tuple[Deployment, Memory]) -> None:
    deployment, memory = running
    _alive(deployment)
    before, rows = memory.now, 100_000
    with psycopg.connect(deployment.url) as db, db.cursor() as cursor:
        reading = cursor.stream("select repeat('y', 2000) from generate_series(1, %s)", (rows,))
        next(reading)
        # It reads nothing now; what is under way settles, and then nothing grows any more.
        last, still = 0.0, 0
        end = time.monotonic() + 20
        while still < 10 and time.monotonic() < end:
            still = still + 1 if memory.now - last < 0.5 else 0
            last = memory.now
            time.sleep(0.1)
        print(f"slow reader of {rows * 2000 // MIB} MiB: {before:.0f} MiB before, {last:.0f} while it waits")
        assert still == 10
        assert last - before < 64
        assert 1 + sum(1 for _ in reading) == rows
    _alive(deployment)


@pytest.mark.timeout(240)
def test_five_hundred_idle_connections(running: tuple[Deployment, Memory]) -> None:
    deployment, memory = running
    _alive(deployment)
    before = memory.now
    with ThreadPoolExecutor(16) as pool:
        idle = list(pool.map(lambda _: psycopg.connect(deployment.url, connect_timeout=60), range(IDLE)))
    try:
        print(f"{IDLE} idle connections: {before:.0f} MiB before, {memory.now:.0f} with them")
        assert memory.now - before < 100
        _alive(deployment)
        assert idle[0].execute("select 1").fetchone() == (1,)
        assert idle[-1].execute("select 1").fetchone() == (1,)
    finally:
        for db in idle:
            db.close()


@pytest.mark.timeout(120)
def test_a_length_of_one_gibibyte_is_refused_and_the_process_lives(running: tuple[Deployment, Memory]) -> None:
    deployment, memory = running
    _alive(deployment)
    before = memory.now
    for head in (
        struct.pack(">II", 1 << 30, 196608),
        struct.pack(">II", 4, 0),
        b"\xff" * 64,
        b"GET / HTTP/1.1\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", deployment.gateway_port), timeout=20) as s:
            s.sendall(head)
            answer = b""
            with contextlib.suppress(ConnectionError):
                while part := s.recv(4096):
                    answer += part
            assert answer == b"" or answer[:1] == b"E"
    assert memory.now - before < 16
    _alive(deployment)
