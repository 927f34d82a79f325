"""A writer's start: the newest batch alone says where the shard stands.

Recovery never asks whether a key exists, only whether anything lies *after* one.
What does not fit together is refused with the key named: going on from a wrong
place would fork the log, and our own key would sign both sides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from ledger import layout
from ledger.batch import BadBatch, Batch, Consumed, Cursor, decode
from ledger.note import BadNote, Checkpoint, VerifierKey, open_stored
from ledger.store import Store, StoreBroken
from ledger.tree import EMPTY_RANGE, CompactRange
from schemas.ids import Source

MOST = 1 << 62  # more batches than there can be
_ADVICE = (
    "this is an older or another copy of the log; bring the right one back, or let a new shard go on "
    "without what is lost: tallystick ledger adopt"
)


class CannotRecover(RuntimeError):
    """The store holds something that no crash of ours leaves behind; the message names the key."""


@dataclass(frozen=True, slots=True)
class Head:
    """Where a shard stands after batch `seq`; seq -1 for an empty one."""

    seq: int
    tree: CompactRange
    digest: bytes  # SHA-256 of the newest batch
    cursors: dict[Source, Cursor]
    consumed: Consumed | None
    enrolled: frozenset[bytes]  # SHA-256[:16] of each enrolment that is an entry
    checkpoint_missing: bool

    def tripwire(self, shard: str) -> str:
        """What the bus remembers of us, so that an older copy of the store is noticed."""
        return f"{self.seq} {self.tree.size} {self.tree.root().hex()} {shard}"


def newest(store: Store, prefix: str, key_of: Callable[[int], str]) -> int:
    """The number of the last key under `prefix`, or -1: doubling, then bisecting, by listing after."""
    if not store.any_after(prefix, ""):
        return -1
    step = 1
    while store.any_after(prefix, key_of(step - 1)):
        step *= 2
        if step > MOST:
            raise CannotRecover(f"{store.keys(prefix)[-1]}: not a key of this log; move it away")
    low, high = 0, step - 1  # nothing lies after key(high)
    while low < high:
        middle = (low + high) // 2
        if store.any_after(prefix, key_of(middle)):
            low = middle + 1
        else:
            high = middle
    return low


class Tripwire(NamedTuple):
    """What the bus remembers of a shard."""

    seq: int
    size: int
    root: bytes
    shard: str  # empty as the bus was told it before there were successors


def read_tripwire(text: str) -> Tripwire:
    """Raises CannotRecover."""
    try:
        seq, size, root, *named = text.split(" ")
        (shard,) = named or [""]
        return Tripwire(int(seq), int(size), bytes.fromhex(root), shard)
    except ValueError as e:
        raise CannotRecover("the bus's word on the ledger cannot be read: was the group's offset set by hand?") from e


def refuse_older_store(head: Head, seen: Tripwire, first: str, shard: str) -> None:
    """A store behind what the bus has seen would sign a second history. Raises CannotRecover.

    `head` is that of `shard`, under which the one named `first` goes on.
    """
    ours = layout.successor_number(first, shard)
    theirs = layout.successor_number(first, seen.shard or first)
    if theirs is None or ours is None:
        raise CannotRecover(f"the bus has seen shard {seen.shard}, which is none of {first}")
    if theirs < ours:
        return  # an operator has let a successor go on without what is missing
    if theirs > ours:
        raise CannotRecover(f"the bus has seen shard {seen.shard}, the store ends with shard {shard}: {_ADVICE}")
    same = seen.seq != head.seq or (seen.size, seen.root) == (head.tree.size, head.tree.root())
    if seen.seq > head.seq or seen.size > head.tree.size or not same:
        raise CannotRecover(
            f"the store ends at batch {head.seq} with {head.tree.size} entries, the bus has seen batch {seen.seq} with "
            f"{seen.size}: {_ADVICE}"
        )


def recover(store: Store, shard: str, key: VerifierKey) -> Head:
    """Raises CannotRecover, StoreBroken."""
    seq = newest(store, layout.batches(shard), lambda n: layout.batch(shard, n))
    signed = newest(store, layout.checkpoints(shard), lambda n: layout.checkpoint(shard, n))
    seq = max(seq, signed)  # a writer beside us has gone on in between; a batch that is not there is named below
    if seq < 0:
        return Head(-1, EMPTY_RANGE, b"", {}, None, frozenset(), False)
    return _head(store, shard, key, seq, signed == seq)


def last_sound(store: Store, shard: str, key: VerifierKey) -> Head:
    """Of a shard that cannot be recovered: the newest place from which it could be. Raises StoreBroken.

    Batches that are missing, hidden or damaged are passed over; one that is there and does not come
    from the store is not: the store may only be out of reach.
    """
    there = {*store.keys(layout.batches(shard)), *store.keys(layout.checkpoints(shard))}
    numbers = (layout.batch_number(shard, k) for k in there)
    for seq in sorted((n for n in numbers if n is not None), reverse=True):
        needed = {f(shard, n) for f in (layout.batch, layout.checkpoint) for n in (seq, seq - 1) if n >= 0}
        if not needed <= there:
            continue
        try:
            return _head(store, shard, key, seq, True)
        except CannotRecover as e:
            if isinstance(e.__cause__, StoreBroken):
                raise e.__cause__ from e
    return Head(-1, EMPTY_RANGE, b"", {}, None, frozenset(), False)


def _head(store: Store, shard: str, key: VerifierKey, seq: int, signed: bool) -> Head:
    """Where the shard stands after batch `seq`, which must agree with the one before and their checkpoints."""
    raw, batch = _sound(store, shard, seq)
    if seq == 0 and batch.meta.previous:
        raise CannotRecover(f"{layout.batch(shard, 0)}: the first batch names one before it")
    if seq > 0:
        before, predecessor = _sound(store, shard, seq - 1)
        if hashlib.sha256(before).digest() != batch.meta.previous or predecessor.after() != batch.meta.before:
            raise CannotRecover(f"{layout.batch(shard, seq - 1)}: not the batch that number {seq} follows")
        _agrees(store, key, predecessor, before)
    if signed:
        _agrees(store, key, batch, raw)
    return Head(
        seq,
        batch.after(),
        hashlib.sha256(raw).digest(),
        dict(batch.meta.cursors),
        batch.meta.consumed,
        frozenset(batch.meta.enrolled),
        not signed,
    )


def _sound(store: Store, shard: str, seq: int) -> tuple[bytes, Batch]:
    name = layout.batch(shard, seq)
    _regular(store, name)
    try:
        raw = store.get(name)
        batch = decode(raw)
    except (StoreBroken, BadBatch) as e:
        raise CannotRecover(f"{name}: {e}") from e
    if (batch.meta.shard, batch.meta.seq) != (shard, seq):
        raise CannotRecover(f"{name}: says it is batch {batch.meta.seq} of shard {batch.meta.shard}")
    return raw, batch


def _regular(store: Store, key: str) -> None:
    """What a WORM lock keeps is the version: somebody who can write may still cover it. Raises CannotRecover."""
    for odd, what in store.irregular(key).items():
        raise CannotRecover(f"{odd}: {what}: somebody wrote over it or deleted it; see docs/operations.md")


def _agrees(store: Store, key: VerifierKey, batch: Batch, raw: bytes) -> None:
    name = layout.checkpoint(batch.meta.shard, batch.meta.seq)
    _regular(store, name)
    try:
        checkpoint, digest = open_stored(store.get(name), key)
    except (StoreBroken, BadNote) as e:
        raise CannotRecover(f"{name}: {e}") from e
    if checkpoint != Checkpoint(key.name, batch.meta.size, batch.meta.root) or digest != hashlib.sha256(raw).digest():
        raise CannotRecover(f"{name}: signed for another batch than the one that is there")
