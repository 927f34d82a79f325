"""The journal's files: a torn tail is cut and signed, damage is said, a full disk leaves nothing half."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bus import journal
from schemas.ids import RecorderId
from schemas.records import JournalSegment
from seal.segment import CHAIN_START, next_chain, sign_segment
from seal.sign import Signer

SIGNER = Signer("gateway", bytes(range(32)))


def facts(epoch: int = 0) -> JournalSegment:
    prior = (-1, -1) if epoch == 0 else (epoch - 1, 9)
    return JournalSegment(
        RecorderId("g.0.aa"), 1, epoch, 0, -1, *prior, CHAIN_START, "k", b"sealed key", "", False, b"", ()
    )


def write(directory: Path, segments: list[list[bytes]], epoch: int = 0, unsigned: list[bytes] | None = None) -> Path:
    writer, number, chain = journal.JournalWriter(directory, facts(epoch)), 0, CHAIN_START
    for chunks in segments:
        for chunk in chunks:
            writer.append_chunk(number, chunk)
            number += 1
        chain = next_chain(chain, chunks)
        first, last = number - len(chunks), number - 1
        writer.close_segment(sign_segment(SIGNER, replace(facts(epoch), first=first, last=last, chain=chain)))
    for chunk in unsigned or []:
        writer.append_chunk(number, chunk)
        number += 1
    writer.sync()
    writer.close()
    return writer.path


def chunks_of(directory: Path, after: tuple[int, int] = (-1, -1)) -> list[bytes]:
    return [chunk for segment in journal.read(directory, after) for chunk in segment.chunks]


def test_what_was_written_is_read_from_any_position(tmp_path: Path) -> None:
    write(tmp_path, [[b"a", b"b"], [b"c"]])
    write(tmp_path, [[b"d"]], epoch=1)
    assert chunks_of(tmp_path) == [b"a", b"b", b"c", b"d"]
    assert chunks_of(tmp_path, (0, 1)) == [b"c", b"d"]
    assert chunks_of(tmp_path, (0, 2)) == [b"d"]
    assert chunks_of(tmp_path, (1, 0)) == []


def test_an_epoch_is_never_opened_twice(tmp_path: Path) -> None:
    write(tmp_path, [[b"a"]])
    with pytest.raises(journal.JournalUnwritable):
        journal.JournalWriter(tmp_path, facts())


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_whatever_a_crash_leaves_the_good_prefix_is_found_and_signed(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    place = tmp_path_factory.mktemp("j")
    path = write(place, [[b"one", b"two"]], unsigned=[b"three", b"four"])
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    garbage = data.draw(st.sampled_from([b"", bytes(30), b"\xff" * 30]))
    path.write_bytes(whole[:cut] + garbage)
    tail = journal.recover(place)
    if tail is None:  # the head was torn: the epoch never began
        return
    assert [b"one", b"two", b"three", b"four"][tail.unsigned_first :][: len(tail.unsigned)] == list(tail.unsigned)
    if tail.unsigned:
        chain = next_chain(tail.chain, tail.unsigned)
        header = replace(tail.facts, first=tail.unsigned_first, last=tail.last_chunk, chain=chain, recovered=True)
        journal.append_header(place, sign_segment(SIGNER, header))
    assert len(chunks_of(place)) == tail.last_chunk + 1
    assert journal.recover(place) is not None
    assert journal.recover(place).unsigned == ()  # type: ignore[union-attr]


def test_damage_before_a_later_epoch_is_said_with_its_place(tmp_path: Path) -> None:
    path = write(tmp_path, [[b"a" * 50], [b"b" * 50]])
    write(tmp_path, [[b"c"]], epoch=1)
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"b" * 50) + 3] ^= 1
    path.write_bytes(raw)
    with pytest.raises(journal.JournalDamaged, match=r"0000000000\.tsj: does not read from offset \d+"):
        chunks_of(tmp_path)


def test_what_was_signed_behind_damage_is_not_thrown_away_as_a_torn_tail(tmp_path: Path) -> None:
    """One bit of the newest epoch: the boot goes on from before it, and a Gap of the ledger's says what is missing."""
    path = write(tmp_path, [[b"a" * 50], [b"b" * 50], [b"c" * 50]])
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"b" * 50) + 3] ^= 1
    path.write_bytes(raw)
    tail = journal.recover(tmp_path)
    assert tail is not None
    assert (tail.last_chunk, tail.torn) == (0, len(raw) - path.stat().st_size)
    assert path.read_bytes() + path.with_suffix(".cut").read_bytes() == raw
    assert journal.epochs(tmp_path) == [0]


def test_a_chunk_that_was_left_out_is_damage_even_if_every_record_reads(tmp_path: Path) -> None:
    path = write(tmp_path, [[b"first", b"second"]])
    raw = path.read_bytes()
    at = raw.index(b"first") - 17
    path.write_bytes(raw[:at] + raw[at + 17 + 5 :])
    with pytest.raises(journal.JournalDamaged, match="chunk 1 where 0 should be"):
        chunks_of(tmp_path)


def test_a_full_disk_leaves_nothing_half_and_the_same_bytes_go_in_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = journal.JournalWriter(tmp_path, facts())
    writer.append_chunk(0, b"zero")
    real, room = os.pwrite, [20]

    def full(fd: int, data: bytes, at: int) -> int:
        part = data[: room[0]]
        room[0] -= len(part)
        if not part:
            raise OSError(28, "No space left on device")
        return real(fd, part, at)

    monkeypatch.setattr(journal.os, "pwrite", full)
    size = writer.path.stat().st_size
    with pytest.raises(journal.JournalUnwritable, match="No space left"):
        writer.append_chunk(1, b"one" * 100)
    assert writer.path.stat().st_size == size
    monkeypatch.undo()
    writer.append_chunk(1, b"one" * 100)
    chain = next_chain(CHAIN_START, [b"zero", b"one" * 100])
    writer.close_segment(sign_segment(SIGNER, replace(facts(), last=1, chain=chain)))
    writer.close()
    assert chunks_of(tmp_path) == [b"zero", b"one" * 100]
