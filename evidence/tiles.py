"""Checks an exported log: C2SP tlog-tiles (c2sp.org/tlog-tiles), partial tiles included. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from evidence.logcheck import Indexed, Log
from evidence.outcome import Code
from ledger.entry import NotALeaf, read_leaf
from ledger.layout import tile
from ledger.note import BadNote, VerifierKey, open_checkpoint
from ledger.tree import HASH, HashTree, leaf_hash

WIDTH = 256
BESIDE = ("checkpoint", "log.vkey")


def check(files: Mapping[str, bytes], key: VerifierKey) -> Log:
    log = Log()
    try:
        checkpoint = open_checkpoint(files["checkpoint"], key)
    except BadNote as e:
        log.found(Code.ALTERED, f"checkpoint: {e}")
        return log
    log.note, log.size = files["checkpoint"], checkpoint.size
    if files.get("log.vkey", f"{key}\n".encode()) != f"{key}\n".encode():
        log.found(Code.ALTERED, "log.vkey is not the trusted key")
    expected: set[str] = set(BESIDE)
    leaves: list[bytes] = []
    for n, width in _tiles(checkpoint.size, len(files)):
        name = tile("entries", n, width)
        expected.add(name)
        leaves += _entries(log, files, name, n * WIDTH, width)
    if not log.findings and len(leaves) < checkpoint.size:
        log.found(Code.MISSING, f"entries from {len(leaves)} on are missing")
    if log.findings:
        return log
    log.hashes = [leaf_hash(leaf) for leaf in leaves]
    tree = HashTree()
    tree.extend(log.hashes)
    sound = tree.root() == checkpoint.root
    _hash_tiles(log, files, tree, expected, sound)
    if not sound and not log.findings:
        log.found(Code.ALTERED, "the entries are not those that the checkpoint was signed for")
    for name in sorted(set(files) - expected):
        log.found(Code.EXTRA, f"{name} does not belong here")
    if sound:
        _read(log, leaves)
    return log


def _tiles(size: int, files: int) -> list[tuple[int, int]]:
    """(number, width) of each tile of `size` leaves; no more than could be there, however large the size."""
    count = min(-(-size // WIDTH), files + 1)
    return [(n, min(WIDTH, size - n * WIDTH)) for n in range(count)]


def _entries(log: Log, files: Mapping[str, bytes], name: str, first: int, width: int) -> list[bytes]:
    raw = files.get(name)
    if raw is None:
        log.found(Code.MISSING, f"{name} is missing (entries {first} to {first + width - 1})")
        return []
    leaves, at = [], 0
    for n in range(width):
        length = int.from_bytes(raw[at : at + 2], "big")
        leaf = raw[at + 2 : at + 2 + length]
        if len(raw) < at + 2 or len(leaf) != length:
            log.found(Code.ALTERED, f"entry {first + n}: {name} ends inside it")
            return []
        leaves.append(leaf)
        at += 2 + length
    if at != len(raw):
        log.found(Code.ALTERED, f"{name}: there are bytes behind entry {first + width - 1}")
    return leaves


def _hash_tiles(log: Log, files: Mapping[str, bytes], tree: HashTree, expected: set[str], sound: bool) -> None:
    level, size = 0, tree.size
    while size:
        for n, width in _tiles(size, size):
            name = tile(str(level), n, width)
            expected.add(name)
            want = b"".join(tree.node(8 * level, n * WIDTH + i) for i in range(width))
            _compare(log, files.get(name), want, name, n * WIDTH, sound or level > 0)
        level, size = level + 1, size // WIDTH


def _compare(log: Log, raw: bytes | None, want: bytes, name: str, first: int, tile_at_fault: bool) -> None:
    if raw is None:
        log.found(Code.MISSING, f"{name} is missing")
    elif raw != want and tile_at_fault:
        log.found(Code.ALTERED, f"{name}: not the hashes of its entries")
    elif raw != want:
        for i in range(0, len(want), HASH):
            if raw[i : i + HASH] != want[i : i + HASH]:
                log.found(Code.ALTERED, f"entry {first + i // HASH} is not the one that its tile was made of")


def _read(log: Log, leaves: list[bytes]) -> None:
    for index, leaf in enumerate(leaves):
        try:
            log.entries.append(Indexed(index, leaf, read_leaf(leaf), b""))
        except NotALeaf as e:
            log.found(Code.CANNOT, f"entry {index} is whole but cannot be read: {e}")
