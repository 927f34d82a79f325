"""Whom a gateway believes to be suspended: by signatures alone, known before its port opens, and not for ever."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from approvals.votes import Directory, cast
from bus.local import LocalBus
from bus.topics import GRANTS
from ingest.suspensions import Suspensions
from schemas.codec import encode
from schemas.ids import AlertId, ApprovalId, HoldId, RecorderId, SessionId, SuspensionId
from schemas.judging import Reviewer
from schemas.records import Choice, Pending, Resumed, Scope, Suspended, Vote
from seal import keyfiles
from seal.sign import Signer
from seal.suspension import sign_suspension, suspension_digest

ONE, TWO = SessionId("db.0.a/1/1"), SessionId("db.0.a/1/2")
ANN, BEN, EVE = Signer("ann", b"a" * 32), Signer("ben", b"b" * 32), Signer("ann", b"e" * 32)
DIRECTORY = Directory((Reviewer("ann", ANN.public, ("reviewers",), ("ci/ann",)), Reviewer("ben", BEN.public, ("dba",))))
HOUR_US = 3_600_000_000


@dataclass
class World:
    keys: Path
    bus: LocalBus
    now_us: int

    def signed(self, name: str = "sus-a", **changes: object) -> Suspended:
        until_us = self.now_us + HOUR_US
        plain = Suspended(
            SuspensionId(name), AlertId("alr-a"), Scope.IDENTITY, "ci/deploy", ONE, "db", (), self.now_us, until_us,
            "v", "", b"",
        )  # fmt: skip
        return sign_suspension(keyfiles.load_signer(self.keys, "behaviour"), replace(plain, **changes))  # type: ignore[arg-type]

    async def send(self, *records: object) -> None:
        await self.bus.producer().send(GRANTS, [(b"k", encode(record)) for record in records])

    async def gateway(self) -> Suspensions:
        """One that starts now."""
        consumer = await self.bus.consumer("", [GRANTS])
        enrolled = keyfiles.enrolled(self.keys)
        made = Suspensions(consumer, enrolled, DIRECTORY, ("reviewers",), lambda: self.now_us)
        async with asyncio.timeout(20):
            await made.learn(await self.bus.end(GRANTS, 0))
        return made


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    keyfiles.init(tmp_path / "keys", "test")
    bus = LocalBus(tmp_path / "data")
    yield World(tmp_path / "keys", bus, time.time_ns() // 1000)
    await bus.close()


def vote(world: World, suspended: Suspended, signer: Signer = ANN, **changes: object) -> Vote:
    words = {
        "request": ApprovalId(suspended.suspension),
        "commitment": suspension_digest(suspended),
        "choice": Choice.APPROVE,
        "deadline_us": world.now_us + HOUR_US,
        "reason": "agreed",
        "cast_us": world.now_us,
        **changes,
    }
    return replace(cast(signer, **words), reason="")  # type: ignore[arg-type]


async def test_an_identity_is_suspended_in_every_session_and_a_session_alone(world: World) -> None:
    await world.send(world.signed(), world.signed("sus-b", scope=Scope.SESSION, subject="app", session=TWO))
    gateway = await world.gateway()
    assert gateway.lasting() == 2
    for session in (ONE, TWO, SessionId("other.0.b/7/9")):
        assert gateway.of("ci/deploy", session) is not None
    assert gateway.of("app", TWO) is not None
    assert gateway.of("app", ONE) is None
    assert gateway.of("nobody", ONE) is None, "an identity's is not the session's in which it began"


async def test_a_gateway_that_starts_has_learned_all_that_lasts_and_one_that_runs_hears_of_more(world: World) -> None:
    assert (await world.gateway()).lasting() == 0, "where nothing was ever said"
    await world.send(Pending(HoldId("h"), RecorderId("r"), ApprovalId("req-a")), world.signed())
    await world.send(*(Pending(HoldId("h"), RecorderId("r"), ApprovalId("req-a")) for _ in range(1200)))
    gateway = await world.gateway()
    assert gateway.of("ci/deploy", ONE) is not None
    following = asyncio.create_task(gateway.follow())
    await world.send(world.signed("sus-b", subject="app"))
    async with asyncio.timeout(10):
        while gateway.of("app", ONE) is None:
            await asyncio.sleep(0.01)
    following.cancel()


async def test_it_ends_by_itself_and_leaves_nothing(world: World) -> None:
    await world.send(world.signed())
    gateway = await world.gateway()
    world.now_us += HOUR_US - 1
    assert gateway.of("ci/deploy", ONE) is not None
    world.now_us += 1
    assert (gateway.of("ci/deploy", ONE), gateway.lasting()) == (None, 0)
    gateway.take(encode(world.signed("sus-b")))
    assert (len(gateway._known), len(gateway._of)) == (1, 1)


async def test_a_reviewer_lifts_it_and_it_does_not_come_back(world: World) -> None:
    suspended = world.signed()
    await world.send(
        suspended, world.signed("sus-b"), Resumed(suspended.suspension, "ci/deploy", vote(world, suspended), 1)
    )
    await world.send(suspended)
    gateway = await world.gateway()
    found = gateway.of("ci/deploy", ONE)
    assert found is not None
    assert found.suspension == "sus-b", "each is lifted by itself"
    gateway.take(encode(Resumed(SuspensionId("sus-b"), "ci/deploy", vote(world, found), 1)))
    gateway.take(encode(suspended))
    assert gateway.of("ci/deploy", ONE) is None


@pytest.mark.parametrize("role", ["approvals", "pipeline", "gateway", "ledger"])
async def test_nobody_else_can_suspend(world: World, role: str) -> None:
    await world.send(sign_suspension(keyfiles.load_signer(world.keys, role), world.signed()))
    assert (await world.gateway()).lasting() == 0


async def test_a_suspension_that_was_changed_is_none(world: World) -> None:
    signed = world.signed()
    await world.send(
        replace(signed, subject="app"),
        replace(signed, until_us=signed.until_us + 1),
        replace(signed, scope=Scope.SESSION),
    )
    assert (await world.gateway()).lasting() == 0


FORGED = {
    "another key": {"signer": EVE},
    "another group": {"signer": BEN},
    "another suspension's": {"request": ApprovalId("sus-b")},
    "of another digest": {"commitment": bytes(32)},
    "a no": {"choice": Choice.DENY},
    "a revocation": {"choice": Choice.REVOKE},
    "long over": {"deadline_us": 1},
    "without a reason": {"reason": ""},
}


@pytest.mark.parametrize("how", FORGED)
async def test_a_vote_that_does_not_count_lifts_nothing(world: World, how: str) -> None:
    suspended = world.signed()
    await world.send(suspended, Resumed(suspended.suspension, "ci/deploy", vote(world, suspended, **FORGED[how]), 1))  # type: ignore[arg-type]
    assert (await world.gateway()).of("ci/deploy", ONE) is not None


@pytest.mark.parametrize("changes", [{"caused_by": ("ann",)}, {"subject": "ci/ann"}, {"subject": "ann"}], ids=str)
async def test_nobody_lifts_it_for_a_run_of_their_own(world: World, changes: dict[str, object]) -> None:
    suspended = world.signed(**changes)
    await world.send(suspended, Resumed(suspended.suspension, suspended.subject, vote(world, suspended), 1))
    assert (await world.gateway()).of(suspended.subject, ONE) is not None
