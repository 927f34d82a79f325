"""A shard as a C2SP tlog-tiles log: a directory that any static server, or none, can hold.

    checkpoint  tile/<level>/<n>[.p/<width>]  tile/entries/<n>[.p/<width>]  log.vkey

Masked content is not in it: entries are leaves alone. The checkpoint is written last,
so a directory that an interrupted export left behind is not a log.
"""

from __future__ import annotations

import os
from pathlib import Path

from ledger import layout
from ledger.layout import TILE_WIDTH
from ledger.note import VerifierKey, open_checkpoint
from ledger.reader import batches, head
from ledger.store import Store
from ledger.tree import EMPTY_ROOT, leaf_hash, root


class CannotExport(RuntimeError):
    """The directory has something in it, or the log is not what its checkpoint says."""


def export(store: Store, shard: str, key: VerifierKey, directory: Path) -> int:
    """Gives the number of entries. Raises CannotExport, CannotRead, BadNote."""
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise CannotExport(f"{directory}: not empty; export into a new directory")
    at = head(store, shard)
    if at.seq < 0:
        raise CannotExport(f"shard {shard} has no entries yet")
    signed = open_checkpoint(at.checkpoint, key)
    tiles = _Tiles(directory)
    for batch in batches(store, shard, 0, at.seq):
        for item in batch.items:
            tiles.add(item.leaf)
    tiles.finish()
    if (tiles.size, tiles.root()) != (signed.size, signed.root):
        raise CannotExport(f"{layout.checkpoint(shard, at.seq)}: the entries do not lead to the signed root")
    _write(directory / "log.vkey", f"{key}\n".encode())
    _write(directory / "checkpoint", at.checkpoint)
    return tiles.size


class _Tiles:
    """Writes each tile when it is full; memory is one tile a level."""

    def __init__(self, directory: Path) -> None:
        self._dir = directory
        self._bundle: list[bytes] = []
        self._levels: list[list[bytes]] = [[]]
        self._counts = [0]  # full tiles written, by level
        self.size = 0

    def add(self, leaf: bytes) -> None:
        self._bundle.append(len(leaf).to_bytes(2, "big") + leaf)
        self.size += 1
        self._hash(0, leaf_hash(leaf))

    def _hash(self, level: int, hashed: bytes) -> None:
        row = self._levels[level]
        row.append(hashed)
        if len(row) < TILE_WIDTH:
            return
        number = self._counts[level]
        _write(self._dir / layout.tile(str(level), number, TILE_WIDTH), b"".join(row))
        if level == 0:
            _write(self._dir / layout.tile("entries", number, TILE_WIDTH), b"".join(self._bundle))
            self._bundle.clear()
        above = root(row)
        row.clear()
        self._counts[level] += 1
        if len(self._levels) == level + 1:
            self._levels.append([])
            self._counts.append(0)
        self._hash(level + 1, above)

    def finish(self) -> None:
        """The partial tiles at the right edge."""
        for level, row in enumerate(self._levels):
            if row:
                _write(self._dir / layout.tile(str(level), self._counts[level], len(row)), b"".join(row))
        if self._bundle:
            _write(self._dir / layout.tile("entries", self._counts[0], len(self._bundle)), b"".join(self._bundle))

    def root(self) -> bytes:
        """Of what was written: folded from the right edge, partial tiles first."""
        folded: bytes | None = None
        for row in self._levels:
            hashes = [*row, folded] if folded is not None else list(row)
            folded = root(hashes) if hashes else None
        return EMPTY_ROOT if folded is None else folded


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as f:
        f.write(data)
        f.flush()
        os.fchmod(f.fileno(), 0o444)
