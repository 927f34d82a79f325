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
APPROVALS = "approvals"  # HoldRaised, HoldEnded, Vote, BootStarted, Tick, Resume; read by the approvals step
GRANTS = "grants"  # Grant, Refusal, Pending, key recorder; Suspended, Resumed; read by gateways
COVERED = "covered"  # Covered, key source; read by recorders

MASK_GROUP, ASK_GROUP, BEHAVIOUR_GROUP = "pipeline", "ask", "behaviour"
"""Groups of readers: names under which offsets are kept. Others are made of a gateway's or a shard's name."""

LARGEST_MESSAGE = 4 * 1024 * 1024
"""Key and value. A segment is at most 512 KiB and one chunk of 1 MiB and one frame, so this leaves room."""


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


class BusRefused(BusDown):
    """The bus is there and says no: a credential, a certificate, a topic. Waiting does not mend it; somebody must."""


class MessageTooLarge(ValueError):
    """Above LARGEST_MESSAGE: no driver takes it, now or later. Nothing of its `send` was sent."""


class OffsetLost(RuntimeError):
    """What a group should read next is gone, or never was: deleted too early, or the topic was made again.

    Nothing is skipped: every `batch` raises this until `seek` says where to go on (`first`, as a rule), and
    whoever seeks says on record what is missing.
    """

    def __init__(self, topic: str, partition: int, wanted: int, first: int, end: int) -> None:
        """Offsets: the one to be read next; those now there are `first` up to, not including, `end`."""
        super().__init__(f"{topic}/{partition}: offset {wanted} is not there; {first} to {end} (not included) are")
        self.topic, self.partition, self.wanted, self.first, self.end = topic, partition, wanted, first, end


def check_size(items: Sequence[tuple[bytes, bytes]]) -> None:
    """Raises MessageTooLarge."""
    for key, value in items:
        if len(key) + len(value) > LARGEST_MESSAGE:
            raise MessageTooLarge(f"a message of {len(key) + len(value)} bytes; {LARGEST_MESSAGE} is the most")


class Producer(Protocol):
    async def send(self, topic: str, items: Sequence[tuple[bytes, bytes]]) -> None:
        """Durable when it returns, in this order for each key. Items are (key, value).

        Raises BusDown, and then any of them may have been sent all the same; MessageTooLarge before any was.
        """


class Consumer(Protocol):
    """One reader of some topics in one group; starts at what the group committed, or at the start.

    It reads the partitions it was told to and takes no part in any division of them. Not for two tasks at once.
    Everything here raises BusDown.
    """

    async def batch(self, most: int, timeout_s: float) -> list[Message]:
        """Up to `most` messages, in offset order a partition; [] after the timeout. Raises OffsetLost."""

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

    async def identity(self, topic: str) -> str:
        """Of this topic as it was made on this bus: under another one, offsets mean something else. Raises BusDown."""

    async def end(self, topic: str, partition: int) -> int:
        """The offset that the next message will have. Raises BusDown."""

    def producer(self) -> Producer: ...

    async def consumer(self, group: str, topics: Sequence[str], partitions: Sequence[int] | None = None) -> Consumer:
        """Of these partitions of each topic; None is all. Raises BusDown.

        `group` "" reads from the end as it is when this returns, and commits nothing.
        """

    async def close(self) -> None: ...


class TableBus(Bus, Protocol):
    """A bus that holds state too: the embedded one. In full mode tables are Faust's."""

    def table(self, name: str) -> Table: ...
