"""A gateway in front of the real PostgreSQL, in a thread of its own, with a journal that tests can read."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvloop

from approvals import votes
from bus.topics import GRANTS, Message, OffsetLost
from ingest.gateway import Gateway
from ingest.postgres.scram import Verifier
from ingest.settings import Durability, GatewaySettings, Holding, Identity, Target
from policy import rules
from policy.rules import Rules
from schemas.codec import decode, encode
from schemas.frames import FrameKind
from schemas.ids import RecorderId
from schemas.judging import Reviewer
from schemas.records import ApprovalState, Choice, Grant, HeldCommand, Refusal
from seal.digest import approval_id
from seal.sign import Signer

PASSWORD = "machine-secret"
MATCH = b"m" * 32
RECORDER = RecorderId("test.0.00000000")
ANA = Signer("ana", b"a" * 32)


@dataclass
class MemoryJournal:
    """Keeps frames in order; releases on the next turn, as the recorder does. `full` refuses every command."""

    recorder: RecorderId = RECORDER
    boot: int = 1
    segment: int = 1
    frames: list[tuple[int, FrameKind, bytes]] = field(default_factory=list)
    durabilities: list[Durability] = field(default_factory=list)
    full: bool = False
    on_hold: Callable[[HeldCommand], None] | None = None

    def put(self, session: int, kind: FrameKind, data: bytes) -> None:
        self.frames.append((session, kind, data))
        if kind is FrameKind.HOLD and self.on_hold is not None:
            self.on_hold(decode(data))

    def put_command(self, session, kind, data, durability, release, refuse) -> bool:
        loop = asyncio.get_running_loop()
        if self.full:
            loop.call_soon(refuse, OSError(errno.ENOSPC, "full"))
            return False
        self.frames.append((session, kind, data))
        self.durabilities.append(durability)
        loop.call_soon(release)
        return True

    def cut_now(self) -> None:
        self.segment += 1

    def digest_key(self) -> bytes:
        return b"d" * 32

    def session_opened(self) -> None: ...

    def session_closed(self) -> None: ...

    def of(self, kind: FrameKind) -> list[Any]:
        raw = (FrameKind.CLIENT, FrameKind.SERVER, FrameKind.SERVER_HEAD)
        return [d if k in raw else decode(d) for _, k, d in list(self.frames) if k is kind]


class Grants:
    """The grants topic, and a reviewer who answers by `decide`: True, False, or None to stay silent."""

    def __init__(self, journal: MemoryJournal) -> None:
        self.decide: Callable[[HeldCommand], bool | None] = lambda held: None
        self.change: Callable[[Grant], Grant] = lambda grant: grant
        self.recorder = journal.recorder
        self._queue: list[bytes] = []
        self.gone = False  # what should be read next was deleted
        journal.on_hold = self._hold

    def _hold(self, held: HeldCommand) -> None:
        word = self.decide(held)
        if word is not None:
            self.answer(held, word)

    def answer(self, held: HeldCommand, word: bool) -> None:
        request, now = approval_id(held.hold), held.raised_us
        if not word:
            state = ApprovalState.PENDING if held.lookup_only else ApprovalState.DENIED
            self._queue.append(encode(Refusal(held.hold, self.recorder, request, state, now)))
            return
        end = now + 60_000_000
        vote = votes.cast(ANA, request, held.commitment, Choice.APPROVE, end, "fine", now)
        grant = Grant(held.hold, self.recorder, request, held.hold, held.commitment, (vote,), end, now)
        grant = dataclasses.replace(grant, caused_by=held.caused_by)
        self._queue.append(encode(self.change(grant)))

    async def seek(self, topic: str, partition: int, offset: int) -> None:
        assert (topic, partition, offset) == (GRANTS, 0, 7)
        self.gone = False

    async def batch(self, most: int, timeout_s: float) -> list[Message]:
        if self.gone:
            raise OffsetLost(GRANTS, 0, 3, 7, 9)
        if not self._queue:
            await asyncio.sleep(0.005)
        taken, self._queue = self._queue, []
        return [Message(GRANTS, 0, n, b"", value, 0) for n, value in enumerate(taken)]


class Running:
    """A gateway in its own thread and loop."""

    def __init__(self, make: Callable[[], Gateway]) -> None:
        self.loop = uvloop.new_event_loop()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        self.gateway = self.call(self._serve(make))
        self.host, self.port = self.gateway.address

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    async def _serve(self, make: Callable[[], Gateway]) -> Gateway:
        gateway = make()
        await gateway.serve()
        return gateway

    def call(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(20)

    def url(self, user: str = "ci", password: str = PASSWORD, database: str = "postgres", extra: str = "") -> str:
        return f"postgresql://{user}:{password}@{self.host}:{self.port}/{database}{extra}"

    def stop(self) -> None:
        async def end() -> None:
            self.gateway.close()
            await asyncio.sleep(0.01)

        self.call(end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5)
        self.loop.close()  # its descriptors were left open in each test, hundreds in a run


@dataclass
class Bench:
    running: Running
    journal: MemoryJournal
    grants: Grants

    def url(self, **kw: str) -> str:
        return self.running.url(**kw)


REVIEWED = rules.parse(rules.default_text())
ALLOWING = rules.parse("rules: []\notherwise: allow\n")


def settings_for(postgres: Any, **changes: Any) -> GatewaySettings:
    base: dict[str, Any] = {
        "name": "orders-db",
        "listen_host": "127.0.0.1",
        "listen_port": 0,
        "target": Target.of(postgres.url()),
        "environment": "production",
        "identities": (Identity("ci-deploy", "ci", str(Verifier.of(PASSWORD, b"0123456789abcdef"))),),
        "approvals_url": "http://127.0.0.1:7480",
        "holding": Holding(wire_seconds=3.0, lookup_seconds=0.3, notice_seconds=1.0),
        "durability": Durability.BY_EFFECT,
    }
    return GatewaySettings(**{**base, **changes})


@pytest.fixture
def make_bench(postgres: Any, tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    made: list[Running] = []

    def make(base: Rules = REVIEWED, *, reviewed: bool = True, apart_s: float = 0, **changes: Any) -> Bench:
        """`reviewed`: ana, alone, may approve everything. `apart_s`: how far the gateway's clock is off."""
        journal = MemoryJournal()
        grants = Grants(journal)
        groups = tuple(g for a in REVIEWED.approvers for g in a.groups)
        only = (Reviewer("ana", ANA.public, groups),)
        policy = dataclasses.replace(base, reviewers=only) if reviewed else base
        settings = settings_for(postgres, **changes)
        running = Running(lambda: Gateway(
            settings, journal, policy, grants, MATCH, tmp_path / "used",
            clock_us=lambda: time.time_ns() // 1000 + int(apart_s * 1_000_000),
        ))  # fmt: skip
        made.append(running)
        return Bench(running, journal, grants)

    yield make
    for running in made:
        running.stop()


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench()


@pytest.fixture
def allowing(make_bench: Callable[..., Bench]) -> Bench:
    """Its policy allows everything: for what clients see, not for what they may."""
    return make_bench(ALLOWING)
