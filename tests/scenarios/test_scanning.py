"""What of the scanners' finds is a leak."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios.scanning import Find, leaks, write_runs, write_texts

CHANCE, PLANTED = "IsKa@u60.Dk", "ann@b.co"


@pytest.mark.parametrize(
    ("raw", "text", "found"),
    [
        (b"\x00\xfe" + CHANCE.encode() + b"\x90", CHANCE, False),
        (b"\x00\xfesent to " + CHANCE.encode() + b" yesterday\x90", CHANCE, True),
        (b"\x00\xfe###" + PLANTED.encode() + b"\x90", PLANTED, True),
    ],
    ids=["alone among bytes", "in a text", "planted"],
)
def test_an_address_alone_among_sealed_bytes_is_chance_unless_it_was_planted(
    tmp_path: Path, raw: bytes, text: str, found: bool
) -> None:
    sealed, folder = tmp_path / "0000000000.tsj", tmp_path / "scanned"
    sealed.write_bytes(raw)
    folder.mkdir()
    assert write_runs([sealed], folder)
    (written,) = folder.iterdir()
    assert bool(leaks([Find("presidio", "EMAIL_ADDRESS", written.name, text)], (PLANTED,), folder)) is found


def test_nothing_is_chance_in_what_was_masked(tmp_path: Path) -> None:
    assert write_texts([CHANCE], tmp_path)
    (written,) = tmp_path.iterdir()
    assert leaks([Find("presidio", "EMAIL_ADDRESS", written.name, CHANCE)], (), tmp_path)
