"""A writer's start: the newest batch alone says where the shard stands.

Recovery never asks whether a key exists, only whether anything lies *after* one.
What does not fit together is refused with the key named: going on from a wrong
place would fork the log, and our own key would sign both sides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from ledger import layout
from ledger.batch import BadBatch, Batch, Consumed, Cursor, decode
from ledger.note import BadNote, Checkpoint, VerifierKey, open_stored
from ledger.store import Store, StoreBroken
from ledger.tree import EMPTY_RANGE, CompactRange
from schemas.ids import Source

MOST = 1 << 62  # more batches than there can be


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

    def tripwire(self) -> str:
        """What the bus remembers of us, so that an older copy of the store is noticed."""
        return f"{self.seq} {self.tree.size} {self.tree.root().hex()}"


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


def refuse_older_store(head: Head, tripwire: str) -> None:
    """The bus saw this shard at `tripwire`: a store behind it would sign a second history. Raises CannotRecover."""
    try:
        seq, size, root = tripwire.split(" ")
        seen = int(seq), int(size), bytes.fromhex(root)
    except ValueError as e:
        raise CannotRecover("the bus's word on the ledger cannot be read: was the group's offset set by hand?") from e
    same = seen[0] != head.seq or seen[1:] == (head.tree.size, head.tree.root())
    if seen[0] > head.seq or seen[1] > head.tree.size or not same:
        raise CannotRecover(
            f"the store ends at batch {head.seq} with {head.tree.size} entries, the bus has seen batch {seen[0]} with "
            f"{seen[1]}: this is an older or another copy of the log; bring the right one back, or start a new shard"
        )


def recover(store: Store, shard: str, key: VerifierKey) -> Head:
    """Raises CannotRecover, StoreBroken."""
    seq = newest(store, layout.batches(shard), lambda n: layout.batch(shard, n))
    signed = newest(store, layout.checkpoints(shard), lambda n: layout.checkpoint(shard, n))
    if seq < 0:
        if signed >= 0:
            raise CannotRecover(f"{layout.checkpoint(shard, signed)}: a checkpoint, but the shard has no batch")
        return Head(-1, EMPTY_RANGE, b"", {}, None, frozenset(), False)
    if signed not in (seq, seq - 1):
        raise CannotRecover(
            f"{layout.batch(shard, seq)} is the newest batch, but the newest checkpoint is number {signed}"
        )
    raw, batch = _sound(store, shard, seq)
    if seq == 0 and batch.meta.previous:
        raise CannotRecover(f"{layout.batch(shard, 0)}: the first batch names one before it")
    if seq > 0:
        before, predecessor = _sound(store, shard, seq - 1)
        if hashlib.sha256(before).digest() != batch.meta.previous or predecessor.after() != batch.meta.before:
            raise CannotRecover(f"{layout.batch(shard, seq - 1)}: not the batch that number {seq} follows")
        _agrees(store, key, predecessor, before)
    if signed == seq:
        _agrees(store, key, batch, raw)
    return Head(
        seq,
        batch.after(),
        hashlib.sha256(raw).digest(),
        dict(batch.meta.cursors),
        batch.meta.consumed,
        frozenset(batch.meta.enrolled),
        signed < seq,
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
