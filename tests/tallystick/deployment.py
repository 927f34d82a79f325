"""A small recorded deployment made by hand: keys, config, policy, a real log with real content keys."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from approvals.votes import cast
from ledger.batch import Consumed, Cursor, Item
from ledger.entry import leaf_bytes
from ledger.note import VerifierKey
from ledger.store import FileStore
from ledger.writer import Writer
from schemas.ids import HoldId, Position, RecorderId, SessionId, Source
from schemas.records import (
    ApprovalRequest,
    ApproverRule,
    Band,
    Choice,
    CloseReason,
    CommandKind,
    Decision,
    Effect,
    Exchange,
    Found,
    Grant,
    Hold,
    LeafBody,
    LedgerEntry,
    LedgerStarted,
    Released,
    Result,
    SessionClosed,
    SessionOpened,
)
from seal import keyfiles
from seal.content import ContentKeys, encrypt
from seal.digest import approval_id
from stream.places import exchange_place, hold_place

RECORDER = RecorderId("db.0.0a0b0c0d")
JOURNAL = Source(f"journal:{RECORDER}")
ONE, TWO = SessionId(f"{RECORDER}/1/1"), SessionId(f"{RECORDER}/1/2")
HOLD = HoldId("hold-" + "1" * 32)
REQUEST = approval_id(HOLD)
RULE = ApproverRule("dba", ("dba",), 1, 3600)
START_US = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z
DAY = "2026-01-01"
EVIL = "\x1b]0;owned\x07\u202ednert\u200b"
"""What an attacker would like a terminal to act on: a title sequence, a bidi override, a zero-width space."""


@dataclass(frozen=True)
class Deployment:
    place: Path
    config: Path
    reviewer: Path
    key: VerifierKey

    @property
    def store(self) -> Path:
        return self.place / "data" / "ledger"

    @property
    def vkey(self) -> Path:
        return self.place / "log.vkey"

    def content_keys(self) -> ContentKeys:
        return ContentKeys(self.place / "data" / "content.db", keyfiles.load_secret(self.place / "keys", "content"))


def make(place: Path) -> Deployment:
    """The log has 3 batches: the ledger's start and its enrolments, session one, the approval and session two."""
    keys, data = place / "keys", place / "data"
    keyfiles.init(keys, "test")
    data.mkdir()
    public = keyfiles.new_reviewer(place / "ann.key")
    (place / "policy.yaml").write_text(
        f'reviewers:\n  - {{name: ann, key: "{public}", groups: [dba, reviewers]}}\nrules: []\notherwise: allow\n'
    )
    config = place / "tallystick.toml"
    config.write_text('policy = "policy.yaml"\napprovals = "127.0.0.1:7480"\n')
    signer = keyfiles.load_signer(keys, "ledger")
    writer = Writer(FileStore(data / "ledger"), "0", keyfiles.origin(keys, "0"), signer)
    made = Deployment(place, config, place / "ann.key", writer.key)
    made.vkey.write_text(f"{writer.key}\n")
    contents = made.content_keys()
    own = [LedgerStarted("0", 0, "file", START_US), *keyfiles.enrolled(keys).all]
    _commit(writer, Source("shard:0"), [(body, b"") for body in own], 0)
    _commit(writer, JOURNAL, _session_one(contents), 1)
    _commit(writer, JOURNAL, _session_two(made, contents), 2)
    contents.close()
    return made


def _commit(writer: Writer, source: Source, bodies: list[tuple[LeafBody, bytes]], seq: int) -> None:
    items = []
    for n, (body, content) in enumerate(bodies):
        at_us = START_US + (seq * 100 + n) * 1_000_000
        items.append(Item(leaf_bytes(LedgerEntry(source, Position(seq, n, 0), at_us, body=body)), content))
    cursors = {source: Cursor(Position(seq, len(bodies) - 1, 0), hashlib.sha256(b"%d" % seq).digest())}
    writer.commit(items, cursors, Consumed("c", "events", 0, seq))


def _opened(session: SessionId, application: str) -> SessionOpened:
    return SessionOpened(
        session, "ci/deploy", "static", (), "db", "postgres", "production", "orders", "orders_app", "10.0.0.9", "", "",
        application, "3.0", "v", START_US,
    )  # fmt: skip


def exchange(session: SessionId, number: int, tag: str, content: bytes, hold: HoldId | None = None) -> Exchange:
    at = START_US + number * 1_000_000
    digest = hashlib.sha256(content).digest() if content else b""
    return Exchange(
        session, number, CommandKind.SIMPLE, at, at + 1500, Result.EXECUTED, tag, "", b"f" * 32,
        (Effect("select", "t"),), True, 10, Band.LOW, (), Decision.ALLOW, "", hold, 1, 9, False,
        (Found("email", 1),), 0, "v", "e", digest,
    )  # fmt: skip


def answer(rows: list[list[str | None]]) -> dict[str, object]:
    return {
        "columns": ["id", "mail"], "rows": rows, "copied": [], "tag": "SELECT 1", "error": None, "notices": [],
        "excerpt": False,
    }  # fmt: skip


def _sealed(contents: ContentKeys, session: SessionId, place: bytes, text: str, rows: list[list[str | None]]) -> bytes:
    shown = {"command": {"text": text, "params": []}, "answer": answer(rows)}
    return encrypt(contents.ensure([session])[session], place, json.dumps(shown).encode())


def _session_one(contents: ContentKeys) -> list[tuple[LeafBody, bytes]]:
    first = _sealed(contents, ONE, exchange_place(ONE, 1), "SELECT *\nFROM t", [["1", "tok:email:AAAA"], [EVIL, None]])
    return [
        (_opened(ONE, EVIL), b""),
        (exchange(ONE, 1, "SELECT 1", first), first),
        (exchange(ONE, 2, EVIL, b""), b""),
        (SessionClosed(ONE, CloseReason.CLIENT, 2, START_US + 9_000_000), b""),
    ]


def _session_two(made: Deployment, contents: ContentKeys) -> list[tuple[LeafBody, bytes]]:
    ann = keyfiles.load_reviewer(made.reviewer, "ann")
    held = _sealed(contents, TWO, hold_place(HOLD), "DELETE FROM job_log", [])
    gone = _sealed(contents, TWO, exchange_place(TWO, 1), "DELETE FROM job_log", [])
    vote = cast(ann, REQUEST, bytes(32), Choice.APPROVE, START_US + 3600 * 10**6, "ok", START_US + 2_000_000)
    vote = replace(vote, reason="")
    effects = (Effect("delete", "job_log"),)
    return [
        (_opened(TWO, "psql"), b""),
        (Hold(TWO, HOLD, REQUEST, bytes(32), effects, True, 80, Band.HIGH, ("Loss:Postgres/DeleteAll",), "dba", "v",
              START_US + 1_000_000, START_US + 300 * 10**6, hashlib.sha256(held).digest()), held),
        (ApprovalRequest(REQUEST, HOLD, TWO, "ci/deploy", "db", "production", bytes(32), RULE, 80, Band.HIGH, (),
                         effects, START_US + 1_000_000, START_US + 3600 * 10**6, TWO, hashlib.sha256(held).digest()),
         b""),
        (vote, b""),
        (Grant(HOLD, RECORDER, REQUEST, HOLD, bytes(32), (vote,), START_US + 3600 * 10**6, START_US + 2_100_000), b""),
        (Released(HOLD, REQUEST, bytes(32), ("ann",), START_US + 2_200_000), b""),
        (exchange(TWO, 1, "DELETE 200", gone, HOLD), gone),
        (SessionClosed(TWO, CloseReason.CLIENT, 1, START_US + 5_000_000), b""),
    ]  # fmt: skip


def tallystick(*arguments: str, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    """The command as a user runs it: a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "tallystick", *arguments],
        input=stdin, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "COLUMNS": "200", **env},
    )  # fmt: skip


def until(what: object, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not what():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.02)
