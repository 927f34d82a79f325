"""What is said of approval requests. Pure."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from approvals.votes import Settled
from policy.signals import table
from schemas.codec import CodecError, decode, encode
from schemas.ids import ApprovalId
from schemas.records import ApprovalMoved, ApprovalRequest, ApprovalState, Choice, Vote
from tallystick.asked import about
from tallystick.notify.kinds import Kind
from tallystick.notify.told import Told, shown, when

MOST_KNOWN = 1_000
"""Requests remembered; of an older one only its id is told."""
MOST_EFFECTS = 5


@dataclass(frozen=True, slots=True)
class Known:
    """A request, as it was opened, and who said yes since: each one's first, in order."""

    asked: ApprovalRequest
    yes: tuple[Vote, ...] = ()


class Memory:
    """The requests that notices are about, and of which topic they were read. Reading a record again changes nothing,
    so it may be ahead of a reader."""

    def __init__(self, known: Mapping[ApprovalId, Known] | None = None, topic: str = "") -> None:
        self._known, self.topic = dict(known or {}), topic
        self.changed = False

    def of(self, topic: str) -> None:
        self.changed, self.topic = self.changed or topic != self.topic, topic

    def get(self, request: ApprovalId) -> Known | None:
        return self._known.get(request)

    def opened(self, asked: ApprovalRequest) -> None:
        if asked.request not in self._known:
            self._put(Known(asked))

    def said_yes(self, known: Known, vote: Vote) -> Known:
        if any(yes.reviewer == vote.reviewer for yes in known.yes):
            return known
        more = replace(known, yes=(*known.yes, vote))
        self._put(more)
        return more

    def _put(self, known: Known) -> None:
        self._known[known.asked.request] = known
        while len(self._known) > MOST_KNOWN:
            del self._known[next(iter(self._known))]
        self.changed = True

    def dump(self) -> bytes:
        rows = [[_row(known.asked), *map(_row, known.yes)] for known in self._known.values()]
        return json.dumps({"v": 1, "topic": self.topic, "requests": rows}).encode()

    @classmethod
    def load(cls, raw: bytes) -> Memory:
        """What cannot be read is forgotten: it is there for fuller words only."""
        known: dict[ApprovalId, Known] = {}
        topic = ""
        try:
            plain = json.loads(raw)
            topic = str(plain["topic"])
            for row in plain["requests"]:
                asked, *yes = (decode(base64.b64decode(record)) for record in row)
                if isinstance(asked, ApprovalRequest):
                    known[asked.request] = Known(asked, tuple(vote for vote in yes if isinstance(vote, Vote)))
        except (ValueError, KeyError, TypeError, CodecError):
            pass
        return cls(known, topic)


def _row(record: ApprovalRequest | Vote) -> str:
    return base64.b64encode(encode(record)).decode()


def opened(body: ApprovalRequest, memory: Memory) -> Told:
    memory.opened(body)
    reasons = [(s, _reasons().get(s, "")) for s in body.signals]
    people = "person" if body.rule.quorum == 1 else "people"
    lines = (
        ("subject", shown(body.subject)),
        ("target", f"{shown(body.target)} ({shown(body.environment)})"),
        ("effects", _effects(body)),
        ("risk", f"{body.band} {body.score}"),
        *(("signal", f"{shown(s)}: {reason}" if reason else shown(s)) for s, reason in reasons),
        ("needs", f"{body.rule.quorum} {people} of {', '.join(map(shown, body.rule.groups))}"),
        *(("behind it", f"{shown(who)}: no vote of theirs counts") for who in body.caused_by),
        ("ends", when(body.expires_us)),
    )
    rows = {size.relation: size.rows for size in body.sizes}
    facts = {
        **_facts(body),
        "signals": [{"id": s, "reason": reason} for s, reason in reasons],
        "effects": [
            {"effect": e.effect, "relation": e.relation, "relation_rows": rows.get(e.relation)} for e in body.effects
        ],
        "rule": body.rule.name,
        "groups": list(body.rule.groups),
        "quorum": body.rule.quorum,
        "reason_required": body.rule.reason_required,
        "opened": when(body.opened_us),
        "expires": when(body.expires_us),
        "caused_by": list(body.caused_by),
    }
    return Told(Kind.OPENED, f"Approval wanted: {_what(body)}", lines, facts, body.request, *_chosen(body))


def voted(body: Vote, memory: Memory) -> Told | None:
    """One no is enough; the yes that completes the quorum is told, those before it are not."""
    known = memory.get(body.request)
    if body.choice is not Choice.APPROVE:
        kind, words = _BY_ONE.get(body.choice, (None, ""))
        told = None if kind is None else _moved_to(kind, words, body.request, known, (body.reviewer,))
        if told is None or kind is not Kind.BREAK_GLASS:
            return told
        review = f"tallystick review {shown(body.request)} --accept --reason '…'   (or --object)"
        return replace(told, lines=(*told.lines, ("review", review)))
    if known is None:
        words = "Approved, perhaps not yet by all who must"
        return _moved_to(Kind.APPROVED, words, body.request, None, (body.reviewer,))
    quorum = memory.said_yes(known, body).yes[: known.asked.rule.quorum]
    if len(quorum) < known.asked.rule.quorum or quorum[-1].reviewer != body.reviewer:
        return None
    return _approved(body.request, known, quorum)


def _approved(request: ApprovalId, known: Known, quorum: tuple[Vote, ...]) -> Told:
    """With what all of these votes allow."""
    settled = Settled(True, quorum, ())
    uses, any_values = settled.uses, settled.shape is not None
    until = when(min(vote.deadline_us for vote in quorum))
    told = _moved_to(Kind.APPROVED, "Approved", request, known, settled.voters)
    facts = {**told.facts, "uses": uses, "any_values": any_values, "votes_end": until}
    if uses == 1 and not any_values:
        return replace(told, facts=facts)
    allowed = f"{uses} uses until {until}{', with any values' if any_values else ''}"
    return replace(told, lines=(*told.lines, ("allowed", allowed)), facts=facts)


_BY_ONE = {
    Choice.DENY: (Kind.DENIED, "Denied"),
    Choice.REVOKE: (Kind.REVOKED, "Revoked"),
    Choice.BREAK_GLASS: (Kind.BREAK_GLASS, "The glass was broken, and another person must review it: let through"),
    Choice.ACCEPT: (Kind.REVIEWED, "Breaking the glass was found right"),
    Choice.OBJECT: (Kind.REVIEWED, "Breaking the glass was found WRONG"),
}
"""Votes that say all by themselves."""
_UNUSED = "Ended: the approval was not used in time"
_ENDS = {
    (ApprovalState.PENDING, ApprovalState.EXPIRED): (Kind.EXPIRED, "Ended: nobody decided in time"),
    (ApprovalState.APPROVED, ApprovalState.EXPIRED): (Kind.EXPIRED, _UNUSED),
    (ApprovalState.PENDING, ApprovalState.CANCELLED): (Kind.CANCELLED, "Taken back by the client"),
    (ApprovalState.RESERVED, ApprovalState.USED): (Kind.USED, "Used"),
    (ApprovalState.RESERVED, ApprovalState.APPROVED): (Kind.RETURNED, "The approval may be used again"),
}
"""By the states before and after. A request that is revoked or denied is told of by the vote."""


def moved(body: ApprovalMoved, memory: Memory) -> Told | None:
    known = memory.get(body.request)
    if body.after is ApprovalState.SUPERSEDED:
        return _moved_to(Kind.SUPERSEDED, "Ended: the policy asks for other votes by now", body.request, known, ())
    kind, words = _ENDS.get((body.before, body.after), (None, ""))
    return None if kind is None else _moved_to(kind, words, body.request, known, ())


def _moved_to(kind: Kind, words: str, request: ApprovalId, known: Known | None, by: tuple[str, ...]) -> Told:
    who = f" by {', '.join(map(shown, by))}" if by else ""
    facts: dict[str, Any] = {"request": request, **(_facts(known.asked) if known else {}), "reviewers": list(by)}
    if known is None:
        return Told(kind, f"{words}{who}: {shown(request)}", (), facts, request)
    lines = (
        ("subject", shown(known.asked.subject)),
        ("target", f"{shown(known.asked.target)} ({shown(known.asked.environment)})"),
        ("effects", _effects(known.asked)),
    )
    return Told(kind, f"{words}{who}: {_what(known.asked)}", lines, facts, request, *_chosen(known.asked))


def _facts(asked: ApprovalRequest) -> dict[str, Any]:
    return {
        "request": asked.request,
        "subject": asked.subject,
        "target": asked.target,
        "environment": asked.environment,
        "session": asked.session,
        "score": asked.score,
        "band": asked.band.value,
        "commitment": asked.commitment.hex(),
    }


def _chosen(asked: ApprovalRequest) -> tuple[str, tuple[str, ...], int]:
    return asked.target, asked.rule.groups, asked.score


def _what(asked: ApprovalRequest) -> str:
    return f"{shown(asked.subject)} on {shown(asked.target)}, {asked.band} {asked.score}"


def _effects(asked: ApprovalRequest) -> str:
    rows = {size.relation: f" ({about(size.rows)})" for size in asked.sizes}
    said = [f"{e.effect} {shown(e.relation)}".strip() + rows.get(e.relation, "") for e in asked.effects]
    more = f" and {len(said) - MOST_EFFECTS} more" if len(said) > MOST_EFFECTS else ""
    return ", ".join(said[:MOST_EFFECTS]) + more or "none known"


@cache
def _reasons() -> dict[str, str]:
    return {signal.id: signal.reason for signal in table().values()}
