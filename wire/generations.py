"""A bounded memory: what was not asked for since the last time it was full is forgotten. Pure."""

from __future__ import annotations

from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Generations(Generic[K, V]):
    """Two dicts: the young one becomes the old one when it is full. `young` is open to who must be quick."""

    def __init__(self, most: int, largest: int) -> None:
        self._most, self._largest = most, largest
        self.young: dict[K, V] = {}
        self._old: dict[K, V] = {}
        self._size = 0

    def get(self, key: K) -> V | None:
        found = self.young.get(key)
        return found if found is not None else self._old.get(key)

    def keep(self, key: K, value: V, size: int) -> None:
        """`size` is whatever the caller counts."""
        if len(self.young) >= self._most or self._size >= self._largest:
            self._old, self.young, self._size = self.young, {}, 0
        self.young[key] = value
        self._size += size
