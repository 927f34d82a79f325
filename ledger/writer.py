"""The commit. One shard, one writer; it reads from top to bottom.

Every step says what a crash *here* leaves behind and who mends it. Recovery and
the normal path run the same code: whatever stands in the store is the truth.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ledger import layout
from ledger.batch import Batch, BatchMeta, Consumed, Cursor, Item, encode
from ledger.note import BadNote, Checkpoint, VerifierKey, open_stored, sign_stored
from ledger.recovery import Head, recover
from ledger.store import Creation, Store, StoreBroken
from ledger.tree import leaf_hash
from schemas.codec import HEADER
from schemas.ids import Source
from seal.sign import Signer

Step = Callable[[str], None]


class Fenced(RuntimeError):
    """Another writer owns this shard: give it up. Nothing of ours was signed."""


def _no_step(_: str) -> None:
    """Tests pass one that dies at a named step."""


class Writer:
    """Raises CannotRecover or StoreBroken at the start; Fenced at a commit that came second."""

    def __init__(self, store: Store, shard: str, origin: str, signer: Signer, at_step: Step = _no_step) -> None:
        self._store, self.shard, self._signer, self._at = store, shard, signer, at_step
        self.key = VerifierKey(origin, signer.public)
        self.head: Head = recover(store, shard, self.key)
        if self.head.checkpoint_missing:  # the writer before died between (2) and (3)
            self._publish(self.head)
            self.head = replace(self.head, checkpoint_missing=False)

    def commit(
        self,
        items: Sequence[Item],
        cursors: Mapping[Source, Cursor],
        consumed: Consumed,
        enrolled: frozenset[bytes] = frozenset(),
    ) -> Head:
        """Entries durable, in this order, under a signed checkpoint, when it returns.

        `cursors` are all there are, `enrolled` the enrolments that these entries add. Raises Fenced,
        StoreBroken or BadBatch; after any of them the writer is done: restart, and recovery looks.
        """
        head = self.head
        # (1) Encode; the encoder reads the file back and compares every leaf.
        #     A crash here leaves nothing: the input is read again from `consumed`.
        tree = head.tree.extend([leaf_hash(i.leaf) for i in items])
        known = head.enrolled | enrolled
        meta = BatchMeta(
            shard=self.shard,
            seq=head.seq + 1,
            before=head.tree,
            count=len(items),
            root=tree.root(),
            previous=head.digest,
            cursors=tuple(sorted(cursors.items())),
            consumed=consumed,
            enrolled=tuple(sorted(known)),
            schema=items[0].leaf[:HEADER],
        )
        raw = encode(Batch(meta, tuple(items)))
        self._at("encoded")
        # (2) Create batch/<seq>: the one point of decision. It is unsigned, so that a loser
        #     leaves no signed fork. A crash before it leaves nothing (a temporary file at most);
        #     a crash after it leaves a batch without a checkpoint: the next writer signs it.
        made = self._store.create(layout.batch(self.shard, meta.seq), raw)
        self._at("batch")
        if made is Creation.OTHER:
            raise self._fenced(meta.seq)
        # (3) Sign and create checkpoint/<seq>, a pure function of the batch: signing again gives
        #     the same bytes. From here on an error is fatal: restart and let recovery look.
        self.head = Head(meta.seq, tree, hashlib.sha256(raw).digest(), dict(cursors), consumed, known, False)
        self._publish(self.head)
        self._at("checkpoint")
        # (4) `Covered` marks and the group offset are the caller's: both may be repeated, and
        #     both follow from what stands in the store. A crash here repeats input that the
        #     cursors drop.
        return self.head

    def still_newest(self) -> None:
        """Raises Fenced where the store went on without us, StoreBroken."""
        folder, seq = layout.batches(self.shard), self.head.seq
        if self._store.any_after(folder, layout.batch(self.shard, seq) if seq >= 0 else ""):
            raise self._fenced(seq + 1)

    def _fenced(self, seq: int) -> Fenced:
        return Fenced(
            f"{layout.batch(self.shard, seq)} was written by another ledger process: "
            f"only one may own shard {self.shard}; this one stops"
        )

    def _publish(self, head: Head) -> None:
        name = layout.checkpoint(self.shard, head.seq)
        checkpoint = Checkpoint(self.key.name, head.tree.size, head.tree.root())
        if self._store.create(name, sign_stored(checkpoint, head.digest, self._signer)) is not Creation.OTHER:
            return
        try:  # a writer that woke up after us may have been first; what counts is what it signed
            found = open_stored(self._store.get(name), self.key)
        except BadNote as e:
            raise StoreBroken(f"{name}: there is something else under this number: {e}") from e
        if found != (checkpoint, head.digest):
            raise StoreBroken(f"{name}: there is another checkpoint under this number")
