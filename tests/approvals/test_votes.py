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
KEYS = {name: Signer(name, bytes([n]) * 32) for n, name in enumerate(["ann", "bob", "eve", "own", "guest"], 1)}
DIRECTORY = Directory(
    [
        Reviewer("ann", KEYS["ann"].public, ("dba", "security")),
        Reviewer("bob", KEYS["bob"].public, ("security",)),
        Reviewer("own", KEYS["own"].public, ("dba",), identities=(SUBJECT,)),
        Reviewer("guest", KEYS["guest"].public, ("readers",)),
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
