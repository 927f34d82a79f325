"""The rules of `approvals/votes.py`, one by one, and the laws over any set of votes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals.votes import (
    LONGEST_REASON,
    Directory,
    DirectoryInvalid,
    Open,
    ReasonTooLong,
    Settled,
    Why,
    cast,
    reason_digest,
    settles,
)
from schemas.ids import ApprovalId
from schemas.judging import Reviewer
from schemas.records import ApproverRule, Choice, Claim, Vote
from seal.sign import Signer

REQUEST = ApprovalId("req-aaaaaaaaaaaaaaaa")
COMMITMENT = bytes(range(32))
NOW, LATER = 1_000_000, 2_000_000
SUBJECT = "ci:deploy"
RULE = ApproverRule("dba", ("dba", "security"), 2, 3600)
KEYS = {name: Signer(name, bytes([n]) * 32) for n, name in enumerate(["ann", "bob", "eve", "own", "guest", "gus"], 1)}
DIRECTORY = Directory(
    [
        Reviewer("ann", KEYS["ann"].public, ("dba", "security")),
        Reviewer("bob", KEYS["bob"].public, ("security",)),
        Reviewer("own", KEYS["own"].public, ("dba",), identities=(SUBJECT,), break_glass=True),
        Reviewer("guest", KEYS["guest"].public, ("readers",)),
        Reviewer("gus", KEYS["gus"].public, ("on-call",), break_glass=True),
    ]
)


def vote(name: str, choice: Choice = Choice.APPROVE, **changes: object) -> Vote:
    how: dict[str, object] = {"deadline_us": LATER, "reason": "", "cast_us": NOW, "commitment": COMMITMENT}
    how |= changes
    return cast(KEYS[name], REQUEST, choice=choice, **how)  # type: ignore[arg-type]


def say(*votes: Vote, rule: ApproverRule = RULE, now: int = NOW, behind: tuple[str, ...] = ()) -> Settled | Open:
    return settles(REQUEST, COMMITMENT, votes, DIRECTORY, rule, SUBJECT, now, behind)


def test_a_quorum_of_distinct_people_approves() -> None:
    settled = say(vote("ann"), vote("bob"))
    assert isinstance(settled, Settled)
    assert settled.approved
    assert settled.voters == ("ann", "bob")


def test_one_person_in_two_groups_is_one_person() -> None:
    said = say(vote("ann"), vote("ann"))
    assert said == Open(1, said.votes, said.ignored)
    assert [i.why for i in said.ignored] == [Why.AGAIN]


def test_one_deny_denies_whatever_the_others_say() -> None:
    settled = say(vote("ann"), vote("bob"), vote("ann", Choice.DENY))
    assert isinstance(settled, Settled)
    assert not settled.approved
    assert settled.voters == ("ann",)


def test_one_revocation_is_enough_even_of_ones_own_and_after_its_deadline() -> None:
    for name in ("bob", "own"):
        settled = say(vote("ann"), vote("bob"), vote(name, Choice.REVOKE, deadline_us=NOW - 1))
        assert isinstance(settled, Settled)
        assert not settled.approved


def test_who_stands_behind_the_run_does_not_count() -> None:
    said = say(vote("ann"), vote("bob"), behind=("bob",))
    assert isinstance(said, Open)
    assert [i.why for i in said.ignored] == [Why.OWN]


BEHIND = [
    ("ci:deploy", {}, ("own",)),  # an identity of theirs
    ("ann", {}, ("ann",)),  # themselves
    ("ci", {"actor": "bob"}, ("bob",)),  # a run that they started
    ("ci", {"actor": "ci:deploy", "email": "ann"}, ("ann", "own")),
    ("ci", {"repository": "ann/app"}, ()),
]


@pytest.mark.parametrize(("subject", "claims", "behind"), BEHIND, ids=range(len(BEHIND)))
def test_who_stands_behind_a_run(subject: str, claims: dict[str, str], behind: tuple[str, ...]) -> None:
    assert DIRECTORY.behind(subject, [Claim(*pair) for pair in claims.items()]) == behind


def test_a_quorum_of_none_is_still_one() -> None:
    assert isinstance(say(rule=replace(RULE, quorum=0)), Open)


DO_NOT_COUNT = [
    (Why.OTHER_REQUEST, replace(vote("ann"), request=ApprovalId("req-bbbbbbbbbbbbbbbb"))),
    (Why.OTHER_COMMAND, vote("ann", commitment=bytes(32))),
    (Why.UNKNOWN, vote("eve")),
    (Why.LATE, vote("ann", deadline_us=NOW)),
    (Why.GROUP, vote("guest")),
    (Why.OWN, vote("own")),
    (Why.REASON_CHANGED, replace(vote("ann", reason="yes"), reason="no")),
    (Why.SIGNATURE, replace(vote("ann"), deadline_us=LATER + 1)),
    (Why.SIGNATURE, replace(vote("ann", Choice.DENY), choice=Choice.APPROVE)),
    (Why.SIGNATURE, replace(vote("eve"), reviewer="ann")),
    (Why.SIGNATURE, replace(vote("ann"), signature=b"")),
    (Why.SIGNATURE, replace(vote("ann", reason="x"), reason_sha256=reason_digest(REQUEST, "y"), reason="y")),
]


@pytest.mark.parametrize(("why", "bad"), DO_NOT_COUNT, ids=[f"{n}-{w.name}" for n, (w, _) in enumerate(DO_NOT_COUNT)])
def test_what_does_not_count_changes_nothing_and_says_why(why: Why, bad: Vote) -> None:
    said = say(bad, rule=replace(RULE, quorum=1))
    assert isinstance(said, Open)
    assert [i.why for i in said.ignored] == [why]


def test_a_reason_may_be_wanted() -> None:
    wanted = replace(RULE, quorum=1, reason_required=True)
    assert [i.why for i in say(vote("ann"), rule=wanted).ignored] == [Why.NO_REASON]
    assert isinstance(say(vote("ann", reason="INC-7"), rule=wanted), Settled)


def test_a_vote_without_its_words_still_counts_since_their_digest_is_signed() -> None:
    emptied = replace(vote("ann", reason="INC-7"), reason="")
    assert isinstance(say(emptied, rule=replace(RULE, quorum=1, reason_required=True)), Settled)


def test_a_reason_is_bounded() -> None:
    with pytest.raises(ReasonTooLong, match="at most"):
        vote("ann", reason="x" * (LONGEST_REASON + 1))


@pytest.mark.parametrize("twin", [Reviewer("ann", bytes(32), ("dba",)), Reviewer("zoe", KEYS["ann"].public, ("dba",))])
def test_a_directory_in_which_two_cannot_be_told_apart_is_refused(twin: Reviewer) -> None:
    with pytest.raises(DirectoryInvalid):
        Directory([Reviewer("ann", KEYS["ann"].public, ("dba",)), twin])


_GOOD = [vote("ann"), vote("bob"), vote("ann", Choice.DENY), vote("bob", Choice.DENY)]
_BAD = [bad for _, bad in DO_NOT_COUNT]


@given(st.lists(st.sampled_from(_GOOD + _BAD), max_size=6), st.integers(1, 3), st.randoms())
def test_the_outcome_is_the_same_in_any_order_and_is_the_models(votes: list[Vote], quorum: int, random: object) -> None:
    rule = replace(RULE, quorum=quorum)
    counted = [v for v in votes if v in _GOOD]
    denied = any(v.choice is Choice.DENY for v in counted)
    people = {v.reviewer for v in counted if v.choice is Choice.APPROVE}
    shuffled = list(votes)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    for said in (say(*votes, rule=rule), say(*shuffled, rule=rule)):
        assert isinstance(said, Settled) == (denied or len(people) >= quorum)
        if isinstance(said, Settled):
            assert said.approved == (not denied)
            assert len(set(said.voters)) == (1 if denied else quorum)
        again = settles(REQUEST, COMMITMENT, said.votes, DIRECTORY, rule, SUBJECT, NOW)
        assert type(again) is type(said)


# --- standing approvals ------------------------------------------------------------------

SHAPE = bytes(range(32, 64))
DAY = 86_400_000_000
STANDING = replace(RULE, quorum=1, standing_s=86_400, standing_uses=10, any_values=True)


def test_a_vote_of_the_first_release_is_still_one() -> None:
    """Its message must never change: this signature is that release's own."""
    old = vote("ann", reason="INC-7")
    assert old.signature.hex() == (
        "4531fd1c8a36bbb9c460ad34a2426a3709111e489812d82da4cb9fa9bfd3daa2"
        "13a5820627d71b6a9313d7b1369004efe26f24b5fd8433f7441dabe603e1eb0d"
    )


def test_a_quorum_allows_the_narrowest_of_its_votes() -> None:
    two = replace(STANDING, quorum=2)
    both = say(vote("ann", uses=5, shape=SHAPE), vote("bob", uses=3, shape=SHAPE), rule=two)
    assert isinstance(both, Settled)
    assert (both.uses, both.shape) == (3, SHAPE)
    for narrow in (vote("bob"), vote("bob", uses=9), vote("bob", uses=9, shape=bytes(32))):
        said = say(vote("ann", uses=5, shape=SHAPE), narrow, rule=two)
        assert isinstance(said, Settled)
        assert (said.uses, said.shape) == (min(5, narrow.uses), None)


BEYOND = [
    (Why.STANDING, vote("ann", uses=2), RULE),
    (Why.STANDING, vote("ann", shape=SHAPE), RULE),
    (Why.STANDING, vote("ann", uses=11), STANDING),
    (Why.STANDING, vote("ann", uses=0), STANDING),
    (Why.STANDING, vote("ann", uses=2, shape=SHAPE), replace(STANDING, any_values=False)),
    (Why.STANDING, vote("ann", uses=2, deadline_us=NOW + DAY + 11 * 60_000_000), STANDING),
    (Why.SIGNATURE, replace(vote("ann", uses=2), uses=3), STANDING),
    (Why.SIGNATURE, replace(vote("ann", uses=2), uses=1), STANDING),
    (Why.SIGNATURE, replace(vote("ann"), uses=2), STANDING),
    (Why.SIGNATURE, replace(vote("ann"), shape=SHAPE), STANDING),
    (Why.SIGNATURE, replace(vote("ann", shape=bytes(32)), shape=SHAPE), STANDING),
    (Why.SIGNATURE, replace(vote("ann", shape=SHAPE), shape=None), STANDING),
]


@pytest.mark.parametrize(("why", "bad", "rule"), BEYOND, ids=[f"{n}-{w.name}" for n, (w, _, _) in enumerate(BEYOND)])
def test_a_vote_beyond_the_rule_or_beyond_its_signature_does_not_count(why: Why, bad: Vote, rule: ApproverRule) -> None:
    said = say(bad, rule=replace(rule, quorum=1))
    assert isinstance(said, Open)
    assert [i.why for i in said.ignored] == [why]


def test_a_standing_vote_within_the_rule_counts() -> None:
    said = say(vote("ann", uses=10, shape=SHAPE, deadline_us=NOW + DAY), rule=STANDING)
    assert isinstance(said, Settled)
    assert (said.uses, said.shape) == (10, SHAPE)


# --- broken glass --------------------------------------------------------------------------

GLASS = replace(RULE, break_glass=True, review_s=60)
WORDS = "the disk is full"


def test_one_who_has_the_right_approves_alone_and_a_no_still_wins() -> None:
    alone = vote("gus", Choice.BREAK_GLASS, reason=WORDS)
    said = say(alone, rule=GLASS)
    assert isinstance(said, Settled)
    assert (said.approved, said.break_glass, said.voters) == (True, True, ("gus",))
    for no in (vote("ann", Choice.DENY), vote("ann", Choice.REVOKE)):
        denied = say(alone, no, rule=GLASS)
        assert isinstance(denied, Settled)
        assert not denied.approved
    usual = say(alone, vote("ann"), vote("bob"), rule=GLASS)
    assert isinstance(usual, Settled)
    assert not usual.break_glass, "where the quorum said yes, nothing was broken"


BROKEN = [
    (Why.GLASS, vote("ann", Choice.BREAK_GLASS, reason=WORDS), GLASS),
    (Why.GLASS, vote("gus", Choice.BREAK_GLASS, reason=WORDS), RULE),
    (Why.UNKNOWN, vote("eve", Choice.BREAK_GLASS, reason=WORDS), GLASS),
    (Why.OWN, vote("own", Choice.BREAK_GLASS, reason=WORDS), GLASS),
    (Why.LATE, vote("gus", Choice.BREAK_GLASS, reason=WORDS, deadline_us=NOW), GLASS),
    (Why.NO_REASON, vote("gus", Choice.BREAK_GLASS), GLASS),
    (Why.FEW_WORDS, vote("gus", Choice.BREAK_GLASS, reason="urgent, please"), GLASS),
    (
        Why.STANDING,
        vote("gus", Choice.BREAK_GLASS, reason=WORDS, uses=2),
        replace(GLASS, standing_uses=5, standing_s=9),
    ),
    (Why.SIGNATURE, replace(vote("gus", Choice.REVOKE, reason=WORDS), choice=Choice.BREAK_GLASS), GLASS),
    (Why.SIGNATURE, replace(vote("eve", Choice.BREAK_GLASS, reason=WORDS), reviewer="gus"), GLASS),
    (Why.OTHER_COMMAND, vote("gus", Choice.BREAK_GLASS, reason=WORDS, commitment=bytes(32)), GLASS),
    (Why.GROUP, vote("gus"), GLASS),
]


@pytest.mark.parametrize(("why", "bad", "rule"), BROKEN, ids=[f"{n}-{w.name}" for n, (w, _, _) in enumerate(BROKEN)])
def test_glass_that_is_not_broken_rightly_lets_nothing_through(why: Why, bad: Vote, rule: ApproverRule) -> None:
    said = say(bad, rule=rule)
    assert isinstance(said, Open)
    assert [i.why for i in said.ignored] == [why]


def test_the_rule_may_let_somebody_break_it_for_their_own() -> None:
    own = vote("own", Choice.BREAK_GLASS, reason=WORDS)
    assert isinstance(say(own, rule=replace(GLASS, break_glass_own=True)), Settled)


@pytest.mark.parametrize("choice", [Choice.ACCEPT, Choice.OBJECT])
def test_a_review_is_neither_a_yes_nor_a_no(choice: Choice) -> None:
    said = say(vote("bob", choice, reason=WORDS, deadline_us=0), vote("ann"), rule=replace(GLASS, quorum=1))
    assert isinstance(said, Settled)
    assert said.voters == ("ann",)
    assert not said.ignored
