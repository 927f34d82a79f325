"""The segments of a busy recorder, as a gateway with some pgbench-like clients writes them, but made by hand.

Half of the commands are simple, half prepared; values differ each time; answers have none to a few rows, some with
personal values in them. The same seed gives the same commands.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from schemas.codec import encode
from schemas.frames import Frame, FrameKind, pack
from schemas.ids import RecorderId, SessionId, session_id
from schemas.records import BootMark, JournalSegment, SessionContext, Statement
from seal import keyfiles
from seal.box import EpochKey, seal_to
from seal.segment import CHAIN_START, next_chain, sign_segment
from wire.postgres import messages as m

SESSIONS = 8
A_TURN = 4  # commands in one turn of the gateway's loop, which is one chunk
TEXT, INT = 25, 23
READY = m.ready_for_query("I")
SYNC = m.frame("S")
NAMES = ("Ann Carter", "Björn Öst", "Chen Wei", "Dana Scully", "Eve Polastri", "Faisal Khan")

Row = tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Segment:
    encoded: bytes
    last: int  # its last chunk
    exchanges: int


class Recording:
    def __init__(self, recorder: RecorderId, keys: Path, policy_version: str, seed: int) -> None:
        self.recorder = recorder
        self._chance = random.Random(seed)
        self._epoch = EpochKey(b"e" * 32, recorder, 0)
        public = keyfiles.load_masker_public(keys)
        self._sealed, self._masker = seal_to(public.key, b"e" * 32), public.id
        self._signer = keyfiles.load_signer(keys, "gateway")
        self._contexts = [encode(_context(session_id(recorder, 0, n), policy_version)) for n in range(1, SESSIONS + 1)]
        self._chunk, self._prior, self._chain = 0, (-1, -1), CHAIN_START

    def segment(self, exchanges: int, at_us: int) -> Segment:
        """Reads alone, holds so many whole exchanges of all sessions in turn, and is signed."""
        frames: list[list[Frame]] = [[]]
        if self._prior == (-1, -1):
            frames[0].append(Frame(at_us, 0, FrameKind.BOOT, encode(BootMark(self.recorder, 0, at_us))))
        told: set[int | tuple[int, bytes]] = set()
        for n in range(exchanges):
            if n % A_TURN == 0:
                frames.append([])
            number = n % SESSIONS + 1
            if number not in told:
                told.add(number)
                frames[-1].append(Frame(at_us, number, FrameKind.CONTEXT, self._contexts[number - 1]))
            statement, command, answer = self._exchange()
            if statement and (number, statement) not in told:
                told.add((number, statement))
                frames[-1].append(Frame(at_us, number, FrameKind.STATEMENT, statement))
            frames[-1].append(Frame(at_us, number, FrameKind.CLIENT, command))
            frames[-1].append(Frame(at_us + 300, number, FrameKind.SERVER, answer))
        return self._signed([b"".join(map(pack, turn)) for turn in frames if turn], exchanges)

    def _signed(self, plain: list[bytes], exchanges: int) -> Segment:
        first = self._chunk
        chunks = tuple(self._epoch.seal(number, chunk) for number, chunk in enumerate(plain, first))
        self._chunk += len(chunks)
        self._chain = next_chain(self._chain, chunks)
        made = JournalSegment(
            self.recorder, 0, 0, first, self._chunk - 1, *self._prior, self._chain, self._masker, self._sealed, "",
            False, b"", chunks,
        )  # fmt: skip
        self._prior = (0, self._chunk - 1)
        return Segment(encode(sign_segment(self._signer, made)), self._chunk - 1, exchanges)

    # --- commands: (statement as the gateway states it or nothing, client's bytes, target's bytes) ----------------

    def _exchange(self) -> tuple[bytes, bytes, bytes]:
        kinds: tuple[Callable[[], tuple[bytes, bytes, bytes]], ...]
        kinds = (self._simple, self._prepared)
        return self._chance.choice(kinds)()

    def _simple(self) -> tuple[bytes, bytes, bytes]:
        r = self._chance
        aid, delta = r.randrange(1, 1_000_000), r.randrange(-5000, 5000)
        match r.randrange(6):
            case 0:
                text = b"UPDATE pgbench_accounts SET abalance = abalance + %d WHERE aid = %d;" % (delta, aid)
                return b"", m.query(text), _done(b"UPDATE 1")
            case 1 | 2:
                text = b"SELECT abalance FROM pgbench_accounts WHERE aid = %d;" % aid
                return b"", m.query(text), _rows(("abalance",), [(b"%d" % delta,)])
            case 3:
                text = b"INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (%d, %d, %d, %d, now());"
                return b"", m.query(text % (aid % 100, aid % 10, aid, delta)), _done(b"INSERT 0 1")
            case 4:
                text = b"SELECT id, name, email FROM customers WHERE region = %d ORDER BY id LIMIT 3" % (aid % 1000)
                return b"", m.query(text), _rows(("id", "name", "email"), [self._customer()[:3] for _ in range(3)])
            case _:
                text = b"SELECT id, state FROM orders WHERE reference = 'R-%07d'" % aid
                return b"", m.query(text), _rows(("id", "state"), [(b"%d" % aid, b"shipped")])

    def _prepared(self) -> tuple[bytes, bytes, bytes]:
        r = self._chance
        aid = r.randrange(1, 1_000_000)
        match r.randrange(4):
            case 0 | 1:
                return self._bound(b"s1", (b"%d" % aid,), ("abalance",), [(b"%d" % r.randrange(-5000, 5000),)])
            case 2:
                rows = [self._customer() for _ in range(3)]
                return self._bound(b"s2", (b"%d" % aid, b"%d" % (aid + 2)), ("id", "name", "email", "note"), rows)
            case _:
                return self._bound(b"s3", (b"shipped", b"left at door %d" % (aid % 90), b"%d" % aid), (), [])

    def _bound(self, name: bytes, values: Row, columns: tuple[str, ...], rows: list[Row]) -> tuple[bytes, bytes, bytes]:
        command = m.bind(name, values=values) + m.describe("P") + m.execute() + SYNC
        answer = _rows(columns, rows) if columns else m.frame("n") + _done(b"UPDATE 1")
        return STATEMENTS[name], command, m.frame("2") + answer

    def _customer(self) -> Row:
        r = self._chance
        number = r.randrange(1, 1_000_000)
        note = b"call +49 30 %07d" % number if r.randrange(4) == 0 else b"prefers mornings, order %d" % number
        return b"%d" % number, r.choice(NAMES).encode(), b"user%d@example.com" % number, note


STATEMENTS = {
    name: encode(Statement(name.decode(), text, (), b""))
    for name, text in {
        b"s1": "SELECT abalance FROM pgbench_accounts WHERE aid = $1",
        b"s2": "SELECT id, name, email, note FROM customers WHERE id BETWEEN $1 AND $2",
        b"s3": "UPDATE orders SET state = $1, note = $2 WHERE id = $3",
    }.items()
}


def _context(session: SessionId, policy_version: str) -> SessionContext:
    return SessionContext(
        session, "ci/deploy", (), "orders-db", "postgres", "production", "orders", "app", policy_version, "I", 0, 0
    )


def _rows(columns: tuple[str, ...], rows: list[Row]) -> bytes:
    described = b"".join(
        name.encode() + b"\0" + bytes(6) + (INT if name == "id" else TEXT).to_bytes(4, "big") + bytes(8)
        for name in columns
    )
    out = [m.frame("T", len(columns).to_bytes(2, "big") + described)]
    for row in rows:
        values = b"".join(len(value).to_bytes(4, "big") + value for value in row)
        out.append(m.frame("D", len(row).to_bytes(2, "big") + values))
    return b"".join(out) + _done(b"SELECT %d" % len(rows))


def _done(tag: bytes) -> bytes:
    return m.frame("C", tag + b"\0") + READY
