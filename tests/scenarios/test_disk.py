"""The journal's disk is full, for real: a small file system. Nothing reaches the target unrecorded."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from schemas.records import Exchange, Gap, Result, SessionClosed, Undecoded
from tallystick import demo_postgres
from tests.scenarios.conftest import Make
from tests.scenarios.test_ops import page

MARKER = r"mark-([0-9]+)-end"


@contextlib.contextmanager
def mounted(place: Path, size: str) -> Iterator[bool]:
    """A file system that can be filled to the last byte, or False where nobody may mount one."""
    place.mkdir()
    made = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place]
    done = subprocess.run(made, capture_output=True, check=False).returncode == 0
    try:
        yield done
    finally:
        if done:
            subprocess.run(["umount", "-l", place], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """12 MiB."""
    with mounted(tmp_path / "small", "12m") as done:
        if not done:
            pytest.skip(
                "no right to mount a file system here; tests/ingest/test_recorder_faults.py has the same by faults"
            )
        yield tmp_path / "small"


@pytest.mark.timeout(240)
def test_a_full_journal_refuses_and_goes_on_when_there_is_space(deploy: Make, small_disk: Path) -> None:
    ops = demo_postgres.free_port()
    deployment = deploy(more_gateway=f'ops = "127.0.0.1:{ops}"')
    journal = deployment.place / "data" / "journal"
    journal.parent.mkdir()
    journal.symlink_to(small_disk)
    deployment.up.start()
    number = 0

    def insert(db: psycopg.Connection[object]) -> None:
        nonlocal number
        number += 1
        db.execute(f"insert into work values ('mark-{number}-end')".encode())

    with psycopg.connect(deployment.url, autocommit=True) as db:
        db.execute("create table work (mark text)")
        insert(db)
        before = number
        fill(small_disk / "filler")
        refused = _until_refused(db, insert)
        assert refused.sqlstate in ("53100", "58030"), refused.sqlstate
        assert "tallystick" in str(refused)
        status, why = page(ops, "/readyz")
        assert status == 503
        assert "No space left" in why, why
        log = deployment.postgres.log_size()
        for _ in range(5):
            with pytest.raises(psycopg.Error):
                insert(db)
        assert "mark-" not in deployment.postgres.log_since(log), "refused, and yet it reached the target"
        refused_marks = range(number - 4, number + 1)
        (small_disk / "filler").unlink()
        end = time.monotonic() + 20
        while True:
            try:
                insert(db)
                break
            except psycopg.Error:
                assert time.monotonic() < end, "space is back, and traffic does not go on"
        assert page(ops, "/readyz") == (200, "ready\n")
        assert number > before
    deployment.up.stop()
    executed = deployment.executed(MARKER)
    assert len(executed) == len(set(executed))
    assert not {str(n) for n in refused_marks} & set(executed)
    recorded = [m for _, text in deployment.commands() for m in executed if f"mark-{m}-end" in text]
    assert sorted(recorded) == sorted(executed)
    bodies = [entry.body for entry in deployment.entries()]
    # The refused ones are on record too, as refused: the session is complete.
    closed = next(b for b in bodies if isinstance(b, SessionClosed))
    exchanges = [b for b in bodies if isinstance(b, Exchange) and b.session == closed.session]
    assert len(exchanges) == closed.commands
    assert sum(b.result is Result.REFUSED for b in exchanges) >= 5
    # A chunk number sealed with two contents would not open, or would break the chain.
    assert not [b for b in bodies if isinstance(b, Gap | Undecoded)]
    assert deployment.verify().code == 0


def fill(path: Path) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        for size in (65536, 1024, 1):
            try:
                while True:
                    os.write(handle, b"x" * size)
            except OSError:
                continue
    finally:
        os.close(handle)


def _until_refused(db: psycopg.Connection[object], insert) -> psycopg.Error:  # type: ignore[no-untyped-def]
    """The page under the journal's end may still have room for a few."""
    for _ in range(2000):
        try:
            insert(db)
        except psycopg.Error as e:
            return e
    raise AssertionError("the disk is full, and commands go through")
