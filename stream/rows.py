"""Puts that are all or none, over a store that takes one row at a time. Pure.

Kafka's changelog is such a store: a crash in the middle of a put leaves some rows new and the
rest old. Each key has two slots; a put writes the slots that do not count, then a head with its
number, then buries what it deleted. What counts is the newest slot that the head has seen, so a
put without its head never was, and the next one first takes its rows away: it will have the same
number. The store keeps the order of what `put` gives.

    <key>/0, <key>/1     number of the put, 1 byte (kept or deleted), the value
    head                 number of the newest whole put
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

HEAD = b"head"
_NUMBER = 8
_KEPT, _DELETED = b"\x01", b"\x00"


class RowsUnreadable(ValueError):
    """Rows that this module never wrote."""


@dataclass(frozen=True, slots=True)
class _Slot:
    slot: int
    put: int


class Rows:
    """The rows of one partition."""

    def __init__(self) -> None:
        self._put = 0
        self._live: dict[bytes, _Slot] = {}
        self._left: list[bytes] = []  # slots that count for nothing and that a crash kept

    def restore(self, stored: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
        """What counts of these rows, by key. Raises RowsUnreadable."""
        self._put = _number(stored.get(HEAD, bytes(_NUMBER)))
        self._live, self._left = {}, []
        found: dict[bytes, bytes] = {}
        for name, row in stored.items():
            if name == HEAD:
                continue
            key, slot = name[:-2], name[-1:]
            if name[-2:-1] != b"/" or slot not in (b"0", b"1"):
                raise RowsUnreadable("a row of the state has no slot")
            put = _number(row)
            known = self._live.get(key)
            if put > self._put:
                self._left.append(name)
            elif known is None or known.put < put:
                self._live[key], found[key] = _Slot(int(slot), put), row[_NUMBER:]
        for key in [key for key, row in found.items() if row[:1] == _DELETED]:
            del found[key]
            self._left += self._grave(key)
        return {key: row[1:] for key, row in found.items()}

    def put(self, changes: Mapping[bytes, bytes | None]) -> list[tuple[bytes, bytes | None]]:
        """The writes that make these changes, in the order in which they must become durable; None deletes."""
        self._put += 1
        number = self._put.to_bytes(_NUMBER, "big")
        left, self._left = self._left, []
        writes: list[tuple[bytes, bytes | None]] = [(name, None) for name in left]  # before the slots are used again
        buried: list[bytes] = []
        for key, value in changes.items():
            known = self._live.get(key)
            if value is None and known is None:
                continue
            slot = 0 if known is None else 1 - known.slot
            self._live[key] = _Slot(slot, self._put)
            writes.append((_name(key, slot), number + (_DELETED if value is None else _KEPT + value)))
            if value is None:
                buried += self._grave(key)
        return [*writes, (HEAD, number), *((name, None) for name in buried)]

    def _grave(self, key: bytes) -> list[bytes]:
        """Both slots; the one that says "deleted" last, or the older one would count again."""
        slot = self._live.pop(key).slot
        return [_name(key, 1 - slot), _name(key, slot)]


def _name(key: bytes, slot: int) -> bytes:
    return key + b"/%d" % slot


def _number(row: bytes) -> int:
    if len(row) < _NUMBER:
        raise RowsUnreadable("a row of the state is cut")
    return int.from_bytes(row[:_NUMBER], "big")
