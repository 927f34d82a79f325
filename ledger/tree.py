"""RFC 6962 Merkle trees over SHA-256: hashes, roots, proofs and their checks. Pure.

Two shapes of one tree: `CompactRange`, the few hashes that stand for everything
before an index (all a writer needs), and `HashTree`, every hash from some index
on (all a prover needs). A tree is append-only; index and size are counts of leaves.
Checks raise `ProofInvalid`, so that forgetting to look at an answer cannot pass.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

HASH = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
_sha256 = hashlib.sha256


class ProofInvalid(ValueError):
    """The proof does not lead from what it is about to the root."""


class Pruned(LookupError):
    """The tree does not hold the hashes that this question needs."""


def leaf_hash(leaf: bytes) -> bytes:
    """RFC 6962 §2.1: SHA-256(0x00 ‖ leaf)."""
    return _sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """RFC 6962 §2.1: SHA-256(0x01 ‖ left ‖ right)."""
    return _sha256(b"\x01" + left + right).digest()


def root(leaf_hashes: Sequence[bytes]) -> bytes:
    """The Merkle tree hash of these leaves."""
    return EMPTY_RANGE.extend(leaf_hashes).root()


@dataclass(frozen=True, slots=True)
class CompactRange:
    """The roots of the perfect subtrees that `size` leaves fall into, largest first."""

    size: int
    hashes: tuple[bytes, ...]

    def __post_init__(self) -> None:
        if self.size < 0 or len(self.hashes) != self.size.bit_count() or any(len(h) != HASH for h in self.hashes):
            raise ValueError(f"no compact range: {len(self.hashes)} hashes for size {self.size}")

    def append(self, leaf: bytes) -> CompactRange:
        return self.extend((leaf_hash(leaf),))

    def extend(self, leaf_hashes: Sequence[bytes]) -> CompactRange:
        """With these leaves behind it. Level by level, so that the work is in one comprehension each."""
        edge = list(reversed(self.hashes))  # smallest first, as the levels come
        after: list[bytes] = []
        size, row = self.size, list(leaf_hashes)
        while size or row:
            if size & 1:
                row.insert(0, edge.pop(0))
            if len(row) & 1:
                after.append(row.pop())
            pairs = iter(row)
            row = [_sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=True)]
            size >>= 1
        return CompactRange(self.size + len(leaf_hashes), tuple(reversed(after)))

    def root(self) -> bytes:
        if not self.hashes:
            return EMPTY_ROOT
        folded = self.hashes[-1]
        for left in reversed(self.hashes[:-1]):
            folded = node_hash(left, folded)
        return folded

    def edge(self, level: int) -> bytes | None:
        """The root of the subtree of 2^level leaves at the right end, if there is one."""
        if not self.size >> level & 1:
            return None
        return self.hashes[(self.size >> (level + 1)).bit_count()]


EMPTY_RANGE = CompactRange(0, ())


class HashTree:
    """Every node from `base.size` on, 32 bytes each; answers with proofs.

    What lies before `base` is known by its compact range alone. That is enough for
    every inclusion proof of a later entry and every consistency proof between later sizes.
    """

    __slots__ = ("_base", "_rows", "size")

    def __init__(self, base: CompactRange = EMPTY_RANGE) -> None:
        self._base = base
        self._rows: list[bytearray] = [bytearray()]
        self.size = base.size

    def extend(self, leaf_hashes: Iterable[bytes]) -> None:
        self._rows[0] += b"".join(leaf_hashes)
        self.size = self._base.size + len(self._rows[0]) // HASH
        level = 0
        while self.size >> (level + 1):
            if len(self._rows) == level + 1:
                self._rows.append(bytearray())
            self._grow(level + 1)
            level += 1

    def _grow(self, level: int) -> None:
        """Every parent at `level` whose two children are there by now."""
        row = self._rows[level]
        at = (self._base.size >> level) + len(row) // HASH
        end = self.size >> level
        if at < end and 2 * at < self._base.size >> (level - 1):  # its left child is the base's edge
            row += node_hash(self.node(level - 1, 2 * at), self.node(level - 1, 2 * at + 1))
            at += 1
        below, low = self._rows[level - 1], self._base.size >> (level - 1)
        span = memoryview(below)[(2 * at - low) * HASH : (2 * end - low) * HASH]
        step = 2 * HASH
        row += b"".join([_sha256(b"\x01" + span[i : i + step]).digest() for i in range(0, len(span), step)])

    def node(self, level: int, index: int) -> bytes:
        """The root of the perfect subtree over leaves [index·2^level, (index+1)·2^level). Raises Pruned."""
        low = self._base.size >> level
        if index >= low and (index + 1) << level <= self.size:
            at = (index - low) * HASH
            return bytes(self._rows[level][at : at + HASH])
        edge = self._base.edge(level)
        if index == low - 1 and edge is not None:
            return edge
        raise Pruned(f"the tree holds the hashes of entries {self._base.size} to {self.size}; this proof needs others")

    def _range(self, start: int, end: int) -> bytes:
        width = end - start
        if width & (width - 1) == 0:
            return self.node(width.bit_length() - 1, start // width)
        split = start + _largest_power_below(width)
        return node_hash(self._range(start, split), self._range(split, end))

    def root(self, size: int | None = None) -> bytes:
        """Raises Pruned, or ValueError for a size the tree has not reached."""
        size = self.size if size is None else size
        self._reached(size)
        return self._range(0, size) if size else EMPTY_ROOT

    def inclusion_proof(self, index: int, size: int) -> list[bytes]:
        """RFC 6962 §2.1.1, from the leaf's sibling up. Raises Pruned or ValueError."""
        self._reached(size)
        if not 0 <= index < size:
            raise ValueError(f"no entry {index} in a tree of {size}")
        proof: list[bytes] = []
        start, end = 0, size
        while end - start > 1:
            split = start + _largest_power_below(end - start)
            if index < split:
                proof.append(self._range(split, end))
                end = split
            else:
                proof.append(self._range(start, split))
                start = split
        return proof[::-1]

    def consistency_proof(self, old: int, new: int) -> list[bytes]:
        """RFC 6962 §2.1.2; empty where old is 0 or new. Raises Pruned or ValueError."""
        self._reached(new)
        if not 0 <= old <= new:
            raise ValueError(f"a tree of {old} does not come before one of {new}")
        proof: list[bytes] = []
        start, end, whole = 0, new, True
        while old not in (start, end):
            split = start + _largest_power_below(end - start)
            if old <= split:
                proof.append(self._range(split, end))
                end = split
            else:
                proof.append(self._range(start, split))
                start, whole = split, False
        if not whole:
            proof.append(self._range(start, end))
        return proof[::-1]

    def _reached(self, size: int) -> None:
        if not 0 <= size <= self.size:
            raise ValueError(f"the tree has {self.size} entries, not {size}")


def _largest_power_below(n: int) -> int:
    return 1 << ((n - 1).bit_length() - 1)


def verify_inclusion(hashed: bytes, index: int, size: int, proof: Sequence[bytes], expected: bytes) -> None:
    """RFC 9162 §2.1.3.2, `hashed` being the leaf's hash. Raises ProofInvalid."""
    if not 0 <= index < size:
        raise ProofInvalid(f"no entry {index} in a tree of {size}")
    fn, sn, folded = index, size - 1, hashed
    for sibling in proof:
        if sn == 0:
            raise ProofInvalid(f"entry {index}: the proof is too long")
        if fn & 1 or fn == sn:
            folded = node_hash(sibling, folded)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            folded = node_hash(folded, sibling)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0 or folded != expected:
        raise ProofInvalid(f"entry {index} is not proved to be in the tree of {size}")


def verify_consistency(old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> None:
    """RFC 9162 §2.1.4.2. Raises ProofInvalid."""
    if not 0 <= old <= new:
        raise ProofInvalid(f"a tree of {old} does not come before one of {new}")
    if old in (0, new):
        same = old_root == (new_root if old else EMPTY_ROOT)
        if proof or not same:
            raise ProofInvalid(f"sizes {old} and {new}: other roots, or a proof where none belongs")
        return
    path = list(proof)
    if old & (old - 1) == 0:
        path.insert(0, old_root)
    if not path:
        raise ProofInvalid("the proof is empty")
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    folded_old = folded_new = path[0]
    for sibling in path[1:]:
        if sn == 0:
            raise ProofInvalid("the proof is too long")
        if fn & 1 or fn == sn:
            folded_old = node_hash(sibling, folded_old)
            folded_new = node_hash(sibling, folded_new)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            folded_new = node_hash(folded_new, sibling)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0 or folded_old != old_root or folded_new != new_root:
        raise ProofInvalid(f"the tree of {new} is not proved to begin with the tree of {old}")
