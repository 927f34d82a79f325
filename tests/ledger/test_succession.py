"""What is left of a shard is gone on from under a new name: said by an operator, in the log, and checkable."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bus.topics import EVENTS
from ledger import layout
from ledger.batch import Consumed, decode
from ledger.check import Kind
from ledger.note import VerifierKey
from ledger.reader import entries
from ledger.recovery import CannotRecover, last_sound
from ledger.store import FileStore, StoreBroken
from ledger.succession import NothingToAdopt, adopt, check_shards, shards
from ledger.writer import Writer
from schemas.ids import Position
from schemas.records import Beat, Gap, KeyEnrolled, LedgerAdopted, LedgerStarted
from tests.ledger.test_service import ORIGIN, SHARD, SIGNER, MemoryBus, message, send, serve
from tests.ledger.writing import Objects, commit, flipped, item
from tests.ledger.writing import open_store as opened
from tests.ledger.writing import writer as small_writer

KEY = VerifierKey(ORIGIN, SIGNER.public)
NOTHING = Consumed("cluster-1", EVENTS, 0, -1)


def go_on(store: FileStore, bus: MemoryBus) -> LedgerAdopted:
    """As the operator's command does it."""
    seen = bus.groups.get(f"ledger-{SHARD}", (-1, ""))[1]
    return adopt(store, SHARD, ORIGIN, SIGNER, seen=seen, nothing=NOTHING, reason="disk lost", at_us=7)


def beats(store: FileStore, shard: str) -> list[int]:
    found = [e.entry for e in entries(store, shard)]
    return [e.position.minor for e in found if isinstance(e.body, Beat)]


def kinds(store: FileStore) -> dict[str, list[tuple[Kind, str]]]:
    checked = check_shards(store, SHARD, ORIGIN, SIGNER.public)
    return {name: [(f.kind, f.where) for f in report.findings] for name, report in checked}


async def behind(tmp_path: Path) -> tuple[MemoryBus, FileStore]:
    """A bus that has seen beats 0 to 5, of which this copy of the store has 0 to 2."""
    bus = MemoryBus()
    await send(bus, message(0, 2))
    await serve(bus, tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "copy")
    await send(bus, message(3, 5))
    await serve(bus, tmp_path / "whole")
    return bus, FileStore(tmp_path / "copy")


async def test_an_older_copy_goes_on_under_a_new_name_and_reads_again_what_the_bus_has(tmp_path: Path) -> None:
    bus, store = await behind(tmp_path)
    with pytest.raises(CannotRecover, match="tallystick ledger adopt"):
        await serve(bus, tmp_path / "copy")
    said = go_on(store, bus)
    assert (said.before, said.reason) == (SHARD, "disk lost")
    assert said.seen.endswith(SHARD)
    first, left = (decode(store.get(layout.batch(f"{SHARD}{n}", seq))).meta for n, seq in (("-2", 0), ("", 1)))
    assert (first.consumed, first.cursors) == (left.consumed, left.cursors)
    await send(bus, message(6, 6))
    await serve(bus, tmp_path / "copy")
    assert shards(store, SHARD) == [SHARD, f"{SHARD}-2"]
    assert beats(store, SHARD) == [0, 1, 2]
    assert beats(store, f"{SHARD}-2") == [3, 4, 5, 6]
    bodies = [e.entry.body for e in entries(store, f"{SHARD}-2")]
    assert bodies[0] == said
    assert [type(b) for b in bodies[1:3]] == [LedgerStarted, KeyEnrolled]
    assert kinds(store) == {SHARD: [], f"{SHARD}-2": [(Kind.GAP, layout.batch(f"{SHARD}-2", 0))]}
    await serve(bus, tmp_path / "copy")  # and again, as any shard


async def test_what_the_bus_no_longer_has_becomes_a_gap(tmp_path: Path) -> None:
    bus, store = await behind(tmp_path)
    go_on(store, bus)
    await send(bus, message(6, 6))
    bus.topics[EVENTS][1] = replace(bus.topics[EVENTS][1], value=message(0, 2))  # of 3 to 5 nothing is left
    await serve(bus, tmp_path / "copy")
    (gap,) = [e.entry.body for e in entries(store, f"{SHARD}-2") if isinstance(e.entry.body, Gap)]
    assert (gap.after, gap.before) == (Position(0, 2), Position(0, 5))


async def test_a_bucket_that_is_lost_whole_goes_on_from_nothing(tmp_path: Path) -> None:
    bus, _ = await behind(tmp_path)
    store = FileStore(tmp_path / "empty")
    with pytest.raises(CannotRecover):
        await serve(bus, tmp_path / "empty")
    assert go_on(store, bus).size == 0
    await serve(bus, tmp_path / "empty")
    assert beats(store, f"{SHARD}-2") == [0, 1, 2, 3, 4, 5]


async def test_a_copy_from_before_the_adoption_is_refused_and_its_name_is_not_used_again(tmp_path: Path) -> None:
    bus, store = await behind(tmp_path)
    shutil.copytree(tmp_path / "copy", tmp_path / "older")
    go_on(store, bus)
    await serve(bus, tmp_path / "copy")
    with pytest.raises(CannotRecover, match=f"bus has seen shard {SHARD}-2, the store ends with shard {SHARD}:"):
        await serve(bus, tmp_path / "older")
    older = FileStore(tmp_path / "older")
    assert go_on(older, bus).before == SHARD
    assert shards(older, SHARD) == [SHARD, f"{SHARD}-3"]
    await serve(bus, tmp_path / "older")


async def test_a_third_goes_on_from_the_second(tmp_path: Path) -> None:
    bus, store = await behind(tmp_path)
    go_on(store, bus)
    shutil.copytree(tmp_path / "copy", tmp_path / "older")
    await serve(bus, tmp_path / "copy")
    with pytest.raises(CannotRecover, match="older or another copy"):
        await serve(bus, tmp_path / "older")
    older = FileStore(tmp_path / "older")
    assert (go_on(older, bus).before, shards(older, SHARD)[-1]) == (f"{SHARD}-2", f"{SHARD}-3")
    await serve(bus, tmp_path / "older")
    assert beats(older, f"{SHARD}-3") == [3, 4, 5]


async def test_a_sound_shard_has_no_successor(tmp_path: Path) -> None:
    bus = MemoryBus()
    await send(bus, message(0, 2))
    await serve(bus, tmp_path)
    with pytest.raises(NothingToAdopt):
        go_on(FileStore(tmp_path), bus)
    bus.groups.clear()
    with pytest.raises(NothingToAdopt):
        go_on(FileStore(tmp_path), bus)
    assert shards(FileStore(tmp_path), SHARD) == [SHARD]


# --- what the check says of a succession ------------------------------------------------------


def longer_before(store: FileStore, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "copy" / SHARD)
    shutil.copytree(tmp_path / "whole" / SHARD, tmp_path / "copy" / SHARD)


def shorter_before(store: FileStore, tmp_path: Path) -> None:
    for folder, name in (("batch", layout.batch), ("checkpoint", layout.checkpoint)):
        newest = sorted((tmp_path / "copy" / SHARD / folder).iterdir())[-1]
        assert str(newest).endswith(name(SHARD, int(newest.name[:20])))
        newest.unlink()


@pytest.mark.parametrize(
    ("harm", "kind"),
    [(longer_before, Kind.EXTRA), (shorter_before, Kind.MISSING)],
)
async def test_a_predecessor_that_is_another_than_it_was_is_named(
    tmp_path: Path, harm: Callable[[FileStore, Path], None], kind: Kind
) -> None:
    bus, store = await behind(tmp_path)
    go_on(store, bus)
    harm(store, tmp_path)
    assert (kind, SHARD) in kinds(store)[f"{SHARD}-2"]


async def test_a_predecessor_of_other_entries_is_named(tmp_path: Path) -> None:
    bus, store = await behind(tmp_path)
    go_on(store, bus)
    other = MemoryBus()
    await send(other, message(0, 2, opened=9))
    await serve(other, tmp_path / "forged")
    shutil.rmtree(tmp_path / "copy" / SHARD)
    shutil.copytree(tmp_path / "forged" / SHARD, tmp_path / "copy" / SHARD)
    assert (Kind.ALTERED, SHARD) in kinds(store)[f"{SHARD}-2"]


async def test_a_successor_that_is_lost_is_named_by_the_next(tmp_path: Path) -> None:
    bus, store = await behind(tmp_path)
    go_on(store, bus)
    shutil.copytree(tmp_path / "copy", tmp_path / "older")
    await serve(bus, tmp_path / "copy")
    older = FileStore(tmp_path / "older")
    go_on(older, bus)
    shutil.rmtree(tmp_path / "older" / f"{SHARD}-2")
    assert shards(older, SHARD) == [SHARD, f"{SHARD}-3"]
    assert (Kind.MISSING, f"{SHARD}-2") in kinds(older)[f"{SHARD}-3"]


async def test_a_shard_of_a_successors_name_that_does_not_say_so_is_named(tmp_path: Path) -> None:
    bus = MemoryBus()
    await send(bus, message(0, 2))
    await serve(bus, tmp_path)
    made = Writer(FileStore(tmp_path), f"{SHARD}-2", f"{ORIGIN}-2", SIGNER)
    made.commit([item(0)], {}, NOTHING)
    assert (Kind.ALTERED, layout.batch(f"{SHARD}-2", 0)) in kinds(FileStore(tmp_path))[f"{SHARD}-2"]


# --- from where ---------------------------------------------------------------------------------


def drop_newest(place: Path) -> None:
    (place / layout.batch("0", 4)).unlink()


def damage_newest(place: Path) -> None:
    path = place / layout.batch("0", 4)
    path.chmod(0o644)
    path.write_bytes(flipped(path.read_bytes()))


def drop_checkpoint(place: Path) -> None:
    (place / layout.checkpoint("0", 3)).unlink()


@pytest.mark.parametrize(("harm", "seq"), [(drop_newest, 3), (damage_newest, 3), (drop_checkpoint, 2)])
def test_the_last_sound_place_is_the_newest_that_recovery_would_take(
    tmp_path: Path, harm: Callable[[Path], None], seq: int
) -> None:
    w = small_writer(f"file:{tmp_path}")
    for n in range(5):
        commit(w, n, 1)
    harm(tmp_path)
    assert last_sound(FileStore(tmp_path), "0", w.key).seq == seq


def test_a_store_that_is_out_of_reach_is_not_gone_on_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    w = small_writer(f"file:{tmp_path}")
    for n in range(3):
        commit(w, n, 1)

    def unreadable(key: str) -> bytes:
        raise StoreBroken(f"{key}: cannot be read (I/O error)")

    store = FileStore(tmp_path)
    monkeypatch.setattr(store, "get", unreadable)
    with pytest.raises(StoreBroken, match="I/O error"):
        adopt(store, "0", "tallystick.test/0", SIGNER, seen="", nothing=NOTHING, reason="", at_us=1)
    assert shards(store, "0") == ["0"]


def test_a_bucket_whose_newest_batch_was_hidden_or_covered_goes_on_from_the_one_before(objects: Objects) -> None:
    w = small_writer(objects.spec)
    for n in range(4):
        commit(w, n, 1)
    objects.hide(layout.batch("0", 3))
    store = opened(objects.spec)
    origin = "tallystick.test/0"
    said = adopt(store, "0", origin, SIGNER, seen=w.head.tripwire("0"), nothing=NOTHING, reason="", at_us=1)
    assert (said.size, said.root) == (3, last_sound(store, "0", w.key).tree.root())
    assert shards(store, "0") == ["0", "0-2"]
    found = {n: {f.kind for f in r.findings} for n, r in check_shards(store, "0", origin, SIGNER.public)}
    assert found["0"] >= {Kind.EXTRA, Kind.CANNOT}
    assert Kind.GAP in found["0-2"]
