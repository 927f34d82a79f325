"""Nothing lost, nothing twice: what a message is to the cursor of its source. Pure.

Every message names the position before it (`prior`). With the cursor where the source stands:
prior == cursor append; last <= cursor a repeat, dropped; prior > cursor append behind a Gap.
prior < cursor < last: the part at or below the cursor is a repeat, the rest is new.
A repeat of the newest position with other bytes is a Conflict, told once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ledger.batch import Cursor, Heard, Item
from ledger.entry import NotALeaf, Seen, look, read_leaf
from schemas.ids import START, Position, RecorderId, Source, journal_source
from schemas.records import Beat, Boot, Conflict, EventBatch, Gap, LeafBody


class BadMessage(ValueError):
    """An EventBatch whose events are not what it says of them; its producer has a fault."""


@dataclass(frozen=True, slots=True)
class Append:
    """These entries, behind the gap if there is one; then the source stands at `cursor`."""

    items: tuple[Item, ...]
    kinds: tuple[str, ...]
    cursor: Cursor
    gap: Gap | None = None
    shrunk: Gap | None = None  # of another source: a boot found less of its journal than beats had told of


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
    heard: Heard | None = None
    shrunk = None
    for event, where in zip(batch.events, seen, strict=True):
        if where.position <= at or where.kind not in ("Beat", "Boot"):
            continue
        body = read_leaf(event.leaf).body
        if isinstance(body, Boot):
            shrunk = shrunk or _shrunk(cursors, heard or (cursor.heard if cursor else None), body, now_us)
        heard = _heard(body)
    made = Cursor(batch.last, digest, heard=heard)
    return Append(tuple(i for i, _ in new), tuple(k for _, k in new), made, gap, shrunk)


def _heard(body: LeafBody) -> Heard | None:
    match body:
        case Beat(head=head) as b:
            return Heard(head.epoch, head.chunk, b.opened, b.closed, b.farewell, b.at_us)
        case Boot() as b:
            return Heard(b.previous_epoch, b.previous_chunk, 0, 0, False, b.started_us)
    return None


def _shrunk(cursors: Mapping[Source, Cursor], heard: Heard | None, boot: Boot, now_us: int) -> Gap | None:
    """A beat counts what is signed in the journal. If a boot finds less, the disk lost it, or somebody cut it off;
    nothing else would say so, for the boot signs what it found and goes on from there."""
    found = Position(boot.previous_epoch, boot.previous_chunk, 0)
    if heard is None or heard.gone or found >= heard.journal:
        return None
    journal = journal_source(boot.recorder)
    at = max(found, cursors[journal].last if journal in cursors else START)
    if at >= heard.journal:
        return None  # the ledger has it
    reason = (
        f"boot {boot.boot} found the journal up to epoch {found.major} chunk {found.minor}; a beat had told of epoch "
        f"{heard.epoch} chunk {heard.chunk}, {heard.opened} sessions opened and {heard.closed} closed"
    )
    return Gap(journal, at, heard.journal, reason, now_us)


def gone(cursors: Mapping[Source, Cursor], taken_over: Source, now_us: int) -> dict[Source, tuple[Gap, Cursor]]:
    """Of each recorder whose place the one of these beats took without having its journal: what is missing of it.

    By its beats; the cursor is for these, so that it is told once. A recorder with a farewell whose journal came
    whole is at rest. The caller knows whether it has been silent for long enough: it may only be another replica.
    """
    found: dict[Source, tuple[Gap, Cursor]] = {}
    place = taken_over.rpartition(".")[0]
    for source, cursor in cursors.items():
        heard = cursor.heard
        if source == taken_over or source.rpartition(".")[0] != place or heard is None or heard.gone:
            continue
        journal = journal_source(RecorderId(source.partition(":")[2]))
        at = cursors[journal].last if journal in cursors else START
        if heard.farewell and heard.journal[:2] <= at[:2]:
            continue
        reason = (
            f"{taken_over.partition(':')[2]} took its place without its journal. At its last beat: {heard.opened} "
            f"sessions opened, {heard.closed} closed, journal written up to epoch {heard.epoch} chunk {heard.chunk}"
        )
        reason += "" if heard.farewell else "; what it recorded after that is unknown"
        found[source] = (
            Gap(journal, at, max(at, heard.journal), reason, now_us), replace(cursor, heard=replace(heard, gone=True)),
        )  # fmt: skip
    return found
