"""Every topic, and the Protocols that a driver keeps.

Delivery is at least once. A message is acknowledged when `send` returns: it is
durable then. A consumer commits after its outputs and its state are durable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

JOURNAL = "journal"  # JournalSegment, key recorder; written by recorders, read by the pipeline
EVENTS = "events"  # EventBatch, key recorder; partition n is shard n of the ledger
APPROVALS = "approvals"  # HoldRaised, HoldEnded, Vote, BootStarted, Tick; read by the approvals step
GRANTS = "grants"  # Grant, Refusal, Pending, key recorder; read by gateways
COVERED = "covered"  # Covered, key source; read by recorders


@dataclass(frozen=True, slots=True)
class Message:
    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes
    time_us: int  # when the bus took it: the approvals step's only clock

    def __repr__(self) -> str:
        return f"Message({self.topic}/{self.partition}@{self.offset}, {len(self.value)} bytes)"


class BusDown(RuntimeError):
    """The bus did not take or give; nothing may be assumed. Restart or retry."""


class Producer(Protocol):
    async def send(self, topic: str, items: Sequence[tuple[bytes, bytes]]) -> None:
        """Durable, in this order, when it returns. Items are (key, value). Raises BusDown."""


class Consumer(Protocol):
    """One reader of some topics in one group; starts at what the group committed, or at the start."""

    async def batch(self, most: int, timeout_s: float) -> list[Message]:
        """Up to `most` messages, in offset order a partition; [] after the timeout."""

    async def commit(self, upto: Message, metadata: str = "") -> None:
        """This message and all before it in its partition are done with."""

    async def committed(self, topic: str, partition: int) -> tuple[int, str] | None:
        """(last offset committed, metadata), or None."""

    async def seek(self, topic: str, partition: int, offset: int) -> None:
        """The next batch of that partition starts at `offset`."""


class Table(Protocol):
    """Small durable state. Values come back as they went in."""

    async def get(self, key: bytes) -> bytes | None: ...

    async def items(self) -> dict[bytes, bytes]: ...

    async def put(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Durable, all or none, when it returns; None deletes."""


class Bus(Protocol):
    @property
    def cluster(self) -> str:
        """Identity of this bus, made once when it was created."""

    def producer(self) -> Producer: ...

    def consumer(self, group: str, topics: Sequence[str]) -> Consumer:
        """`group` "" reads from the current end and commits nothing."""

    def table(self, name: str) -> Table: ...

    async def close(self) -> None: ...
