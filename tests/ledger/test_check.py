"""Reading, exporting and checking one log: what is altered, missing, extra or a gap is told apart and named."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from ledger import layout, proof
from ledger.batch import Consumed, Cursor, Item
from ledger.check import OPERATOR, Kind, Report, check_directory, check_log
from ledger.entry import leaf_bytes
from ledger.export import CannotExport, export
from ledger.note import VerifierKey, open_checkpoint
from ledger.reader import CannotRead, Prover, entries, head
from ledger.store import FileStore
from ledger.tree import leaf_hash, root, verify_consistency
from ledger.writer import Writer
from schemas.ids import START, Position, Source
from schemas.records import Gap, LedgerAlive, LedgerEntry
from seal.sign import Signer

SIGNER = Signer("ledger", bytes(range(32)))
SHARD, ORIGIN = "shard-0", "tallystick.test/shard-0"
KEY = VerifierKey(ORIGIN, SIGNER.public)
SOURCE = Source("journal:r")


def item(n: int) -> Item:
    body = Gap(SOURCE, START, Position(0, n), "messages missing", n) if n == 7 else LedgerAlive(n)
    return Item(leaf_bytes(LedgerEntry(SOURCE, Position(0, n), n, body=body)), hashlib.sha256(b"%d" % n).digest())


def write(place: Path, cuts: list[int]) -> FileStore:
    store = FileStore(place)
    writer = Writer(store, SHARD, ORIGIN, SIGNER)
    for start, end in pairwise(cuts):
        cursors = {SOURCE: Cursor(Position(0, end), bytes(32))}
        writer.commit([item(n) for n in range(start, end)], cursors, Consumed("c", "events", 0, end))
    return store


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return write(tmp_path / "store", [0, 5, 20, 300, 301])


def change(path: Path, at: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[at] ^= 0x20
    path.chmod(0o644)
    path.write_bytes(raw)


def kinds(report: Report) -> set[Kind]:
    return {f.kind for f in report.findings} - {Kind.GAP}


# --- reading ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "end"), [(0, None), (0, 5), (4, 6), (5, 20), (19, 301), (300, 301), (301, None), (9, 9)]
)
def test_entries_come_in_order_from_anywhere(store: FileStore, start: int, end: int | None) -> None:
    found = list(entries(store, SHARD, start, end))
    assert [e.index for e in found] == list(range(start, 301 if end is None else end))
    assert all((e.leaf, e.content) == (item(e.index).leaf, item(e.index).content) for e in found)
    assert all(e.entry.position == Position(0, e.index) for e in found)


def test_a_batch_without_a_checkpoint_is_not_read(store: FileStore, tmp_path: Path) -> None:
    (tmp_path / "store" / layout.checkpoint(SHARD, 3)).unlink()
    assert head(store, SHARD).size == 300
    assert len(list(entries(store, SHARD))) == 300


def test_an_empty_shard(tmp_path: Path) -> None:
    empty = FileStore(tmp_path)
    assert head(empty, SHARD).size == 0
    assert list(entries(empty, SHARD)) == []
    with pytest.raises(CannotExport):
        export(empty, SHARD, KEY, tmp_path / "out")


def test_every_entry_is_proved_under_the_newest_checkpoint(store: FileStore) -> None:
    prover = Prover(store, SHARD)
    for n in range(0, 301, 10):
        proof.verify(proof.parse(prover.proof(n).text()), item(n).leaf, KEY)
    hashes = [leaf_hash(item(n).leaf) for n in range(301)]
    verify_consistency(20, 301, prover.consistency(20, 301), root(hashes[:20]), root(hashes))


def test_a_damaged_batch_is_not_read_over(store: FileStore, tmp_path: Path) -> None:
    (tmp_path / "store" / layout.batch(SHARD, 1)).unlink()
    with pytest.raises(CannotRead, match=r"batch/0+1"):
        list(entries(store, SHARD, 0))


# --- checking a store ------------------------------------------------------------------------


def test_a_whole_log_passes_says_its_gaps_and_first_what_it_does_not_prove(store: FileStore) -> None:
    report = check_log(store, SHARD, KEY)
    assert report.intact
    assert report.gaps == [7]
    assert (report.size, report.root) == (301, head(store, SHARD).root)
    assert report.facts[0] == OPERATOR


def test_any_changed_byte_in_any_file_is_found(store: FileStore, tmp_path: Path) -> None:
    chance = random.Random(3)
    files = [p for p in (tmp_path / "store" / SHARD).rglob("*") if p.is_file()]
    for path in files:
        whole = path.read_bytes()
        for at in [chance.randrange(len(whole)) for _ in range(25)]:
            change(path, at)
            report = check_log(store, SHARD, KEY)
            assert Kind.ALTERED in kinds(report), (path.name, at)
            assert kinds(report) == {Kind.ALTERED}
            assert any(path.name in f.where for f in report.findings), (path.name, at)
            path.write_bytes(whole)
    assert check_log(store, SHARD, KEY).intact


def test_the_altered_entry_is_named(store: FileStore, tmp_path: Path) -> None:
    path = tmp_path / "store" / layout.batch(SHARD, 2)
    change(path, path.stat().st_size - 3000)
    (found,) = [f for f in check_log(store, SHARD, KEY).findings if f.kind is Kind.ALTERED]
    assert found.index is not None
    assert 20 <= found.index < 300
    assert f"entry {found.index}" in found.what


@pytest.mark.parametrize("seq", range(4))
def test_a_missing_batch_or_checkpoint_is_named(store: FileStore, tmp_path: Path, seq: int) -> None:
    for key in (layout.batch(SHARD, seq), layout.checkpoint(SHARD, seq)):
        path = tmp_path / "store" / key
        whole = path.read_bytes()
        path.unlink()
        report = check_log(store, SHARD, KEY)
        assert kinds(report) == {Kind.MISSING}
        assert [f.where for f in report.findings if f.kind is Kind.MISSING] == [key]
        path.write_bytes(whole)


def test_a_key_that_is_no_part_of_the_log_is_extra(store: FileStore, tmp_path: Path) -> None:
    (tmp_path / "store" / SHARD / "batch" / "notes.txt").write_bytes(b"")
    assert kinds(check_log(store, SHARD, KEY)) == {Kind.EXTRA}


@pytest.mark.parametrize("name", ["notes.txt", "batch-2/x"])
def test_a_file_beside_the_batches_is_extra(store: FileStore, tmp_path: Path, name: str) -> None:
    planted = tmp_path / "store" / SHARD / name
    planted.parent.mkdir(exist_ok=True)
    planted.touch()
    assert kinds(check_log(store, SHARD, KEY)) == {Kind.EXTRA}


def test_a_log_signed_by_another_key_does_not_pass(store: FileStore) -> None:
    other = VerifierKey(ORIGIN, Signer("ledger", bytes(32)).public)
    assert kinds(check_log(store, SHARD, other)) == {Kind.ALTERED}


def test_a_batch_swapped_for_a_well_made_one_is_found(store: FileStore, tmp_path: Path) -> None:
    other = write(tmp_path / "other", [0, 5, 19, 300])
    for seq in (1, 2):
        path = tmp_path / "store" / layout.batch(SHARD, seq)
        path.chmod(0o644)
        path.write_bytes(other.get(layout.batch(SHARD, seq)))
    assert Kind.ALTERED in kinds(check_log(store, SHARD, KEY))


def test_where_there_is_no_log_nothing_is_verified(tmp_path: Path) -> None:
    assert kinds(check_log(FileStore(tmp_path), SHARD, KEY)) == {Kind.CANNOT}


# --- the exported directory ---------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 255, 256, 257, 512, 700])
def test_an_export_is_a_tlog_tiles_log_that_passes(tmp_path: Path, size: int) -> None:
    out = tmp_path / "out"
    assert export(write(tmp_path / "store", [0, size]), SHARD, KEY, out) == size
    report = check_directory(out, KEY)
    assert report.intact, report.findings
    assert report.size == size
    names = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    assert {layout.tile(*t) for t in layout.tiles(size)} | {"checkpoint", "log.vkey"} == names
    note = (out / "checkpoint").read_bytes()
    assert open_checkpoint(note, KEY).size == size
    assert note.count("—".encode()) == 1


def test_the_paths_of_the_specifications_example() -> None:
    assert layout.tile_path(1234067) == "x001/x234/067"
    tiles = layout.tiles(70_000)
    assert [t for t in tiles if t[0] != "entries" and t[2] < 256] == [("0", 273, 112), ("1", 1, 17), ("2", 0, 1)]
    assert layout.tiles(256)[-2:] == [("0", 0, 256), ("1", 0, 1)]


@pytest.mark.parametrize("seed", range(30))
def test_any_changed_byte_of_an_export_is_found_and_the_entry_named(tmp_path: Path, seed: int) -> None:
    out = tmp_path / "out"
    export(write(tmp_path / "store", [0, 600]), SHARD, KEY, out)
    chance = random.Random(seed)
    path = chance.choice(sorted(p for p in out.rglob("*") if p.is_file()))
    change(path, chance.randrange(path.stat().st_size))
    report = check_directory(out, KEY)
    assert kinds(report) == {Kind.ALTERED}
    if "tile/0" in path.as_posix() or "entries" in path.as_posix():
        assert any(f.index is not None for f in report.findings)


def test_the_bits_behind_a_signature_are_checked_too(tmp_path: Path) -> None:
    """68 bytes leave two bits of the last base64 digit over."""
    out = tmp_path / "out"
    export(write(tmp_path / "store", [0, 3]), SHARD, KEY, out)
    note = out / "checkpoint"
    note.chmod(0o644)
    whole = bytearray(note.read_bytes())
    digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    whole[-3] = digits[digits.index(whole[-3]) ^ 1]
    note.write_bytes(whole)
    assert kinds(check_directory(out, KEY)) == {Kind.ALTERED}


def drop(out: Path) -> None:
    (out / "tile/0/001").unlink()


def add(out: Path) -> None:
    (out / "tile/0/009").write_bytes(b"")


def no_checkpoint(out: Path) -> None:
    (out / "checkpoint").unlink()


def link(out: Path) -> None:
    os.symlink("/etc/hostname", out / "tile/0/extra")


@pytest.mark.parametrize(
    ("harm", "kind"),
    [(drop, Kind.MISSING), (add, Kind.EXTRA), (no_checkpoint, Kind.MISSING), (link, Kind.EXTRA)],
)
def test_missing_and_extra_files_of_an_export(tmp_path: Path, harm: Callable[[Path], None], kind: Kind) -> None:
    out = tmp_path / "out"
    export(write(tmp_path / "store", [0, 600]), SHARD, KEY, out)
    harm(out)
    assert kinds(check_directory(out, KEY)) == {kind}


def test_an_export_never_mixes_with_what_is_there(store: FileStore, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/x").write_bytes(b"")
    with pytest.raises(CannotExport, match="not empty"):
        export(store, SHARD, KEY, tmp_path / "out")
