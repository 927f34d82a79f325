"""People, a rule and holds to ask about, for the tests of this room."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from approvals.votes import Directory, cast
from schemas.ids import HoldId, RecorderId, SessionId
from schemas.judging import Reviewer
from schemas.records import ApproverRule, Band, Choice, Effect, HoldRaised, Vote
from seal.digest import approval_id
from seal.sign import Signer

SECOND = 1_000_000
T0 = 1_700_000_000 * SECOND
RULE = ApproverRule("dba", ("dba", "security"), 2, 3600)


@dataclass(frozen=True)
class Office:
    """Reviewers: ann (in two groups) bob and cyd may vote; own is the requester's own person; guest is in no group of
    the rule; gus neither, but may break the glass, as may cyd and own."""

    rule: ApproverRule = RULE
    subject: str = "ci:deploy"

    def signer(self, name: str) -> Signer:
        return Signer(name, name.encode().ljust(32, b"."))

    def directory(self) -> Directory:
        def person(name: str, groups: tuple[str, ...], *identities: str) -> Reviewer:
            return Reviewer(
                name, self.signer(name).public, groups, identities, break_glass=name in ("gus", "cyd", "own")
            )

        return Directory(
            [
                person("ann", ("dba", "security")),
                person("bob", ("dba",)),
                person("cyd", ("security",)),
                person("own", ("dba",), self.subject),
                person("guest", ("guests",)),
                person("gus", ("on-call",)),
            ]
        )

    def hold(self, n: int, at_us: int = T0, **changes: object) -> HoldRaised:
        """Hold number n; the same command unless `match_key` is given."""
        raised = HoldRaised(
            hold=HoldId(f"hold-{n:032x}"),
            recorder=RecorderId("orders-db.0.aaaaaaaa"),
            boot=0,
            session=SessionId("orders-db.0.aaaaaaaa/0/1"),
            subject=self.subject,
            target="orders-db",
            environment="production",
            match_key=b"m" * 32,
            commitment=n.to_bytes(32, "big"),
            rule=self.rule,
            effects=(Effect("delete", "public.job_log"),),
            effects_complete=True,
            score=80,
            band=Band.HIGH,
            signals=("DataLoss:Postgres/DeleteAll",),
            policy_version="0" * 16,
            raised_us=at_us,
            deadline_us=at_us + 300 * SECOND,
            lookup_only=False,
            content=b"\x00" * 40,
            content_sha256=b"\x11" * 32,
        )
        return replace(raised, **changes)  # type: ignore[arg-type]

    def vote(
        self,
        name: str,
        first: HoldRaised,
        choice: Choice = Choice.APPROVE,
        until_s: int = 100_000,
        uses: int = 1,
        shape: bytes | None = None,
        reason: str = "because it is agreed",
    ) -> Vote:
        request, until = approval_id(first.hold), T0 + until_s * SECOND
        return cast(self.signer(name), request, first.commitment, choice, until, reason, T0, uses, shape)


@pytest.fixture
def office() -> Office:
    return Office()
