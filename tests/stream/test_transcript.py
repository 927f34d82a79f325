"""Frames become exchanges: one row a shape of dialogue, each also cut into a segment a frame."""

from __future__ import annotations

import pytest

from schemas.codec import encode
from schemas.frames import Frame, FrameKind
from schemas.ids import HoldId, RecorderId, SessionId
from schemas.records import (
    BootMark,
    CloseReason,
    Decided,
    Decision,
    Elided,
    Refused,
    Refusing,
    Result,
    SessionClosed,
    SessionContext,
    Statement,
)
from stream.exchange import RawExchange
from stream.memory import MemoryUnreadable, dump, load, part
from stream.transcript import BadFrame, Item, Transcript
from wire.postgres import messages as m

RECORDER = RecorderId("db.0.aaaaaaaa")
SESSION = SessionId("db.0.aaaaaaaa/0/1")


def context(**changes: object) -> bytes:
    known: dict[str, object] = {"tx_status": "I", "open_syncs": 0, "open_commands": 0} | changes
    return encode(
        SessionContext(SESSION, "ci", (), "db", "postgres", "prod", "orders", "app", "v1", **known)  # type: ignore[arg-type]
    )


def c(data: bytes) -> Frame:
    return Frame(10, 1, FrameKind.CLIENT, data)


def s(data: bytes) -> Frame:
    return Frame(20, 1, FrameKind.SERVER, data)


def described(*names: bytes) -> bytes:
    columns = b"".join(n + b"\0" + b"\0\0\0\0\0\0\0\0\0\x19\xff\xff\0\0\0\0\0\0" for n in names)
    return m.frame("T", len(names).to_bytes(2, "big") + columns)


def row(*values: bytes) -> bytes:
    cells = b"".join(len(v).to_bytes(4, "big") + v for v in values)
    return m.frame("D", len(values).to_bytes(2, "big") + cells)


def done(tag: bytes) -> bytes:
    return m.frame("C", tag + b"\0")


SYNC, READY, IN_TX = m.frame("S"), m.ready_for_query("I"), m.ready_for_query("T")
PARSED, BOUND, SUSPENDED, NO_DATA = m.frame("1"), m.frame("2"), m.frame("s"), m.frame("n")
ERROR = m.error("ERROR", "42P01", "no such relation")
CONTEXT = Frame(1, 1, FrameKind.CONTEXT, context())
STATEMENT = Frame(1, 1, FrameKind.STATEMENT, encode(Statement("s1", "SELECT $1", (25,), described(b"a"))))


def run(frames: list[Frame], *, apart: bool = False) -> list[Item]:
    """`apart`: every frame in a segment of its own, with the memory written and read between."""
    transcript = Transcript(RECORDER, 0)
    items: list[Item] = []
    stored: dict[int, tuple[bytes, dict[int, list[bytes]]]] = {}
    for frame in frames:
        if apart:
            transcript = Transcript(RECORDER, 0, asleep=stored, wake=lambda number: load(*stored[number]))
        items += transcript.feed(frame)
        if apart:
            for number in transcript.changed:
                stored.pop(number, None)
                if number in transcript.sessions:
                    session = transcript.sessions[number]
                    parts = {raw.number: [p] for raw, _ in session.open if (p := part(raw, ())[0]) is not None}
                    stored[number] = dump(session), parts
                    again = load(*stored[number])
                    assert dump(again) == stored[number][0]
                    assert [raw for raw, _ in again.open] == [raw for raw, _ in session.open]
    return items


def exchanges(items: list[Item]) -> list[RawExchange]:
    return [item.what for item in items if isinstance(item.what, RawExchange)]


X, F, R, U = Result.EXECUTED, Result.FAILED, Result.REFUSED, Result.UNKNOWN
CASES: list[tuple[str, list[Frame], list[tuple[bytes, Result, int, list[bytes]]]]] = [
    (
        "a Query with rows",
        [c(m.query(b"SELECT 1")), s(described(b"a") + row(b"1") + row(b"2") + done(b"SELECT 2") + READY)],
        [(b"SELECT 1", X, 2, [b"SELECT 2"])],
    ),
    (
        "several statements in one Query are one exchange",
        [c(m.query(b"A; B")), s(done(b"INSERT 0 1")), s(done(b"DELETE 3") + READY)],
        [(b"A; B", X, 0, [b"INSERT 0 1", b"DELETE 3"])],
    ),
    ("a Query that fails", [c(m.query(b"SELECT x")), s(ERROR), s(READY)], [(b"SELECT x", F, 0, [])]),
    (
        "Parse, Bind, Describe, Execute, Sync",
        [
            c(m.parse(b"SELECT $1") + m.bind(values=(b"7",)) + m.describe("P") + m.execute() + SYNC),
            s(PARSED + BOUND + described(b"a") + row(b"7") + done(b"SELECT 1") + READY),
        ],
        [(b"SELECT $1", X, 1, [b"SELECT 1"])],
    ),
    (
        "an error in a pipeline skips what follows up to Sync",
        [
            c(m.parse(b"BAD") + m.bind() + m.execute() + m.parse(b"NEXT") + m.bind() + m.execute() + SYNC),
            s(ERROR + READY),
        ],
        [(b"BAD", F, 0, []), (b"NEXT", F, 0, [])],
    ),
    (
        "two syncs in flight",
        [
            c(m.query(b"A") + m.query(b"B")),
            s(done(b"X")),
            s(READY + ERROR),
            s(READY),
        ],
        [(b"A", X, 0, [b"X"]), (b"B", F, 0, [])],
    ),
    (
        "a suspended portal's second Execute is an exchange of its own",
        [
            c(m.query(b"BEGIN")),
            s(done(b"BEGIN") + IN_TX),
            c(m.parse(b"SELECT g") + m.bind(portal=b"p") + m.execute(b"p", 1) + SYNC),
            s(PARSED + BOUND + row(b"1") + SUSPENDED + IN_TX),
            c(m.execute(b"p", 0) + SYNC),
            s(row(b"2") + done(b"SELECT 1") + IN_TX),
        ],
        [(b"BEGIN", X, 0, [b"BEGIN"]), (b"SELECT g", X, 1, []), (b"SELECT g", X, 1, [b"SELECT 1"])],
    ),
    (
        "COPY out",
        [
            c(m.query(b"COPY t TO STDOUT")),
            s(m.frame("H", b"\0\0\0") + m.frame("d", b"a\tb\n") + m.frame("c")),
            s(done(b"COPY 1") + READY),
        ],
        [(b"COPY t TO STDOUT", X, 1, [b"COPY 1"])],
    ),
    (
        "COPY in",
        [
            c(m.query(b"COPY t FROM STDIN")),
            s(m.frame("G", b"\0\0\0")),
            c(m.frame("d", b"a\n") + m.frame("c")),
            s(done(b"COPY 1") + READY),
        ],
        [(b"COPY t FROM STDIN", X, 0, [b"COPY 1"])],
    ),
    (
        "what was forwarded but not captured is counted",
        [
            c(m.query(b"BIG")),
            s(described(b"a") + row(b"1")),
            Frame(15, 1, FrameKind.ELIDED, encode(Elided(False, 41, 9_000_000, b""))),
            s(done(b"SELECT 42") + READY),
        ],
        [(b"BIG", X, 42, [b"SELECT 42"])],
    ),
    (
        "a refused command is refused, whatever its error says",
        [
            Frame(9, 1, FrameKind.DECISION, encode(Decided(0, Decision.DENY, "r"))),
            Frame(9, 1, FrameKind.REFUSED, encode(Refused(0, Refusing.POLICY, "42501", "no", "n", HoldId("hold-1")))),
            c(m.query(b"DROP")),
            s(m.error("ERROR", "42501", "no") + READY),
        ],
        [(b"DROP", R, 0, [])],
    ),
    (
        "a session cut by a crash",
        [c(m.query(b"LAST")), Frame(30, 0, FrameKind.BOOT, encode(BootMark(RECORDER, 1, 30)))],
        [(b"LAST", U, 0, [])],
    ),
    (
        "a session closed with a command open",
        [
            c(m.query(b"LAST")),
            Frame(30, 1, FrameKind.CLOSED, encode(SessionClosed(SESSION, CloseReason.CLIENT, 1, 30))),
        ],
        [(b"LAST", U, 0, [])],
    ),
]


@pytest.mark.parametrize("apart", [False, True], ids=["one segment", "a segment a frame"])
@pytest.mark.parametrize(("what", "frames", "expected"), CASES, ids=[row[0] for row in CASES])
def test_exchanges(
    what: str, frames: list[Frame], expected: list[tuple[bytes, Result, int, list[bytes]]], apart: bool
) -> None:
    found = exchanges(run([CONTEXT, *frames], apart=apart))
    assert [(e.text, e.result, e.row_count, e.tags) for e in found] == expected
    assert [e.number for e in found] == list(range(1, len(found) + 1))


def test_a_statement_frame_gives_text_and_columns_of_an_older_parse() -> None:
    frames = [CONTEXT, STATEMENT, c(m.bind(b"s1", values=(b"x",)) + m.execute() + SYNC), s(BOUND + row(b"x"))]
    (found,) = exchanges(run([*frames, s(done(b"SELECT 1") + READY)]))
    assert (found.text, found.param_oids, found.binds) == (b"SELECT $1", (25,), (b"x",))
    assert [(cols[0].name, values) for cols, values in found.rows] == [(b"a", (b"x",))]


def test_after_a_lost_segment_the_first_answers_are_nobodys() -> None:
    busy = Frame(1, 1, FrameKind.CONTEXT, context(open_syncs=1, open_commands=1))
    found = exchanges(run([busy, c(m.query(b"B")), s(row(b"old") + done(b"OLD") + READY + done(b"NEW") + READY)]))
    assert [(e.text, e.tags) for e in found] == [(b"B", [b"NEW"])]


def test_a_cut_session_is_closed_as_cut() -> None:
    items = run([CONTEXT, Frame(30, 0, FrameKind.BOOT, encode(BootMark(RECORDER, 1, 30)))])
    closed = next(item.what for item in items if isinstance(item.what, SessionClosed))
    assert (closed.session, closed.reason, closed.commands) == (SESSION, CloseReason.CUT, -1)


def test_what_the_dialogue_cannot_follow_is_unknown_and_read_again_from_an_idle_context() -> None:
    frames = [CONTEXT, c(m.query(b"A")), s(PARSED), c(m.query(b"B")), s(READY), CONTEXT, c(m.query(b"C")), s(READY)]
    assert [(e.text, e.result) for e in exchanges(run(frames))] == [(b"A", Result.UNKNOWN), (b"C", Result.EXECUTED)]


def test_a_frame_without_its_record_is_poison() -> None:
    with pytest.raises(BadFrame):
        run([Frame(1, 1, FrameKind.CONTEXT, b"?")])


def test_a_memory_of_another_release_is_refused() -> None:
    with pytest.raises(MemoryUnreadable):
        load(b'{"v":1}')


def test_nothing_shows_traffic() -> None:
    items = run([CONTEXT, c(m.query(b"SELECT secret")), s(READY)])
    assert "secret" not in repr(items) + repr(items[0].what)
