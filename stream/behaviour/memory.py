"""All that was learned, in rows. An identity sleeps as bytes until it comes again: there may be many.

    i/<identity>   its head           o/<session>          who an open session is of
    s/<identity>   what it does       r/<run>              which network and identity a run is of
    k/<class>/<part>  its peers       q/<request>          what an approval is asked for

Bounded: above MOST of a kind the oldest go, at the same place in every replay.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from stream.behaviour.identity import Identity, dumps, read_identity
from stream.behaviour.peers import Peers

MOST_IDENTITIES = 50_000
MOST_SESSIONS = 50_000
MOST_RUNS = 20_000
MOST_REQUESTS = 5_000
AWAKE = 2_000
"""Identities kept as objects between turns."""


class StateBox(Protocol):
    """Seals a row under its name: what was sealed for another does not open."""

    def seal(self, name: bytes, plain: bytes) -> bytes: ...
    def open(self, name: bytes, sealed: bytes) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Open:
    """An open session."""

    subject: str
    target: str
    environment: str
    caused_by: tuple[str, ...]
    opened_us: int


@dataclass(frozen=True, slots=True)
class Run:
    """The first session of a run."""

    subject: str
    network: str
    first_us: int


@dataclass(frozen=True, slots=True)
class Asked:
    """What an approval is asked for."""

    subject: str
    things: tuple[str, ...]
    opened_us: int


class Small:
    """A bounded table of small rows, all awake; the oldest eighth goes at once."""

    def __init__(self, kind: bytes, most: int, make: Callable[..., Any], age: Callable[[Any], int]) -> None:
        self.kind, self._most, self._make, self._age = kind, most, make, age
        self.rows: dict[str, Any] = {}
        self._changed: set[str] = set()

    def get(self, name: str) -> Any:
        return self.rows.get(name)

    def put(self, name: str, value: Any) -> None:
        self.rows[name] = value
        self._changed.add(name)
        if len(self.rows) > self._most:
            for each in sorted(self.rows, key=lambda n: (self._age(self.rows[n]), n))[: max(1, self._most // 8)]:
                self.drop(each)

    def drop(self, name: str) -> None:
        if self.rows.pop(name, None) is not None:
            self._changed.add(name)

    def restore(self, name: str, plain: bytes) -> None:
        self.rows[name] = self._make(*(tuple(v) if isinstance(v, list) else v for v in json.loads(plain)))

    def changes(self, box: StateBox) -> dict[bytes, bytes | None]:
        changed, self._changed = self._changed, set()
        found: dict[bytes, bytes | None] = {}
        for name in sorted(changed):
            key = self.kind + name.encode()
            row = self.rows.get(name)
            found[key] = None if row is None else box.seal(key, dumps([getattr(row, f) for f in row.__slots__]))
        return found


class Memory:
    def __init__(self, box: StateBox, most: int = MOST_IDENTITIES, awake: int = AWAKE) -> None:
        self._box, self._most, self._keep_awake = box, most, awake
        self._awake: dict[str, Identity] = {}
        self._asleep: dict[str, tuple[bytes, bytes]] = {}  # sealed head, sealed sets
        self._last: dict[str, int] = {}  # of every identity: when it came last
        self._heads: set[str] = set()  # to be written
        self._sets: set[str] = set()
        self._gone: set[str] = set()
        self._peers: dict[str, Peers] = {}
        self.sessions = Small(b"o/", MOST_SESSIONS, Open, lambda o: o.opened_us)
        self.runs = Small(b"r/", MOST_RUNS, Run, lambda r: r.first_us)
        self.requests = Small(b"q/", MOST_REQUESTS, Asked, lambda a: a.opened_us)

    def __len__(self) -> int:
        """Identities."""
        return len(self._last)

    # --- identities ----------------------------------------------------------------

    def identity(self, name: str) -> Identity | None:
        found = self._awake.get(name)
        if found is None and name in self._asleep:
            head, sets = self._asleep.pop(name)
            found = read_identity(
                self._box.open(b"i/" + name.encode(), head), self._box.open(b"s/" + name.encode(), sets)
            )
            self._awake[name] = found
        return found

    def add(self, name: str, identity: Identity) -> None:
        self._awake[name] = identity
        self._last[name] = identity.last_us
        self._gone.discard(name)
        self.moved(name, identity, sets=True)
        if len(self._last) > self._most:
            oldest = sorted(self._last, key=lambda n: (self._last[n], n))[: max(1, self._most // 32)]
            for each in oldest:
                self._forget(each)

    def moved(self, name: str, identity: Identity, *, sets: bool) -> None:
        """Something of it changed; `sets` too."""
        self._heads.add(name)
        self._last[name] = identity.last_us
        if sets:
            self._sets.add(name)

    def _forget(self, name: str) -> None:
        self._awake.pop(name, None)
        self._asleep.pop(name, None)
        del self._last[name]
        self._heads.discard(name)
        self._sets.discard(name)
        self._gone.add(name)

    def peers(self, name: str) -> Peers:
        return self._peers.setdefault(name, Peers())

    # --- rows ----------------------------------------------------------------------

    def restore(self, rows: Mapping[bytes, bytes]) -> None:
        """Raises CannotOpen, KeyError for a row of another release."""
        small = {table.kind: table for table in (self.sessions, self.runs, self.requests)}
        for key, row in rows.items():
            kind, name = key[:2], key[2:].decode()
            if kind == b"i/":
                self._asleep[name] = (row, rows[b"s/" + key[2:]])
                self._last[name] = json.loads(self._box.open(key, row))["last"]
            elif kind == b"k/":
                of, _, part = name.rpartition("/")
                self.peers(of).read(part, self._box.open(key, row))
            elif kind != b"s/":
                small[kind].restore(name, self._box.open(key, row))

    def changes(self) -> dict[bytes, bytes | None]:
        """The rows that differ since the last call; then those who did not come lately sleep."""
        rows: dict[bytes, bytes | None] = {}
        for name in sorted(self._gone):
            rows |= {b"i/" + name.encode(): None, b"s/" + name.encode(): None}
        for kind, names, plain in ((b"i/", self._heads, Identity.head), (b"s/", self._sets, Identity.sets)):
            for name in sorted(names):
                key = kind + name.encode()
                rows[key] = self._box.seal(key, plain(self._awake[name]))
        for of in sorted(self._peers):
            peers = self._peers[of]
            for part in sorted(peers.changed):
                key = f"k/{of}/{part}".encode()
                rows[key] = self._box.seal(key, peers.row(part))
            peers.changed = set()
        self._gone, self._heads, self._sets = set(), set(), set()
        for table in (self.sessions, self.runs, self.requests):
            rows |= table.changes(self._box)
        self._sleep()
        return rows

    def _sleep(self) -> None:
        if len(self._awake) <= self._keep_awake:
            return
        newest = sorted(self._awake, key=lambda n: (self._last[n], n))
        for name in newest[: len(newest) - self._keep_awake // 2]:
            identity = self._awake.pop(name)
            keys = b"i/" + name.encode(), b"s/" + name.encode()
            self._asleep[name] = (
                self._box.seal(keys[0], identity.head()), self._box.seal(keys[1], identity.sets()),
            )  # fmt: skip


@lru_cache(maxsize=16_384)
def identity_name(subject: str) -> str:
    """Of its rows, and among its peers: 16 hex digits of the subject's SHA-256."""
    return hashlib.sha256(subject.encode()).hexdigest()[:16]
