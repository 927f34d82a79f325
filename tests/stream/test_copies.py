"""COPY from frames to masked content: which command the data are of, and what the cuts of the wire change: nothing."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mask.masker import masker_for
from schemas.codec import encode
from schemas.frames import Frame, FrameKind
from schemas.ids import RecorderId, SessionId
from schemas.records import Elided, Result, SessionContext
from stream import content
from stream.exchange import MOST_CAPTURED, RawExchange
from stream.transcript import Transcript
from wire.postgres import messages as m

RECORDER = RecorderId("db.0.aaaaaaaa")
SESSION = SessionId("db.0.aaaaaaaa/0/1")
MASKER = masker_for(b"t" * 32)(SESSION)
SSN, CARD = "536904399", "4012888888881881"
READY = m.ready_for_query("I")
COPY_IN, COPY_OUT, COPY_DONE = m.frame("G", b"\0\0\0"), m.frame("H", b"\0\0\0"), m.frame("c")
CONTEXT = Frame(
    1, 1, FrameKind.CONTEXT,
    encode(SessionContext(SESSION, "ci", (), "db", "postgres", "prod", "orders", "app", "v1", "I", 0, 0)),
)  # fmt: skip


def client(*messages: bytes) -> Frame:
    return Frame(10, 1, FrameKind.CLIENT, b"".join(messages))


def server(*messages: bytes) -> Frame:
    return Frame(20, 1, FrameKind.SERVER, b"".join(messages))


def data(*payloads: bytes) -> bytes:
    return b"".join(m.frame("d", payload) for payload in payloads)


def done(tag: bytes) -> bytes:
    return m.frame("C", tag + b"\0")


def exchanges(*frames: Frame) -> list[RawExchange]:
    transcript = Transcript(RECORDER, 0)
    items = [item for frame in (CONTEXT, *frames) for item in transcript.feed(frame)]
    return [item.what for item in items if isinstance(item.what, RawExchange)]


def answers(*frames: Frame) -> list[dict[str, object]]:
    return [content.answer(content.Masking(MASKER, content.Learned()), raw) for raw in exchanges(*frames)]


def copied_in(sql: bytes, *payloads: bytes) -> list[str]:
    (answer,) = answers(
        client(m.query(sql)), server(COPY_IN), client(data(*payloads), COPY_DONE), server(done(b"COPY 2"), READY)
    )
    rows = answer["copied"]
    assert isinstance(rows, list)
    return rows


def withheld(raw: bytes) -> str:
    return str(MASKER.unreadable(raw).text)


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(stream) + 1) for place in places})
    return [stream[start:end] for start, end in zip([0, *ends], [*ends, len(stream)], strict=True)]


STREAMS: dict[bytes, bytes] = {
    b"COPY t (id, ssn, note) FROM stdin": f"7\t{SSN}\tcard {CARD}\\\n\n8\t\\N\t\n".encode(),
    b"COPY t (id, ssn, note) FROM stdin CSV": f'7,{SSN},"card\n{CARD}"\n8,,\n'.encode(),
    b"COPY t FROM stdin CSV HEADER": f'id,ssn,note\r\n7,"{SSN}",{CARD}'.encode(),
    b"COPY t (ssn, note) FROM stdin BINARY": b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"\0\2\0\0\0\x09" + SSN.encode()
    + b"\0\0\0\x10" + CARD.encode() + b"\xff\xff",
}  # fmt: skip


@given(st.sampled_from(sorted(STREAMS)), st.lists(st.integers(0, 1000), max_size=8))
def test_however_a_client_splits_its_rows_the_content_is_the_same(sql: bytes, places: list[int]) -> None:
    stream = STREAMS[sql]
    rows = copied_in(sql, *cut(stream, places))
    assert rows == copied_in(sql, stream)
    assert SSN not in "".join(rows)
    assert CARD not in "".join(rows)


def test_rows_that_the_target_sends_are_joined_too() -> None:
    sql = f"COPY (SELECT '{CARD}') TO STDOUT".encode()
    (answer,) = answers(
        client(m.query(sql)),
        server(COPY_OUT, data(CARD[:7].encode())),
        server(data(CARD[7:].encode(), b"\n"), COPY_DONE, done(b"COPY 1"), READY),
    )
    (row,) = answer["copied"]  # type: ignore[misc]
    assert row.startswith("tok:card:")


def test_data_are_of_the_command_sent_last_whatever_is_unanswered_before_it() -> None:
    copy = b"COPY t (id, ssn) FROM stdin"
    found = answers(
        client(m.query(b"SELECT 1"), m.query(copy), data(f"7\t{SSN}\n".encode()), COPY_DONE),
        server(done(b"SELECT 1"), READY, COPY_IN, done(b"COPY 1"), READY),
    )
    assert found[0]["copied"] == []
    (row,) = found[1]["copied"]  # type: ignore[misc]
    assert row.startswith("7\ttok:ssn:")


def test_several_copies_are_not_joined_to_one_another() -> None:
    found = answers(
        client(m.query(b"COPY a (x) FROM stdin; COPY b (y) FROM stdin")),
        server(COPY_IN),
        client(data(b"a1"), COPY_DONE, data(CARD.encode(), b"\n"), COPY_DONE),
        server(done(b"COPY 1"), COPY_IN, done(b"COPY 1"), READY),
    )
    first, second = found[0]["copied"]  # type: ignore[misc]
    assert first == "a1"
    assert second.startswith("tok:card:")


def test_what_is_sent_behind_the_last_copy_is_not_shown() -> None:
    (answer,) = answers(
        client(m.query(b"COPY a (x) FROM stdin")),
        server(COPY_IN),
        client(data(b"1\n"), COPY_DONE, data(b"2\n"), COPY_DONE, data(b"3\n")),
        server(done(b"COPY 1"), READY),
    )
    assert answer["copied"] == ["1\n", "2\n"]
    assert answer["excerpt"]


@pytest.mark.parametrize("how", ["failed", "gone", "cut"])
def test_the_last_value_of_a_copy_that_did_not_end_well_may_be_half_of_one(how: str) -> None:
    frames = [client(m.query(b"COPY t (id, note) FROM stdin")), server(COPY_IN)]
    frames.append(client(data(b"1\tx\n2\t" + CARD[:12].encode())))
    if how == "failed":
        frames += [client(m.frame("f", b"no\0")), server(m.error("ERROR", "57014", "no"), READY)]
    elif how == "cut":
        frames.append(Frame(21, 1, FrameKind.ELIDED, encode(Elided(True, 0, 4, b""))))
        frames += [client(COPY_DONE), server(done(b"COPY 2"), READY)]
    transcript = Transcript(RECORDER, 0)
    items = [item for frame in (CONTEXT, *frames) for item in transcript.feed(frame)]
    items += transcript.lose(30)
    (raw,) = [item.what for item in items if isinstance(item.what, RawExchange)]
    assert raw.result is {"failed": Result.FAILED, "gone": Result.UNKNOWN, "cut": Result.EXECUTED}[how]
    assert content.answer(content.Masking(MASKER, content.Learned()), raw)["copied"] == [
        "1\tx\n",
        "2\t" + withheld(CARD[:12].encode()),
    ]


def test_the_stream_ends_at_the_first_hole() -> None:
    """A payload that had no room is followed by one that would have: they are not neighbours."""
    half = CARD[:8].encode()
    (raw,) = exchanges(
        client(m.query(b"COPY (SELECT a FROM t) TO STDOUT")),
        server(COPY_OUT, data(half, b"x" * MOST_CAPTURED, b"881881\n"), COPY_DONE, done(b"COPY 1"), READY),
    )
    assert raw.copies()[0] == half
    answer = content.answer(content.Masking(MASKER, content.Learned()), raw)
    assert answer["copied"] == [withheld(half)]
    assert answer["excerpt"]


def test_columns_of_binary_integers_are_not_guessed() -> None:
    row = b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"\0\1\0\0\0\4" + struct.pack(">i", int(SSN)) + b"\xff\xff"
    assert copied_in(b"COPY t (ssn) FROM stdin (FORMAT binary)", row) == [withheld(struct.pack(">i", int(SSN))) + "\n"]


def test_what_is_no_sql_has_data_that_nobody_can_read() -> None:
    assert copied_in(b"COPY t FROM \xff", b"1\n") == [withheld(b"1\n")]
