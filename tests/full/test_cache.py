"""The cache of servers: a folder is there whole or not at all, and made by one; jars are what was pinned."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest

from tools.services import Unavailable, cache, kafka_server


@pytest.fixture(autouse=True)
def pins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Pins and a cache of the test's own: one jar, `a.jar`, with the bytes b'a'."""
    folder = tmp_path / "pins"
    (folder / "kafka").mkdir(parents=True)
    (folder / "kafka/jars.sha256").write_text(f"{hashlib.sha256(b'a').hexdigest()}  a.jar\n")
    monkeypatch.setattr(cache, "PINS", folder)
    monkeypatch.setattr(kafka_server, "PINS", folder)
    monkeypatch.setenv("TALLYSTICK_CACHE", str(tmp_path / "cache"))
    return folder


def make(folder: Path) -> None:
    (folder / "made").touch()


def test_makes_a_folder_once_for_each_state_of_its_pins(pins: Path) -> None:
    first = cache.made("kafka", make)
    (first / "mine").touch()
    again = cache.made("kafka", make)
    (pins / "kafka/jars.sha256").write_text("other")
    other = cache.made("kafka", make)
    assert again == first
    assert sorted(path.name for path in first.iterdir()) == ["made", "mine"]
    assert [path.name for path in other.iterdir()] == ["made"]


def test_leaves_nothing_of_a_making_that_failed() -> None:
    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise Unavailable("no")

    with pytest.raises(Unavailable):
        cache.made("kafka", fail)
    assert [path.name for path in cache.made("kafka", make).iterdir()] == ["made"]


def test_the_second_of_two_waits_for_the_first() -> None:
    found: list[Path] = []
    second = threading.Thread(target=lambda: found.append(cache.made("kafka", make)))

    def slow(folder: Path) -> None:
        second.start()
        second.join(0.5)
        assert second.is_alive()
        (folder / "slow").touch()

    first = cache.made("kafka", slow)
    second.join(30)
    assert found == [first]
    assert [path.name for path in first.iterdir()] == ["slow"]


@pytest.mark.parametrize(
    ("jars", "why"),
    [
        ({"a.jar": b"b"}, "a.jar has other bytes"),
        ({"a.jar": b"a", "b.jar": b"b"}, "b.jar is not pinned"),
        ({}, "a.jar is missing"),
    ],
    ids=["changed", "added", "missing"],
)
def test_refuses_jars_that_are_not_the_pinned_ones(tmp_path: Path, jars: dict[str, bytes], why: str) -> None:
    folder = tmp_path / "jars"
    folder.mkdir()
    for name, content in jars.items():
        (folder / name).write_bytes(content)
    with pytest.raises(Unavailable, match=why):
        kafka_server.verify(folder)


def test_takes_the_pinned_jars(tmp_path: Path) -> None:
    (tmp_path / "jars").mkdir()
    (tmp_path / "jars/a.jar").write_bytes(b"a")
    kafka_server.verify(tmp_path / "jars")
