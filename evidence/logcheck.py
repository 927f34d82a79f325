"""Checks batches and checkpoints against one trusted key. Pure: bytes in, findings and entries out.

Reads no trust from what it checks: a batch counts only if a checkpoint signed by the key
names its digest and root.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from evidence.outcome import Code, Finding
from ledger.batch import BadBatch, Batch, read
from ledger.check import entry_range
from ledger.entry import NotALeaf, read_leaf
from ledger.note import BadNote, VerifierKey, open_stored
from ledger.tree import EMPTY_RANGE, CompactRange
from schemas.records import LedgerEntry


@dataclass(frozen=True, slots=True)
class Indexed:
    """An entry where it stands. `content` is ciphertext."""

    index: int
    leaf: bytes
    entry: LedgerEntry
    content: bytes

    def __repr__(self) -> str:
        return f"Indexed({self.index}, {len(self.leaf)} + {len(self.content)} bytes)"


@dataclass(slots=True)
class Log:
    """What was read. `hashes` follow `base` without a hole only where nothing was found wrong."""

    findings: list[Finding] = field(default_factory=list)
    entries: list[Indexed] = field(default_factory=list)
    hashes: list[bytes] = field(default_factory=list)
    base: CompactRange = EMPTY_RANGE
    note: bytes = b""  # the newest checkpoint
    size: int = 0

    def found(self, code: Code, what: str) -> None:
        self.findings.append(Finding(code, what))


def check(batches: Mapping[int, bytes], notes: Mapping[int, bytes], shard: str, key: VerifierKey, first: int) -> Log:
    """Every batch from `first` to the newest that either side names."""
    log = Log()
    last = max([*batches, *notes], default=-1)
    before: tuple[bytes, int] | None = None  # digest and size of the batch before, where it was sound
    start = 0 if first == 0 else None  # entries before this batch, as signed
    for seq in range(first, last + 1):
        raw, note = batches.get(seq), notes.get(seq)
        end = _signed_size(note, key)
        if raw is None:
            log.found(Code.MISSING, f"batch {seq} is missing, and with it {entry_range(start, end)}")
        if note is None:
            log.found(Code.MISSING, f"checkpoint {seq} is missing: nothing here signs {entry_range(start, end)}")
        if raw is not None and note is not None:
            before = _one(log, seq, raw, note, shard, key, before, entry_range(start, end))
        else:
            before = None
        log.size = log.size if end is None else end
        start = end
    return log


def _signed_size(note: bytes | None, key: VerifierKey) -> int | None:
    try:
        return None if note is None else open_stored(note, key)[0].size
    except BadNote:
        return None


def _one(
    log: Log,
    seq: int,
    raw: bytes,
    note: bytes,
    shard: str,
    key: VerifierKey,
    before: tuple[bytes, int] | None,
    here: str,
) -> tuple[bytes, int] | None:
    try:
        checkpoint, digest = open_stored(note, key)
    except BadNote as e:
        log.found(Code.ALTERED, f"checkpoint {seq}: {e}")
        return None
    own = hashlib.sha256(raw).digest()
    try:
        batch, hashes = read(raw)
    except BadBatch as e:
        where = f"entry {e.index} in batch {seq}" if e.index is not None else f"batch {seq} ({here})"
        log.found(Code.ALTERED, f"{where}: {e}")
        return None
    meta = batch.meta
    if meta.before.extend(hashes).root() != checkpoint.root or meta.size != checkpoint.size:
        log.found(Code.ALTERED, f"batch {seq}: entries {meta.first} to {meta.size - 1} are not those that were signed")
    elif own != digest:
        log.found(Code.ALTERED, f"batch {seq} ({here}): the file was changed outside its leaves")
    elif (meta.shard, meta.seq) != (shard, seq):
        log.found(Code.ALTERED, f"batch {seq}: it is batch {meta.seq} of shard {meta.shard}, put under another name")
    elif before is not None and (meta.previous, meta.first) != before:
        log.found(Code.ALTERED, f"batch {seq}: does not follow the batch before it")
    else:
        _keep(log, batch, hashes, note)
        return own, meta.size
    return None


def _keep(log: Log, batch: Batch, hashes: list[bytes], note: bytes) -> None:
    if not log.hashes:
        log.base = batch.meta.before
    log.hashes += hashes
    log.note = note
    for n, item in enumerate(batch.items):
        index = batch.meta.first + n
        try:
            entry = read_leaf(item.leaf)
        except NotALeaf as e:
            log.found(Code.CANNOT, f"entry {index} is whole but cannot be read: {e}")
            continue
        log.entries.append(Indexed(index, item.leaf, entry, item.content))
