"""Is this log what its key signed? One pass over a shard in a store, or over an exported directory.

Told apart: ALTERED (names the entry where it can), MISSING (a batch, checkpoint or tile),
EXTRA (a key, version or file that belongs to no log), GAP (the log itself says something never
arrived: not a fault of the log), CANNOT (what nothing here can prove). `facts` begins
with what a pass does not prove. Nothing here trusts a key that it finds in what it checks.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from ledger import layout
from ledger.batch import BadBatch, Batch, read, read_meta
from ledger.entry import NotALeaf, kind_of
from ledger.note import BadNote, Checkpoint, VerifierKey, open_checkpoint, open_stored
from ledger.store import Store, StoreBroken, read_file
from ledger.tree import EMPTY_RANGE, EMPTY_ROOT, CompactRange, leaf_hash, root

OPERATOR = (
    "cannot verify: operator. Whoever holds the store and the ledger's key could have rewritten or cut off "
    "this log; compare its checkpoint with one held by somebody else."
)
GAPS = {
    "Gap": "something never arrived",
    "LedgerAdopted": "this log goes on where a copy of another ended, without what that lacked",
}
LARGEST_FILE = 256 * 65_537
FARTHEST = 10_000


class Kind(StrEnum):
    ALTERED = "altered"
    MISSING = "missing"
    EXTRA = "extra"
    GAP = "gap"
    CANNOT = "cannot verify"


@dataclass(frozen=True, slots=True)
class Finding:
    kind: Kind
    where: str  # a key or a file
    what: str
    index: int | None = None  # the entry, where one is known


@dataclass(slots=True)
class Report:
    size: int = 0  # entries under the newest checkpoint
    root: bytes = EMPTY_ROOT
    findings: list[Finding] = field(default_factory=list)
    gaps: list[int] = field(default_factory=list)  # indexes of entries that say so
    signed: dict[int, bytes] = field(default_factory=dict)  # of a store: each size under a checkpoint, and its root
    facts: list[str] = field(default_factory=lambda: [OPERATOR])

    @property
    def intact(self) -> bool:
        """Nothing altered, missing, extra or beyond proof; gaps are the log's own words and do not count."""
        return all(f.kind is Kind.GAP for f in self.findings)

    def add(self, kind: Kind, where: str, what: str, index: int | None = None) -> None:
        self.findings.append(Finding(kind, where, what, index))

    def note_gap(self, leaf: bytes, index: int, where: str) -> None:
        try:
            said = GAPS.get(kind_of(leaf))
        except NotALeaf:
            return self.add(Kind.CANNOT, where, f"entry {index} has a schema that this release does not know", index)
        if said is not None:
            self.gaps.append(index)
            self.add(Kind.GAP, where, f"entry {index} says that {said}", index)


# --- a shard in a store ---------------------------------------------------------------


def check_log(store: Store, shard: str, key: VerifierKey) -> Report:
    """`key` comes from outside the store. Raises StoreBroken only if the store cannot be listed."""
    report = Report()
    batches = _numbered(report, store.keys(layout.batches(shard)), lambda k: layout.batch_number(shard, k))
    signed = _numbered(report, store.keys(layout.checkpoints(shard)), lambda k: layout.checkpoint_number(shard, k))
    if not batches and not signed:
        report.add(Kind.CANNOT, layout.batches(shard), "there is no log here")
        return report
    folders = (layout.batches(shard), layout.checkpoints(shard))
    for name in store.keys(f"{shard}/"):  # of files, what lies in its folder; of objects, all under its name
        if not f"{name}/".startswith(folders):
            report.add(Kind.EXTRA, name, "does not belong here: no part of the log")
    odd = store.irregular(layout.batches(shard)) | store.irregular(layout.checkpoints(shard))
    for name, what in odd.items():
        report.add(Kind.EXTRA, name, f"{what}: somebody wrote over it or deleted it after the ledger wrote it")
    last = max(batches | signed)
    walk = _Walk(store, shard, key, report)
    for seq in range(last + 1):
        if seq not in signed:
            report.add(Kind.MISSING, layout.checkpoint(shard, seq), f"checkpoint {seq} is missing")
        if seq in batches:
            walk.batch(seq, seq in signed)
        else:
            walk.missing(seq, seq in signed, seq + 1 in batches)
    return report


def _numbered(report: Report, keys: list[str], number: Callable[[str], int | None]) -> set[int]:
    """Those of the log. A number far beyond the rest is a strange file, not a million missing ones."""
    found = set()
    for key in keys:
        seq = number(key)
        if seq is None or seq > 2 * len(keys) + FARTHEST:
            report.add(Kind.EXTRA, key, "does not belong here: no part of the log")
        else:
            found.add(seq)
    return found


class _Walk:
    """From batch to batch: each follows the one before, and its checkpoint signs it."""

    def __init__(self, store: Store, shard: str, key: VerifierKey, report: Report) -> None:
        self._store, self._shard, self._key, self._report = store, shard, key, report
        self._tree: CompactRange | None = EMPTY_RANGE  # None where the batch before is missing or unreadable
        self._digest: bytes | None = b""
        self._size: int | None = 0  # entries before this batch, where somebody says so

    def missing(self, seq: int, signed: bool, followed: bool) -> None:
        """`signed`: its checkpoint is there; `followed`: the next batch is."""
        checkpoint = self._checkpoint(seq) if signed else None
        end: int | None = None
        if checkpoint is not None:
            end = self._report.size = checkpoint[0].size
            self._report.root = checkpoint[0].root
        elif followed:
            end = self._first(seq + 1)
        name = layout.batch(self._shard, seq)
        self._report.add(Kind.MISSING, name, f"batch {seq} is missing, and with it {entry_range(self._size, end)}")
        self._tree = self._digest = None
        self._size = end

    def _first(self, seq: int) -> int | None:
        try:
            return read_meta(self._store.get(layout.batch(self._shard, seq))).first
        except (StoreBroken, BadBatch):
            return None

    def batch(self, seq: int, signed: bool) -> None:
        name = layout.batch(self._shard, seq)
        try:
            raw = self._store.get(name)
        except StoreBroken as e:
            self._report.add(Kind.CANNOT, name, str(e))
            self._tree = self._digest = self._size = None
            return
        digest = hashlib.sha256(raw).digest()
        checkpoint = self._checkpoint(seq) if signed else None
        faults = len(self._report.findings)
        here = entry_range(self._size, checkpoint[0].size) if checkpoint else "its entries"
        batch, tree = self._entries(name, seq, raw, here)
        if batch is not None and tree is not None:
            self._compare(name, batch, tree)
        if checkpoint is not None:
            said = checkpoint[0]
            same = checkpoint[1] == digest and (tree is None or (said.size, said.root) == (tree.size, tree.root()))
            if not same and all(f.kind is Kind.GAP for f in self._report.findings[faults:]):
                what = f"batch {seq}, {here}, is not the one that its checkpoint signs"
                self._report.add(Kind.ALTERED, name, what)
            self._report.size, self._report.root = said.size, said.root
        self._tree = tree
        self._size = checkpoint[0].size if checkpoint else tree.size if tree else None
        self._digest = digest

    def _checkpoint(self, seq: int) -> tuple[Checkpoint, bytes] | None:
        name = layout.checkpoint(self._shard, seq)
        try:
            found = open_stored(self._store.get(name), self._key)
            self._report.signed[found[0].size] = found[0].root
            return found
        except StoreBroken as e:
            self._report.add(Kind.CANNOT, name, str(e))
        except BadNote as e:
            self._report.add(Kind.ALTERED, name, f"checkpoint {seq}: {e}")
        return None

    def _entries(self, name: str, seq: int, raw: bytes, here: str) -> tuple[Batch | None, CompactRange | None]:
        try:
            batch, hashes = read(raw)
        except BadBatch as e:
            where = f"batch {seq}" if e.index is not None else f"batch {seq} ({here})"
            self._report.add(Kind.ALTERED, name, f"{where}: {e}", e.index)
            return None, None
        for index, item in enumerate(batch.items, batch.meta.first):
            self._report.note_gap(item.leaf, index, name)
        return batch, batch.meta.before.extend(hashes)

    def _compare(self, name: str, batch: Batch, tree: CompactRange) -> None:
        meta = batch.meta
        if tree.root() != meta.root or (meta.shard, meta.seq) != (self._shard, layout.batch_number(self._shard, name)):
            self._report.add(Kind.ALTERED, name, f"batch {meta.seq}: its entries are not those that it says")
        elif self._tree is not None and meta.before != self._tree:
            self._report.add(Kind.ALTERED, name, f"batch {meta.seq} does not go on where the one before ends")
        elif self._digest is not None and meta.previous != self._digest:
            before = layout.batch(self._shard, meta.seq - 1)
            if not any(f.where == before for f in self._report.findings):
                self._report.add(Kind.ALTERED, before, f"batch {meta.seq - 1} is not the file that the next one names")


def entry_range(first: int | None, end: int | None) -> str:
    """Entries [first, end) in words, as far as they are known."""
    if first is None or end is None or end <= first:
        return "its entries" if first is None else f"the entries from {first} on"
    return f"entry {first}" if end == first + 1 else f"entries {first} to {end - 1}"


def was_seen(size: int, root_at: Callable[[int], bytes | None], seen: Checkpoint) -> tuple[Kind, str] | None:
    """What is wrong with a log of `size` entries by a checkpoint of it that somebody kept; `root_at` its earlier roots.

    This alone tells a log whose end was cut off, or that was replaced by who has its key.
    """
    if seen.size > size:
        return Kind.MISSING, f"it ends after {size} entries, and somebody kept its checkpoint over {seen.size}"
    if root_at(seen.size) != seen.root:
        return Kind.ALTERED, f"it is not the log whose checkpoint over {seen.size} entries somebody kept"
    return None


# --- an exported directory --------------------------------------------------------------


def check_directory(directory: Path, key: VerifierKey) -> Report:
    """A C2SP tlog-tiles directory: every byte of every tile, and that nothing else lies there."""
    report = Report()
    try:
        note = _read(directory / "checkpoint")
        checkpoint = open_checkpoint(note, key)
    except OSError:
        report.add(Kind.MISSING, "checkpoint", "there is no checkpoint here: not a log, or an export cut short")
        return report
    except BadNote as e:
        report.add(Kind.ALTERED, "checkpoint", str(e))
        return report
    report.size, report.root = checkpoint.size, checkpoint.root
    files = _files(directory)
    if checkpoint.size > len(files) * layout.TILE_WIDTH:
        some = f"{len(files)} files cannot hold the {checkpoint.size} entries that are signed"
        report.add(Kind.MISSING, "checkpoint", f"{some}: most of the log is missing")
        return report
    wanted = layout.tiles(checkpoint.size)
    _check_names(report, directory, files, {layout.tile(*t) for t in wanted}, key)
    rows = _check_tiles(report, directory, wanted)
    if report.intact and _fold(rows) != checkpoint.root:
        report.add(Kind.ALTERED, "checkpoint", "the tiles do not lead to the signed root")
    return report


def root_of_export(directory: Path, size: int) -> bytes | None:
    """The root over the first `size` entries, by the tiles of a directory that was checked; None without them."""
    hashes: list[bytes] = []
    try:
        for number in range((size + layout.TILE_WIDTH - 1) // layout.TILE_WIDTH):
            names = sorted((directory / "tile/0").glob(f"{layout.tile_path(number)}.p/*"))
            full = directory / layout.tile("0", number, layout.TILE_WIDTH)
            raw = _read(full if full.is_file() or not names else names[-1])
            hashes += [raw[i : i + 32] for i in range(0, len(raw), 32)]
    except OSError:
        return None
    return root(hashes[:size]) if len(hashes) >= size else None


def _check_names(report: Report, directory: Path, files: list[Path], wanted: set[str], key: VerifierKey) -> None:
    known = wanted | {"checkpoint", "log.vkey"}
    for path in files:
        name = path.relative_to(directory).as_posix()
        if name not in known or path.is_symlink() or not path.is_file():
            report.add(Kind.EXTRA, name, "no part of the log")
    vkey = directory / "log.vkey"
    if vkey.is_file() and _read(vkey) != f"{key}\n".encode():
        report.add(Kind.ALTERED, "log.vkey", "not the key that this log was checked with")


def _check_tiles(report: Report, directory: Path, wanted: list[tuple[str, int, int]]) -> list[list[bytes]]:
    """Each tile against what is below it; gives the hashes of each level's partial tile, lowest first."""
    below: dict[int, bytes] = {}  # root of each full tile of the level below
    partial: list[list[bytes]] = []
    for level in range(8):
        roots: dict[int, bytes] = {}
        edge: list[bytes] = []
        for _, number, width in [t for t in wanted if t[0] == str(level)]:
            if level == 0:
                hashes = _check_bundle(report, directory, number, width)
            else:
                start = number * layout.TILE_WIDTH
                hashes = _check_tile(report, directory, level, number, [below.get(start + n) for n in range(width)])
            if hashes is not None and width == layout.TILE_WIDTH:
                roots[number] = root(hashes)
            elif hashes is not None:
                edge = hashes
        below = roots
        partial.append(edge)
    return partial


def _check_tile(
    report: Report, directory: Path, level: int, number: int, expected: list[bytes | None]
) -> list[bytes] | None:
    """The tile's hashes; None in `expected` is a hash that nothing below can tell."""
    name = layout.tile(str(level), number, len(expected))
    raw = _part(report, directory, name)
    if raw is None:
        return None
    if len(raw) != 32 * len(expected):
        report.add(Kind.ALTERED, name, f"{len(raw)} bytes, not {len(expected)} hashes")
        return None
    hashes = [raw[i : i + 32] for i in range(0, len(raw), 32)]
    for n, (hashed, other) in enumerate(zip(hashes, expected, strict=True)):
        if other is None or other == hashed:
            continue
        index = number * layout.TILE_WIDTH + n
        if level == 0:
            report.add(Kind.ALTERED, name, f"entry {index} is not the one that was hashed", index)
        else:
            report.add(Kind.ALTERED, name, f"its hash {n} is not that of tile {index} of the level below")
    return hashes


def _check_bundle(report: Report, directory: Path, number: int, width: int) -> list[bytes] | None:
    """A bundle of entries against its tile; gives the tile's hashes."""
    name = layout.tile("entries", number, width)
    raw = _part(report, directory, name)
    leaves = [] if raw is None else _leaves(raw, width)
    if raw is not None and (len(leaves) < width or sum(len(leaf) + 2 for leaf in leaves) != len(raw)):
        index = number * layout.TILE_WIDTH + max(0, len(leaves) - 1)
        report.add(
            Kind.ALTERED, name, f"the bundle does not hold {width} entries; entry {index} is the last read", index
        )
    known = [leaf_hash(leaf) for leaf in leaves]
    faults = len(report.findings)
    hashes = _check_tile(report, directory, 0, number, [*known, *[None] * (width - len(known))])
    wrong = {f.index for f in report.findings[faults:]}
    for index, leaf in enumerate(leaves, number * layout.TILE_WIDTH):
        if index not in wrong:
            report.note_gap(leaf, index, name)
    return hashes


def _leaves(raw: bytes, most: int) -> list[bytes]:
    found: list[bytes] = []
    at = 0
    while len(found) < most and at + 2 <= len(raw):
        end = at + 2 + int.from_bytes(raw[at : at + 2], "big")
        if end > len(raw):
            break
        found.append(raw[at + 2 : end])
        at = end
    return found


def _part(report: Report, directory: Path, name: str) -> bytes | None:
    try:
        return _read(directory / name)
    except OSError:
        report.add(Kind.MISSING, name, "this part of the log is not there")
        return None


def _fold(rows: list[list[bytes]]) -> bytes:
    folded: bytes | None = None
    for row in rows:
        hashes = [*row, folded] if folded is not None else row
        folded = root(hashes) if hashes else None
    return EMPTY_ROOT if folded is None else folded


def _read(path: Path) -> bytes:
    return read_file(path, LARGEST_FILE)


def _files(directory: Path) -> list[Path]:
    """All that lies there and is no directory; links are not followed. `rglob` would call itself for each level."""
    found: list[Path] = []
    folders = [directory]
    while folders:
        with os.scandir(folders.pop()) as there:
            for entry in there:
                (folders if entry.is_dir(follow_symlinks=False) else found).append(Path(entry.path))
    return sorted(found)
