"""Two gateways of one name run one approved command at the same instant, while the approvals step dies at any place.

The bus, the step's loop, the gateways and the target are the real ones. What stands between a
gateway's journal and the step (segments, the step that asks) is a queue here, in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from approvals.votes import Directory, cast
from bus.local import LocalBus
from bus.topics import APPROVALS, GRANTS
from ingest.gateway import Gateway
from ingest.settings import Holding
from schemas.codec import decode, encode
from schemas.frames import FrameKind
from schemas.ids import ApprovalId, RecorderId, SessionId
from schemas.judging import Reviewer
from schemas.records import ApprovalState, Band, Choice, HeldCommand, HoldEnded, HoldGone, HoldRaised
from seal.digest import approval_id
from seal.sign import Signer
from stream.workers import ApprovalsWorker
from tests.ingest.postgres.conftest import ANA, MATCH, PASSWORD, REVIEWED, MemoryJournal, settings_for

REQUEST = re.compile(r"req-[a-z2-7]{16}")
ADD = "update hits set n = n + 1"
HOUR = 3_600_000_000


class Killed(Exception):
    """The worker's process is gone, as far as the test can tell."""


@dataclass
class Asking(MemoryJournal):
    """Tells the approvals step of holds and their ends, in order."""

    tell: Callable[[Any], None] = lambda record: None

    def put(self, session: int, kind: FrameKind, data: bytes) -> None:
        super().put(session, kind, data)
        if kind is FrameKind.HOLD:
            self.tell(raised(self.recorder, decode(data)))
        elif kind is FrameKind.GONE:
            gone: HoldGone = decode(data)
            self.tell(HoldEnded(gone.hold, self.recorder, gone.why, gone.at_us))


def raised(recorder: RecorderId, held: HeldCommand) -> HoldRaised:
    return HoldRaised(
        held.hold, recorder, 1, SessionId(f"{recorder}/1/1"), "ci-deploy", "orders-db", "production", held.match_key,
        held.commitment, held.rule, (), True, 80, Band.HIGH, (), "v", held.raised_us, held.deadline_us,
        held.lookup_only, b"", b"", held.caused_by,
    )  # fmt: skip


@dataclass
class Office:
    """Two gateways, a step that is killed and started again, and Ana, who votes."""

    bus: LocalBus
    directory: Directory
    chance: random.Random
    gateways: list[Gateway] = field(default_factory=list)
    told: asyncio.Queue[tuple[bytes, bytes]] = field(default_factory=asyncio.Queue)
    asked: dict[ApprovalId, bytes] = field(default_factory=dict)  # request -> commitment
    kills: int = 0
    worker: ApprovalsWorker | None = None

    def tell(self, record: Any) -> None:
        if isinstance(record, HoldRaised):
            self.asked[approval_id(record.hold)] = record.commitment
        self.told.put_nowait((record.recorder.encode(), encode(record)))

    async def pass_on(self) -> None:
        while True:
            await self.bus.producer().send(APPROVALS, [await self.told.get()])

    async def supervise(self) -> None:
        while True:
            self.worker = ApprovalsWorker(self.bus, Signer("approvals", b"s" * 32), self.directory, self._bomb)
            try:
                await self.worker.run()
            except Killed:
                self.kills += 1

    def _bomb(self, place: str) -> None:
        if self.chance.random() < 0.2:
            raise Killed(place)

    async def vote(self, request: ApprovalId, choice: Choice) -> None:
        now = time.time_ns() // 1000
        made = cast(ANA, request, self.asked[request], choice, now + HOUR, "fine", now)
        await self.bus.producer().send(APPROVALS, [(b"vote", encode(made))])

    async def standing(self, request: ApprovalId, *states: ApprovalState) -> None:
        end = time.monotonic() + 20
        while True:
            found = self.worker.state.requests.get(request) if self.worker is not None else None
            if found is not None and found.state in states:
                return
            assert time.monotonic() < end, found and found.state
            await asyncio.sleep(0.002)

    def url(self, n: int) -> str:
        host, port = self.gateways[n].address
        return f"postgresql://ci:{PASSWORD}@{host}:{port}/postgres"


@pytest.fixture
async def office(postgres: Any, tmp_path: Path) -> AsyncIterator[Office]:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    policy = replace(REVIEWED, reviewers=(Reviewer("ana", ANA.public, REVIEWED.approvers[0].groups),))
    bus = LocalBus(tmp_path / "bus")
    made = Office(bus, Directory(policy.reviewers), random.Random(seed))
    settings = settings_for(postgres, holding=Holding(wire_seconds=60, lookup_seconds=20, notice_seconds=30))
    for n in range(2):
        journal = Asking(recorder=RecorderId(f"orders-db.{n}.0000000{n}"), tell=made.tell)
        grants = await bus.consumer("", [GRANTS])
        made.gateways.append(Gateway(settings, journal, policy, grants, MATCH, tmp_path / f"used-{n}"))
        await made.gateways[-1].serve()
    with psycopg.connect(postgres.url(), autocommit=True) as db:
        db.execute("drop table if exists hits; create table hits (n int); insert into hits values (0)")
    tasks = [asyncio.create_task(made.pass_on()), asyncio.create_task(made.supervise())]
    yield made
    for gateway in made.gateways:
        gateway.close()
    for task in tasks:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    await bus.close()
    with psycopg.connect(postgres.url(), autocommit=True) as db:
        db.execute("drop table hits")


async def run(db: psycopg.AsyncConnection[Any]) -> int:
    """Rows, or 0 where it was refused."""
    try:
        return (await db.execute(ADD)).rowcount
    except psycopg.Error:
        return 0


async def rounds(office: Office, postgres: Any, count: int) -> None:
    clients = [await psycopg.AsyncConnection.connect(office.url(n), autocommit=True) for n in range(2)]
    first = await psycopg.AsyncConnection.connect(office.url(0))
    for done in range(count):
        await (one_that_was_approved if done % 2 else both_that_wait)(office, clients, first)
        with psycopg.connect(postgres.url()) as db:
            assert db.execute("select n from hits").fetchone() == (done + 1,), f"round {done}"
    for connection in (first, *clients):
        await connection.close()
    print(f"{count} rounds, {office.kills} kills")
    assert office.kills


async def one_that_was_approved(office: Office, clients: list[Any], first: Any) -> None:
    """The approval is there: both run at once. One uses it; the other is asked about anew, and denied."""
    await first.execute("select 1")
    with pytest.raises(psycopg.Error) as refused:
        await first.execute(ADD)
    await first.rollback()
    request = ApprovalId(REQUEST.findall(str(refused.value))[0])
    await office.standing(request, ApprovalState.PENDING)
    await office.vote(request, Choice.APPROVE)
    await office.standing(request, ApprovalState.APPROVED)
    running = [asyncio.create_task(run(client)) for client in clients]
    await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    for task in running:
        await _deny(office, task)
    assert sorted([await task for task in running]) == [0, 1]
    await office.standing(request, ApprovalState.USED)


async def _deny(office: Office, running: asyncio.Task[int]) -> None:
    """Whatever still waits, until it is refused. A vote that comes before its request is nothing: again, then."""
    while not running.done():
        for request in list(office.worker.state.requests.values()) if office.worker is not None else ():
            if request.waiting:
                await office.vote(request.id, Choice.DENY)
        await asyncio.wait([running], timeout=0.05)


async def both_that_wait(office: Office, clients: list[Any], first: Any) -> None:
    """Both wait for one request: approved, it is granted to one of them."""
    running = [asyncio.create_task(run(client)) for client in clients]
    end = time.monotonic() + 20
    while True:
        waiting = [r for r in office.worker.state.requests.values() if len(r.waiting) == 2] if office.worker else []
        if waiting:
            break
        assert time.monotonic() < end
        await asyncio.sleep(0.002)
    await office.vote(waiting[0].id, Choice.APPROVE)
    assert sorted(await asyncio.gather(*running)) == [0, 1]
    await office.standing(waiting[0].id, ApprovalState.USED)


async def test_it_runs_once_whoever_asks_at_the_same_instant(office: Office, postgres: Any) -> None:
    await rounds(office, postgres, 20)


@pytest.mark.slow
@pytest.mark.timeout(3600)
async def test_it_runs_once_a_thousand_times(office: Office, postgres: Any) -> None:
    await rounds(office, postgres, 1_000)
