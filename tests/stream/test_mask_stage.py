"""What the masker keeps: a row a session, written when it changed, and the same outputs wherever it was restarted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bus.topics import EVENTS, LARGEST_MESSAGE, Message
from schemas.codec import decode, encode
from schemas.frames import Frame, FrameKind
from schemas.ids import START, RecorderId, session_id
from schemas.records import (
    BootMark,
    CloseReason,
    EventBatch,
    Exchange,
    JournalSegment,
    Result,
    SessionClosed,
    SessionContext,
    SessionOpened,
    Statement,
    Undecoded,
)
from seal import keyfiles
from seal.box import EpochKey, seal_to
from seal.segment import sign_segment
from stream import transcript
from stream.mask_stage import MaskStage
from stream.memory import MemoryUnreadable
from stream.pipeline import END, Known, Output, Tools
from stream.workers import SealedState
from tests.stream.conftest import RECORDER, Journal
from wire.postgres import messages as m

ASK, READY, IN_TX = m.query(b"SELECT 1"), m.ready_for_query("I"), m.ready_for_query("T")
DONE = m.frame("C", b"SELECT 1\0")
DESCRIBED = m.frame("T", b"\0\1" + b"name\0" + bytes(9) + b"\x19\xff\xff" + bytes(6))


def context(session: int, status: str = "I", syncs: int = 0, commands: int = 0) -> Frame:
    name = session_id(RECORDER, 0, session)
    known = SessionContext(
        name, "ci", (), "db", "postgres", "production", "orders", "app", "v", status, syncs, commands
    )
    return Frame(5, session, FrameKind.CONTEXT, encode(known))


def client(session: int, data: bytes) -> Frame:
    return Frame(6, session, FrameKind.CLIENT, data)


def server(session: int, data: bytes) -> Frame:
    return Frame(7, session, FrameKind.SERVER, data)


def closed(session: int) -> Frame:
    record = SessionClosed(session_id(RECORDER, 0, session), CloseReason.CLIENT, 1, 8, "")
    return Frame(8, session, FrameKind.CLOSED, encode(record))


def row(size: int) -> bytes:
    return m.frame("D", b"\0\1" + size.to_bytes(4, "big") + b"r" * size)


class Room:
    """A stage and its table, that can be restarted."""

    def __init__(self, tools: Tools, keys: Path, journal: Journal, now_us: int) -> None:
        self._tools, self._keys, self._journal, self._now = tools, keys, journal, now_us
        self._masker, self._enrolled = keyfiles.load_masker(keys), keyfiles.enrolled(keys)
        self._offset = 0
        self.rows: dict[bytes, bytes] = {}
        self.topic = "bus/one"
        self.privates = self._masker.privates
        self.wrote: dict[bytes, bytes | None] = {}
        self.start()

    def start(self) -> None:
        box = SealedState(self.privates)
        self.stage = MaskStage(
            replace(self._tools, known=Known()),
            self._masker.private,
            self._enrolled,
            lambda sessions: dict.fromkeys(sessions, b"k" * 32),
            box,
        )
        self.stage.restore(dict(self.rows), self.topic)

    def take(self, frames: Sequence[Frame], fate: str = "") -> list[Output]:
        """A segment of these frames, and what is said of it; its fate may be "lost" or "broken"."""
        segment = self._journal.segment(frames)
        if fate == "lost":
            return []
        if fate == "broken":
            segment = replace(segment, chunks=())
        return self.give(segment)

    def give(self, segment: JournalSegment) -> list[Output]:
        message = Message("journal", 0, self._offset, b"", encode(segment), self._now)
        self._offset += 1
        return list(self.stage.apply(message))

    def store(self) -> dict[bytes, bytes | None]:
        self.wrote = self.stage.changes()
        for key, value in self.wrote.items():
            if value is None:
                del self.rows[key]  # nothing is deleted that is not there
            else:
                self.rows[key] = value
        return self.wrote


@pytest.fixture
def room(tools: Tools, keys: Path, bus: Any) -> Room:
    return Room(tools, keys, Journal(keys), bus.now_us)


def exchanges(outputs: Sequence[Output]) -> list[Exchange]:
    batches = [decode(o.value) for o in outputs if o.topic == EVENTS]
    bodies = [decode(e.leaf).body for b in batches if isinstance(b, EventBatch) for e in b.events]  # type: ignore[union-attr]
    return [body for body in bodies if isinstance(body, Exchange)]


def test_a_turn_writes_the_sessions_that_changed_and_a_closed_one_leaves_nothing(room: Room) -> None:
    for n in range(1, 21):
        room.take([context(n), client(n, ASK), server(n, DONE + READY)])
    assert len(room.store()) == 21
    room.take([context(7), client(7, ASK)])
    assert set(room.store()) == {f"h/{RECORDER}".encode(), f"s/{RECORDER}/7".encode()}
    room.start()
    room.take([closed(n) for n in range(1, 21)])
    room.store()
    assert set(room.rows) == {f"h/{RECORDER}".encode()}
    assert len(room.rows[f"h/{RECORDER}".encode()]) < 300


def opened(session: int) -> Frame:
    name = session_id(RECORDER, 0, session)
    record = SessionOpened(
        name, "ci", "static", (), "db", "postgres", "production", "orders", "app", "", "", "", "", "3.0", "v", 4
    )
    return Frame(4, session, FrameKind.OPENED, encode(record))


OPEN = 50


def come_and_go(room: Room, sessions: int) -> None:
    """One after another, fifty at a time, with a restart now and then: as many rows as there are open sessions."""
    said = 0
    for first in range(1, sessions + 1, 100):
        frames: list[Frame] = []
        for n in range(first, first + 100):
            frames += [opened(n), context(n), client(n, ASK), server(n, DONE + READY)]
            frames += [context(n - OPEN), closed(n - OPEN)] if n > OPEN else []
        said += len(exchanges(room.take(frames)))
        room.store()
        assert len(room.rows) == 1 + OPEN
        transcript = room.stage._known[RECORDER].transcript
        assert len(transcript.sessions) <= OPEN
        assert len(transcript.weights) <= OPEN
        if first % 10_000 == 1:
            room.start()
    room.take([frame for n in range(sessions - OPEN + 1, sessions + 1) for frame in (context(n), closed(n))])
    room.store()
    assert set(room.rows) == {f"h/{RECORDER}".encode()}
    assert len(room.rows[f"h/{RECORDER}".encode()]) < 400
    assert said == sessions


def test_5_000_sessions_that_came_and_went_leave_no_row(room: Room) -> None:
    come_and_go(room, 5_000)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_million_sessions_that_came_and_went_leave_no_row(room: Room) -> None:
    come_and_go(room, 1_000_000)


def test_a_long_answer_is_written_once_and_not_again_with_each_segment(room: Room) -> None:
    room.take([context(1), client(1, ASK)])
    sizes = []
    for _ in range(100):
        room.take([context(1, syncs=1, commands=1), server(1, row(10_000))])
        sizes.append(sum(len(value or b"") for value in room.store().values()))
    assert max(sizes) < 20_000
    assert sum(len(value) for value in room.rows.values()) < 500_000, "what is captured of an answer is bounded"
    room.start()
    (done,) = exchanges(room.take([context(1, syncs=1, commands=1), server(1, DONE + READY)]))
    assert (done.result, done.rows, done.answer_bytes, done.excerpt) == (Result.EXECUTED, 100, 100 * 10_006, True)
    room.store()
    assert set(room.rows) == {f"h/{RECORDER}".encode(), f"s/{RECORDER}/1".encode()}


def test_a_restart_reads_no_session_before_it_is_spoken_of(room: Room) -> None:
    for n in (1, 2):
        room.take([context(n), client(n, ASK)])
    room.store()
    room.rows[f"s/{RECORDER}/2".encode()] = b"damaged"
    room.start()
    assert len(exchanges(room.take([context(1, syncs=1, commands=1), server(1, DONE + READY)]))) == 1


def test_commands_that_nobody_answers_are_kept_up_to_a_bound_and_the_largest_is_given_up(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcript, "MOST_OPEN", 10_000)
    said = room.take([context(1), client(1, m.query(b"SELECT 1" + b" " * 6_000))])
    said += room.take([context(2), client(2, ASK)])
    assert exchanges(said) == []
    room.store()
    room.start()  # what sleeps is weighed too
    (given_up,) = exchanges(room.take([context(3), client(3, m.query(b"SELECT 3" + b" " * 5_000))]))
    assert (given_up.session, given_up.result) == (session_id(RECORDER, 0, 1), Result.UNKNOWN)
    room.store()
    assert sum(len(value) for value in room.rows.values()) < 10_000


def test_what_cannot_be_read_in_a_topic_that_was_made_again_is_said_under_another_source(room: Room) -> None:
    """Its offsets begin again: under the old source the ledger would drop them as repeats."""

    def said() -> list[tuple[str, tuple[int, ...]]]:
        message = Message("journal", 0, 7, b"", b"no segment", 1)
        return [(b.source, tuple(b.prior)) for b in events(list(room.stage.apply(message)))]

    first = said()
    assert said() == []
    room.store()
    room.start()
    assert said() == [], "known"
    room.topic = "bus/two"
    room.start()
    again = said()
    assert (first[0][1], again[0][1]) == (START, START)
    assert first[0][0] != again[0][0]


def test_a_new_masker_key_opens_what_the_one_before_sealed(room: Room) -> None:
    room.take([context(1), client(1, ASK)])
    room.store()
    room.privates = (b"n" * 32, *room.privates)
    room.start()
    assert len(exchanges(room.take([context(1, syncs=1, commands=1), server(1, DONE + READY)]))) == 1
    room.store()
    room.start()  # with rows under either key
    room.privates = room.privates[:1]
    room.start()  # nothing that was written since needs the old one


def test_words_of_whoever_writes_to_the_topic_are_in_no_entry(room: Room) -> None:
    message = Message("journal", 0, 0, b"", b"journal damaged: card 4012888888881881", 1)
    (said,) = room.stage.apply(message)
    assert b"4012888888881881" not in said.value
    assert b"journal damaged" in said.value


def test_rows_of_another_release_are_refused(room: Room) -> None:
    room.rows = {b"db.0.aaaaaaaa": b"?"}
    with pytest.raises(MemoryUnreadable, match="another release"):
        room.start()


def twin(journal: Journal, epoch: bytes) -> Journal:
    """Goes on from where this one stands, with an epoch key of its own: two gateways on copies of one disk."""
    other = replace(journal)
    public = keyfiles.load_masker_public(journal.keys)
    other._epoch, other._sealed = EpochKey(epoch, RECORDER, 0), seal_to(public.key, epoch)
    return other


@pytest.mark.parametrize("restart", [False, True])
def test_two_recorders_of_one_name_are_told_apart_and_nothing_of_the_second_is_taken_for_a_repeat(
    room: Room, restart: bool
) -> None:
    other = twin(room._journal, b"o" * 32)
    first = [room._journal.segment([context(n), client(n, ASK), server(n, DONE + READY)]) for n in (1, 2)]
    second = [other.segment([context(n), client(n, ASK), server(n, DONE + READY)]) for n in (1, 2, 3)]
    said = {0: [], 1: []}
    for whose, segment in ((0, first[0]), (1, second[0]), (0, first[1]), (0, first[0]), (1, second[1]), (1, second[2])):
        said[whose] += room.give(segment)
        room.store()
        if restart:
            room.start()
    assert [b.last for b in events(said[0])] == [(0, 0, END), (0, 1, END)], "the repeat is silent"
    told = [decode(e.leaf).body for b in events(said[1]) for e in b.events]  # type: ignore[union-attr]
    assert all(isinstance(body, Undecoded) for body in told)
    assert [body.reason for body in told] == [
        f"not a repeat: {RECORDER} has written something else here (epoch 0, chunks {n} to {n}, "
        f"{len(encode(second[n]))} bytes): its disk was cloned, or an older copy of it came back"
        for n in range(3)
    ]


def test_a_twin_that_is_an_epoch_ahead_takes_the_place_and_the_other_is_told_of(room: Room) -> None:
    ahead = twin(room._journal, b"o" * 32)
    room.give(room._journal.segment([context(1), client(1, ASK)]))
    late = room._journal.segment([context(1), server(1, DONE + READY)])
    made = replace(ahead.segment([context(1), client(1, ASK)]), epoch=1)
    room.give(sign_segment(ahead._signer, made))
    (said,) = events(room.give(late))
    assert said.source.startswith("undecoded:")


def test_a_stranger_cannot_say_that_a_recorder_has_a_twin(room: Room) -> None:
    room.give(room._journal.segment([context(1), client(1, ASK)]))
    forged = replace(room._journal.segment([context(1)]), sealed_key=b"x" * 80)
    (said,) = events(room.give(forged))
    assert b"not signed by an enrolled recorder" in said.events[0].leaf


PIECES = st.sampled_from(
    [
        lambda n: client(n, ASK),
        *(lambda n, k=k: client(n, m.query(b"SELECT a FROM t WHERE ssn = '%d' OR n = %d" % (k, k))) for k in (41, 42)),
        *(lambda n, k=k: client(n, m.query(b"UPDATE t SET a = %d WHERE id = %d" % (k, k))) for k in (7, 4111)),
        *(lambda n, k=k: client(n, m.query(b"DELETE FROM t WHERE %d = %d" % (k, 5))) for k in (5, 6)),
        lambda n: client(n, m.parse(b"SELECT $1", b"s1") + m.bind(b"s1", values=(b"x",))),
        lambda n: client(n, m.bind(b"s1", b"p", values=(b"y",)) + m.execute(b"p")),
        lambda n: client(n, m.execute() + m.frame("S")),
        lambda n: client(n, m.frame("S")),
        lambda n: server(n, m.frame("1") + m.frame("2")),
        lambda n: client(n, m.frame("D", b"Ss1\0")),
        lambda n: client(n, m.bind(b"s1", values=(b"z",))),
        lambda n: client(n, m.execute()),
        lambda n: server(n, DESCRIBED),
        lambda n: Frame(9, n, FrameKind.STATEMENT, encode(Statement("s1", "SELECT $1", (25,), DESCRIBED))),
        lambda n: server(n, row(40) + row(5)),
        lambda n: server(n, DONE),
        lambda n: server(n, READY),
        lambda n: server(n, IN_TX),
        lambda n: server(n, m.error("ERROR", "42P01", "no")),
        context,
        closed,
        lambda n: Frame(9, n, FrameKind.CONTEXT, b"?"),
        lambda n: Frame(9, 0, FrameKind.BOOT, encode(BootMark(RecorderId(RECORDER), 0, 9))),
    ]
)
SEGMENTS = st.lists(
    st.tuples(
        st.lists(st.tuples(PIECES, st.integers(1, 3)), min_size=1, max_size=6),
        st.sampled_from(["store and restart", "store and restart", "store", "", "lost", "broken"]),
    ),
    max_size=12,
)


BOUND = m.frame("2")


def stepwise(*frames: Frame) -> list[Any]:
    """Each in a segment of its own, with a restart behind each."""
    return [([(lambda n, frame=frame: frame, 1)], "store and restart") for frame in frames]


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@example(stepwise(client(1, m.bind(b"s1")), client(1, m.execute() + m.frame("S")), server(1, BOUND + DONE + READY)))
@example(
    [(made, "store") for made, _ in stepwise(client(1, ASK), *(server(1, row(n)) for n in (3, 4, 5)))]
    + stepwise(server(1, row(6)), server(1, DONE + READY))
)
@example(stepwise(client(1, ASK), server(1, DESCRIBED + row(3)), server(1, row(4)), server(1, row(5) + DONE + READY)))
@example(
    [
        ([(lambda n: client(n, m.frame("P", b"s1\0S\0\0\0") + m.frame("D", b"Ss1\0")), 1)], ""),
        ([(lambda n: server(n, m.frame("1") + DESCRIBED), 1)], "store and restart"),
        ([(lambda n: client(n, m.bind(b"s1") + m.execute() + m.frame("S")), 1)], ""),
        ([(lambda n: server(n, BOUND + row(3) + DONE + READY), 1)], ""),
    ]
)
@example([([(lambda n: client(n, ASK), 1)], "store and restart"), ([(lambda n: client(n, ASK), 1)], "broken")])
@given(SEGMENTS)
def test_a_restart_anywhere_changes_no_byte_of_what_is_said(tools: Tools, keys: Path, bus: Any, segments: Any) -> None:
    straight, restarted = (Room(tools, keys, Journal(keys), bus.now_us) for _ in range(2))
    for made, then in segments:
        frames = [context(n) for n in sorted({n for _, n in made})] + [piece(n) for piece, n in made]
        assert straight.take(frames, then) == restarted.take(frames, then)
        if then.startswith("store"):
            restarted.store()
            if then.endswith("restart"):
                restarted.start()


def events(outputs: Sequence[Output]) -> list[EventBatch]:
    found = [decode(o.value) for o in outputs if o.topic == EVENTS]
    assert all(isinstance(batch, EventBatch) for batch in found)
    return found  # type: ignore[return-value]


def test_what_grows_when_it_is_written_down_stays_within_a_message(room: Room) -> None:
    """A control character is six bytes in JSON: a command and an answer that no bus takes would stop the masker."""
    command = m.query(b"SELECT '" + b"\x01" * 1_000_000 + b"'")
    answer = server(1, row(250_000).replace(b"r" * 250_000, b"\x02" * 250_000) + DONE + READY)
    said = room.take([context(1), client(1, command), answer])
    assert all(len(o.value) <= LARGEST_MESSAGE - 64 * 1024 for o in said)
    (exchange,) = exchanges(said)
    assert (exchange.result, exchange.rows, exchange.withheld >= 1) == (Result.EXECUTED, 1, True)


def test_many_events_of_one_segment_are_several_messages_without_a_hole(room: Room) -> None:
    asked = [frame for n in range(1, 9) for frame in (context(n), *[client(n, ASK), server(n, DONE + READY)] * 1500)]
    found = events(room.take(asked))
    assert len(found) > 1
    assert all(len(encode(batch)) <= LARGEST_MESSAGE for batch in found)
    assert [earlier.last for earlier in found[:-1]] == [later.prior for later in found[1:]]
    assert (found[0].prior, found[-1].last) == (START, (0, 0, END))
    positions = [decode(e.leaf).position for batch in found for e in batch.events]  # type: ignore[union-attr]
    assert positions == [(0, 0, n) for n in range(12_000)]
    assert all(batch.prior < decode(e.leaf).position <= batch.last for batch in found for e in batch.events)  # type: ignore[union-attr]
