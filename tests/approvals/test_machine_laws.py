"""What no order of inputs, duplicates, restarts, second workers and clocks may ever bring about.

A model keeps only who validly said what; every output of the step is judged against it:
never granted without its quorum, never after a deny, never more often on one approval than all its
votes say, never with other values unless they all say so, never by the requester, never late,
never once revoked; broken glass is never forgotten until it is reviewed; one answer a hold, always the same. Gateways
(`grants.check`, and what they remember) read its answers when they come to it, and what they
run is judged again, from the votes that were really signed; in `Forging` somebody has the
approvals role and the bus, with every key that these have, and says to gateways what they like.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from approvals import grants
from approvals.canonical import committed
from approvals.machine import KEEP_US, Enter, Output, Say, step
from approvals.state import State, decode_state, encode_request, encode_rest
from approvals.uses import NEVER_RAN
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
    Over,
    Refusal,
    ReviewOverdue,
    Tick,
    Vote,
)
from seal.digest import approval_id, commitment, commitment_salt

SECOND = 1_000_000
T0 = 1_700_000_000 * SECOND
COMMANDS = (b"a1", b"a2", b"b1")
SHAPES = {b"a1": b"a", b"a2": b"a", b"b1": None}
STANDING = {"standing_s": 100_000, "standing_uses": 3, "any_values": True, "break_glass": True, "review_s": 2_000}
RECORDERS = (RecorderId("db.0.aaaaaaaa"), RecorderId("db.1.bbbbbbbb"))
MATCH = b"k" * 32
ELIGIBLE = ("ann", "bob", "cyd")
GONE = (Over.UNDONE, *NEVER_RAN)
RARELY = st.integers(0, 2).map(lambda n: n == 2)
MOVES = {
    ApprovalState.PENDING: {"EXPIRED", "CANCELLED", "REVOKED", "SUPERSEDED"},
    ApprovalState.APPROVED: {"RESERVED", "EXPIRED", "REVOKED", "SUPERSEDED"},
    ApprovalState.RESERVED: {"APPROVED", "USED", "REVOKED", "SUPERSEDED"},
}


@dataclass
class Asked:
    """The model's view of one request."""

    first: HoldRaised
    state: ApprovalState
    until: int
    yes: dict[str, Vote] = field(default_factory=dict)
    allowed: int = 1
    any_values: bool = False
    granted: dict[HoldId, int] = field(default_factory=dict)  # which use
    revoked: bool = False
    glass: str = ""  # who broke it
    due: int = 0
    overdue: bool = False  # and it was said
    review: Vote | None = None


@dataclass
class Run:
    request: ApprovalId
    recorder: RecorderId
    use: int
    undone: bool = False


@dataclass
class Gateway:
    """What a gateway remembers: what waits and what runs in memory, what it released on disk."""

    waiting: dict[HoldId, HoldRaised] = field(default_factory=dict)
    running: dict[HoldId, Run] = field(default_factory=dict)
    uses: grants.Uses = field(default_factory=grants.Uses)
    heard: int = 0  # messages of the grants topic


class Approvals(RuleBasedStateMachine):
    office: Any
    forging = False

    @initialize()
    def begin(self) -> None:
        self.state, self.now = State(), T0
        self.directory = self.office.directory()
        self.holds: dict[HoldId, HoldRaised] = {}
        self.asked: dict[ApprovalId, Asked] = {}
        self.answers: dict[HoldId, Grant | Refusal] = {}
        self.boots = dict.fromkeys(RECORDERS, 0)
        self.gateways = {name: Gateway() for name in RECORDERS}
        self.signed: list[Vote] = []  # by reviewers of the directory
        self.ran: list[Run] = []
        self.over: dict[HoldId, str] = {}  # what was said of holds that were granted
        self.topic: list[Grant | Refusal] = []
        self.log: list[tuple[Any, int, tuple[Output, ...]]] = []  # the topic, and what was made of each message
        self._store()

    # --- inputs -------------------------------------------------------------------

    @rule(
        command=st.sampled_from(COMMANDS),
        recorder=st.sampled_from(RECORDERS),
        lookup=st.booleans(),
        strict=RARELY,
        behind=st.sampled_from([(), (), ("ann",), ("bob",)]),
    )
    def a_command_is_held(
        self, command: bytes, recorder: RecorderId, lookup: bool, strict: bool, behind: tuple[str, ...]
    ) -> None:
        changes = {"match_key": command, "recorder": recorder, "lookup_only": lookup, "boot": self.boots[recorder]}
        changes |= {"rule": replace(self.office.rule, reason_required=strict), "caused_by": behind}
        hold = self.office.hold(len(self.holds) + 1, self.now, **changes)
        salt, shape = commitment_salt(MATCH, hold.hold), SHAPES[command]
        hold = replace(hold, commitment=commitment(salt, committed(command, behind)))
        if shape is not None:
            hold = replace(hold, shape_key=shape, shape=commitment(salt, committed(shape, behind)))
        self.holds[hold.hold] = self.gateways[recorder].waiting[hold.hold] = hold
        self._give(hold)

    @rule(
        data=st.data(),
        name=st.sampled_from(["ann", "bob", "cyd", "own", "guest", "gus", "mallory"]),
        deny=RARELY,
        uses=st.sampled_from([1, 1, 2, 3, 4]),
        any_values=st.booleans(),
    )
    def somebody_votes(self, data: st.DataObject, name: str, deny: bool, uses: int, any_values: bool) -> None:
        if self.asked:
            pending = sorted(name for name, asked in self.asked.items() if asked.state is ApprovalState.PENDING)
            first = self.asked[data.draw(st.sampled_from(pending or sorted(self.asked)))].first
            until = data.draw(st.sampled_from([60, 3_000, 100_000, 200_000]))
            choice, shape = Choice.DENY if deny else Choice.APPROVE, first.shape if any_values else None
            self._cast(self.office.vote(name, first, choice, until, uses, shape))

    @rule(until=st.sampled_from([3_000, 100_000]), uses=st.sampled_from([1, 2, 3]), any_values=st.booleans())
    def all_that_waits_is_approved(self, until: int, uses: int, any_values: bool) -> None:
        for first in [a.first for a in self.asked.values() if a.state is ApprovalState.PENDING]:
            for name in ELIGIBLE:
                shape = first.shape if any_values else None
                self._cast(self.office.vote(name, first, Choice.APPROVE, until, uses, shape))

    @rule(data=st.data(), name=st.sampled_from(["gus", "cyd", "ann", "own", "mallory"]), often=RARELY)
    def somebody_breaks_the_glass(self, data: st.DataObject, name: str, often: bool) -> None:
        if self.asked:
            first = self.asked[data.draw(st.sampled_from(sorted(self.asked)))].first
            self._cast(self.office.vote(name, first, Choice.BREAK_GLASS, 100_000, 3 if often else 1))

    @rule(recorder=st.sampled_from(RECORDERS), reviewed=st.booleans(), hours=st.sampled_from([0, 1, 5]))
    def approvers_cannot_be_reached(self, recorder: RecorderId, reviewed: bool, hours: int) -> None:
        self.a_command_is_held(COMMANDS[2], recorder, False, False, ())
        for first in [a.first for a in self.asked.values() if a.state is ApprovalState.PENDING]:
            self._cast(self.office.vote("gus", first, Choice.BREAK_GLASS))
        self.a_gateway_reads(recorder)
        for hold in list(self.gateways[recorder].running):
            self._run_ends(recorder, hold, False)
        for _ in range(hours):
            self.time_passes(3_700)
        for first in [a.first for a in self.asked.values() if a.glass and reviewed]:
            self._cast(self.office.vote("bob", first, Choice.ACCEPT, 1))

    @rule(data=st.data(), name=st.sampled_from(["ann", "cyd", "own", "gus", "mallory"]), right=st.booleans())
    def somebody_reviews_that(self, data: st.DataObject, name: str, right: bool) -> None:
        broken = sorted(name for name, asked in self.asked.items() if asked.glass)
        if broken:
            first = self.asked[data.draw(st.sampled_from(broken))].first
            self._cast(self.office.vote(name, first, Choice.ACCEPT if right else Choice.OBJECT, 1))

    def _cast(self, vote: Vote) -> None:
        self.signed += [vote] if vote.reviewer != "mallory" else []
        self._give(vote)

    @rule(recorder=st.sampled_from(RECORDERS), undone=st.booleans())
    def a_command_runs_again(self, recorder: RecorderId, undone: bool) -> None:
        """What people do most, so that long stories come about: until it runs, and to its end."""
        self.a_command_is_held(COMMANDS[0], recorder, False, False, ())
        self.all_that_waits_is_approved(100_000, 1, False)
        self.a_gateway_reads(recorder)
        for hold in list(self.gateways[recorder].running):
            self._run_ends(recorder, hold, undone)

    @rule(recorder=st.sampled_from(RECORDERS), undone=st.booleans(), command=st.sampled_from(COMMANDS))
    def a_nightly_job_runs(self, recorder: RecorderId, undone: bool, command: bytes) -> None:
        self.a_command_is_held(command, recorder, False, False, ())
        self.all_that_waits_is_approved(100_000, 3, True)
        self.a_gateway_reads(recorder)
        for hold in list(self.gateways[recorder].running):
            self._run_ends(recorder, hold, undone)

    @rule(data=st.data(), name=st.sampled_from(ELIGIBLE))
    def a_vote_is_forged(self, data: st.DataObject, name: str) -> None:
        if self.asked:
            first = self.asked[data.draw(st.sampled_from(sorted(self.asked)))].first
            forged = replace(self.office.vote("mallory", first), reviewer=name)
            other = replace(self.office.vote(name, replace(first, commitment=b"x" * 32)), commitment=first.commitment)
            plain = self.office.vote(name, replace(first, hold=HoldId("hold-0")), uses=2)
            before = self.state.requests
            self._give(forged)
            self._give(replace(forged, reviewer="gus", choice=Choice.BREAK_GLASS))
            self._give(replace(plain, request=approval_id(first.hold), uses=3))
            self._give(other)
            assert {k: r.votes for k, r in self.state.requests.items() if r.live} == {
                k: r.votes for k, r in before.items() if k in self.state.requests and self.state.requests[k].live
            }

    @rule(data=st.data(), why=st.sampled_from(["client left", "cancelled", "timeout"]))
    def a_hold_ends(self, data: st.DataObject, why: str) -> None:
        recorder = data.draw(st.sampled_from(RECORDERS))
        waiting = self.gateways[recorder].waiting
        if waiting:
            self._over(recorder, data.draw(st.sampled_from(sorted(waiting))), why)

    @rule(data=st.data(), undone=st.booleans())
    def a_run_ends(self, data: st.DataObject, undone: bool) -> None:
        recorder = data.draw(st.sampled_from(RECORDERS))
        running = self.gateways[recorder].running
        if running:
            self._run_ends(recorder, data.draw(st.sampled_from(sorted(running))), undone)

    def _run_ends(self, recorder: RecorderId, hold: HoldId, undone: bool) -> None:
        run = self.gateways[recorder].running[hold]
        run.undone = undone
        if undone:
            self.gateways[recorder].uses.undone(run.request, run.use)
        self._over(recorder, hold, Over.UNDONE if undone else Over.KEPT)

    def _over(self, recorder: RecorderId, hold: HoldId, why: str) -> None:
        gateway = self.gateways[recorder]
        gateway.waiting.pop(hold, None)
        gateway.running.pop(hold, None)
        self.over[hold] = why
        self._give(HoldEnded(hold, recorder, why, self.now))

    @rule(data=st.data(), name=st.sampled_from(["ann", "bob", "own", "guest", "mallory"]), does=RARELY)
    def somebody_revokes(self, data: st.DataObject, name: str, does: bool) -> None:
        if self.asked and does:
            first = self.asked[data.draw(st.sampled_from(sorted(self.asked)))].first
            self._give(self.office.vote(name, first, Choice.REVOKE, 60))

    @rule(recorder=st.sampled_from(RECORDERS))
    def a_gateway_restarts(self, recorder: RecorderId) -> None:
        self.boots[recorder] += 1
        self.gateways[recorder].waiting.clear()
        self.gateways[recorder].running.clear()
        self._give(BootStarted(recorder, self.boots[recorder]))

    @rule(seconds=st.sampled_from([0, 1, 1, 1, 59, 400, 3_700]))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds * SECOND
        self._give(Tick())

    @rule(seconds=st.integers(1, 500))
    def the_clock_is_set_back(self, seconds: int) -> None:
        self._give(Tick(), self.now - seconds * SECOND)

    # --- duplicates, restarts, a second worker ---------------------------------------

    @rule(data=st.data())
    def a_hold_is_delivered_again(self, data: st.DataObject) -> None:
        recent = sorted(h.hold for h in self.holds.values() if h.raised_us > self.now - KEEP_US)
        if recent:
            hold = self.holds[data.draw(st.sampled_from(recent))]
            known = approval_id(hold.hold) in self.state.requests or hold.hold in self.answers
            said = self._give(hold)
            about = [o for o in said if isinstance(o, Say) and o.message.hold == hold.hold]
            assert len(about) == 1 or not known

    @rule(data=st.data())
    def something_else_is_delivered_again(self, data: st.DataObject) -> None:
        others = [given for given, _, _ in self.log if not isinstance(given, HoldRaised)]
        if others:
            self._give(others[data.draw(st.integers(0, len(others) - 1))])

    @rule()
    def the_state_is_stored(self) -> None:
        self._store()

    @rule()
    def another_worker_goes_on_from_the_stored_state(self) -> None:
        """The first may be dead or not: both say the same, and gateways hear it twice."""
        again = decode_state(*self.stored)
        for given, at, before in self.log[self.stored_at :]:
            again, said = step(again, given, at, self.directory)
            assert said == before
            self._say(said)
        assert again == self.state
        self.state = again

    def _store(self) -> None:
        rows = [encode_request(request) for request in self.state.requests.values()]
        self.stored, self.stored_at = (encode_rest(self.state), sorted(rows)), len(self.log)
        assert decode_state(*self.stored) == self.state

    # --- gateways ------------------------------------------------------------------

    def _say(self, said: tuple[Output, ...]) -> None:
        self.topic += [o.message for o in said if isinstance(o, Say) and isinstance(o.message, Grant | Refusal)]

    @rule(recorder=st.sampled_from(RECORDERS))
    def a_gateway_reads(self, recorder: RecorderId) -> None:
        gateway = self.gateways[recorder]
        heard, gateway.heard = self.topic[gateway.heard :], len(self.topic)
        for answer in heard:
            if isinstance(answer, Refusal):
                gateway.waiting.pop(answer.hold, None)
            elif (flaw := self._granted(recorder, answer)) is not None:
                assert self.forging or answer.expires_us <= self.now, flaw  # who forges uses up what others get
                self._over(recorder, answer.hold, Over.UNVERIFIED)

    def _granted(self, recorder: RecorderId, grant: Grant) -> grants.Flaw | None:
        gateway = self.gateways[recorder]
        hold = gateway.waiting.get(grant.hold)
        if hold is None:
            return None
        try:
            asks = (hold.match_key, hold.rule, hold.subject, hold.caused_by)
            checked = (self.directory, gateway.uses, MATCH, self.now, hold.shape_key)
            settled = grants.check(grant, *asks, *checked)
        except grants.BadGrant as bad:
            return bad.flaw
        del gateway.waiting[grant.hold]
        gateway.uses.release(grant.request, grant.use)
        self._runs(recorder, hold, grant, settled.voters)
        return None

    def _runs(self, recorder: RecorderId, hold: HoldRaised, grant: Grant, voters: tuple[str, ...]) -> None:
        """By what was really signed, and nothing else."""
        first = next(h for h in self.holds.values() if approval_id(h.hold) == grant.request)
        said = [[v for v in self.signed if v.reviewer == name and self._counts(v, first)] for name in voters]
        assert all(said), "who did not approve"
        alone = [v for v in said[0] if v.choice is Choice.BREAK_GLASS]
        assert len(set(voters)) >= self.office.rule.quorum or alone, "too few people"
        assert not set(voters) & {*hold.caused_by, *first.caused_by}, "their own"
        if first.match_key != hold.match_key:
            assert SHAPES[first.match_key] == SHAPES[hold.match_key] is not None, "another command's approval"
            assert all(any(v.shape == first.shape for v in each) for each in said), "with other values"
        assert hold.boot == self.boots[recorder]
        assert self.forging or first.rule.reason_required or not hold.rule.reason_required
        before = [run for run in self.ran if run.request == grant.request]
        if self.forging:  # a taken-over role may tell two gateways of one name: each runs it once at most
            before = [run for run in before if run.recorder == recorder]
        allowed = min(max(v.uses for v in each) for each in said)
        assert sum(not run.undone for run in before) < allowed, "more often than approved"
        assert len(before) < grants.MOST_USES * allowed
        run = self.gateways[recorder].running[hold.hold] = Run(grant.request, recorder, grant.use)
        self.ran.append(run)

    def _counts(self, vote: Vote, first: HoldRaised) -> bool:
        about = vote.request == approval_id(first.hold) and vote.commitment == first.commitment
        if not about or vote.deadline_us <= self.now:
            return False
        if vote.choice is Choice.BREAK_GLASS:
            return vote.reviewer in ("gus", "cyd") and vote.uses == 1
        plain = vote.uses == 1 and vote.shape is None
        standing = vote.uses <= 3 and vote.deadline_us - self.now <= 100_900 * SECOND  # three clocks may be apart
        return vote.choice is Choice.APPROVE and vote.reviewer in ELIGIBLE and (plain or standing)

    # --- the model ----------------------------------------------------------------

    def _give(self, given: Any, at: int | None = None) -> tuple[Output, ...]:
        at = self.now if at is None else at
        before = self.state
        self.state, said = step(before, given, at, self.directory)
        assert step(before, given, at, self.directory) == (self.state, said), "not a function of its arguments"
        self.log.append((given, at, said))
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
                case Enter(_, ReviewOverdue() as said_late):
                    late = self.asked[said_late.request]
                    assert late.glass == said_late.by
                    assert late.due <= self.state.now_us
                    assert late.review is None
                    assert not late.overdue, "said twice"
                    late.overdue = True
        self._say(said)
        return said

    def _vote(self, vote: Vote) -> None:
        asked = self.asked[vote.request]
        if vote.choice is Choice.REVOKE:
            assert vote.reviewer in (*ELIGIBLE, "own")
            asked.revoked = True
            return
        if vote.choice in (Choice.ACCEPT, Choice.OBJECT):
            assert asked.glass
            assert asked.review is None
            assert vote.reviewer in set(ELIGIBLE) - {asked.glass, *asked.first.caused_by}
            asked.review = vote
            return
        assert asked.state is ApprovalState.PENDING
        assert vote.deadline_us > self.now
        if vote.choice is Choice.BREAK_GLASS:
            assert vote.reviewer in {"gus", "cyd"} - set(asked.first.caused_by)
            assert vote.uses == 1
            asked.state, asked.until = ApprovalState.APPROVED, min(self.now + 3600 * SECOND, vote.deadline_us)
            asked.glass, asked.due = vote.reviewer, self.state.now_us + 2_000 * SECOND
            return
        assert vote.reviewer in ELIGIBLE
        assert vote.reviewer not in asked.first.caused_by
        if vote.choice is Choice.DENY:
            asked.state = ApprovalState.DENIED
            return
        assert self._counts(vote, asked.first)
        asked.yes[vote.reviewer] = vote
        timely = [v for v in asked.yes.values() if v.deadline_us > self.now]
        if len(timely) >= self.office.rule.quorum:
            asked.state = ApprovalState.APPROVED
            asked.allowed = min(v.uses for v in timely)
            asked.any_values = all(v.shape is not None for v in timely)
            lasts = 100_000 if asked.allowed > 1 or asked.any_values else 3600
            asked.until = min(self.now + lasts * SECOND, *(v.deadline_us for v in timely))

    def _moved(self, moved: ApprovalMoved) -> None:
        asked = self.asked[moved.request]
        assert asked.state is moved.before
        assert moved.after.name in MOVES[moved.before]
        late = asked.until <= self.now
        assert (moved.after is ApprovalState.EXPIRED) == (late and moved.before is not ApprovalState.RESERVED)
        assert (moved.after is ApprovalState.REVOKED) <= asked.revoked
        if moved.after is ApprovalState.APPROVED:
            assert len(self._taken(asked)) < asked.allowed
        asked.state = moved.after

    def _grant(self, grant: Grant) -> None:
        asked, hold = self.asked[grant.request], self.holds[grant.hold]
        assert asked.state is ApprovalState.APPROVED, "granted without a standing approval, or twice"
        assert not asked.revoked
        assert grant.use not in self._taken(asked)
        asked.granted[grant.hold] = grant.use
        assert 1 <= grant.use <= asked.allowed
        people = {v.reviewer for v in grant.votes}
        if asked.glass:
            assert people == {asked.glass}
        else:
            assert people <= set(ELIGIBLE) - {*hold.caused_by, *asked.first.caused_by}
            assert len(people) == self.office.rule.quorum
        assert all(v.deadline_us > self.now for v in grant.votes)
        assert grant.commitment == asked.first.commitment
        if hold.match_key != asked.first.match_key:
            assert asked.any_values
            assert SHAPES[hold.match_key] == SHAPES[asked.first.match_key]
        assert hold.boot == self.boots[hold.recorder], "granted to a gateway that has restarted"
        assert hold.deadline_us > self.now, "granted to a hold that no longer waits"

    def _taken(self, asked: Asked) -> set[int]:
        """Uses that were granted and not seen to leave nothing."""
        return {use for hold, use in asked.granted.items() if self.over.get(hold) not in GONE}

    @invariant()
    def broken_glass_is_kept_until_it_is_reviewed_and_said_when_that_is_late(self) -> None:
        for name, asked in getattr(self, "asked", {}).items():
            if asked.glass and asked.review is None:
                assert self.state.requests[name].unreviewed
                assert asked.overdue == (asked.due <= self.state.now_us)

    @invariant()
    def the_states_are_the_models(self) -> None:
        if not hasattr(self, "asked"):
            return
        for request in self.state.requests.values():
            assert request.state is self.asked[request.id].state
            pending = request.state is ApprovalState.PENDING
            assert pending or not request.waiting, "a decided request leaves nobody waiting"

    @invariant()
    def every_hold_past_its_deadline_has_its_answer(self) -> None:
        if hasattr(self, "holds"):
            late = {h.hold for h in self.holds.values() if h.deadline_us <= self.state.now_us or h.lookup_only}
            assert late <= set(self.answers)


class Forging(Approvals):
    """With the approvals role and the bus in hand, and all that was ever said on them."""

    forging = True

    @rule(data=st.data())
    def grants_are_forged(self, data: st.DataObject) -> None:
        """Parts of true ones, for something that waits."""
        waiting = sorted(hold for gateway in self.gateways.values() for hold in gateway.waiting)
        requests = sorted({v.request for v in self.signed})
        if waiting and requests:
            hold = self.holds[data.draw(st.sampled_from(waiting))]
            other = self.holds[data.draw(st.sampled_from(sorted(self.holds)))]
            request = data.draw(st.sampled_from(requests))
            for forged in self._forged(hold, other, request):
                for recorder in RECORDERS:
                    self._granted(recorder, forged)

    @rule(recorder=st.sampled_from(RECORDERS))
    def a_grant_is_stretched_to_other_values(self, recorder: RecorderId) -> None:
        """Every approval there is, for another command of its shape."""
        for request in sorted({v.request for v in self.signed}):
            if self.asked[request].first.match_key == COMMANDS[0]:
                self.a_command_is_held(COMMANDS[1], recorder, False, False, ())
                hold = self.holds[max(self.gateways[recorder].waiting)]
                for forged in self._forged(hold, hold, request):
                    self._granted(recorder, forged)
                return

    def _forged(self, hold: HoldRaised, other: HoldRaised, request: ApprovalId) -> list[Grant]:
        first = self.asked[request].first
        said = tuple(v for v in self.signed if v.request == request)
        votes = tuple(v for v in said if v.choice in (Choice.APPROVE, Choice.BREAK_GLASS))
        until = self.now + 100_000 * SECOND
        grant = Grant(hold.hold, hold.recorder, request, first.hold, first.commitment, votes, until, self.now)
        grant = replace(grant, caused_by=first.caused_by)
        mine = {"commitment": hold.commitment, "first_hold": hold.hold, "request": approval_id(hold.hold)}
        changes: list[dict[str, Any]] = [
            {"request": approval_id(other.hold)},
            {"first_hold": other.hold},
            {"caused_by": ()},
            {"commitment": other.commitment},
            mine,
            mine | {"votes": tuple(replace(v, request=mine["request"], commitment=hold.commitment) for v in votes)},
            {"votes": tuple(replace(v, deadline_us=2**62) for v in votes)},
            {"votes": tuple(replace(v, reviewer=name) for v in votes for name in ELIGIBLE)},
            {"votes": tuple(replace(self.office.vote("mallory", first), reviewer=name) for name in ELIGIBLE)},
            {"votes": tuple(replace(v, choice=Choice.APPROVE) for v in said)},
            {"votes": tuple(replace(v, uses=3) for v in votes), "use": 2},
            {"votes": tuple(replace(v, shape=first.shape) for v in votes)},
            {"votes": tuple(replace(v, choice=Choice.BREAK_GLASS) for v in said)},
            {"votes": tuple(replace(v, choice=Choice.BREAK_GLASS, reviewer="gus") for v in said)},
            *({"use": use} for use in (0, 1, 2, 3, 4)),
            {},
        ]
        return [replace(grant, **change) for change in changes]


@pytest.fixture(autouse=True)
def _office(office: Any) -> None:
    Approvals.office = replace(office, rule=replace(office.rule, **STANDING))


def _run(machine: type[Approvals], examples: int) -> None:
    few = settings(
        max_examples=examples, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(machine, settings=few)


@pytest.mark.parametrize("machine", [Approvals, Forging], ids=["honest", "forging"])
def test_laws(machine: type[Approvals]) -> None:
    _run(machine, 60)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("machine", [Approvals, Forging], ids=["honest", "forging"])
def test_laws_at_length(machine: type[Approvals]) -> None:
    _run(machine, 1_500)
