"""Who may approve, and what is no approval, by the gateway's own check: grants as a taken-over role could send them.

Whoever sends them has the approvals role's and the bus's keys, every vote that was ever cast, and
whatever these let them make up. What they lack is a reviewer's key and the match secret.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from approvals.grants import Flaw
from approvals.votes import cast
from ingest.postgres.scram import Verifier
from ingest.settings import Identity
from policy import rules
from policy.rules import Rules
from schemas.frames import FrameKind
from schemas.ids import HoldId
from schemas.judging import Reviewer
from schemas.records import Choice, Claim, Grant, Refusing, Vote
from seal.digest import approval_id
from seal.sign import Signer
from tests.ingest.postgres.conftest import PASSWORD, Bench
from tests.ingest.postgres.wire_talk import rows

DELETE = "delete from job_log"
MINUTE = 60_000_000
PEOPLE = {name: Signer(name, name.encode().ljust(32, b".")) for name in ("ana", "ben", "eva", "kim")}
TEXT = """
rules: [{name: deletes, when: "command.effects.exists(e, e.effect == 'delete')", then: hold, approvers: two}]
otherwise: allow
approvers: {two: {groups: [dba, security], quorum: 2, expires: 1h}}
"""


def two_people() -> Rules:
    return dataclasses.replace(
        rules.parse(TEXT),
        reviewers=(
            Reviewer("ana", PEOPLE["ana"].public, ("dba", "security")),
            Reviewer("ben", PEOPLE["ben"].public, ("security",), ("ben-at-work",)),
            Reviewer("eva", PEOPLE["eva"].public, ("dba",), ("ci-deploy",)),
        ),
    )


@pytest.fixture
def table(postgres: Any) -> Any:
    with psycopg.connect(postgres.url(), autocommit=True) as c:
        c.execute("drop table if exists job_log; create table job_log (a int); insert into job_log values (1), (2)")
    return postgres


@pytest.fixture
def make(make_bench: Callable[..., Bench]) -> Callable[..., Bench]:
    """A gateway whose one identity has these claims."""

    def with_claims(**claims: str) -> Bench:
        said = tuple(Claim(*pair) for pair in claims.items())
        verifier = str(Verifier.of(PASSWORD, b"0123456789abcdef"))
        bench = make_bench(two_people(), reviewed=False, identities=(Identity("ci-deploy", "ci", verifier, said),))
        bench.grants.decide = lambda held: True
        return bench

    return with_claims


def vote(name: str, grant: Grant, choice: Choice = Choice.APPROVE, until_us: int = 0, key: str = "") -> Vote:
    until = until_us or grant.at_us + 10 * MINUTE
    made = cast(PEOPLE[key or name], grant.request, grant.commitment, choice, until, "fine", grant.at_us)
    return replace(made, reviewer=name)


Change = Callable[[Grant], Grant]


def voted(*votes: Callable[[Grant], Vote]) -> Change:
    return lambda grant: replace(grant, votes=tuple(make(grant) for make in votes))


ANA, BEN = (lambda g: vote("ana", g)), (lambda g: vote("ben", g))


def for_another(grant: Grant) -> Grant:
    """All of it about another hold's request, rightly signed: only its commitment is made up."""
    other = HoldId("hold-" + "f" * 32)
    return voted(ANA, BEN)(replace(grant, first_hold=other, request=approval_id(other)))


NO_APPROVAL: list[tuple[str, Change, Flaw]] = [
    ("nobody", voted(), Flaw.VOTES),
    ("one of two", voted(ANA), Flaw.VOTES),
    ("one person twice", voted(ANA, lambda g: vote("ana", g, until_us=g.at_us + 20 * MINUTE)), Flaw.VOTES),
    ("a name that is not the key's", voted(ANA, lambda g: vote("ben", g, key="kim")), Flaw.VOTES),
    ("one key under two names", voted(ANA, lambda g: vote("ben", g, key="ana")), Flaw.VOTES),
    ("somebody unknown", voted(ANA, lambda g: vote("kim", g)), Flaw.VOTES),
    ("the identity's own person", voted(ANA, lambda g: vote("eva", g)), Flaw.VOTES),
    ("a deny among them", voted(ANA, BEN, lambda g: vote("ben", g, Choice.DENY)), Flaw.VOTES),
    ("a revocation among them", voted(ANA, BEN, lambda g: vote("eva", g, Choice.REVOKE)), Flaw.VOTES),
    ("a deny turned round", voted(ANA, lambda g: replace(vote("ben", g, Choice.DENY), choice=Choice.APPROVE)),
     Flaw.VOTES),
    ("a deadline moved", voted(ANA, lambda g: replace(vote("ben", g), deadline_us=2**62)), Flaw.VOTES),
    ("votes for another request", lambda g: replace(voted(ANA, BEN)(replace(g, request=approval_id(HoldId("hold-x")))),
     request=g.request), Flaw.VOTES),
    ("another request's id", lambda g: replace(voted(ANA, BEN)(g), request=approval_id(HoldId("hold-x"))),
     Flaw.REQUEST),
    ("another first hold", for_another, Flaw.COMMAND),
    ("another commitment", lambda g: voted(ANA, BEN)(replace(g, commitment=bytes(32))), Flaw.COMMAND),
    ("somebody behind it made up", lambda g: replace(voted(ANA, BEN)(g), caused_by=("ana", "eva")), Flaw.COMMAND),
    ("somebody behind it left out", lambda g: replace(voted(ANA, lambda g: vote("eva", g))(g), caused_by=()),
     Flaw.COMMAND),
]  # fmt: skip


@pytest.mark.parametrize(("change", "flaw"), [(c, f) for _, c, f in NO_APPROVAL], ids=[n for n, _, _ in NO_APPROVAL])
def test_what_is_no_approval_is_refused_counted_and_recorded(
    make: Any, table: Any, capsys: Any, change: Change, flaw: Flaw
) -> None:
    bench = make()
    bench.grants.change = change
    with psycopg.connect(bench.url(), autocommit=True) as c:
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match=flaw.value):
            c.execute(DELETE)
        assert rows(table) == 2
        assert bench.running.gateway.metrics.refused == {Refusing.UNVERIFIED: 1}
        assert "alarm='bad grant'" in (alarm := capsys.readouterr().out)
        assert f"why='{flaw.value}'" in alarm
        assert [gone.why for gone in bench.journal.of(FrameKind.GONE)] == ["unverified"]
        bench.grants.change = voted(ANA, BEN)
        assert c.execute(DELETE).rowcount == 2


def test_a_grant_for_another_sessions_hold_releases_nothing_here(make: Any, table: Any) -> None:
    """Every gateway reads every grant, and acts on those for holds of its own."""
    bench = make()
    bench.grants.change = lambda g: replace(voted(ANA, BEN)(g), hold=HoldId("hold-" + "0" * 32))
    with psycopg.connect(bench.url(), autocommit=True) as c:
        with pytest.raises(psycopg.Error, match="nobody answered"):
            c.execute(DELETE)
    assert rows(table) == 2


CLOCKS = [  # the gateway's clock from the bus's, what is left of the approval by the bus's clock, is it good
    (0, 1, True),
    (290, 10, True),  # minutes ahead, and nothing ends early
    (-290, 10, True),
    (0, -290, True),  # the bound: what the bus's clock has ended, the step does not grant; somebody else might
    (0, -310, False),
    (290, -20, False),
    (-290, -600, False),
]


@pytest.mark.parametrize(("apart_s", "left_s", "good"), CLOCKS, ids=[f"{a}s-{e}s" for a, e, _ in CLOCKS])
def test_clocks_may_be_minutes_apart(make_bench: Any, table: Any, apart_s: int, left_s: int, good: bool) -> None:
    bench = make_bench(two_people(), reviewed=False, apart_s=apart_s)
    bench.grants.decide = lambda held: True
    end = time.time_ns() // 1000 + left_s * 1_000_000
    signed = voted(*(lambda g, n=n: vote(n, g, until_us=end) for n in ("ana", "ben")))
    bench.grants.change = lambda g: replace(signed(g), expires_us=end)
    with psycopg.connect(bench.url(), autocommit=True) as c:
        if good:
            assert c.execute(DELETE).rowcount == 2
        else:
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match=Flaw.EXPIRED.value):
                c.execute(DELETE)


OWN = [("actor", "ben"), ("triggering_actor", "ben-at-work"), ("anything", "ben")]


@pytest.mark.parametrize(("claim", "who"), OWN, ids=[c for c, _ in OWN])
def test_who_started_the_run_does_not_approve_it(make: Any, table: Any, claim: str, who: str) -> None:
    bench = make(**{claim: who})
    bench.grants.change = voted(ANA, BEN)
    with psycopg.connect(bench.url(), autocommit=True) as c:
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match=Flaw.VOTES.value):
            c.execute(DELETE)
    [held] = bench.journal.of(FrameKind.HOLD)
    assert held.caused_by == ("ben", "eva")


def test_who_stands_behind_the_first_run_cannot_be_left_out(make: Any, table: Any) -> None:
    """Another run of the same command: ben asked for it first, so his vote is none, and the grant cannot hide that."""
    asked_by_ben: list[Grant] = []

    def keep(grant: Grant) -> Grant:
        asked_by_ben.append(grant)
        return replace(grant, votes=())

    first = make(actor="ben")
    first.grants.change = keep
    with psycopg.connect(first.url(), autocommit=True) as c, pytest.raises(psycopg.Error):
        c.execute(DELETE)
    [grant] = asked_by_ben
    second = make(actor="robot")
    for said, flaw in ((grant, Flaw.VOTES), (replace(grant, caused_by=("eva",)), Flaw.COMMAND)):
        second.grants.change = lambda g, said=said: voted(ANA, BEN)(replace(said, hold=g.hold))
        with psycopg.connect(second.url(), autocommit=True) as c:
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match=flaw.value):
                c.execute(DELETE)
    assert rows(table) == 2
