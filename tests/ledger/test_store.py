"""What every driver of `Store` keeps: `StoreConformance` is run for each; then what is the file driver's own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ledger.store import Creation, FileStore, Store, StoreBroken


class StoreConformance:
    """Give it a fixture `store` of a new, empty store."""

    def test_a_key_is_created_once(self, store: Store) -> None:
        assert store.create("s/batch/1", b"a") is Creation.CREATED
        assert store.create("s/batch/1", b"a") is Creation.SAME
        assert store.create("s/batch/1", b"b") is Creation.OTHER
        assert store.get("s/batch/1") == b"a"

    def test_what_is_not_there_is_an_error_with_its_key(self, store: Store) -> None:
        with pytest.raises(StoreBroken, match="s/batch/2"):
            store.get("s/batch/2")

    def test_listing_after_a_key_does_not_care_what_is_missing(self, store: Store) -> None:
        assert not store.any_after("s/batch/", "")
        for n in (1, 2, 9):
            store.create(f"s/batch/{n}", b"")
        store.create("s/checkpoint/99", b"")
        assert [store.any_after("s/batch/", f"s/batch/{n}") for n in (0, 1, 5, 8, 9)] == [True, True, True, True, False]
        assert store.keys("s/batch/") == ["s/batch/1", "s/batch/2", "s/batch/9"]

    def test_of_many_writers_one_wins_and_every_other_knows(self, store: Store) -> None:
        for key in range(20):
            with ThreadPoolExecutor(8) as pool:
                made = list(pool.map(lambda n, k=key: store.create(f"s/batch/{k}", b"%d" % n), range(8)))
            assert made.count(Creation.CREATED) == 1
            assert made.count(Creation.OTHER) == 7
            assert store.get(f"s/batch/{key}") == b"%d" % made.index(Creation.CREATED)


class TestFileStore(StoreConformance):
    @pytest.fixture
    def store(self, tmp_path: Path) -> FileStore:
        return FileStore(tmp_path / "store")

    def test_files_are_read_only_and_nothing_is_left_over(self, store: FileStore, tmp_path: Path) -> None:
        store.create("s/batch/1", b"a")
        assert (tmp_path / "store/s/batch/1").stat().st_mode & 0o777 == 0o444
        assert list((tmp_path / "store/.tmp").iterdir()) == []

    def test_a_dead_writers_file_is_cleaned_by_the_next_writer_and_by_no_reader(self, tmp_path: Path) -> None:
        store = FileStore(tmp_path / "store")
        assert store.keys("s/batch/") == []
        assert not (tmp_path / "store").exists()
        dead = tmp_path / "store/.tmp/4194305-abc"  # above the largest pid there can be
        dead.parent.mkdir(parents=True)
        dead.write_bytes(b"half")
        store.create("s/batch/1", b"x")
        assert not dead.exists()
