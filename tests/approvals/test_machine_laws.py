"""What no order of inputs, duplicates, restarts and clocks may ever bring about.

A model keeps only who validly said what; every output of the step is judged
against it: never granted without its quorum, never after a deny, never twice on
one approval, never by the requester, never late; one answer a hold, always the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from approvals.machine import KEEP_US, Enter, Output, Say, step
from approvals.state import State, decode_state, encode_request, encode_rest
from schemas.ids import ApprovalId, HoldId, RecorderId
from schemas.records import (
    ApprovalMoved,
    ApprovalRequest,
    ApprovalState,
    BootStarted,
    Choice,
    Grant,
    HoldEnded,
    HoldRaised,
    Refusal,
    Tick,
    Vote,
)
from seal.digest import approval_id

SECOND = 1_000_000
T0 = 1_700_000_000 * SECOND
COMMANDS = (b"a" * 32, b"b" * 32)
RECORDERS = (RecorderId("db.0.aaaaaaaa"), RecorderId("db.1.bbbbbbbb"))


@dataclass
class Asked:
    """The model's view of one request."""

    first: HoldRaised
    state: ApprovalState
    until: int
    yes: dict[str, int] = field(default_factory=dict)  # reviewer -> the vote's deadline


class Approvals(RuleBasedStateMachine):
    office: Any

    @initialize()
    def begin(self) -> None:
        self.state, self.now = State(), T0
        self.directory = self.office.directory()
        self.holds: dict[HoldId, HoldRaised] = {}
        self.asked: dict[ApprovalId, Asked] = {}
        self.answers: dict[HoldId, Grant | Refusal] = {}
        self.boots = dict.fromkeys(RECORDERS, 0)

    # --- inputs -------------------------------------------------------------------

    @rule(command=st.sampled_from(COMMANDS), recorder=st.sampled_from(RECORDERS), lookup=st.booleans())
    def a_command_is_held(self, command: bytes, recorder: RecorderId, lookup: bool) -> None:
        changes = {"match_key": command, "recorder": recorder, "lookup_only": lookup, "boot": self.boots[recorder]}
        hold = self.office.hold(len(self.holds) + 1, self.now, **changes)
        self.holds[hold.hold] = hold
        self._give(hold)

    @rule(data=st.data(), name=st.sampled_from(["ann", "bob", "own", "guest", "mallory"]), deny=st.booleans())
    def somebody_votes(self, data: st.DataObject, name: str, deny: bool) -> None:
        if self.asked:
            first = self.asked[data.draw(st.sampled_from(sorted(self.asked)))].first
            until = data.draw(st.sampled_from([60, 3_000, 100_000]))
            vote = self.office.vote(name, first, Choice.DENY if deny else Choice.APPROVE, until)
            self._give(vote)

    @rule(data=st.data(), name=st.sampled_from(["ann", "bob"]))
    def a_vote_is_forged(self, data: st.DataObject, name: str) -> None:
        if self.asked:
            first = self.asked[data.draw(st.sampled_from(sorted(self.asked)))].first
            forged = replace(self.office.vote("mallory", first), reviewer=name)
            other = replace(self.office.vote(name, replace(first, commitment=b"x" * 32)), commitment=first.commitment)
            before = self.state.requests
            self._give(forged)
            self._give(other)
            assert {k: r.votes for k, r in self.state.requests.items() if r.live} == {
                k: r.votes for k, r in before.items() if k in self.state.requests and self.state.requests[k].live
            }

    @rule(data=st.data(), why=st.sampled_from(["client left", "cancelled", "timeout"]))
    def a_hold_ends(self, data: st.DataObject, why: str) -> None:
        if self.holds:
            hold = self.holds[data.draw(st.sampled_from(sorted(self.holds)))]
            self._give(HoldEnded(hold.hold, hold.recorder, why, self.now))

    @rule(recorder=st.sampled_from(RECORDERS))
    def a_gateway_restarts(self, recorder: RecorderId) -> None:
        self.boots[recorder] += 1
        self._give(BootStarted(recorder, self.boots[recorder]))

    @rule(seconds=st.sampled_from([0, 1, 59, 400, 3_700]))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds * SECOND
        self._give(Tick())

    @rule(seconds=st.integers(1, 500))
    def the_clock_is_set_back(self, seconds: int) -> None:
        self._give(Tick(), self.now - seconds * SECOND)

    @rule(data=st.data())
    def a_hold_is_delivered_again(self, data: st.DataObject) -> None:
        recent = sorted(h.hold for h in self.holds.values() if h.raised_us > self.now - KEEP_US)
        if recent:
            hold = self.holds[data.draw(st.sampled_from(recent))]
            known = approval_id(hold.hold) in self.state.requests or hold.hold in self.answers
            said = self._give(hold)
            about = [o for o in said if isinstance(o, Say) and o.message.hold == hold.hold]
            assert len(about) == 1 or not known

    @rule()
    def the_role_restarts(self) -> None:
        rows = [encode_request(request) for request in self.state.requests.values()]
        again = decode_state(encode_rest(self.state), sorted(rows))
        assert again == self.state
        self.state = again

    # --- the model ----------------------------------------------------------------

    def _give(self, given: Any, at: int | None = None) -> tuple[Output, ...]:
        at = self.now if at is None else at
        before = self.state
        self.state, said = step(before, given, at, self.directory)
        assert step(before, given, at, self.directory) == (self.state, said), "not a function of its arguments"
        entered = {id(o.body) for o in said if isinstance(o, Enter)}
        for output in said:
            match output:
                case Say(Grant() | Refusal() as answer):
                    fresh = answer.hold not in self.answers
                    assert self.answers.setdefault(answer.hold, answer) == answer, "one hold, two answers"
                    assert fresh == (id(answer) in entered), "an answer is entered once"
                    if fresh and isinstance(answer, Grant):
                        self._grant(answer)
                case Enter(_, ApprovalRequest() as opened):
                    first = self.holds[opened.first_hold]
                    assert opened.request not in self.asked
                    self.asked[opened.request] = Asked(first, ApprovalState.PENDING, opened.expires_us)
                case Enter(_, Vote() as vote):
                    self._vote(vote)
                case Enter(_, ApprovalMoved() as moved):
                    self._moved(moved)
        return said

    def _vote(self, vote: Vote) -> None:
        asked = self.asked[vote.request]
        assert asked.state is ApprovalState.PENDING
        assert vote.reviewer in ("ann", "bob")
        assert vote.deadline_us > self.now
        if vote.choice is Choice.DENY:
            asked.state = ApprovalState.DENIED
            return
        asked.yes[vote.reviewer] = vote.deadline_us
        if sum(until > self.now for until in asked.yes.values()) >= self.office.rule.quorum:
            asked.state = ApprovalState.APPROVED
            asked.until = min(self.now + 3600 * SECOND, *asked.yes.values())

    def _moved(self, moved: ApprovalMoved) -> None:
        asked = self.asked[moved.request]
        assert asked.state is moved.before
        allowed = {
            ApprovalState.PENDING: (ApprovalState.EXPIRED, ApprovalState.CANCELLED),
            ApprovalState.APPROVED: (ApprovalState.USED, ApprovalState.EXPIRED),
        }
        assert moved.after in allowed[moved.before]
        assert (moved.after is ApprovalState.EXPIRED) == (asked.until <= self.now)
        asked.state = moved.after

    def _grant(self, grant: Grant) -> None:
        asked, hold = self.asked[grant.request], self.holds[grant.hold]
        assert asked.state is ApprovalState.APPROVED, "granted without a standing approval, or twice"
        assert {v.reviewer for v in grant.votes} == {"ann", "bob"}
        assert all(v.deadline_us > self.now and v.choice is Choice.APPROVE for v in grant.votes)
        assert grant.commitment == asked.first.commitment
        assert hold.match_key == asked.first.match_key
        assert hold.boot == self.boots[hold.recorder], "granted to a gateway that has restarted"
        assert hold.deadline_us > self.now, "granted to a hold that no longer waits"

    @invariant()
    def the_states_are_the_models(self) -> None:
        if not hasattr(self, "asked"):
            return
        for request in self.state.requests.values():
            assert request.state is self.asked[request.id].state
            assert request.live or not request.waiting, "an ended request leaves nobody waiting"

    @invariant()
    def every_hold_past_its_deadline_has_its_answer(self) -> None:
        if hasattr(self, "holds"):
            late = {h.hold for h in self.holds.values() if h.deadline_us <= self.state.now_us or h.lookup_only}
            assert late <= set(self.answers)


@pytest.fixture(autouse=True)
def _office(office: Any) -> None:
    Approvals.office = office


def test_laws() -> None:
    from hypothesis.stateful import run_state_machine_as_test

    few = settings(max_examples=150, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(Approvals, settings=few)
