"""Nothing lost, nothing twice: what a message is to the cursor of its source. Pure.

Every message names the position before it (`prior`). With the cursor where the source stands:
prior == cursor append; last <= cursor a repeat, dropped; prior > cursor append behind a Gap.
prior < cursor < last: the part at or below the cursor is a repeat, the rest is new.
A repeat of the newest position with other bytes is a Conflict, told once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ledger.batch import Cursor, Item
from ledger.entry import NotALeaf, Seen, look
from schemas.ids import START, Source
from schemas.records import Conflict, EventBatch, Gap


class BadMessage(ValueError):
    """An EventBatch whose events are not what it says of them; its producer has a fault."""


@dataclass(frozen=True, slots=True)
class Append:
    """These entries, behind the gap if there is one; then the source stands at `cursor`."""

    items: tuple[Item, ...]
    kinds: tuple[str, ...]
    cursor: Cursor
    gap: Gap | None = None


@dataclass(frozen=True, slots=True)
class Repeat:
    """Known already: nothing changes."""


@dataclass(frozen=True, slots=True)
class Unlike:
    """The newest position came again with other bytes: an entry says so, the first stays."""

    conflict: Conflict
    cursor: Cursor


Placed = Append | Repeat | Unlike


def admit(batch: EventBatch) -> list[Seen]:
    """Every leaf decodes, is this source's, and stands where the message says. Raises BadMessage."""
    if not batch.prior < batch.last:
        raise BadMessage("the message does not move its source")
    seen = []
    at = batch.prior
    for event in batch.events:
        try:
            head = look(event.leaf)
        except NotALeaf as e:
            raise BadMessage(f"a leaf of the message: {e}") from e
        if head.source != batch.source or not at < head.position <= batch.last:
            raise BadMessage("a leaf is another source's, or stands outside its message")
        at = head.position
        seen.append(head)
    return seen


def place(cursors: Mapping[Source, Cursor], batch: EventBatch, seen: list[Seen], digest: bytes, now_us: int) -> Placed:
    """`seen` is from `admit`, `digest` SHA-256 of the message's bytes."""
    cursor = cursors.get(batch.source)
    at = START if cursor is None else cursor.last
    if cursor is not None and batch.last <= at:
        if batch.last < at or digest in (cursor.digest, cursor.conflict):
            return Repeat()
        told = Conflict(batch.source, at, cursor.digest, digest, now_us)
        return Unlike(told, replace(cursor, conflict=digest))
    gap = Gap(batch.source, at, batch.prior, "messages missing", now_us) if batch.prior > at else None
    new = [(Item(e.leaf, e.content), s.kind) for e, s in zip(batch.events, seen, strict=True) if s.position > at]
    return Append(tuple(i for i, _ in new), tuple(k for _, k in new), Cursor(batch.last, digest), gap)
