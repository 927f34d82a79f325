"""Names of things, and positions.

A *source* numbers what it emits; its positions only grow. The ledger's whole
memory for "nothing lost, nothing twice" is one position a source, because each
message names the position before it (`prior`).
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple, NewType

RecorderId = NewType("RecorderId", str)
"""`<gateway>.<worker>.<8 hex>`; a recorder that lost its disk gets a new one."""

SessionId = NewType("SessionId", str)
"""`<recorder>/<boot>/<number>`; numbers count from 1 without holes in a boot."""

HoldId = NewType("HoldId", str)
"""`hold-` and 32 hex digits: 128 random bits made by the gateway, used once."""

ApprovalId = NewType("ApprovalId", str)
"""`req-` and 16 base32 characters, derived from the first hold's id."""

AlertId = NewType("AlertId", str)
"""`alr-` and 16 base32 characters, derived from where the event stands that made it an alert."""

SuspensionId = NewType("SuspensionId", str)
"""`sus-` and the 16 characters of its alert."""

Source = NewType("Source", str)
"""`journal:<recorder>`, `beats:<recorder>`, `approvals:<topic>:<partition>:<recorder>`,
`behaviour:<topic>:<partition>`, `undecoded:<topic>:journal-<partition>`, `shard:<name>`. `<topic>` is
8 hex digits of the identity of the topic whose offsets count: in one that was made again they begin at 0, so it is
another source."""


class Position(NamedTuple):
    """Where a source stands. Compares as a tuple; the parts mean, by source:

    journal: (epoch, chunk, index in chunk); beats: (boot, n, index);
    approvals, behaviour: (offset of the input, index of the output, 0); shard: (seq, n, 0).
    """

    major: int
    minor: int
    index: int = 0  # type: ignore[assignment]  # hides tuple.index, which nobody calls on a position


START = Position(-1, -1, -1)
"""Before anything: the `prior` of a source's first message."""


def session_id(recorder: RecorderId, boot: int, number: int) -> SessionId:
    return SessionId(f"{recorder}/{boot}/{number}")


def session_number(session: SessionId) -> int:
    """Within its recorder's boot."""
    return int(session.rpartition("/")[2])


def journal_source(recorder: RecorderId) -> Source:
    return Source(f"journal:{recorder}")


def approvals_source(topic: str, partition: int, recorder: RecorderId) -> Source:
    """`topic` is the identity of the topic, as the bus gives it."""
    return Source(f"approvals:{_short(topic)}:{partition}:{recorder}")


def behaviour_source(topic: str, partition: int) -> Source:
    return Source(f"behaviour:{_short(topic)}:{partition}")


def undecoded_source(topic: str, partition: int) -> Source:
    return Source(f"undecoded:{_short(topic)}:journal-{partition}")


def _short(identity: str) -> str:
    return hashlib.sha256(identity.encode()).hexdigest()[:8]


def beats_source(recorder: RecorderId) -> Source:
    return Source(f"beats:{recorder}")
