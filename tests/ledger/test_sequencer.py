"""A source's cursor decides: next, repeat, gap, overlap, conflict; and no order of deliveries makes doubles."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.batch import Cursor
from ledger.entry import leaf_bytes, look
from ledger.sequencer import Append, BadMessage, Repeat, Unlike, admit, place
from schemas.codec import encode
from schemas.ids import START, Position, RecorderId, Source, beats_source, journal_source
from schemas.records import Beat, Boot, ChainHead, Event, EventBatch, LedgerAlive, LedgerEntry

SOURCE = Source("journal:r")


def message(prior: int, last: int, salt: int = 0) -> EventBatch:
    """Events at every position in (prior, last]; -1 is the start."""
    events = tuple(
        Event(leaf_bytes(LedgerEntry(SOURCE, Position(0, n), salt, body=LedgerAlive(n))), b"")
        for n in range(prior + 1, last + 1)
    )
    return EventBatch(SOURCE, RecorderId("r"), at(prior), Position(0, last), events, "pipeline", b"signature")


def at(n: int) -> Position:
    return START if n < 0 else Position(0, n)


def digest(m: EventBatch) -> bytes:
    return hashlib.sha256(encode(m)).digest()


def given_cursor(last: int, m: EventBatch | None = None) -> dict[Source, Cursor]:
    return {SOURCE: Cursor(at(last), digest(m) if m else bytes(32))}


def positions(placed: Append) -> list[int]:
    return [look(i.leaf).position.minor for i in placed.items]


@pytest.mark.parametrize(
    ("cursor", "prior", "last", "appended", "gap"),
    [
        (None, -1, 2, [0, 1, 2], None),  # the source's first message
        (None, 4, 6, [5, 6], (-1, 4)),  # first seen in its middle: said
        (2, 2, 4, [3, 4], None),  # next
        (2, 5, 6, [6], (2, 5)),  # something is missing
        (2, 1, 4, [3, 4], None),  # overlaps: only what is new
    ],
)
def test_what_is_appended(
    cursor: int | None, prior: int, last: int, appended: list[int], gap: tuple[int, int] | None
) -> None:
    m = message(prior, last)
    placed = place({} if cursor is None else given_cursor(cursor), m, admit(m), digest(m), 9)
    assert isinstance(placed, Append)
    assert positions(placed) == appended
    assert placed.cursor == Cursor(Position(0, last), digest(m))
    assert (placed.gap and (placed.gap.after, placed.gap.before)) == (gap and (at(gap[0]), at(gap[1])))


def test_repeats_change_nothing() -> None:
    newest = message(2, 4)
    for repeat in (newest, message(0, 2), message(0, 3)):
        assert place(given_cursor(4, newest), repeat, admit(repeat), digest(repeat), 0) == Repeat()


def test_the_newest_with_other_bytes_is_a_conflict_and_told_once() -> None:
    newest, other = message(2, 4), message(2, 4, salt=1)
    placed = place(given_cursor(4, newest), other, admit(other), digest(other), 9)
    assert isinstance(placed, Unlike)
    assert (placed.conflict.digest_kept, placed.conflict.digest_other) == (digest(newest), digest(other))
    after = {SOURCE: placed.cursor}
    assert place(after, other, admit(other), digest(other), 9) == Repeat()
    assert place(after, newest, admit(newest), digest(newest), 9) == Repeat()


@given(st.lists(st.integers(1, 5), min_size=1, max_size=8), st.data())
def test_delivered_again_and_again_from_anywhere_each_is_there_once(widths: list[int], data: st.DataObject) -> None:
    edges = [-1]
    for width in widths:
        edges.append(edges[-1] + width)
    messages = [message(a, b) for a, b in pairwise(edges)]
    cursors: dict[Source, Cursor] = {}
    kept: list[int] = []
    upto = 0
    while upto < len(messages):
        start = data.draw(st.integers(0, upto))  # a restart reads again from some earlier message
        upto = data.draw(st.integers(upto + 1, len(messages)))
        for m in messages[start:upto]:
            placed = place(cursors, m, admit(m), digest(m), 0)
            if isinstance(placed, Append):
                assert placed.gap is None
                kept += positions(placed)
                cursors[SOURCE] = placed.cursor
    assert kept == list(range(edges[-1] + 1))


@pytest.mark.parametrize(
    "broken",
    [
        replace(message(2, 4), last=Position(0, 2)),  # moves nothing
        replace(message(2, 4), prior=Position(0, 3)),  # a leaf before its prior
        replace(message(2, 4), last=Position(0, 3)),  # a leaf behind its last
        replace(message(2, 4), events=message(2, 4).events[::-1]),  # out of order
        replace(message(2, 4), events=message(2, 4).events[:1] * 2),  # twice in one message
        replace(message(2, 4), source=Source("journal:another")),  # another's leaves
        replace(message(2, 4), events=(Event(b"no leaf", b""),)),
    ],
)
def test_a_message_that_is_not_what_it_says_is_refused(broken: EventBatch) -> None:
    with pytest.raises(BadMessage):
        admit(broken)


RECORDER = RecorderId("orders.0.0a0b0c0d")
BEATS, JOURNAL = beats_source(RECORDER), journal_source(RECORDER)


def beats(prior: Position, *bodies: Beat | Boot) -> EventBatch:
    places = [Position(b.boot, b.number if isinstance(b, Beat) else 0) for b in bodies]
    events = tuple(
        Event(leaf_bytes(LedgerEntry(BEATS, p, 0, body=b)), b"") for p, b in zip(places, bodies, strict=True)
    )
    return EventBatch(BEATS, RECORDER, prior, places[-1], events, "gateway", b"signature")


def beat(chunk: int) -> Beat:
    return Beat(RECORDER, 1, 1, 2, 1, chunk + 1, ChainHead(1, chunk, b""), -1, -1, False, 5)


@pytest.mark.parametrize(
    ("found", "has", "gap"),
    [
        ((1, 90), (1, 10), None),  # all that was told of, and the ledger is behind
        ((1, 95), (1, 10), None),  # and what was signed at the boot
        ((1, 40), (1, 10), ((1, 40), (1, 90))),
        ((1, 40), (1, 60), ((1, 60), (1, 90))),
        ((1, 40), (1, 90), None),  # the masker was quicker than the damage
        ((-1, -1), None, ((-1, -1), (1, 90))),
    ],
)
def test_a_boot_that_finds_less_than_a_beat_told_of_is_a_gap(
    found: tuple[int, int], has: tuple[int, int] | None, gap: tuple[tuple[int, int], tuple[int, int]] | None
) -> None:
    first = beats(START, beat(90))
    placed = place({}, first, admit(first), digest(first), 9)
    assert isinstance(placed, Append)
    cursors = {BEATS: placed.cursor}
    if has is not None:
        cursors[JOURNAL] = Cursor(Position(*has), bytes(32))
    boot = beats(Position(1, 1), Boot(RECORDER, 2, 1, *found, "v", 6))
    again = place(cursors, boot, admit(boot), digest(boot), 9)
    assert isinstance(again, Append)
    said = again.shrunk and (again.shrunk.missing_source, again.shrunk.after[:2], again.shrunk.before[:2])
    assert said == (gap and (JOURNAL, *gap))
