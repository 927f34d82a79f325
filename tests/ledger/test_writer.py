"""The commit: a crash at any step is mended, a second writer is fenced, a lying store is refused.

`WriterConformance` is run on every driver of `Store`; then comes what only one of them can suffer.
"""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fastavro
import pytest

from ledger import layout
from ledger.batch import Consumed
from ledger.check import Kind, check_log
from ledger.note import open_checkpoint
from ledger.recovery import CannotRecover, read_tripwire, recover, refuse_older_store
from ledger.store import FileStore, StoreBroken
from ledger.tree import leaf_hash, root
from ledger.writer import Fenced, Writer
from schemas.ids import Position, Source
from tests.ledger.lying_s3 import Answer, Asked, Send, lying
from tests.ledger.writing import (
    ORIGIN,
    SIGNER,
    Files,
    Objects,
    Place,
    commit,
    commit_and_die,
    commits_until_killed,
    flipped,
    item,
    leaves,
    open_store,
    writer,
)


class WriterConformance:
    """Give it a fixture `place` of a new, empty store."""

    def test_a_new_writer_goes_on_from_the_newest_batch_alone(self, place: Place) -> None:
        w = writer(place.spec)
        for n in range(5):
            commit(w, n * 3, 3)
        again = writer(place.spec)
        assert (again.head.seq, again.head.tree.size) == (4, 15)
        assert again.head.cursors[Source("shard:0")].last == Position(0, 14)
        assert again.head.consumed == Consumed("c", "events", 0, 15)
        commit(again, 15, 2)
        assert leaves(place.spec) == [item(n).leaf for n in range(17)]
        note = open_store(place.spec).get(layout.checkpoint("0", 5))
        assert open_checkpoint(note, w.key).root == root([leaf_hash(leaf) for leaf in leaves(place.spec)])
        assert check_log(open_store(place.spec), "0", w.key).intact

    @pytest.mark.parametrize("step", ["encoded", "batch", "checkpoint"])
    def test_a_crash_at_each_step_loses_nothing_that_was_decided(self, place: Place, step: str) -> None:
        commit(writer(place.spec), 0, 2)
        assert commit_and_die(place.spec, step) == 9
        after = writer(place.spec)
        assert after.head.tree.size == (2 if step == "encoded" else 4)
        commit(after, after.head.tree.size, 1)
        assert leaves(place.spec) == [item(n).leaf for n in range(after.head.tree.size)]
        store = open_store(place.spec)
        assert len(store.keys(layout.checkpoints("0"))) == len(store.keys(layout.batches("0")))
        assert place.leftovers() == []

    def test_the_second_of_two_writers_is_fenced_and_signs_nothing(self, place: Place) -> None:
        commit(writer(place.spec), 0, 1)
        one, two = writer(place.spec), writer(place.spec)
        commit(one, 1, 2)
        signed = open_store(place.spec).keys(layout.checkpoints("0"))
        with pytest.raises(Fenced, match="only one may own shard 0"):
            commit(two, 5, 1)
        assert open_store(place.spec).keys(layout.checkpoints("0")) == signed
        assert leaves(place.spec) == [item(n).leaf for n in range(3)]

    def test_writers_that_race_for_each_batch_never_fork_the_log(self, place: Place) -> None:
        """Each is given up when it comes second, and comes back by recovery, as the role does."""

        def race(me: int) -> tuple[int, int]:
            won = lost = 0
            w = writer(place.spec)
            while w.head.seq < 9:
                try:
                    commit(w, w.head.tree.size, 1 + me)
                    won += 1
                except Fenced:
                    lost += 1
                    w = writer(place.spec)
            return won, lost

        with ThreadPoolExecutor(3) as pool:
            came = list(pool.map(race, range(3)))
        last = writer(place.spec).head
        assert last.seq + 1 == sum(won for won, _ in came)
        assert leaves(place.spec) == [item(n).leaf for n in range(last.tree.size)]
        assert check_log(open_store(place.spec), "0", writer(place.spec).key).intact

    @pytest.mark.parametrize(
        ("harm", "key"),
        [
            ("drop", layout.batch("0", 4)),
            ("drop", layout.batch("0", 3)),
            ("drop", layout.checkpoint("0", 3)),
            ("flip", layout.batch("0", 4)),
            ("flip", layout.batch("0", 3)),
            ("flip", layout.checkpoint("0", 4)),
        ],
    )
    def test_what_no_crash_of_ours_leaves_behind_is_refused_with_its_key(
        self, place: Place, harm: str, key: str
    ) -> None:
        w = writer(place.spec)
        for n in range(5):
            commit(w, n, 1)
        if key == layout.checkpoint("0", 3):
            place.drop(layout.checkpoint("0", 4))
        getattr(place, harm)(key)
        with pytest.raises((CannotRecover, StoreBroken), match=r"(batch|checkpoint)/0+\d"):
            recover(open_store(place.spec), "0", w.key)

    def test_a_hole_among_old_batches_does_not_move_the_end(self, place: Place) -> None:
        w = writer(place.spec)
        for n in range(9):
            commit(w, n, 1)
        for seq in (0, 3, 4, 5):
            place.drop(layout.batch("0", seq))
        assert recover(open_store(place.spec), "0", w.key) == w.head

    def test_a_store_behind_what_the_bus_has_seen_is_refused(self, place: Place) -> None:
        w = writer(place.spec)
        commit(w, 0, 2)
        early = w.head.tripwire("0")
        commit(w, 2, 2)
        refuse_older_store(w.head, read_tripwire(early), "0", "0")
        refuse_older_store(w.head, read_tripwire(w.head.tripwire("0")), "0", "0")
        late = w.head.tripwire("0")
        place.drop(layout.batch("0", 1))
        place.drop(layout.checkpoint("0", 1))
        older = recover(open_store(place.spec), "0", w.key)  # a restored copy: sound in itself
        with pytest.raises(CannotRecover, match="older or another copy"):
            refuse_older_store(older, read_tripwire(late), "0", "0")
        with pytest.raises(CannotRecover):
            refuse_older_store(older, read_tripwire("nonsense"), "0", "0")

    def test_a_checkpoint_by_a_writer_that_woke_up_first_is_taken_if_it_says_the_same(self, place: Place) -> None:
        def meanwhile(step: str) -> None:
            if step == "batch":
                writer(place.spec)  # recovers, finds the batch, signs it

        w = writer(place.spec, at_step=meanwhile)
        commit(w, 0, 2)
        assert recover(open_store(place.spec), "0", w.key) == w.head

    @pytest.mark.parametrize("seed", range(4))
    def test_killed_at_any_moment_it_goes_on(self, place: Place, seed: int) -> None:
        """SIGKILL from outside, at no chosen point: what was reported is there, once, and the shard goes on."""
        chance = random.Random(seed)
        reported = 0
        for _ in range(5):
            child = commits_until_killed(place.spec)
            assert child.stdout is not None
            child.stdout.readline()
            for _ in range(chance.randrange(12)):
                reported = int(child.stdout.readline())
            child.kill()
            child.wait(10)
            child.stdout.close()
            head = writer(place.spec).head
            assert head.tree.size >= reported
            assert leaves(place.spec) == [item(n).leaf for n in range(head.tree.size)]
            assert head.checkpoint_missing is False


# --- files --------------------------------------------------------------------------------


class TestOnFiles(WriterConformance):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Files:
        return Files(tmp_path)


def test_the_batch_is_a_table_that_any_avro_reader_reads(tmp_path: Path) -> None:
    commit(writer(f"file:{tmp_path}"), 0, 3)
    raw = FileStore(tmp_path).get(layout.batch("0", 0))
    rows = list(fastavro.reader(io.BytesIO(raw)))
    assert [r["entry"]["position"]["minor"] for r in rows] == [0, 1, 2]  # type: ignore[index, call-overload]
    assert [r["content"] for r in rows] == [b"c0", b"c1", b"c2"]  # type: ignore[index, call-overload]


@pytest.mark.parametrize("commits", [1, 2, 3])
@pytest.mark.parametrize("there", [0, 1, 4])
def test_a_start_beside_a_writer_that_goes_on_is_no_alarm(tmp_path: Path, there: int, commits: int) -> None:
    """It commits between any two listings of the recovery, a few times."""
    w = writer(f"file:{tmp_path}")
    for n in range(there):
        commit(w, n, 1)
    left = commits

    class Busy(FileStore):
        def any_after(self, prefix: str, key: str) -> bool:
            nonlocal left
            found = super().any_after(prefix, key)
            if left and key in ("", layout.batch("0", w.head.seq)):
                left -= 1
                commit(w, w.head.tree.size, 1)
            return found

    head = recover(Busy(tmp_path), "0", w.key)
    assert there - 1 <= head.seq <= w.head.seq
    assert leaves(f"file:{tmp_path}")[: head.tree.size] == [item(n).leaf for n in range(head.tree.size)]


@pytest.mark.parametrize("key", [layout.batch("0", 0), layout.batch("0", 1), layout.checkpoint("0", 1)])
def test_any_flipped_byte_is_found(tmp_path: Path, key: str) -> None:
    """Of the newest batch, too, and of what its root does not cover: content, cursors, the file's own framing."""
    w = writer(f"file:{tmp_path}")
    commit(w, 0, 3)
    commit(w, 3, 3)
    store, raw = FileStore(tmp_path), FileStore(tmp_path).get(key)
    (tmp_path / key).chmod(0o644)
    for at in [*range(0, len(raw), 31), *range(max(0, len(raw) - 250), len(raw))]:
        (tmp_path / key).write_bytes(raw[:at] + bytes([raw[at] ^ 0x10]) + raw[at + 1 :])
        with pytest.raises(CannotRecover):
            recover(store, "0", w.key)
    (tmp_path / key).write_bytes(raw)
    assert recover(store, "0", w.key) == w.head


def test_a_key_that_is_not_ours_stops_the_start_with_its_name(tmp_path: Path) -> None:
    w = writer(f"file:{tmp_path}")
    commit(w, 0, 1)
    (tmp_path / "0/batch/zzz").write_bytes(b"")
    with pytest.raises(CannotRecover, match="zzz"):
        recover(FileStore(tmp_path), "0", w.key)


# --- an object store ----------------------------------------------------------------------


class TestOnObjects(WriterConformance):
    @pytest.fixture
    def place(self, objects: Objects) -> Objects:
        return objects


@pytest.mark.parametrize("seq", [4, 3])
@pytest.mark.parametrize("name", [layout.batch, layout.checkpoint], ids=["batch", "checkpoint"])
def test_a_delete_marker_on_what_a_writer_starts_from_is_refused(
    objects: Objects, name: Callable[[str, int], str], seq: int
) -> None:
    """A HEAD would say that it is not there, and create-once would make a second one: a fork under our own key."""
    w = writer(objects.spec)
    for n in range(5):
        commit(w, n, 1)
    objects.hide(name("0", seq))
    with pytest.raises(CannotRecover, match=f"{name('0', seq)}: 1 version and 1 delete marker"):
        writer(objects.spec)


@pytest.mark.parametrize("data", ["the same", "other"])
@pytest.mark.parametrize("name", [layout.batch, layout.checkpoint], ids=["batch", "checkpoint"])
def test_a_second_version_stops_the_start_and_is_named_by_verify(
    objects: Objects, name: Callable[[str, int], str], data: str
) -> None:
    w = writer(objects.spec)
    for n in range(3):
        commit(w, n, 1)
    key = name("0", 2)
    raw = open_store(objects.spec).get(key)
    objects.cover(key, raw if data == "the same" else flipped(raw))
    with pytest.raises(CannotRecover, match=f"{key}: 2 versions"):
        writer(objects.spec)
    findings = check_log(open_store(objects.spec), "0", w.key).findings
    assert (Kind.EXTRA, key) in [(f.kind, f.where) for f in findings]
    assert {f.kind for f in findings} == ({Kind.EXTRA} if data == "the same" else {Kind.EXTRA, Kind.ALTERED})


def test_a_marker_and_a_version_long_before_the_end_are_named_by_verify(objects: Objects) -> None:
    w = writer(objects.spec)
    for n in range(6):
        commit(w, n, 1)
    objects.hide(layout.batch("0", 1))
    objects.cover(layout.checkpoint("0", 2), b"x")
    assert recover(open_store(objects.spec), "0", w.key) == w.head
    findings = {(f.kind, f.where) for f in check_log(open_store(objects.spec), "0", w.key).findings}
    assert findings == {
        (Kind.EXTRA, layout.batch("0", 1)),
        (Kind.CANNOT, layout.batch("0", 1)),
        (Kind.EXTRA, layout.checkpoint("0", 2)),
        (Kind.ALTERED, layout.checkpoint("0", 2)),
    }


def test_the_newest_batch_hidden_with_its_checkpoint_is_not_made_again(objects: Objects) -> None:
    w = writer(objects.spec)
    for n in range(3):
        commit(w, n, 1)
    objects.hide(layout.batch("0", 2))
    objects.hide(layout.checkpoint("0", 2))
    with pytest.raises(CannotRecover, match=r"batch/0+2"):
        writer(objects.spec)


REQUESTS = 6  # of one commit: PUT, GET and a listing for the batch, and for its checkpoint


@pytest.mark.parametrize("reached", [True, False], ids=["answer lost", "request lost"])
@pytest.mark.parametrize("number", range(REQUESTS))
def test_a_store_that_dies_at_any_request_of_a_commit_loses_nothing(
    objects: Objects, number: int, reached: bool
) -> None:
    commit(writer(objects.spec), 0, 2)
    left, asked_in_all = number, 0
    dying = False

    def lie(asked: Asked, send: Send) -> Answer | None:
        nonlocal left, asked_in_all
        if not dying:
            return send(asked)
        asked_in_all += 1
        left -= 1
        if left == -1 and reached:
            send(asked)
        return None if left < 0 else send(asked)

    with lying(objects.locked.endpoint, [objects.locked.writer], lie) as endpoint:
        w = Writer(objects.locked.store(patience_s=0.3, endpoint=f"http://{endpoint}"), "0", ORIGIN, SIGNER)
        dying = True
        with pytest.raises(StoreBroken, match="no answer"):
            commit(w, 2, 2)
    assert asked_in_all > number
    after = writer(objects.spec)
    decided = number > 0 or reached
    assert after.head.tree.size == (4 if decided else 2)
    commit(after, after.head.tree.size, 1)
    assert leaves(objects.spec) == [item(n).leaf for n in range(after.head.tree.size)]
    assert check_log(open_store(objects.spec), "0", after.key).intact
