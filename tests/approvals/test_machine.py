"""The rules of `approvals/machine.py`, by example. `test_machine_laws.py` has them against a model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from approvals.grants import MOST_USES
from approvals.machine import KEEP_US, MOST_ANSWERED, MOST_OPEN, MOST_UNREVIEWED, Enter, Say, step
from approvals.state import State
from schemas.ids import RecorderId
from schemas.records import (
    ApprovalMoved,
    ApprovalRequest,
    ApprovalState,
    BootStarted,
    Choice,
    Grant,
    HoldEnded,
    Over,
    Pending,
    Refusal,
    ReviewOverdue,
    Tick,
    Vote,
)
from seal.digest import approval_id

SECOND = 1_000_000
T0 = 1_700_000_000 * SECOND


class Desk:
    """Runs steps one after another and keeps what was said."""

    def __init__(self, office: Any) -> None:
        self.office, self.state, self.directory = office, State(), office.directory()

    def give(self, given: Any, at_s: float = 0) -> list[Any]:
        """What is said to gateways."""
        self.state, said = step(self.state, given, T0 + int(at_s * SECOND), self.directory)
        self.entered = [o.body for o in said if isinstance(o, Enter)]
        return [o.message for o in said if isinstance(o, Say)]

    def standing(self, hold: Any) -> ApprovalState:
        return self.state.requests[approval_id(hold.hold)].state

    def over(self, hold: Any, why: str, at_s: float = 0) -> list[Any]:
        return self.give(HoldEnded(hold.hold, hold.recorder, why, 0), at_s)

    def approve(self, hold: Any, at_s: float = 0) -> list[Any]:
        return [m for name in ("ann", "bob") for m in self.give(self.office.vote(name, hold), at_s)]


@pytest.fixture
def desk(office: Any) -> Desk:
    return Desk(office)


def test_a_hold_opens_a_request_and_a_quorum_grants_it_once(desk: Desk) -> None:
    hold = desk.office.hold(1)
    assert desk.give(hold) == [Pending(hold.hold, hold.recorder, approval_id(hold.hold))]
    assert [type(b) for b in desk.entered] == [ApprovalRequest]
    assert desk.give(desk.office.vote("ann", hold)) == []
    (grant,) = desk.give(desk.office.vote("bob", hold))
    assert isinstance(grant, Grant)
    assert (grant.hold, grant.first_hold, grant.commitment) == (hold.hold, hold.hold, hold.commitment)
    assert [v.reviewer for v in grant.votes] == ["ann", "bob"]
    assert [type(b) for b in desk.entered] == [Vote, Grant, ApprovalMoved]
    assert desk.standing(hold) is ApprovalState.RESERVED
    assert desk.over(hold, Over.KEPT) == []
    assert desk.standing(hold) is ApprovalState.USED


def test_no_reason_reaches_a_leaf_or_a_grant(desk: Desk) -> None:
    hold = desk.office.hold(1)
    desk.give(hold)
    desk.give(desk.office.vote("ann", hold))
    assert [b.reason for b in desk.entered] == [""]
    (grant,) = desk.give(desk.office.vote("bob", hold))
    assert [v.reason for v in grant.votes] == ["", ""]


def test_the_same_hold_again_gets_the_same_answer_and_no_new_entry(desk: Desk) -> None:
    hold = desk.office.hold(1)
    first = desk.give(hold)
    assert desk.give(hold, 1) == first
    assert desk.entered == []
    answers = desk.approve(hold, 2)
    assert desk.give(hold, 3) == answers
    assert desk.entered == []


def test_one_deny_denies_and_the_next_run_asks_anew(desk: Desk) -> None:
    hold, again = desk.office.hold(1), desk.office.hold(2)
    desk.give(hold)
    desk.give(desk.office.vote("ann", hold))
    (refusal,) = desk.give(desk.office.vote("ann", hold, Choice.DENY))
    assert (type(refusal), refusal.state) == (Refusal, ApprovalState.DENIED)
    assert desk.give(again) == [Pending(again.hold, again.recorder, approval_id(again.hold))]


def test_a_re_run_of_an_approved_command_is_granted_at_once_and_once(desk: Desk) -> None:
    hold, rerun, third = (desk.office.hold(n) for n in (1, 2, 3))
    desk.give(hold)
    assert [m.state for m in desk.give(HoldEnded(hold.hold, hold.recorder, "client left", 0))] == [
        ApprovalState.PENDING
    ]
    assert desk.approve(hold, 5) == []
    assert desk.standing(hold) is ApprovalState.APPROVED
    (grant,) = desk.give(rerun, 10)
    assert isinstance(grant, Grant)
    assert (grant.hold, grant.first_hold, grant.request) == (rerun.hold, hold.hold, approval_id(hold.hold))
    assert isinstance(desk.give(third, 11)[0], Pending)


def test_holds_of_one_command_join_and_one_of_them_is_granted(desk: Desk) -> None:
    one, two = desk.office.hold(1), desk.office.hold(2)
    desk.give(one)
    assert desk.give(two) == [Pending(two.hold, two.recorder, approval_id(one.hold))]
    grant, refusal = desk.approve(one)
    assert (type(grant), grant.hold) == (Grant, one.hold)
    assert (type(refusal), refusal.hold, refusal.state) == (Refusal, two.hold, ApprovalState.RESERVED)


@pytest.mark.parametrize("change", [{"match_key": b"n" * 32}, {"subject": "ci:other"}, {"target": "other-db"}])
def test_another_command_does_not_join(desk: Desk, change: dict[str, Any]) -> None:
    one, other = desk.office.hold(1), desk.office.hold(2, **change)
    desk.give(one)
    assert desk.give(other) == [Pending(other.hold, other.recorder, approval_id(other.hold))]


STRICTER = [{"groups": ("dba",)}, {"quorum": 3}, {"expires_s": 60}, {"reason_required": True}]
LOOSER = [
    {"groups": ("dba", "security", "leads")},
    {"quorum": 1},
    {"expires_s": 7200},
    {"name": "renamed"},
]


@pytest.mark.parametrize("change", STRICTER, ids=[next(iter(c)) for c in STRICTER])
@pytest.mark.parametrize("approved", [False, True], ids=["pending", "approved"])
def test_under_a_stricter_rule_the_request_is_superseded(desk: Desk, change: dict[str, Any], approved: bool) -> None:
    one = desk.office.hold(1, lookup_only=approved)
    stricter = desk.office.hold(2, rule=replace(one.rule, **change))
    desk.give(one)
    if approved:
        desk.approve(one)
    said = desk.give(stricter)
    assert [m.state for m in said if isinstance(m, Refusal)] == ([] if approved else [ApprovalState.SUPERSEDED])
    assert said[-1] == Pending(stricter.hold, stricter.recorder, approval_id(stricter.hold))
    assert desk.standing(one) is ApprovalState.SUPERSEDED


@pytest.mark.parametrize("change", LOOSER, ids=[next(iter(c)) for c in LOOSER])
def test_under_a_rule_that_asks_for_no_more_the_approval_is_used(desk: Desk, change: dict[str, Any]) -> None:
    one = desk.office.hold(1, lookup_only=True)
    looser = desk.office.hold(2, rule=replace(one.rule, **change))
    desk.give(one)
    desk.approve(one)
    (grant,) = desk.give(looser)
    assert (type(grant), grant.request) == (Grant, approval_id(one.hold))


# --- what becomes of a use -----------------------------------------------------------


def granted(desk: Desk) -> Any:
    hold = desk.office.hold(1)
    desk.give(hold)
    desk.approve(hold)
    return hold


def test_two_held_statements_of_one_transaction_converge(desk: Desk) -> None:
    first = granted(desk)
    second = desk.office.hold(2, match_key=b"2" * 32, lookup_only=True)
    (refusal,) = desk.give(second)
    assert refusal.state is ApprovalState.PENDING
    desk.over(first, Over.UNDONE)  # the refusal made the transaction fail
    assert desk.standing(first) is ApprovalState.APPROVED
    desk.approve(second)
    again = [replace(h, hold=desk.office.hold(n).hold) for n, h in ((3, first), (4, second))]
    assert [type(m) for h in again for m in desk.give(h)] == [Grant, Grant]
    for hold in again:
        desk.over(hold, Over.KEPT)
    assert {r.state for r in desk.state.requests.values()} == {ApprovalState.USED}


@pytest.mark.parametrize("why", ["client left", "cancelled", "timeout", "changed"])
def test_a_grant_that_came_too_late_is_no_use(desk: Desk, why: str) -> None:
    hold = granted(desk)
    for n in range(2, 2 * MOST_USES):
        desk.over(hold, why)
        assert desk.standing(desk.office.hold(1)) is ApprovalState.APPROVED
        hold = desk.office.hold(n)
        assert isinstance(desk.give(hold)[0], Grant)


def test_an_approval_comes_back_a_few_times_only(desk: Desk) -> None:
    hold = granted(desk)
    for n in range(2, MOST_USES + 1):
        desk.over(hold, Over.UNDONE)
        hold = desk.office.hold(n)
        assert isinstance(desk.give(hold)[0], Grant)
    desk.over(hold, Over.UNDONE)
    assert desk.standing(desk.office.hold(1)) is ApprovalState.USED


def test_while_one_run_uses_an_approval_another_asks_anew(desk: Desk) -> None:
    granted(desk)
    other = desk.office.hold(2)
    assert desk.give(other) == [Pending(other.hold, other.recorder, approval_id(other.hold))]


def test_of_a_gateway_that_restarted_nobody_can_know(desk: Desk) -> None:
    hold = granted(desk)
    desk.give(BootStarted(hold.recorder, 1))
    assert desk.standing(hold) is ApprovalState.USED
    desk.over(hold, Over.UNDONE)
    assert desk.standing(hold) is ApprovalState.USED


def test_of_a_use_that_nobody_tells_of_nobody_can_know(desk: Desk) -> None:
    hold = granted(desk)
    desk.give(Tick(), 3600)
    assert desk.standing(hold) is ApprovalState.USED


def test_votes_that_the_gateway_does_not_accept_are_not_offered_again(desk: Desk) -> None:
    hold = granted(desk)
    desk.over(hold, Over.UNVERIFIED)
    assert desk.standing(hold) is ApprovalState.SUPERSEDED


def test_a_word_of_a_newer_gateway_says_that_it_ran(desk: Desk) -> None:
    hold = granted(desk)
    desk.over(hold, "postponed")
    assert desk.standing(hold) is ApprovalState.USED


# --- nobody's own -----------------------------------------------------------------------


def test_an_approval_is_not_for_a_run_that_a_voter_stands_behind(desk: Desk) -> None:
    hold = desk.office.hold(1, lookup_only=True)
    anns, cyds = desk.office.hold(2, caused_by=("ann",)), desk.office.hold(3, caused_by=("cyd",))
    desk.give(hold)
    desk.approve(hold)
    assert desk.give(anns) == [Pending(anns.hold, anns.recorder, approval_id(anns.hold))]
    assert isinstance(desk.give(cyds)[0], Grant)


def test_of_those_that_wait_the_one_that_no_voter_stands_behind_is_granted(desk: Desk) -> None:
    one, anns, other = desk.office.hold(1), desk.office.hold(2, caused_by=("ann",)), desk.office.hold(3)
    for hold in (one, anns, other):
        desk.give(hold)
    desk.over(one, "client left")
    grant, refusal = desk.approve(one)
    assert (grant.hold, refusal.hold) == (other.hold, anns.hold)


def test_where_a_voter_stands_behind_all_that_waits_they_are_told_and_the_approval_stays(desk: Desk) -> None:
    hold, anns = desk.office.hold(1, lookup_only=True), desk.office.hold(2, caused_by=("ann",))
    desk.give(hold)
    desk.give(anns)
    (refusal,) = desk.approve(hold)
    assert (refusal.hold, refusal.state) == (anns.hold, ApprovalState.APPROVED)
    assert isinstance(desk.give(desk.office.hold(3))[0], Grant)


def test_who_stands_behind_the_first_run_does_not_count(desk: Desk) -> None:
    hold = desk.office.hold(1, caused_by=("ann",))
    desk.give(hold)
    assert desk.approve(hold) == []
    (grant,) = desk.give(desk.office.vote("cyd", hold))
    assert ([v.reviewer for v in grant.votes], grant.caused_by) == (["bob", "cyd"], ("ann",))


# --- taken back ------------------------------------------------------------------------


def revoke(desk: Desk, hold: Any, name: str = "bob", at_s: float = 0) -> list[Any]:
    return desk.give(desk.office.vote(name, hold, Choice.REVOKE, until_s=1), at_s)


@pytest.mark.parametrize("name", ["ann", "own"])
def test_a_reviewer_takes_an_approval_back_before_its_use(desk: Desk, name: str) -> None:
    hold, rerun = desk.office.hold(1, lookup_only=True), desk.office.hold(2)
    desk.give(hold)
    desk.approve(hold)
    revoke(desk, hold, name, at_s=100)  # a deadline is for what allows, not for what forbids
    assert [type(b) for b in desk.entered] == [Vote, ApprovalMoved]
    assert desk.standing(hold) is ApprovalState.REVOKED
    assert isinstance(desk.give(rerun, 101)[0], Pending)


def test_who_waits_is_told_that_it_was_revoked(desk: Desk) -> None:
    hold = desk.office.hold(1)
    desk.give(hold)
    assert [m.state for m in revoke(desk, hold)] == [ApprovalState.REVOKED]
    assert desk.approve(hold) == []


def test_what_runs_is_not_called_back_but_is_not_run_again(desk: Desk) -> None:
    hold = granted(desk)
    assert revoke(desk, hold) == []
    assert desk.standing(hold) is ApprovalState.RESERVED
    desk.over(hold, Over.UNDONE)
    assert desk.standing(hold) is ApprovalState.REVOKED


@pytest.mark.parametrize("name", ["guest", "mallory"])
def test_who_may_not_vote_may_not_revoke(desk: Desk, name: str) -> None:
    hold = granted(desk)
    before = desk.state.requests
    revoke(desk, hold, name)
    assert desk.state.requests == before


def test_a_lookup_is_answered_at_once_and_its_request_stays_open(desk: Desk) -> None:
    lookup, again, rerun = (desk.office.hold(n, lookup_only=True) for n in (1, 2, 3))
    for hold in (lookup, again):
        (refusal,) = desk.give(hold)
        assert (type(refusal), refusal.state, refusal.request) == (
            Refusal,
            ApprovalState.PENDING,
            approval_id(lookup.hold),
        )
    assert desk.approve(lookup) == []
    (grant,) = desk.give(rerun)
    assert (type(grant), grant.hold) == (Grant, rerun.hold)


def test_a_client_who_takes_it_back_cancels_the_request_unless_others_wait(desk: Desk) -> None:
    one, two = desk.office.hold(1), desk.office.hold(2)
    desk.give(one)
    desk.give(two)
    assert [m.state for m in desk.give(HoldEnded(one.hold, one.recorder, "cancelled", 0))] == [ApprovalState.PENDING]
    (refusal,) = desk.give(HoldEnded(two.hold, two.recorder, "cancelled", 0))
    assert (refusal.hold, refusal.state) == (two.hold, ApprovalState.CANCELLED)
    assert desk.approve(one) == []
    assert desk.state.ignored_votes == 2


def test_an_end_by_another_recorder_ends_nothing(desk: Desk) -> None:
    hold = desk.office.hold(1)
    desk.give(hold)
    assert desk.give(HoldEnded(hold.hold, RecorderId("orders-db.1.bbbbbbbb"), "cancelled", 0)) == []
    assert desk.standing(hold) is ApprovalState.PENDING


def test_a_hold_past_its_deadline_is_refused_and_its_request_stays(desk: Desk) -> None:
    hold = desk.office.hold(1)
    desk.give(hold)
    assert desk.give(Tick(), 299.9) == []
    assert [m.state for m in desk.give(Tick(), 300)] == [ApprovalState.PENDING]
    assert desk.approve(hold, 301) == []
    assert desk.standing(hold) is ApprovalState.APPROVED


def test_a_hold_that_was_given_up_before_it_came_does_not_use_up_an_approval(desk: Desk) -> None:
    hold, late = desk.office.hold(1), desk.office.hold(2)
    desk.give(hold)
    desk.give(Tick(), 300)
    desk.approve(hold, 301)
    assert isinstance(desk.give(late, 302)[0], Grant)
    desk.over(late, Over.TIMEOUT, 302)
    assert desk.standing(hold) is ApprovalState.APPROVED


@pytest.mark.parametrize("apart_s", [-299, 0, 299])
def test_a_gateways_clock_ends_nothing_early_or_late(desk: Desk, apart_s: int) -> None:
    at = T0 + apart_s * SECOND
    short = replace(desk.office.rule, expires_s=10)
    hold = desk.office.hold(1, at, rule=short, deadline_us=at + 5 * SECOND)
    assert isinstance(desk.give(hold)[0], Pending)
    assert desk.give(Tick(), 4.9) == []
    assert [m.state for m in desk.give(Tick(), 5)] == [ApprovalState.PENDING]
    desk.give(Tick(), 9.9)
    assert desk.standing(hold) is ApprovalState.PENDING
    desk.give(Tick(), 10)
    assert desk.standing(hold) is ApprovalState.EXPIRED


def test_a_request_nobody_decides_expires(desk: Desk) -> None:
    hold = desk.office.hold(1, deadline_us=T0 + 10_000 * SECOND)
    desk.give(hold)
    assert desk.give(Tick(), 3599.9) == []
    (refusal,) = desk.give(Tick(), 3600)
    assert refusal.state is ApprovalState.EXPIRED
    assert desk.entered[0] == ApprovalMoved(
        approval_id(hold.hold), ApprovalState.PENDING, ApprovalState.EXPIRED, T0 + 3600 * SECOND
    )


def test_an_unused_approval_expires_with_the_rule_or_its_first_vote(desk: Desk) -> None:
    hold = desk.office.hold(1, lookup_only=True)
    desk.give(hold)
    desk.give(desk.office.vote("ann", hold, until_s=50))
    desk.give(desk.office.vote("bob", hold))
    assert desk.state.requests[approval_id(hold.hold)].expires_us == T0 + 50 * SECOND
    desk.give(Tick(), 50)
    assert desk.standing(hold) is ApprovalState.EXPIRED


def test_time_never_goes_back(desk: Desk) -> None:
    hold = desk.office.hold(1, deadline_us=T0 + 10_000 * SECOND)
    desk.give(Tick(), 1000)
    desk.give(hold, 0)
    assert desk.state.requests[approval_id(hold.hold)].opened_us == T0 + 1000 * SECOND


def test_a_new_boot_voids_the_old_holds_and_keeps_the_requests(desk: Desk) -> None:
    hold, elsewhere = desk.office.hold(1), desk.office.hold(2, recorder=RecorderId("orders-db.1.bbbbbbbb"))
    desk.give(hold)
    desk.give(elsewhere)
    (refusal,) = desk.give(BootStarted(hold.recorder, 1))
    assert (refusal.hold, refusal.state) == (hold.hold, ApprovalState.PENDING)
    assert desk.give(BootStarted(hold.recorder, 1)) == []
    late = desk.office.hold(3)
    assert [(type(m), m.state) for m in desk.give(late)] == [(Refusal, ApprovalState.CANCELLED)]
    (grant,) = desk.approve(hold)
    assert grant.hold == elsewhere.hold


@pytest.mark.parametrize("name", ["own", "guest", "mallory"])
def test_a_vote_that_does_not_count_changes_nothing_but_a_count(desk: Desk, name: str) -> None:
    hold = desk.office.hold(1)
    desk.give(hold)
    before = desk.state.requests
    for _ in range(3):
        assert desk.give(desk.office.vote(name, hold)) == []
        assert desk.entered == []
    assert desk.state.requests == before
    assert desk.state.ignored_votes == 3


def test_an_approval_whose_reviewer_has_left_is_not_used(desk: Desk) -> None:
    hold, rerun = desk.office.hold(1, lookup_only=True), desk.office.hold(2)
    desk.give(hold)
    desk.approve(hold)
    desk.directory = type(desk.directory)([r for n in ("ann",) if (r := desk.directory.get(n))])
    assert desk.give(rerun) == [Pending(rerun.hold, rerun.recorder, approval_id(rerun.hold))]
    assert desk.standing(hold) is ApprovalState.EXPIRED


def test_the_state_is_bounded(desk: Desk) -> None:
    for n in range(MOST_OPEN):
        desk.give(desk.office.hold(n, match_key=n.to_bytes(32, "big")))
    over = desk.office.hold(5_000, match_key=b"o" * 32)
    (refusal,) = desk.give(over)
    assert (refusal.state, refusal.detail) == (ApprovalState.CANCELLED, "this identity has 100 open approval requests")
    desk.give(Tick(), 3600)
    assert desk.give(over, 3601) == [refusal]
    desk.give(Tick(), 3 * 3600 + 1)
    assert desk.state.requests == {}


def test_a_hold_that_comes_hours_late_is_not_asked_about(desk: Desk) -> None:
    (refusal,) = desk.give(desk.office.hold(1), 3600 + 300)
    assert refusal.state is ApprovalState.EXPIRED
    assert desk.state.requests == {}


# --- standing approvals ------------------------------------------------------------------

LIMITS = {"standing_s": 100_000, "standing_uses": 3, "any_values": True}


def standing(desk: Desk, uses: int = 3, any_values: bool = False, **changes: Any) -> Any:
    """The hold that it was asked for, of which the first use was granted and kept."""
    rule = replace(desk.office.rule, **LIMITS)
    hold = desk.office.hold(1, rule=rule, shape_key=b"k" * 32, shape=b"s" * 32, **changes)
    desk.give(hold)
    shape = hold.shape if any_values else None
    for name in ("ann", "bob"):
        said = desk.give(desk.office.vote(name, hold, uses=uses, shape=shape))
    assert [m.use for m in said] == [1]
    desk.over(hold, Over.KEPT)
    return hold


def rerun(desk: Desk, n: int, first: Any, **changes: Any) -> Any:
    return replace(first, hold=desk.office.hold(n).hold, **changes)


def test_a_standing_approval_is_granted_as_often_as_was_signed_and_each_use_has_its_number(desk: Desk) -> None:
    first = standing(desk)
    assert desk.standing(first) is ApprovalState.APPROVED
    for n in (2, 3):
        again = rerun(desk, n, first)
        (grant,) = desk.give(again, n)
        assert (type(grant), grant.use, grant.request) == (Grant, n, approval_id(first.hold))
        desk.over(again, Over.KEPT)
    assert desk.standing(first) is ApprovalState.USED
    assert isinstance(desk.give(rerun(desk, 4, first), 5)[0], Pending)


def test_uses_may_be_under_way_together_but_never_more_than_signed(desk: Desk) -> None:
    """Two gateways, or one transaction with many commands."""
    first = standing(desk)
    other = RecorderId("orders-db.1.bbbbbbbb")
    grants = [
        desk.give(rerun(desk, n, first, recorder=recorder))[0] for n, recorder in ((2, first.recorder), (3, other))
    ]
    assert [g.use for g in grants] == [2, 3]
    assert desk.standing(first) is ApprovalState.RESERVED
    assert isinstance(desk.give(rerun(desk, 4, first))[0], Pending)
    desk.over(rerun(desk, 2, first), Over.UNDONE)
    assert desk.standing(first) is ApprovalState.APPROVED
    assert [g.use for g in desk.give(rerun(desk, 5, first))] == [2], "the use that left nothing behind comes again"


def test_holds_that_wait_get_a_use_each_and_the_others_are_refused(desk: Desk) -> None:
    rule = replace(desk.office.rule, **LIMITS)
    holds = [desk.office.hold(n, rule=rule) for n in range(1, 5)]
    for hold in holds:
        desk.give(hold)
    said = [m for name in ("ann", "bob") for m in desk.give(desk.office.vote(name, holds[0], uses=3))]
    assert [type(m) for m in said] == [Grant, Grant, Grant, Refusal]
    assert [m.use for m in said[:3]] == [1, 2, 3]


def test_it_lives_as_long_as_its_votes_say_and_longer_than_a_usual_one(desk: Desk) -> None:
    rule = replace(desk.office.rule, **LIMITS)
    hold = desk.office.hold(1, rule=rule, lookup_only=True)
    desk.give(hold)
    desk.give(desk.office.vote("ann", hold, uses=2, until_s=50_000))
    desk.give(desk.office.vote("bob", hold, uses=3, until_s=60_000))
    desk.give(Tick(), 49_999)
    assert desk.standing(hold) is ApprovalState.APPROVED
    desk.give(Tick(), 50_000)
    assert desk.standing(hold) is ApprovalState.EXPIRED


def test_other_values_only_where_all_votes_leave_them_free(desk: Desk) -> None:
    first = standing(desk, any_values=True)
    other = rerun(desk, 2, first, match_key=b"2" * 32, commitment=b"2" * 32)
    (grant,) = desk.give(other)
    assert (type(grant), grant.commitment) == (Grant, first.commitment)
    for n, shape_key in ((3, b"l" * 32), (4, None)):  # another shape; and one whose values decide what it does
        stranger = rerun(desk, n, first, match_key=bytes([n]) * 32, shape_key=shape_key)
        assert isinstance(desk.give(stranger)[0], Pending)


def test_without_that_other_values_are_another_command(desk: Desk) -> None:
    first = standing(desk)
    assert isinstance(desk.give(rerun(desk, 2, first, match_key=b"2" * 32))[0], Pending)


def test_a_vote_with_another_requests_shape_does_not_count(desk: Desk) -> None:
    hold = desk.office.hold(1, rule=replace(desk.office.rule, **LIMITS), shape_key=b"k" * 32, shape=b"s" * 32)
    desk.give(hold)
    desk.give(desk.office.vote("ann", hold, shape=b"t" * 32))
    assert desk.state.ignored_votes == 1


NARROWER: list[dict[str, Any]] = [{"standing_s": 0}, {"standing_uses": 2}, {"any_values": False}]


@pytest.mark.parametrize("change", NARROWER, ids=[next(iter(c)) for c in NARROWER])
def test_where_the_policy_allows_less_by_now_it_is_superseded(desk: Desk, change: dict[str, Any]) -> None:
    first = standing(desk)
    assert isinstance(desk.give(rerun(desk, 2, first, rule=replace(first.rule, **change)))[-1], Pending)
    assert desk.standing(first) is ApprovalState.SUPERSEDED


def test_revoked_it_is_over_at_once_whatever_runs(desk: Desk) -> None:
    first = standing(desk)
    running = rerun(desk, 2, first)
    desk.give(running)
    revoke(desk, first)
    assert desk.standing(first) is ApprovalState.REVOKED
    desk.over(running, Over.UNDONE)
    assert desk.standing(first) is ApprovalState.REVOKED
    assert isinstance(desk.give(rerun(desk, 3, first))[0], Pending)


def test_it_remembers_what_runs_and_not_all_that_ran(desk: Desk) -> None:
    rule = replace(desk.office.rule, **(LIMITS | {"standing_uses": MOST_ANSWERED + 20}))
    hold = desk.office.hold(1, rule=rule)
    desk.give(hold)
    for name in ("ann", "bob"):
        desk.give(desk.office.vote(name, hold, uses=MOST_ANSWERED + 20))
    for n in range(2, MOST_ANSWERED + 10):  # the first runs all the time
        again = rerun(desk, n, hold)
        desk.give(again)
        desk.over(again, Over.KEPT)
    request = desk.state.requests[approval_id(hold.hold)]
    assert len(request.holds) == MOST_ANSWERED + 1
    desk.over(hold, Over.UNDONE)
    assert desk.state.requests[request.id].running == frozenset()


# --- broken glass --------------------------------------------------------------------------

GLASS: dict[str, Any] = {"break_glass": True, "review_s": 600}


def broken(desk: Desk, n: int = 1, **changes: Any) -> Any:
    hold = desk.office.hold(n, rule=replace(desk.office.rule, **GLASS), **changes)
    desk.give(hold)
    return hold


def by(desk: Desk, hold: Any, name: str, choice: Choice = Choice.BREAK_GLASS, at_s: float = 0) -> list[Any]:
    return desk.give(desk.office.vote(name, hold, choice), at_s)


def test_one_person_lets_it_through_alone_and_once(desk: Desk) -> None:
    hold = broken(desk)
    (grant,) = by(desk, hold, "gus")
    assert [(v.reviewer, v.choice) for v in grant.votes] == [("gus", Choice.BREAK_GLASS)]
    desk.over(hold, Over.KEPT)
    assert desk.standing(hold) is ApprovalState.USED
    assert isinstance(desk.give(rerun(desk, 2, hold))[0], Pending)


@pytest.mark.parametrize("name", ["ann", "own", "guest", "mallory"])
def test_who_has_no_right_to_breaks_nothing(desk: Desk, name: str) -> None:
    hold = broken(desk)
    assert by(desk, hold, name) == []
    assert (desk.standing(hold), desk.state.ignored_votes) == (ApprovalState.PENDING, 1)


def test_nothing_is_broken_where_the_rule_does_not_say_so_nor_after_a_no(desk: Desk) -> None:
    plain, denied = desk.office.hold(1), broken(desk, 2, match_key=b"d" * 32)
    desk.give(plain)
    assert by(desk, plain, "gus") == []
    by(desk, denied, "ann", Choice.DENY)
    assert by(desk, denied, "gus") == []
    assert desk.standing(denied) is ApprovalState.DENIED


def test_the_review_is_another_persons_and_one(desk: Desk) -> None:
    hold = broken(desk)
    by(desk, hold, "gus")
    desk.over(hold, Over.KEPT)
    for name in ("gus", "own", "guest", "mallory"):  # of no group, whose own it is, a stranger
        by(desk, hold, name, Choice.ACCEPT)
        assert desk.entered == []
    by(desk, hold, "cyd", Choice.OBJECT, at_s=500_000)
    (vote,) = [b for b in desk.entered if isinstance(b, Vote)]
    assert (vote.reviewer, vote.choice, vote.reason) == ("cyd", Choice.OBJECT, "")
    by(desk, hold, "ann", Choice.ACCEPT, at_s=500_001)
    assert desk.entered == []


def test_who_broke_it_does_not_review_it(desk: Desk) -> None:
    hold = broken(desk)
    by(desk, hold, "cyd")
    by(desk, hold, "cyd", Choice.ACCEPT)
    assert desk.entered == []
    by(desk, hold, "bob", Choice.ACCEPT)
    assert [type(b) for b in desk.entered] == [Vote]


def test_a_review_of_what_nobody_broke_is_none(desk: Desk) -> None:
    hold = broken(desk)
    by(desk, hold, "ann", Choice.ACCEPT)
    assert (desk.entered, desk.state.ignored_votes) == ([], 1)


def test_it_is_kept_until_it_is_reviewed_and_said_once_when_that_is_late(desk: Desk) -> None:
    hold = broken(desk)
    by(desk, hold, "gus")
    desk.over(hold, Over.KEPT)
    desk.give(Tick(), 599)
    assert desk.entered == []
    desk.give(Tick(), 600)
    request = approval_id(hold.hold)
    assert desk.entered == [ReviewOverdue(request, "gus", T0 + 600 * SECOND, T0 + 600 * SECOND)]
    desk.give(Tick(), 10_000_000)
    assert desk.entered == []
    assert desk.state.requests[request].unreviewed
    by(desk, hold, "bob", Choice.ACCEPT, at_s=10_000_001)
    assert not desk.state.requests[request].unreviewed
    desk.give(Tick(), 10_000_002 + KEEP_US // SECOND)
    assert request not in desk.state.requests


def test_glass_that_is_never_used_is_reviewed_too(desk: Desk) -> None:
    hold = broken(desk, lookup_only=True)
    by(desk, hold, "gus")
    desk.give(Tick(), 4_000)
    assert desk.standing(hold) is ApprovalState.EXPIRED
    assert desk.state.requests[approval_id(hold.hold)].unreviewed


def test_only_so_much_is_broken_without_a_review(desk: Desk) -> None:
    for n in range(1, MOST_UNREVIEWED + 2):
        hold = broken(desk, n, match_key=n.to_bytes(32, "big"))
        by(desk, hold, "gus")
        desk.over(hold, Over.KEPT)
    assert desk.standing(hold) is ApprovalState.PENDING
    by(desk, desk.office.hold(1, rule=hold.rule), "ann", Choice.ACCEPT)
    by(desk, hold, "gus")
    assert desk.standing(hold) is ApprovalState.APPROVED
