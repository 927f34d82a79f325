"""What the record says a name ran is what it ran: by the gateway, a real PostgreSQL and the pipeline's reading."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from schemas.frames import Frame, FrameKind
from schemas.ids import RecorderId
from stream import memory
from stream.exchange import RawExchange
from stream.transcript import Transcript
from tests.ingest.postgres.test_names import S, run, table
from tests.ingest.postgres.wire_talk import say
from wire.postgres import messages as wire

__all__ = ["table"]

READS, DELETES = b"select a from job_log", b"delete from job_log"
TAKEN = wire.parse(b"select 1", b"n"), S  # of a name that has a meaning: it fails

CASES: dict[str, tuple[list[tuple[bytes, ...]], bytes]] = {
    "a Parse that failed": ([(wire.parse(READS, b"n"), S), TAKEN, (run(b"n"), S)], READS),
    "a Parse that failed, before a change": ([(wire.parse(DELETES, b"n"), S), TAKEN, (run(b"n"), S)], DELETES),
    "prepared anew by SQL": (
        [
            (wire.parse(b"select 1", b"n"), S),
            (wire.query(b"deallocate n"),),
            (wire.query(b"prepare n as " + READS),),
            (run(b"n"), S),
        ],
        b"prepare n as " + READS,
    ),
    "prepared anew in one text": (
        [(wire.parse(b"select 1", b"n"), S), (wire.query(b"deallocate n; prepare n as " + READS),), (run(b"n"), S)],
        b"prepare n as " + READS,
    ),
    "a portal whose name is too long": (
        [
            (
                wire.parse(READS, b"n"),
                wire.bind(b"n", b"p" * 70),
                wire.execute(b"p" * 70, 1),
                wire.execute(b"p" * 63),
                S,
            )
        ],
        READS,
    ),
    "a statement whose name is too long": (
        [(wire.parse(READS, b"n" * 63 + b"x"), S), (run(b"n" * 63 + b"y"), S)],
        READS,
    ),
    "a Parse that fails, in one packet": ([(wire.parse(DELETES, b"n"), S), (*TAKEN, run(b"n"), S)], DELETES),
    "a Parse that fails, of a name that is new": (
        [
            (wire.parse(b"select 1", b"n"), S),
            (wire.close("S", b"n"), wire.parse(DELETES, b"n"), S, *TAKEN, run(b"n"), S),
        ],
        DELETES,
    ),
    "a Parse that fails, behind another that does": (
        [(wire.parse(DELETES, b"n"), S), (*TAKEN, wire.parse(b"select 2", b"n"), S, run(b"n"), S)],
        DELETES,
    ),
    "a Parse that works, in one packet": (
        [(wire.parse(b"select 1", b"n"), S), (wire.close("S", b"n"), S, wire.parse(READS, b"n"), S, run(b"n"), S)],
        READS,
    ),
    "all at once": ([(wire.parse(READS, b"n"), run(b"n"), S)], READS),
}


def read(frames: list[Frame], *, stored: bool) -> list[RawExchange]:
    transcript = Transcript(RecorderId("db.0.aaaaaaaa"))
    found = []
    for frame in frames:
        found += [item.what for item in transcript.feed(frame) if isinstance(item.what, RawExchange)]
        for number, session in transcript.sessions.items() if stored else ():
            parts = {raw.number: [part] for raw, _ in session.open if (part := memory.part(raw, ())[0]) is not None}
            loaded = memory.load(memory.dump(session), parts)
            loaded.statements, loaded.described = session.statements, session.described  # of the segment, which goes on
            transcript.sessions[number] = loaded
    return found


@pytest.mark.parametrize("name", CASES)
def test_the_text_on_record_is_the_one_that_ran(allowing: Any, table: Any, name: str) -> None:
    parts, wanted = CASES[name]
    with psycopg.connect(allowing.url(), autocommit=True) as connection:
        for some in parts:
            say(connection, *some, syncs=max(1, some.count(S)))
    frames = [Frame(5, session, FrameKind(kind), data) for session, kind, data in allowing.journal.frames]
    ran, again = read(frames, stored=False), read(frames, stored=True)
    assert ran == again, "whoever reads on from what was stored"
    said = [raw.text for raw in ran if raw.rows or b"DELETE 2" in raw.tags]
    assert said
    assert set(said) == {wanted}
