"""fdatasync off the loop: one in flight, the next takes all that waited (group commit).

A failed fdatasync proves nothing about what it was asked for, now or later: the
kernel may have dropped those pages. So all that wait are refused, and the recorder
is told to end the epoch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import structlog

from bus.journal import JournalUnwritable, JournalWriter
from ingest.settings import Durability

_log = structlog.get_logger()


@dataclass(slots=True)
class Waiting:
    """A command that is not upstream yet. Exactly one of the two is called, once."""

    durability: Durability
    release: Callable[[], None]
    refuse: Callable[[Exception], None]


def release(waiting: Iterable[Waiting]) -> None:
    """One command's fault (a closed transport) must not strand the others."""
    for one in waiting:
        try:
            one.release()
        except Exception as e:  # noqa: BLE001  # whatever it was, the next must go
            _log.warning("a released command failed", fault=type(e).__name__)


def refuse(waiting: Iterable[Waiting], why: Exception) -> None:
    for one in waiting:
        try:
            one.refuse(why)
        except Exception as e:  # noqa: BLE001
            _log.warning("a refused command failed", fault=type(e).__name__)


class GroupSync:
    """Releases commands once the file they were written to is on the disk."""

    def __init__(self, settled: Callable[[], None], failed: Callable[[JournalUnwritable], None]) -> None:
        """`settled` is called when no sync is in flight and before the next begins."""
        self._settled, self._failed = settled, failed
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, "fdatasync")
        self._waiting: list[Waiting] = []
        self._bytes = [0, 0]  # waiting, in flight
        self.in_flight = False

    @property
    def bytes(self) -> int:
        """Written, and waited for."""
        return sum(self._bytes)

    def wait(self, writer: JournalWriter, waiting: list[Waiting], size: int) -> None:
        self._writer = writer
        self._waiting += waiting
        self._bytes[0] += size
        self._begin()

    def synced(self) -> None:
        """The file of all that wait was synced by another and ends here. Not while a sync is in flight."""
        batch, self._waiting = self._waiting, []
        self._bytes[0] = 0
        release(batch)

    def _begin(self) -> None:
        if self.in_flight or not self._waiting:
            return
        self.in_flight = True
        batch, self._waiting = self._waiting, []
        self._bytes = [0, self._bytes[0]]
        self._thread.submit(self._work, self._writer, batch)

    def _work(self, writer: JournalWriter, batch: list[Waiting]) -> None:
        fault: JournalUnwritable | None = None
        try:
            writer.sync()
        except JournalUnwritable as e:
            fault = e
        self._loop.call_soon_threadsafe(self._done, batch, fault)

    def _done(self, batch: list[Waiting], fault: JournalUnwritable | None) -> None:
        self.in_flight = False
        self._bytes[1] = 0
        if fault is None:
            release(batch)
            self._settled()
            self._begin()
            return
        lost, self._waiting = batch + self._waiting, []
        self._bytes[0] = 0
        self._failed(fault)  # first, so that nothing a refusal leads to goes into the broken epoch unseen
        refuse(lost, fault)

    def close(self, why: Exception) -> None:
        """Waits for the sync in flight; what still waited behind it is refused."""
        self._thread.shutdown(wait=True)
        lost, self._waiting = self._waiting, []
        refuse(lost, why)
