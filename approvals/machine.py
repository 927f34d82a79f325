"""Which state of an approval request follows which. One pure step, one owner a partition.

    PENDING  ──votes──▶ APPROVED | DENIED        PENDING  ──time──▶ EXPIRED
    PENDING  ──the client takes it back──▶ CANCELLED
    APPROVED ──its last use is granted──▶ RESERVED     APPROVED ──time──▶ EXPIRED
    RESERVED ──all ran, or nobody can know──▶ USED
    RESERVED ──one never ran, or was undone──▶ APPROVED
    PENDING | APPROVED ──a reviewer──▶ REVOKED   (RESERVED: instead of APPROVED)
    PENDING | APPROVED ──the policy asks for other votes──▶ SUPERSEDED

Rules:
 1. Every hold is answered once, by a Grant or a Refusal. The same hold id coming
    again (redelivery) gets the same answer again and changes nothing.
 2. A hold joins the live request with its match key; else, or where that one is
    RESERVED, it opens one, whose id is derived from the hold's. Before its answer it
    is told which: Pending. Where its rule asks for more than the request's, that one
    is SUPERSEDED.
 3. One approval, one use, or as many as all votes that make it allow: the first
    holds that wait (or else the next that come) are granted a use each; with the last
    of them the request is RESERVED, and others that wait are refused. Each one's
    gateway says what became of it (`Over`); a new boot or the approval's end says
    that nobody can know. Undone it comes back, at most until MOST_USES.
 4. An approval is used only if its votes hold at that moment, by today's directory, and
    not for a run that one of its voters stands behind.
 5. A `lookup_only` hold is answered at once: granted on an approval, else refused
    while its request stays open for a re-run.
 6. Time is the bus's, never goes back, and is applied before the input: a request
    past `expires_us` is EXPIRED whatever comes; a hold past its deadline is refused
    and its request stays open. Of a gateway's clock only the time between two of its
    readings counts: a hold waits so long from when it comes here.
 7. A new boot voids the holds of the recorder's earlier boots; requests stay.
 8. A vote that does not count (`votes.py`) changes nothing; it is counted. To revoke
    is final, so a vote that comes again cannot bring an approval back.
 9. State is bounded: so many open requests a subject, so many ended ones kept, so
    many holds a request. Above it the new hold is refused, with words.
10. Where all votes that make an approval leave the values free, it is also for holds
    that are the same command but for these.
11. Who broke the glass leaves a review due: its request is kept until another person's
    vote says what they think of it, and past its time that is said, once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from approvals.requests import accepts, asked, objects, same_command, same_shape, takes
from approvals.state import LIVE, Held, Request, Review, State
from approvals.uses import over, taken
from approvals.votes import CLOCKS_APART_US, LONGEST_REASON, REVIEWING, Directory, Settled, settles
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
    Pending,
    Refusal,
    ReviewOverdue,
    Tick,
    Vote,
)
from seal.digest import approval_id

Input = HoldRaised | HoldEnded | Vote | BootStarted | Tick
Body = ApprovalRequest | Vote | Grant | Refusal | ApprovalMoved | ReviewOverdue

MOST_OPEN = 100
"""Live requests one subject may have."""
MOST_HOLDS = 1_000
"""Holds that wait, or run, in one request."""
MOST_ANSWERED = 200
"""Others of it that are remembered, so that one that comes again gets its answer again."""
MOST_UNREVIEWED = 100
"""Broken glass that nobody has reviewed; above it none is broken any more."""
MOST_ENDED = 1_000
"""Ended requests kept; the oldest goes first."""
MOST_STRAYS = 1_000
KEEP_US = 3_600_000_000
"""Ended requests are kept an hour past the time in which their holds may come again."""

_SECOND_US = 1_000_000


@dataclass(frozen=True, slots=True)
class Say:
    """To the gateway that has the hold (topic GRANTS, key recorder)."""

    message: Pending | Grant | Refusal


@dataclass(frozen=True, slots=True)
class Enter:
    """To the ledger, into the shard of this recorder."""

    recorder: RecorderId
    body: Body


Output = Say | Enter


def step(state: State, given: Input, time_us: int, directory: Directory) -> tuple[State, tuple[Output, ...]]:
    """The next state and what is to be said, in order. The same arguments always give the same."""
    turn = _Turn(state, time_us, directory)
    turn.pass_time()
    match given:
        case HoldRaised():
            turn.hold_raised(given)
        case HoldEnded():
            turn.hold_ended(given)
        case Vote():
            turn.vote(given)
        case BootStarted():
            turn.boot_started(given.recorder, given.boot)
        case Tick():
            pass
    turn.forget()
    return turn.state(), tuple(turn.said)


def glass_full(requests: Iterable[Request]) -> bool:
    return sum(request.unreviewed for request in requests) >= MOST_UNREVIEWED


def _is_for(request: Request, raised: HoldRaised) -> bool:
    """Whether the request is about what is held. Its values are free only once it is approved so."""
    return same_command(request.raised, raised) or (request.any_values and same_shape(request.raised, raised))


class _Turn:
    """One step under way: a copy of the state that may be written to, and the outputs so far."""

    def __init__(self, state: State, time_us: int, directory: Directory) -> None:
        self._requests = dict(state.requests)
        self._boots = dict(state.boots)
        self._strays = state.strays
        self._ignored = state.ignored_votes
        self._now = max(state.now_us, time_us)
        self._directory = directory
        self.said: list[Output] = []

    def state(self) -> State:
        return State(self._requests, self._boots, self._strays, self._now, self._ignored)

    # --- the inputs ------------------------------------------------------------

    def pass_time(self) -> None:
        for request in self._in_order():
            review = request.review
            if review is not None and request.unreviewed and review.due_us <= self._now and not review.overdue:
                request = self._put(replace(request, review=replace(review, overdue=True)))
                self._enter(request, ReviewOverdue(request.id, review.by, review.due_us, self._now))
            if not request.live:
                continue
            if request.expires_us <= self._now:
                used = request.state is ApprovalState.RESERVED
                after = ApprovalState.USED if used else ApprovalState.EXPIRED
                self._end(request, after, "nobody approved it in time")
                continue
            for held in request.waiting:
                if held.deadline_us <= self._now:
                    self._refuse(request.id, held, "nobody decided while it waited: run it again once approved")

    def hold_raised(self, raised: HoldRaised) -> None:
        if self._say_again(raised.hold):
            return
        self.boot_started(raised.recorder, raised.boot)
        if raised.boot < self._boots.get(raised.recorder, raised.boot):
            self._stray(raised, ApprovalState.CANCELLED, "its gateway has restarted")
            return
        if raised.raised_us + raised.rule.expires_s * _SECOND_US + CLOCKS_APART_US <= self._now:
            self._stray(raised, ApprovalState.EXPIRED, "it came too late to be asked about")
            return
        request = self._live(raised)
        if request is None:
            request = self._open(raised)
        if request is not None:
            self._join(request, raised)

    def hold_ended(self, ended: HoldEnded) -> None:
        for request in self._requests.values():
            for held in request.holds:
                if held.hold == ended.hold and held.recorder == ended.recorder:
                    if held.answer is None:
                        self._gone(request, held, ended.why)
                    else:
                        self._use_over(request.id, held.hold, ended.why)
                    return

    def vote(self, vote: Vote) -> None:
        request = self._requests.get(vote.request)
        full = vote.choice is Choice.BREAK_GLASS and glass_full(self._requests.values())
        if request is None or full or not takes(request, vote.choice) or self._counts_not(request, vote):
            self._ignored += 1
            return
        if vote.choice in REVIEWING and request.review is not None:
            ended = request.ended_us if request.live else self._now  # kept a while from now on
            self._put(replace(request, review=replace(request.review, vote=vote), ended_us=ended))
            self._enter(request, replace(vote, reason=""))
            return
        standing = tuple(v for v in request.votes if not self._objects(request, v))
        if any(v.reviewer == vote.reviewer and v.choice == vote.choice for v in standing):
            self._ignored += 1
            return
        request = self._put(replace(request, votes=(*standing, vote)))
        self._enter(request, replace(vote, reason=""))
        if vote.choice is Choice.REVOKE:
            if request.state is not ApprovalState.RESERVED:  # what runs cannot be called back
                self._end(request, ApprovalState.REVOKED, "a reviewer took it back")
            return
        settled = self._settled(request)
        if settled is None:
            return
        if settled.approved:
            self._approve(request, settled)
        else:
            self._end(request, ApprovalState.DENIED, "a reviewer denied it")

    def boot_started(self, recorder: RecorderId, boot: int) -> None:
        if boot <= self._boots.get(recorder, -1):
            return
        self._boots[recorder] = boot
        for request in self._in_order():
            for held in request.holds:
                if held.recorder != recorder or held.boot >= boot:
                    continue
                if held.answer is None:
                    self._refuse(request.id, held, "its gateway has restarted")
                else:
                    self._use_over(request.id, held.hold, Over.KEPT)

    def forget(self) -> None:
        """Drops what ended long ago, so that the state is bounded; the oldest first where there are too many."""
        over = (r for r in self._requests.values() if not r.live and not r.unreviewed)
        ended = sorted(over, key=lambda r: (r.ended_us, r.id))
        too_many = len(ended) - MOST_ENDED
        for n, request in enumerate(ended):
            again_until = max(request.ended_us, request.opened_us + request.raised.rule.expires_s * _SECOND_US)
            if n < too_many or again_until + KEEP_US <= self._now:
                del self._requests[request.id]

    # --- one hold ----------------------------------------------------------------

    def _say_again(self, hold: HoldId) -> bool:
        """A hold that came before: the same answer to the gateway, nothing new to the ledger."""
        for request in self._requests.values():
            for held in request.holds:
                if held.hold == hold:
                    self.said.append(Say(held.answer or Pending(hold, held.recorder, request.id)))
                    return True
        for refusal in self._strays:
            if refusal.hold == hold:
                self.said.append(Say(refusal))
                return True
        return False

    def _live(self, raised: HoldRaised) -> Request | None:
        """The one to join, if there is any; those that the hold's rule does not accept end here."""
        found = [r for r in self._in_order() if r.live and r.state is not ApprovalState.RESERVED and _is_for(r, raised)]
        good = []
        for request in found:
            if not accepts(raised.rule, request.raised.rule):
                self._end(request, ApprovalState.SUPERSEDED, "the policy asks for other votes by now: run it again")
            elif request.state is ApprovalState.APPROVED and not self._approved_for(request):
                self._end(request, ApprovalState.EXPIRED, "its votes hold no longer")
            elif request.state is not ApprovalState.APPROVED or self._use_for(request, raised.caused_by):
                good.append(request)
        return min(good, key=lambda r: r.state is not ApprovalState.APPROVED, default=None)

    def _open(self, raised: HoldRaised) -> Request | None:
        subject = raised.subject
        if sum(r.live and r.raised.subject == subject for r in self._requests.values()) >= MOST_OPEN:
            self._stray(raised, ApprovalState.CANCELLED, f"this identity has {MOST_OPEN} open approval requests")
            return None
        expires = self._now + raised.rule.expires_s * _SECOND_US
        request = Request(approval_id(raised.hold), ApprovalState.PENDING, raised, self._now, expires)
        self._put(request)
        self._enter(request, asked(request))
        return request

    def _join(self, request: Request, raised: HoldRaised) -> None:
        deadline = self._now + max(0, raised.deadline_us - raised.raised_us)
        held = Held(raised.hold, raised.recorder, raised.boot, deadline, None, raised.caused_by)
        running = request.running
        over = [h.hold for h in request.holds if h.answer is not None and h.hold not in running]
        if len(request.holds) - len(over) >= MOST_HOLDS:
            self._stray(raised, request.state, f"{MOST_HOLDS} runs of this command wait already")
            return
        dropped = set(over[: max(0, len(over) + 1 - MOST_ANSWERED)])
        kept = tuple(h for h in request.holds if h.hold not in dropped)
        request = self._put(replace(request, holds=(*kept, held)))
        if request.state is ApprovalState.APPROVED:
            self._grant(request, held)
        elif raised.lookup_only:
            self._refuse(request.id, held, "run it again once approved")
        else:
            self.said.append(Say(Pending(held.hold, held.recorder, request.id)))

    def _gone(self, request: Request, held: Held, why: str) -> None:
        """The client left: the request stays, for a re-run. It took the command back: nobody asks any more."""
        if why == Over.CANCELLED and request.waiting == (held,):
            self._end(request, ApprovalState.CANCELLED, "the client took it back")
        else:
            self._refuse(request.id, held, "the client does not wait any more")

    # --- one request ---------------------------------------------------------------

    def _approve(self, request: Request, settled: Settled) -> None:
        """An approval lives as long as the rule says, and not past the deadline of a vote that makes it."""
        rule = request.raised.rule
        standing = settled.uses > 1 or settled.shape is not None
        by_rule = self._now + (rule.standing_s if standing else rule.expires_s) * _SECOND_US
        review = None
        if settled.break_glass:
            review = Review(settled.voters[0], self._now + rule.review_s * _SECOND_US)
        request = self._put(
            replace(
                request,
                state=ApprovalState.APPROVED,
                expires_us=min(by_rule, *(vote.deadline_us for vote in settled.votes)),
                allowed=settled.uses,
                any_values=settled.shape is not None,
                review=review,
            )
        )
        for held in request.waiting:
            if self._use_for(request, held.caused_by):
                request = self._grant(request, held)
        if request.state is ApprovalState.APPROVED:
            for held in request.waiting:
                self._refuse(request.id, held, "who approved it stands behind this run: run it again to ask others")

    def _grant(self, request: Request, held: Held) -> Request:
        found = self._use_for(request, held.caused_by)
        if found is None:
            raise AssertionError("granting what is not approved")  # no caller does: stop before anything is said
        settled, number = found
        grant = Grant(
            hold=held.hold,
            recorder=held.recorder,
            request=request.id,
            first_hold=request.raised.hold,
            commitment=request.raised.commitment,
            votes=tuple(replace(vote, reason="") for vote in settled.votes),
            expires_us=request.expires_us,
            at_us=self._now,
            caused_by=request.raised.caused_by,
            use=number,
        )
        self._answer(request.id, held, grant)
        request = self._put(taken(self._requests[request.id], number, held.hold))
        if request.free(request.allowed) is None:
            request = self._put(replace(request, state=ApprovalState.RESERVED))
            self._enter(request, ApprovalMoved(request.id, ApprovalState.APPROVED, request.state, self._now))
            detail = "another run of the command uses the approval: run it again to ask again"
            for other in request.waiting:
                self._refuse(request.id, other, detail)
        return self._requests[request.id]

    def _use_over(self, name: ApprovalId, hold: HoldId, why: str) -> None:
        """What became of a hold that was granted."""
        found = over(self._requests[name], hold, why)
        if found is None:
            return
        request, state = found
        self._put(request)
        if state not in LIVE:
            self._end(request, state, "")
        elif state is not request.state:
            self._put(replace(request, state=state))
            self._enter(request, ApprovalMoved(name, request.state, state, self._now))

    def _end(self, request: Request, state: ApprovalState, detail: str) -> None:
        """Into a state without a way out; whoever still waits is refused."""
        self._put(replace(request, state=state, ended_us=self._now))
        if state is not ApprovalState.DENIED:  # a denial's entry is the vote itself
            self._enter(request, ApprovalMoved(request.id, request.state, state, self._now))
        for held in request.waiting:
            self._refuse(request.id, held, detail)

    def _refuse(self, request: ApprovalId, held: Held, detail: str) -> None:
        state = self._requests[request].state
        self._answer(request, held, Refusal(held.hold, held.recorder, request, state, self._now, detail))

    def _answer(self, request: ApprovalId, held: Held, answer: Grant | Refusal) -> None:
        found = self._requests[request]
        holds = tuple(replace(h, answer=answer) if h.hold == held.hold else h for h in found.holds)
        self._put(replace(found, holds=holds))
        self.said.append(Say(answer))
        self.said.append(Enter(held.recorder, answer))

    def _stray(self, raised: HoldRaised, state: ApprovalState, detail: str) -> None:
        request = approval_id(raised.hold)
        refusal = Refusal(raised.hold, raised.recorder, request, state, self._now, detail)
        self._strays = (*self._strays, refusal)[-MOST_STRAYS:]
        self.said.append(Say(refusal))
        self.said.append(Enter(raised.recorder, refusal))

    # --- votes, against today's directory ----------------------------------------

    def _settled(self, request: Request, also: tuple[str, ...] = ()) -> Settled | None:
        """`also` stand behind the hold that it is for, beside those behind the first."""
        asked, behind = request.raised, {*request.raised.caused_by, *also}
        said = settles(
            request.id, asked.commitment, request.votes, self._directory, asked.rule, asked.subject, self._now, behind
        )
        return said if isinstance(said, Settled) else None

    def _approved_for(self, request: Request) -> bool:
        settled = self._settled(request)
        return settled is not None and settled.approved

    def _use_for(self, request: Request, also: tuple[str, ...]) -> tuple[Settled, int] | None:
        """The votes that allow a use that is left, and its number."""
        settled = self._settled(request, also)
        number = request.free(settled.uses) if settled is not None and settled.approved else None
        return (settled, number) if settled is not None and number is not None else None

    def _objects(self, request: Request, vote: Vote) -> bool:
        return objects(request, vote, self._directory, self._now) is not None

    def _counts_not(self, request: Request, vote: Vote) -> bool:
        return len(vote.reason) > LONGEST_REASON or self._objects(request, vote)

    # --- reading and writing ---------------------------------------------------------

    def _in_order(self) -> list[Request]:
        """By age, whatever order a stored state came back in: outputs must not depend on it."""
        return sorted(self._requests.values(), key=lambda r: (r.opened_us, r.id))

    def _put(self, request: Request) -> Request:
        self._requests[request.id] = request
        return request

    def _enter(self, request: Request, body: Body) -> None:
        self.said.append(Enter(request.raised.recorder, body))
