"""Standing approvals and broken glass by the gateway's own check, also as a taken-over role would send them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from approvals.grants import Flaw
from approvals.votes import cast
from policy import rules
from policy.rules import Rules
from schemas.frames import FrameKind
from schemas.ids import HoldId
from schemas.judging import Reviewer
from schemas.records import Choice, Grant, HeldCommand, Vote
from seal.digest import approval_id
from seal.sign import Signer
from tests.ingest.postgres.conftest import Bench
from tests.ingest.postgres.wire_talk import rows

DAY = 86_400_000_000
PEOPLE = {name: Signer(name, name.encode().ljust(32, b".")) for name in ("ana", "ben", "gil", "worker")}
ALLOWED = "standing: {max_days: 7, max_uses: 3, any_values: true}, break_glass: true"
TEXT = """
rules: [{name: deletes, when: "command.effects.exists(e, e.effect == 'delete')", then: hold, approvers: two}]
otherwise: allow
approvers: {two: {groups: [dba], quorum: 2, expires: 1h, ALLOWED}}
"""
NTH = "delete from job_log where a = {}"


def policy(allowed: str = ALLOWED) -> Rules:
    return dataclasses.replace(
        rules.parse(TEXT.replace("ALLOWED", allowed)),
        reviewers=(
            Reviewer("ana", PEOPLE["ana"].public, ("dba",)),
            Reviewer("ben", PEOPLE["ben"].public, ("dba",)),
            Reviewer("gil", PEOPLE["gil"].public, ("on-call",), break_glass=True),
        ),
    )


@pytest.fixture
def table(postgres: Any) -> Any:
    with psycopg.connect(postgres.url(), autocommit=True) as c:
        c.execute("drop table if exists job_log; create table job_log (a int)")
        c.execute("insert into job_log select generate_series(1, 9)")
    return postgres


def vote(name: str, grant: Grant, choice: Choice = Choice.APPROVE, key: str = "", **more: Any) -> Vote:
    until = more.pop("until_us", grant.at_us + DAY)
    made = cast(
        PEOPLE[key or name], grant.request, grant.commitment, choice, until, "as was agreed", grant.at_us, **more
    )
    return replace(made, reviewer=name, reason="")


@dataclasses.dataclass
class Step:
    """What an approvals role says: the first hold's votes, for whatever is held next."""

    bench: Bench
    first: Grant | None = None
    held: HeldCommand | None = None
    say: Callable[[Grant, HeldCommand], Grant] = lambda first, held: first

    def __post_init__(self) -> None:
        self.bench.grants.decide = self._decide
        self.bench.grants.change = self._grant

    def _decide(self, held: HeldCommand) -> bool:
        self.held = held
        return True

    def _grant(self, grant: Grant) -> Grant:
        assert self.held is not None
        self.first = self.first or grant
        return replace(self.say(self.first, self.held), hold=grant.hold)


def standing(use: int = 1, shape: bool = False, uses: tuple[int, int] = (3, 3), **more: Any) -> Any:
    """Both of them say so; of the shape of the hold that was first."""
    shapes: list[bytes | None] = []

    def say(first: Grant, held: HeldCommand) -> Grant:
        shapes.append(held.shape)
        free = shapes[0] if shape else None
        both = (vote("ana", first, uses=uses[0], shape=free), vote("ben", first, uses=uses[1], shape=free))
        return replace(first, votes=both, use=use, **more)

    return say


def run(bench: Bench, sql: str, *values: object) -> str:
    """Why not; nothing if it ran."""
    with psycopg.connect(bench.url(), autocommit=True) as c:
        try:
            c.execute(sql, values or None)
        except psycopg.Error as e:
            return str(e)
    return ""


@pytest.fixture
def step(make_bench: Any, table: Any) -> Step:
    return Step(make_bench(policy(), reviewed=False))


def test_each_use_releases_once_and_there_are_no_more_than_were_signed(step: Step, table: Any) -> None:
    for use, good in ((1, True), (1, False), (3, True), (2, True), (2, False), (4, False), (0, False), (-1, False)):
        step.say = standing(use)
        why = run(step.bench, NTH.format(1))
        assert (why == "") is good, (use, why)
        assert good or Flaw.USED.value in why
    assert [r.use for r in step.bench.journal.of(FrameKind.RELEASED)] == [1, 3, 2]


def test_the_narrowest_vote_counts(step: Step) -> None:
    step.say = standing(2, uses=(3, 1))
    assert Flaw.USED.value in run(step.bench, NTH.format(1))


@pytest.mark.parametrize(
    "change",
    [
        lambda v: replace(v, uses=3),
        lambda v: replace(v, shape=bytes(32)),
        lambda v: replace(v, deadline_us=v.deadline_us + 1),
    ],
    ids=["more uses", "any values", "longer"],
)
def test_a_plain_vote_is_not_stretched(step: Step, change: Callable[[Vote], Vote]) -> None:
    step.say = lambda first, held: replace(first, votes=(change(vote("ana", first)), vote("ben", first, uses=3)), use=1)
    assert Flaw.VOTES.value in run(step.bench, NTH.format(1))


def test_what_is_longer_or_more_than_the_gateways_own_rule_allows_does_not_count(step: Step) -> None:
    for uses, until_us in ((4, DAY), (3, 8 * DAY)):
        step.say = lambda first, held, uses=uses, until_us=until_us: replace(
            first,
            votes=tuple(vote(n, first, uses=uses, until_us=first.at_us + until_us) for n in ("ana", "ben")),
        )
        assert Flaw.VOTES.value in run(step.bench, NTH.format(1))


def test_with_any_values_other_values_are_released_and_nothing_else(step: Step, table: Any) -> None:
    step.say = standing(1, shape=True)
    assert run(step.bench, NTH.format(1)) == ""
    first = step.say
    step.say = lambda one, held: replace(first(one, held), use=2)
    assert run(step.bench, "DELETE  FROM job_log /* nightly */ WHERE a = 7") == ""
    assert rows(table) == 7
    for other in ("delete from job_log where a > 2", "delete from job_log", "delete from job_log where a = 2 or true"):
        step.say = lambda one, held: replace(first(one, held), use=3)
        assert Flaw.COMMAND.value in run(step.bench, other), other
    assert rows(table) == 7


def test_parameters_are_free_whatever_width_a_driver_gives_them(step: Step, table: Any) -> None:
    step.say = standing(1, shape=True)
    nth = NTH.format("%s")
    assert run(step.bench, nth, 1) == ""
    first = step.say
    for use, value, good in ((2, 70_000, True), (3, "1", False), (3, 2**40, True)):
        step.say = lambda one, held, use=use: replace(first(one, held), use=use)
        said = run(step.bench, nth, value)
        assert said == "" if good else Flaw.COMMAND.value in said, "a text is of another type"


def test_exact_votes_are_not_for_other_values(step: Step) -> None:
    first = step.say = standing(1)
    assert run(step.bench, NTH.format(1)) == ""
    step.say = lambda one, held: replace(first(one, held), use=2)
    assert Flaw.COMMAND.value in run(step.bench, NTH.format(2))
    assert run(step.bench, NTH.format(1)) == ""


def test_one_vote_for_these_values_alone_is_enough_to_keep_them(step: Step) -> None:
    shapes: list[bytes | None] = []

    def say(first: Grant, held: HeldCommand) -> Grant:
        shapes.append(held.shape)
        votes = (vote("ana", first, uses=3, shape=shapes[0]), vote("ben", first, uses=3))
        return replace(first, votes=votes, use=len(shapes))

    step.say = say
    assert run(step.bench, NTH.format(1)) == ""
    assert Flaw.COMMAND.value in run(step.bench, NTH.format(2))


def test_a_shape_is_of_the_first_hold_and_nobody_elses(step: Step) -> None:
    """What the second hold says of itself cannot be put into the first one's votes."""
    step.say = standing(1, shape=True)
    assert run(step.bench, NTH.format(1)) == ""
    step.say = lambda one, held: replace(
        one, votes=tuple(vote(n, one, uses=3, shape=held.shape) for n in ("ana", "ben")), use=2
    )
    assert Flaw.COMMAND.value in run(step.bench, NTH.format(2))


BOUND = [
    ("values that decide what it does", NTH.format("1 and 1 = 1"), ALLOWED),
    ("a function that is not known", "delete from job_log where a = unknown_one(1)", ALLOWED),
    ("two statements", NTH.format(1) + "; " + NTH.format(2), ALLOWED),
    ("a rule that does not say so", NTH.format(1), "standing: {max_days: 7, max_uses: 3}"),
]


@pytest.mark.parametrize(("sql", "allowed"), [b[1:] for b in BOUND], ids=[b[0] for b in BOUND])
def test_what_may_not_be_left_free_brings_no_shape(make_bench: Any, table: Any, sql: str, allowed: str) -> None:
    step = Step(make_bench(policy(allowed), reviewed=False))
    step.say = standing(1)
    run(step.bench, sql)
    assert step.held is not None
    assert (step.held.shape, step.held.shape_key) == (None, None)


# --- broken glass --------------------------------------------------------------------------


def glass(first: Grant, held: HeldCommand) -> Grant:
    return replace(first, votes=(vote("gil", first, Choice.BREAK_GLASS),))


def test_one_who_has_the_right_lets_it_through_loudly_and_once(step: Step, table: Any, capsys: Any) -> None:
    step.say = glass
    assert run(step.bench, NTH.format(1)) == ""
    (released,) = step.bench.journal.of(FrameKind.RELEASED)
    assert (released.break_glass, released.reviewers) == (True, ("gil",))
    assert "alarm=break-glass" in (said := capsys.readouterr().out.replace("'", ""))
    assert "by=gil" in said
    assert Flaw.USED.value in run(step.bench, NTH.format(1))
    assert rows(table) == 8


FORGED: list[tuple[str, Callable[[Grant], tuple[Vote, ...]]]] = [
    ("by a worker's key", lambda g: (vote("gil", g, Choice.BREAK_GLASS, key="worker"),)),
    ("by a worker under its own name", lambda g: (vote("worker", g, Choice.BREAK_GLASS),)),
    ("by who has no right to", lambda g: (vote("ana", g, Choice.BREAK_GLASS),)),
    ("a yes of who is in no group", lambda g: (vote("gil", g),)),
    ("a yes turned into it", lambda g: (replace(vote("gil", g), choice=Choice.BREAK_GLASS),)),
    ("a review turned into it", lambda g: (replace(vote("gil", g, Choice.ACCEPT), choice=Choice.BREAK_GLASS),)),
    ("for several uses", lambda g: (vote("gil", g, Choice.BREAK_GLASS, uses=2),)),
    ("stretched to several uses", lambda g: (replace(vote("gil", g, Choice.BREAK_GLASS), uses=2),)),
    ("with a no beside it", lambda g: (vote("gil", g, Choice.BREAK_GLASS), vote("ben", g, Choice.DENY))),
    ("late", lambda g: (vote("gil", g, Choice.BREAK_GLASS, until_us=g.at_us - 400_000_000),)),
    ("reviews alone", lambda g: tuple(vote(n, g, Choice.ACCEPT) for n in ("ana", "ben"))),
]


def other_request(grant: Grant) -> tuple[Vote, ...]:
    other = replace(grant, request=approval_id(HoldId("hold-x")))
    return (replace(vote("gil", other, Choice.BREAK_GLASS), request=grant.request),)


@pytest.mark.parametrize(
    "votes", [v for _, v in FORGED] + [other_request], ids=[n for n, _ in FORGED] + ["for another request"]
)
def test_forged_glass_lets_nothing_through(step: Step, table: Any, votes: Callable[[Grant], tuple[Vote, ...]]) -> None:
    step.say = lambda first, held: replace(first, votes=votes(first))
    assert Flaw.VOTES.value in run(step.bench, NTH.format(1))
    assert rows(table) == 9


def test_where_the_gateways_rule_has_no_glass_none_is_broken(make_bench: Any, table: Any) -> None:
    step = Step(make_bench(policy("reason_required: false"), reviewed=False))
    step.say = glass
    assert Flaw.VOTES.value in run(step.bench, NTH.format(1))


def test_any_values_are_not_the_constant_that_says_what_a_name_is(make_bench: Any, table: Any) -> None:
    """The character behind UESCAPE is a constant, and decides which column it is."""
    with psycopg.connect(table.url(), autocommit=True) as c:
        c.execute('alter table job_log add "!0061" int default 0')
    bench = make_bench(policy(), reviewed=False)
    both = standing(shape=True)
    step = Step(bench, say=both)
    assert run(bench, "delete from job_log where u&\"!0061\" uescape '!' = 1") == ""
    step.say = lambda first, held: replace(both(first, held), use=2)
    assert run(bench, "delete from job_log where u&\"!0061\" uescape '#' = 0") != ""
    assert rows(table) == 8
