"""Votes are held against who reviewed at that gateway then, whoever reviews today."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from approvals.votes import cast
from evidence.in_force import APART_US
from evidence.outcome import Code
from evidence.verify import verify
from schemas.judging import Reviewer
from schemas.records import Choice, Grant, PolicyInForce, Released, ReviewerInForce
from seal.sign import Signer
from tests.evidence.test_verify import ANN, COMMITMENT, GATEWAY, REQUEST, bodies, bundle, code

BOB = Signer("bob", bytes(range(3, 35)))
ANN_THEN = ReviewerInForce("ann", ANN.public, ("dba",), (), False)
BOB_THEN = ReviewerInForce("bob", BOB.public, ("dba",), (), False)
BOB_NOW = Reviewer("bob", BOB.public, ("dba",))
LATER = 2 * APART_US


def in_force(*reviewers: ReviewerInForce, at_us: int = 1, by: str = GATEWAY) -> PolicyInForce:
    return PolicyInForce("v", by, at_us, reviewers)


def later(by_us: int) -> list[object]:
    """The same story, but the grant is that much later, and all good until then."""
    found: list[object] = []
    for body in bodies():
        if isinstance(body, Grant):
            vote = cast(ANN, REQUEST, COMMITMENT, Choice.APPROVE, 10 * LATER, "", 50)
            body = replace(body, votes=(vote,), expires_us=10 * LATER, at_us=body.at_us + by_us)
        elif isinstance(body, Released):
            body = replace(body, at_us=body.at_us + by_us)
        found.append(body)
    return found


@pytest.mark.parametrize(
    "today", [(BOB_NOW,), (Reviewer("ann", ANN.public, ("staff",)),), (Reviewer("ann", BOB.public, ("dba",)),)],
    ids=["left", "another group", "a new key"],
)  # fmt: skip
def test_who_reviewed_then_counts_although_he_does_not_today(tmp_path: Path, today: tuple[Reviewer, ...]) -> None:
    said = bodies()
    made, w = bundle(tmp_path, [said[0], in_force(ANN_THEN), *said[1:]], today)
    assert code(tmp_path, made, w) is Code.VALID
    made, w = bundle(tmp_path / "unsaid", said, today)
    assert code(tmp_path, made, w) is not Code.VALID


def test_who_reviews_today_does_not_count_if_he_did_not_then(tmp_path: Path) -> None:
    said = bodies()
    made, w = bundle(tmp_path, [said[0], in_force(BOB_THEN), *said[1:]])
    assert code(tmp_path, made, w) is Code.ALTERED
    assert any("nobody in force" in f.what for f in verify(tmp_path / "tried.zip", w.key).findings)


def test_a_grant_that_the_gateway_never_took_is_no_finding(tmp_path: Path) -> None:
    """The approvals step knew the new reviewer some time before the gateway did."""
    said = [each for each in bodies()[:4] if not isinstance(each, Released)]
    made, w = bundle(tmp_path, [said[0], in_force(BOB_THEN), *said[1:]])
    assert code(tmp_path, made, w) is Code.VALID


def test_another_gateway_says_nothing_of_this_one(tmp_path: Path) -> None:
    said = bodies()
    made, w = bundle(tmp_path, [said[0], in_force(BOB_THEN, by="other.0.0a0b0c0d"), *said[1:]])
    assert code(tmp_path, made, w) is Code.ALTERED, "it is said in the name of another"


@pytest.mark.parametrize(("after_us", "found"), [(APART_US // 2, Code.VALID), (LATER, Code.ALTERED)])
def test_who_left_may_be_in_force_for_as_long_as_clocks_are_apart(tmp_path: Path, after_us: int, found: Code) -> None:
    said = later(LATER)
    left = in_force(BOB_THEN, at_us=60 + LATER - after_us)
    made, w = bundle(tmp_path, [said[0], in_force(ANN_THEN), left, *said[1:]])
    assert code(tmp_path, made, w) is found


def test_of_several_the_last_before_counts(tmp_path: Path) -> None:
    said = later(2 * LATER)
    lists = [in_force(BOB_THEN), in_force(ANN_THEN, at_us=LATER), in_force(BOB_THEN, at_us=4 * LATER)]
    made, w = bundle(tmp_path, [said[0], *lists, *said[1:]], (BOB_NOW,))
    assert code(tmp_path, made, w) is Code.VALID


def test_the_no_of_who_left_since_is_a_no(tmp_path: Path) -> None:
    said = bodies()
    no = cast(ANN, REQUEST, COMMITMENT, Choice.DENY, 900, "", 50)
    at = next(n for n, each in enumerate(said) if isinstance(each, Grant))
    made, w = bundle(tmp_path, [said[0], in_force(ANN_THEN), *said[1:at], no, *said[at:]], (BOB_NOW,))
    assert code(tmp_path, made, w) is Code.ALTERED
    assert any("had said no" in f.what for f in verify(tmp_path / "tried.zip", w.key).findings)


def test_a_list_in_which_two_are_one_is_none(tmp_path: Path) -> None:
    said = bodies()
    made, w = bundle(tmp_path, [said[0], in_force(ANN_THEN, replace(BOB_THEN, public_key=ANN.public)), *said[1:]])
    assert code(tmp_path, made, w) is Code.ALTERED
