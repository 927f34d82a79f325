"""Rows that went to the client and are above what is captured of one answer: how many, and a keyed digest of all."""

from __future__ import annotations

import hmac

from schemas.records import Elided


class Uncaptured:
    """Of one answer at a time."""

    __slots__ = ("_bytes", "_digest", "_key", "_rows")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._clear()

    def _clear(self) -> None:
        self._rows = self._bytes = 0
        self._digest = hmac.new(self._key, digestmod="sha256")

    def row(self, data: bytes) -> None:
        """A whole one."""
        self._rows += 1
        self.add(data)

    def begin(self) -> None:
        """A row whose head is captured: its body follows by `add`."""
        self._rows += 1

    def add(self, data: bytes) -> None:
        self._bytes += len(data)
        self._digest.update(data)

    def end(self) -> Elided | None:
        """What there was of this answer; None for nothing. Begins the next."""
        if not self._bytes:
            return None
        elided = Elided(False, self._rows, self._bytes, self._digest.digest())
        self._clear()
        return elided
