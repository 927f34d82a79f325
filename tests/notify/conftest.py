"""Records as the approvals step signs them, on an embedded bus, and settings of channels."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from bus.topics import EVENTS, Bus
from schemas.codec import encode
from schemas.ids import START, ApprovalId, HoldId, Position, RecorderId, SessionId, Source
from schemas.records import (
    ApprovalRequest,
    ApproverRule,
    Band,
    Choice,
    Effect,
    Event,
    EventBatch,
    LeafBody,
    LedgerEntry,
    Vote,
)
from seal import keyfiles
from seal.event_batch import sign_batch
from tallystick.config import Notify

RECORDER = RecorderId("orders-db.0.0a0b0c0d")
SESSION = SessionId(f"{RECORDER}/1/1")
SOURCE = Source(f"approvals:0a0b0c0d:0:{RECORDER}")
SECRET = "whsec_" + "c2VjcmV0" * 4
NUMBERS = itertools.count(1)


def request_id() -> ApprovalId:
    digits = f"{next(NUMBERS):016d}".translate(str.maketrans("0189", "abcd"))
    return ApprovalId(f"req-{digits}")


def asked(**changed: Any) -> ApprovalRequest:
    rule = ApproverRule("dba", ("dba", "security"), 1, 3600)
    made = ApprovalRequest(
        request_id(), HoldId("hold-" + "1" * 32), SESSION, "ci/deploy", "orders-db", "production", bytes(32), rule, 80,
        Band.HIGH, ("Loss:Postgres/DeleteAll",), (Effect("delete", "public.orders"),), 1_767_225_600_000_000,
        1_767_229_200_000_000, SESSION, bytes(32),
    )  # fmt: skip
    return replace(made, **changed)


def vote(request: ApprovalId, reviewer: str = "ann", choice: Choice = Choice.APPROVE, **changed: Any) -> Vote:
    return replace(Vote(request, bytes(32), reviewer, choice, bytes(32), 0, 0, bytes(64)), **changed)


@dataclass
class Teller:
    """Puts bodies on `events`, one message each, signed by the approvals step; `source` numbers them."""

    bus: Bus
    keys: Path
    source: Source = SOURCE
    at: Position = START

    def message(self, *bodies: LeafBody) -> tuple[bytes, bytes]:
        now = time.time_ns() // 1000
        major = self.at.major + 1
        events = tuple(
            Event(encode(LedgerEntry(self.source, Position(major, n, 0), now, body=body)), b"")
            for n, body in enumerate(bodies)
        )
        last = Position(major, len(bodies) - 1, 0)
        batch = EventBatch(self.source, RECORDER, self.at, last, events, "", b"")
        self.at = last
        signer = keyfiles.load_signer(self.keys, "approvals")
        return RECORDER.encode(), encode(sign_batch(signer, batch))

    async def tell(self, *bodies: LeafBody) -> None:
        """Each in a message of its own."""
        await self.bus.producer().send(EVENTS, [self.message(body) for body in bodies])


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("notify") / "keys"
    keyfiles.init(place, "test")
    return place


@pytest.fixture
def secret(tmp_path: Path) -> Callable[[str], Path]:
    """A 0600 file."""

    def made(text: str) -> Path:
        path = tmp_path / f"secret-{next(NUMBERS)}"
        path.write_text(text)
        path.chmod(0o600)
        return path

    return made


Secret = Callable[[str], Path]


def webhook(secret: Secret, url: str, **more: Any) -> Notify:
    files = {"url_file": secret(url), "secret_file": secret(SECRET)}
    return Notify.model_validate({"name": "hook", "kind": "webhook", **files, **more})


async def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "what was waited for did not come"
        await asyncio.sleep(0.01)
