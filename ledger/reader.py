"""Reading a shard: entries in order, where it stands, proofs. Reads only what is under a checkpoint.

Every batch that is read is checked against its own root; whether the whole log is what
its key signed is `check.py`'s question.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ledger import layout
from ledger.batch import BadBatch, Batch, decode, read_meta
from ledger.entry import read_leaf
from ledger.note import public_part
from ledger.proof import Proof
from ledger.recovery import newest
from ledger.store import Store, StoreBroken
from ledger.tree import HashTree, leaf_hash
from schemas.records import LedgerEntry


class CannotRead(RuntimeError):
    """A batch is missing or damaged; the message names it. `tallystick ledger verify` says what else is."""


@dataclass(frozen=True, slots=True)
class StoredEntry:
    index: int
    leaf: bytes
    content: bytes  # ciphertext, may be empty
    batch_seq: int

    @property
    def entry(self) -> LedgerEntry:
        """Decoded at each use. Raises NotALeaf."""
        return read_leaf(self.leaf)

    def __repr__(self) -> str:
        return f"StoredEntry({self.index}, {len(self.leaf)} + {len(self.content)} bytes)"


@dataclass(frozen=True, slots=True)
class ReadHead:
    """Where a shard stands: its newest batch under a checkpoint. seq -1 and size 0 for an empty one."""

    seq: int
    size: int
    root: bytes
    checkpoint: bytes  # the signed note as others know it; empty for an empty shard


def head(store: Store, shard: str) -> ReadHead:
    """The signature is not checked here. Raises CannotRead, CannotRecover for a key that is not ours."""
    seq = newest(store, layout.checkpoints(shard), lambda n: layout.checkpoint(shard, n))
    if seq < 0:
        return ReadHead(-1, 0, HashTree().root(), b"")
    try:
        meta = read_meta(store.get(layout.batch(shard, seq)))
        note = public_part(store.get(layout.checkpoint(shard, seq)))
    except (StoreBroken, BadBatch, ValueError) as e:
        raise CannotRead(f"{layout.batch(shard, seq)}: {e}") from e
    return ReadHead(seq, meta.size, meta.root, note)


def batches(store: Store, shard: str, first: int, last: int) -> Iterator[Batch]:
    """Batches `first` to `last`, both included. Raises CannotRead."""
    for seq in range(first, last + 1):
        name = layout.batch(shard, seq)
        try:
            yield decode(store.get(name))
        except (StoreBroken, BadBatch) as e:
            raise CannotRead(f"{name}: {e}") from e


def entries(store: Store, shard: str, start: int = 0, end: int | None = None) -> Iterator[StoredEntry]:
    """Entries [start, end), to the newest checkpoint where `end` is None. Raises CannotRead."""
    at = head(store, shard)
    stop = at.size if end is None else min(end, at.size)
    if start >= stop:
        return
    for batch in batches(store, shard, _batch_of(store, shard, start, at.seq), at.seq):
        for index, item in enumerate(batch.items, batch.meta.first):
            if index >= stop:
                return
            if index >= start:
                yield StoredEntry(index, item.leaf, item.content, batch.meta.seq)


def _batch_of(store: Store, shard: str, index: int, newest_seq: int) -> int:
    """The batch that holds an entry, by bisecting."""
    low, high = 0, newest_seq
    while low < high:
        middle = (low + high + 1) // 2
        try:
            first = read_meta(store.get(layout.batch(shard, middle))).first
        except (StoreBroken, BadBatch) as e:
            raise CannotRead(f"{layout.batch(shard, middle)}: {e}") from e
        low, high = (middle, high) if first <= index else (low, middle - 1)
    return low


class Prover:
    """Proofs for many entries of one shard: reads the whole log once, holds 64 bytes an entry."""

    def __init__(self, store: Store, shard: str) -> None:
        self.head = head(store, shard)
        self._tree = HashTree()
        for batch in batches(store, shard, 0, self.head.seq):
            self._tree.extend([leaf_hash(i.leaf) for i in batch.items])

    def proof(self, index: int) -> Proof:
        """Of that entry, under the newest checkpoint. Raises ValueError if there is no such entry."""
        hashes = self._tree.inclusion_proof(index, self.head.size)
        return Proof(index, tuple(hashes), self.head.checkpoint)

    def consistency(self, old: int, new: int) -> list[bytes]:
        """RFC 6962 §2.1.2. Raises ValueError."""
        return self._tree.consistency_proof(old, new)


def proof(store: Store, shard: str, index: int) -> Proof:
    """One proof; for many, keep a `Prover`. Raises CannotRead, ValueError."""
    return Prover(store, shard).proof(index)
