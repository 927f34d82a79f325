"""The commit: a crash at any step is mended, a second writer is fenced, a lying store is refused."""

import hashlib
import io
import os
import random
import subprocess
import sys
import textwrap
from pathlib import Path

import fastavro
import pytest

from ledger import layout
from ledger.batch import Consumed, Cursor, Item, decode
from ledger.entry import leaf_bytes
from ledger.note import open_checkpoint
from ledger.recovery import CannotRecover, recover, refuse_older_store
from ledger.store import Creation, FileStore, StoreBroken
from ledger.tree import leaf_hash, root
from ledger.writer import Fenced, Writer
from schemas.ids import Position, Source
from schemas.records import LedgerAlive, LedgerEntry
from seal.sign import Signer

SIGNER = Signer("ledger", bytes(range(32)))
ORIGIN = "tallystick.test/0"


def item(n: int) -> Item:
    return Item(leaf_bytes(LedgerEntry(Source("shard:0"), Position(0, n), n, body=LedgerAlive(n))), b"c%d" % n)


def writer(place: Path, **more: object) -> Writer:
    return Writer(FileStore(place), "0", ORIGIN, SIGNER, **more)


def commit(w: Writer, first: int, count: int) -> None:
    digest = hashlib.sha256(b"m").digest()
    cursors = {Source("shard:0"): Cursor(Position(0, first + count - 1), digest)}
    w.commit([item(n) for n in range(first, first + count)], cursors, Consumed("c", "events", 0, first + count))


def leaves(place: Path) -> list[bytes]:
    store = FileStore(place)
    return [i.leaf for key in store.keys(layout.batches("0")) for i in decode(store.get(key)).items]


def test_a_new_writer_goes_on_from_the_newest_batch_alone(tmp_path: Path) -> None:
    w = writer(tmp_path)
    for n in range(5):
        commit(w, n * 3, 3)
    again = writer(tmp_path)
    assert (again.head.seq, again.head.tree.size) == (4, 15)
    assert again.head.cursors[Source("shard:0")].last == Position(0, 14)
    assert again.head.consumed == Consumed("c", "events", 0, 15)
    commit(again, 15, 2)
    assert leaves(tmp_path) == [item(n).leaf for n in range(17)]
    note = FileStore(tmp_path).get(layout.checkpoint("0", 5))
    assert open_checkpoint(note, w.key).root == root([leaf_hash(leaf) for leaf in leaves(tmp_path)])


def test_the_batch_is_a_table_that_any_avro_reader_reads(tmp_path: Path) -> None:
    commit(writer(tmp_path), 0, 3)
    raw = FileStore(tmp_path).get(layout.batch("0", 0))
    rows = list(fastavro.reader(io.BytesIO(raw)))
    assert [r["entry"]["position"]["minor"] for r in rows] == [0, 1, 2]  # type: ignore[index, call-overload]
    assert [r["content"] for r in rows] == [b"c0", b"c1", b"c2"]  # type: ignore[index, call-overload]


CHILD = """
import os, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
import importlib.util
spec = importlib.util.spec_from_file_location("t", {me!r})
t = importlib.util.module_from_spec(spec)
spec.loader.exec_module(t)
def die(step):
    if step == {step!r}:
        os._exit(9)
w = t.writer(Path({place!r}), at_step=die)
t.commit(w, w.head.tree.size, 2)
os._exit(0)
"""


def in_child(place: Path, step: str) -> int:
    text = textwrap.dedent(CHILD).format(tests=str(Path(__file__).parent), me=__file__, step=step, place=str(place))
    return subprocess.run([sys.executable, "-c", text], check=False, timeout=60, env={**os.environ}).returncode


@pytest.mark.parametrize("step", ["encoded", "batch", "checkpoint"])
def test_a_crash_at_each_step_loses_nothing_that_was_decided(tmp_path: Path, step: str) -> None:
    commit(writer(tmp_path), 0, 2)
    assert in_child(tmp_path, step) == 9
    after = writer(tmp_path)
    assert after.head.tree.size == (2 if step == "encoded" else 4)
    commit(after, after.head.tree.size, 1)
    assert leaves(tmp_path) == [item(n).leaf for n in range(after.head.tree.size)]
    assert len(FileStore(tmp_path).keys(layout.checkpoints("0"))) == len(FileStore(tmp_path).keys(layout.batches("0")))
    assert list((tmp_path / ".tmp").iterdir()) == []


def test_the_second_of_two_writers_is_fenced_and_signs_nothing(tmp_path: Path) -> None:
    commit(writer(tmp_path), 0, 1)
    one, two = writer(tmp_path), writer(tmp_path)
    commit(one, 1, 2)
    signed = FileStore(tmp_path).keys(layout.checkpoints("0"))
    with pytest.raises(Fenced, match="only one may own shard 0"):
        commit(two, 5, 1)
    assert FileStore(tmp_path).keys(layout.checkpoints("0")) == signed
    assert leaves(tmp_path) == [item(n).leaf for n in range(3)]


def test_a_repeat_of_the_same_commit_is_no_other(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    assert store.create("0/x/1", b"a") is Creation.CREATED
    assert store.create("0/x/1", b"a") is Creation.SAME
    assert store.create("0/x/1", b"b") is Creation.OTHER
    assert store.get("0/x/1") == b"a"
    assert not store.any_after("0/x/", "0/x/1")
    assert store.any_after("0/x/", "0/x/0")
    with pytest.raises(StoreBroken, match="0/x/2"):
        store.get("0/x/2")


def drop(place: Path, key: str) -> None:
    (place / key).unlink()


def flip(place: Path, key: str) -> None:
    raw = bytearray((place / key).read_bytes())
    raw[len(raw) // 2] ^= 1
    (place / key).chmod(0o644)
    (place / key).write_bytes(raw)


@pytest.mark.parametrize(
    ("harm", "key"),
    [
        (drop, layout.batch("0", 4)),
        (drop, layout.batch("0", 3)),
        (drop, layout.checkpoint("0", 3)),
        (flip, layout.batch("0", 4)),
        (flip, layout.batch("0", 3)),
        (flip, layout.checkpoint("0", 4)),
    ],
)
def test_what_no_crash_of_ours_leaves_behind_is_refused_with_its_key(tmp_path: Path, harm: object, key: str) -> None:
    w = writer(tmp_path)
    for n in range(5):
        commit(w, n, 1)
    if key == layout.checkpoint("0", 3):
        drop(tmp_path, layout.checkpoint("0", 4))
    assert callable(harm)
    harm(tmp_path, key)
    with pytest.raises((CannotRecover, StoreBroken), match=r"(batch|checkpoint)/0+\d"):
        recover(FileStore(tmp_path), "0", w.key)


@pytest.mark.parametrize("key", [layout.batch("0", 0), layout.batch("0", 1), layout.checkpoint("0", 1)])
def test_any_flipped_byte_is_found(tmp_path: Path, key: str) -> None:
    """Of the newest batch, too, and of what its root does not cover: content, cursors, the file's own framing."""
    w = writer(tmp_path)
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
    w = writer(tmp_path)
    commit(w, 0, 1)
    (tmp_path / "0/batch/zzz").write_bytes(b"")
    with pytest.raises(CannotRecover, match="zzz"):
        recover(FileStore(tmp_path), "0", w.key)


def test_a_store_behind_what_the_bus_has_seen_is_refused(tmp_path: Path) -> None:
    w = writer(tmp_path)
    commit(w, 0, 2)
    early = w.head.tripwire()
    commit(w, 2, 2)
    refuse_older_store(w.head, early)
    refuse_older_store(w.head, w.head.tripwire())
    late = w.head.tripwire()
    drop(tmp_path, layout.batch("0", 1))
    drop(tmp_path, layout.checkpoint("0", 1))
    older = recover(FileStore(tmp_path), "0", w.key)  # a restored copy: sound in itself
    with pytest.raises(CannotRecover, match="older or another copy"):
        refuse_older_store(older, late)
    with pytest.raises(CannotRecover):
        refuse_older_store(older, "nonsense")


def test_a_checkpoint_by_a_writer_that_woke_up_first_is_taken_if_it_says_the_same(tmp_path: Path) -> None:
    def meanwhile(step: str) -> None:
        if step == "batch":
            writer(tmp_path)  # recovers, finds the batch, signs it

    w = writer(tmp_path, at_step=meanwhile)
    commit(w, 0, 2)
    assert recover(FileStore(tmp_path), "0", w.key) == w.head


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_any_moment_it_goes_on(tmp_path: Path, seed: int) -> None:
    """SIGKILL from outside, at no chosen point: what was reported is there, once, and the shard goes on."""
    chance = random.Random(seed)
    text = textwrap.dedent(CHILD_LOOP).format(me=__file__, place=str(tmp_path))
    reported = 0
    for _ in range(5):
        child = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        child.stdout.readline()
        for _ in range(chance.randrange(12)):
            reported = int(child.stdout.readline())
        child.kill()
        child.wait(10)
        child.stdout.close()
        head = writer(tmp_path).head
        assert head.tree.size >= reported
        assert leaves(tmp_path) == [item(n).leaf for n in range(head.tree.size)]
        assert head.checkpoint_missing is False


CHILD_LOOP = """
import importlib.util
from pathlib import Path
spec = importlib.util.spec_from_file_location("t", {me!r})
t = importlib.util.module_from_spec(spec)
spec.loader.exec_module(t)
w = t.writer(Path({place!r}))
print("up", flush=True)
while True:
    t.commit(w, w.head.tree.size, 3)
    print(w.head.tree.size, flush=True)
"""
