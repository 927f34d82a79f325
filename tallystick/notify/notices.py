"""From a record to words: which records a person is told of, and what is said. Pure.

A new kind of record is a line of `_WORDS` and a function that gives its `Told`. What is said comes from
leaves alone: names passed the mask's detectors, values and reviewers' reasons are not in them.
Whoever wrote a name may not write our words: it is made visible where it stands in a text.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from policy.signals import table
from schemas.codec import CodecError, decode, encode
from schemas.ids import ApprovalId, Position, Source
from schemas.records import (
    ApprovalMoved,
    ApprovalRequest,
    ApprovalState,
    Choice,
    Conflict,
    Gap,
    HoldGone,
    LeafBody,
    MaskingFailed,
    Over,
    ScreenDisagrees,
    Undecoded,
    Vote,
)
from tallystick.notify.kinds import Kind
from tallystick.recorded import iso
from tallystick.visible import unambiguous

MOST_KNOWN = 1_000
"""Requests remembered; of an older one only its id is told."""
MOST_EFFECTS = 5
LONGEST_NAME = 200
"""Characters of a name in a text."""


@dataclass(frozen=True, slots=True)
class Told:
    """What is to be said of one record. `about` names the request; "" for none."""

    kind: Kind
    title: str
    lines: tuple[tuple[str, str], ...] = ()  # label and value, as people read them
    facts: Mapping[str, Any] = field(default_factory=dict)  # the same for programs: JSON
    about: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    """Told, with its place: `id` is the same whenever the same record is read again."""

    id: str
    at_us: int
    offset: int  # of the message of `events` that it came in
    told: Told
    target: str = ""  # these three are what a channel chooses by; no request: ""
    groups: tuple[str, ...] = ()
    score: int = 0


@dataclass(frozen=True, slots=True)
class Known:
    """A request, as it was opened, and who said yes since, in order."""

    asked: ApprovalRequest
    approvers: tuple[str, ...] = ()


class Memory:
    """The requests that notices are about. Reading a record again changes nothing, so it may be ahead of a reader."""

    def __init__(self, known: Mapping[ApprovalId, Known] | None = None) -> None:
        self._known = dict(known or {})
        self.changed = False

    def get(self, request: ApprovalId) -> Known | None:
        return self._known.get(request)

    def opened(self, asked: ApprovalRequest) -> None:
        if asked.request not in self._known:
            self._put(Known(asked))

    def said_yes(self, known: Known, reviewer: str) -> Known:
        if reviewer in known.approvers:
            return known
        more = replace(known, approvers=(*known.approvers, reviewer))
        self._put(more)
        return more

    def _put(self, known: Known) -> None:
        self._known[known.asked.request] = known
        while len(self._known) > MOST_KNOWN:
            del self._known[next(iter(self._known))]
        self.changed = True

    def dump(self) -> bytes:
        rows = [[base64.b64encode(encode(k.asked)).decode(), list(k.approvers)] for k in self._known.values()]
        return json.dumps({"v": 1, "requests": rows}).encode()

    @classmethod
    def load(cls, raw: bytes) -> Memory:
        """What cannot be read is forgotten: it is there for fuller words only."""
        known: dict[ApprovalId, Known] = {}
        try:
            for row, approvers in json.loads(raw)["requests"]:
                asked = decode(base64.b64decode(row))
                if isinstance(asked, ApprovalRequest):
                    known[asked.request] = Known(asked, tuple(map(str, approvers)))
        except (ValueError, KeyError, TypeError, CodecError):
            pass
        return cls(known)


def notice(body: LeafBody, source: Source, at: Position, time_us: int, offset: int, memory: Memory) -> Notice | None:
    """None where there is nothing to tell. What the record says of a request is remembered."""
    say = _WORDS.get(type(body).__name__)
    told = say(body, memory) if say else None
    if told is None:
        return None
    known = memory.get(ApprovalId(told.about)) if told.about else None
    name = hashlib.sha256(f"{source} {at.major} {at.minor} {at.index}".encode()).hexdigest()[:32]
    if known is None:
        return Notice(name, time_us, offset, told)
    return Notice(name, time_us, offset, told, known.asked.target, known.asked.rule.groups, known.asked.score)


# --- requests ------------------------------------------------------------------------------


def _opened(body: ApprovalRequest, memory: Memory) -> Told:
    memory.opened(body)
    reasons = [(s, _reasons().get(s, "")) for s in body.signals]
    people = "person" if body.rule.quorum == 1 else "people"
    lines = (
        ("subject", _name(body.subject)),
        ("target", f"{_name(body.target)} ({_name(body.environment)})"),
        ("effects", _effects(body)),
        ("risk", f"{body.band} {body.score}"),
        *(("signal", f"{s}: {reason}" if reason else s) for s, reason in reasons),
        ("needs", f"{body.rule.quorum} {people} of {', '.join(map(_name, body.rule.groups))}"),
        *(("behind it", f"{_name(who)}: no vote of theirs counts") for who in body.caused_by),
        ("ends", _time(body.expires_us)),
    )
    facts = {
        **_facts(body),
        "signals": [{"id": s, "reason": reason} for s, reason in reasons],
        "effects": [{"effect": e.effect, "relation": e.relation} for e in body.effects],
        "rule": body.rule.name,
        "groups": list(body.rule.groups),
        "quorum": body.rule.quorum,
        "reason_required": body.rule.reason_required,
        "opened": _time(body.opened_us),
        "expires": _time(body.expires_us),
        "caused_by": list(body.caused_by),
    }
    return Told(Kind.OPENED, f"Approval wanted: {_what(body)}", lines, facts, body.request)


def _voted(body: Vote, memory: Memory) -> Told | None:
    """One no is enough; the yes that completes the quorum is told, those before it are not."""
    known = memory.get(body.request)
    if body.choice is not Choice.APPROVE:
        kind, words = _NOES[body.choice]
        return _moved_to(kind, words, body.request, known, (body.reviewer,))
    if known is None:
        words = "Approved, perhaps not yet by all who must"
        return _moved_to(Kind.APPROVED, words, body.request, None, (body.reviewer,))
    known = memory.said_yes(known, body.reviewer)
    quorum = known.approvers[: known.asked.rule.quorum]
    if len(quorum) < known.asked.rule.quorum or quorum[-1] != body.reviewer:
        return None
    return _moved_to(Kind.APPROVED, "Approved", body.request, known, quorum)


_NOES = {Choice.DENY: (Kind.DENIED, "Denied"), Choice.REVOKE: (Kind.REVOKED, "Revoked")}
_UNUSED = "Ended: the approval was not used in time"
_ENDS = {
    (ApprovalState.PENDING, ApprovalState.EXPIRED): (Kind.EXPIRED, "Ended: nobody decided in time"),
    (ApprovalState.APPROVED, ApprovalState.EXPIRED): (Kind.EXPIRED, _UNUSED),
    (ApprovalState.PENDING, ApprovalState.CANCELLED): (Kind.CANCELLED, "Taken back by the client"),
    (ApprovalState.RESERVED, ApprovalState.USED): (Kind.USED, "Used"),
    (ApprovalState.RESERVED, ApprovalState.APPROVED): (Kind.RETURNED, "Undone, so it may be used again"),
}
"""By the states before and after. A request that is revoked or denied is told of by the vote."""


def _moved(body: ApprovalMoved, memory: Memory) -> Told | None:
    known = memory.get(body.request)
    if body.after is ApprovalState.SUPERSEDED:
        return _moved_to(Kind.SUPERSEDED, "Ended: the policy asks for other votes by now", body.request, known, ())
    kind, words = _ENDS.get((body.before, body.after), (None, ""))
    return None if kind is None else _moved_to(kind, words, body.request, known, ())


def _moved_to(kind: Kind, words: str, request: ApprovalId, known: Known | None, by: tuple[str, ...]) -> Told:
    who = f" by {', '.join(map(_name, by))}" if by else ""
    facts: dict[str, Any] = {"request": request, **(_facts(known.asked) if known else {}), "reviewers": list(by)}
    if known is None:
        return Told(kind, f"{words}{who}: {request}", (), facts, request)
    lines = (
        ("subject", _name(known.asked.subject)),
        ("target", f"{_name(known.asked.target)} ({_name(known.asked.environment)})"),
        ("effects", _effects(known.asked)),
    )
    return Told(kind, f"{words}{who}: {_what(known.asked)}", lines, facts, request)


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


def _what(asked: ApprovalRequest) -> str:
    return f"{_name(asked.subject)} on {_name(asked.target)}, {asked.band} {asked.score}"


def _effects(asked: ApprovalRequest) -> str:
    said = [f"{e.effect} {_name(e.relation)}".strip() for e in asked.effects]
    more = f" and {len(said) - MOST_EFFECTS} more" if len(said) > MOST_EFFECTS else ""
    return ", ".join(said[:MOST_EFFECTS]) + more or "none known"


@cache
def _reasons() -> dict[str, str]:
    return {signal.id: signal.reason for signal in table().values()}


# --- alarms --------------------------------------------------------------------------------


def _gap(body: Gap, memory: Memory) -> Told:
    where = f"{body.missing_source} after {_place(body.after)}, before {_place(body.before)}"
    return _alarm("Gap", "Part of the record is missing", (("where", where), ("reason", body.reason)))


def _undecoded(body: Undecoded, memory: Memory) -> Told:
    whose = (("session", body.session),) if body.session else ()
    lines = (*whose, ("where", f"{body.topic} {body.where}"), ("reason", body.reason))
    return _alarm("Undecoded", "Part of the record could not be read", lines)


def _conflict(body: Conflict, memory: Memory) -> Told:
    where = f"{body.conflicting_source} at {_place(body.at)}"
    return _alarm("Conflict", "One position of the record came twice with unlike contents", (("where", where),))


def _disagrees(body: ScreenDisagrees, memory: Memory) -> Told:
    lines = (
        ("session", body.session),
        ("command", str(body.number)),
        ("gateway", body.screen.value),
        ("pipeline", body.pipeline.value),
    )
    return _alarm("ScreenDisagrees", "A gateway decided on a command otherwise than the policy says", lines)


def _masking(body: MaskingFailed, memory: Memory) -> Told:
    lines = (("session", body.session), ("detector", body.detector), ("values", f"{body.values}, all withheld"))
    return _alarm("MaskingFailed", "A part of the mask failed", lines)


def _hold_gone(body: HoldGone, memory: Memory) -> Told | None:
    if body.why != Over.UNVERIFIED:
        return None
    words = "A gateway refused an approval whose votes do not hold: somebody may have forged it"
    return _alarm("HoldGone", words, (("hold", body.hold),))


def _alarm(record: str, title: str, lines: tuple[tuple[str, str], ...]) -> Told:
    facts = {"record": record, **{label.replace(" ", "_"): value for label, value in lines}}
    shown = tuple((label, _name(value)) for label, value in lines)
    return Told(Kind.ALARM, title, (*shown, ("look", f"tallystick events --kind {record}")), facts)


_WORDS: dict[str, Callable[[Any, Memory], Told | None]] = {
    "ApprovalRequest": _opened,
    "Vote": _voted,
    "ApprovalMoved": _moved,
    "Gap": _gap,
    "Undecoded": _undecoded,
    "Conflict": _conflict,
    "ScreenDisagrees": _disagrees,
    "MaskingFailed": _masking,
    "HoldGone": _hold_gone,
}
"""By the name of a leaf's record."""

TOLD_OF = frozenset(_WORDS)


# --- words ---------------------------------------------------------------------------------


def _name(text: str) -> str:
    shown = unambiguous(text)
    return shown if len(shown) <= LONGEST_NAME else f"{shown[:LONGEST_NAME]}…"


def _place(at: Position) -> str:
    return ".".join(map(str, at))


def _time(at_us: int) -> str:
    return iso(at_us)[:19] + "Z"


def trial(at_us: int) -> Notice:
    """Told when somebody asks whether a channel works."""
    told = Told(Kind.TEST, "A test by `tallystick notify test`: this channel works")
    return Notice(hashlib.sha256(f"test {at_us}".encode()).hexdigest()[:32], at_us, -1, told)
