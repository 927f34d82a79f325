"""What the approvals step remembers: requests, their holds, recorders' boots. Values only.

The step itself is `machine.py`. A request is stored as one row (`encode_request`),
everything else as one (`encode_rest`): versioned JSON in one canonical form, with
records inside as `schemas.codec` writes them, so that an old row is read by a
newer release as an old record is.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from schemas.codec import decode, encode
from schemas.ids import ApprovalId, HoldId, RecorderId
from schemas.records import ApprovalState, Grant, HoldRaised, Refusal, Vote

LIVE = frozenset({ApprovalState.PENDING, ApprovalState.APPROVED, ApprovalState.RESERVED})
VERSION = 1

R = TypeVar("R")


class StateUnreadable(ValueError):
    """A stored row is not one of ours, or of a newer release: start with that release, or restore the table."""


@dataclass(frozen=True, slots=True)
class Held:
    """One hold of a request: a command that waits on the wire, or waited."""

    hold: HoldId
    recorder: RecorderId
    boot: int
    deadline_us: int
    answer: Grant | Refusal | None = None  # None: it waits
    caused_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Use:
    """One of the uses that an approval allows, once it was granted to a hold."""

    number: int  # from 1
    releases: int = 0  # grants that ran, or may have
    hold: HoldId | None = None  # the hold that has it now, as long as nobody knows what became of it
    kept: bool = False  # gone


@dataclass(frozen=True, slots=True)
class Review:
    """What is due after somebody broke the glass."""

    by: str  # who did
    due_us: int
    overdue: bool = False  # said so
    vote: Vote | None = None  # another person's


@dataclass(frozen=True, slots=True)
class Request:
    """One approval request. `votes` are those that counted when cast, with their reasons."""

    id: ApprovalId
    state: ApprovalState
    raised: HoldRaised  # the hold that opened it: what is asked, and what a reviewer reads
    opened_us: int
    expires_us: int  # of the request while PENDING, of the unused approval while APPROVED
    ended_us: int = 0
    votes: tuple[Vote, ...] = ()
    holds: tuple[Held, ...] = ()
    allowed: int = 1  # uses, by the votes that approved it
    any_values: bool = False  # likewise
    uses: tuple[Use, ...] = ()  # by number
    review: Review | None = None

    @property
    def live(self) -> bool:
        return self.state in LIVE

    @property
    def waiting(self) -> tuple[Held, ...]:
        return tuple(held for held in self.holds if held.answer is None)

    @property
    def kept(self) -> int:
        return sum(use.kept for use in self.uses)

    @property
    def running(self) -> frozenset[HoldId]:
        return frozenset(use.hold for use in self.uses if use.hold is not None)

    @property
    def unreviewed(self) -> bool:
        return self.review is not None and self.review.vote is None

    def free(self, most: int) -> int | None:
        """The first use up to `most` that nobody has or had."""
        taken = {use.number for use in self.uses if use.kept or use.hold is not None}
        return next((n for n in range(1, min(most, self.allowed) + 1) if n not in taken), None)


@dataclass(frozen=True, slots=True)
class State:
    """Everything. `strays`: the newest refusals of holds that belong to no request."""

    requests: Mapping[ApprovalId, Request] = field(default_factory=dict)
    boots: Mapping[RecorderId, int] = field(default_factory=dict)
    strays: tuple[Refusal, ...] = ()
    now_us: int = 0
    ignored_votes: int = 0


def encode_request(request: Request) -> bytes:
    return _json(
        {
            "v": VERSION,
            "id": request.id,
            "state": request.state.value,
            "raised": _record(request.raised),
            "times": [request.opened_us, request.expires_us, request.ended_us],
            "votes": [_record(vote) for vote in request.votes],
            "holds": [_held(held) for held in request.holds],
            "allows": [request.allowed, request.any_values],
            "uses": [[use.number, use.releases, use.hold, use.kept] for use in request.uses],
            "review": _review(request.review),
        }
    )


def decode_request(row: bytes) -> Request:
    """Raises StateUnreadable."""
    plain = _plain(row)
    try:
        opened, expires, ended = plain["times"]
        allowed, any_values = plain.get("allows", (1, False))
        return Request(
            id=ApprovalId(plain["id"]),
            state=ApprovalState(plain["state"]),
            raised=_typed(plain["raised"], HoldRaised),
            opened_us=opened,
            expires_us=expires,
            ended_us=ended,
            votes=tuple(_typed(vote, Vote) for vote in plain["votes"]),
            holds=tuple(map(_held_back, plain["holds"])),
            allowed=allowed,
            any_values=any_values,
            uses=_uses(plain),
            review=_review_back(plain.get("review")),
        )
    except (KeyError, TypeError, ValueError) as e:
        raise StateUnreadable("a stored approval request cannot be read") from e


def encode_rest(state: State) -> bytes:
    """All but the requests."""
    return _json(
        {
            "v": VERSION,
            "boots": dict(state.boots),
            "strays": [_record(refusal) for refusal in state.strays],
            "now_us": state.now_us,
            "ignored_votes": state.ignored_votes,
        }
    )


def decode_state(rest: bytes, requests: Iterable[bytes]) -> State:
    """Raises StateUnreadable."""
    plain = _plain(rest)
    found = [decode_request(row) for row in requests]
    try:
        return State(
            requests={r.id: r for r in sorted(found, key=lambda r: (r.opened_us, r.id))},
            boots={RecorderId(name): int(boot) for name, boot in plain["boots"].items()},
            strays=tuple(_typed(refusal, Refusal) for refusal in plain["strays"]),
            now_us=plain["now_us"],
            ignored_votes=plain["ignored_votes"],
        )
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise StateUnreadable("the stored state of the approvals step cannot be read") from e


def _uses(plain: dict[str, Any]) -> tuple[Use, ...]:
    if "uses" in plain:
        return tuple(
            Use(n, releases, None if hold is None else HoldId(hold), kept) for n, releases, hold, kept in plain["uses"]
        )
    hold, releases = plain.get("use", (None, 0))  # rows of 0.1.0 have this, or nothing
    if hold is None and not releases:
        return ()
    ended = ApprovalState(plain["state"]) is ApprovalState.USED
    return (Use(1, releases, None if hold is None else HoldId(hold), kept=ended),)


def _review(review: Review | None) -> list[Any] | None:
    if review is None:
        return None
    return [review.by, review.due_us, review.overdue, None if review.vote is None else _record(review.vote)]


def _review_back(plain: list[Any] | None) -> Review | None:
    if plain is None:
        return None
    by, due, overdue, vote = plain
    return Review(by, due, overdue, None if vote is None else _typed(vote, Vote))


def _held(held: Held) -> list[Any]:
    answer = None if held.answer is None else _record(held.answer)
    return [held.hold, held.recorder, held.boot, held.deadline_us, answer, list(held.caused_by)]


def _held_back(plain: list[Any]) -> Held:
    hold, recorder, boot, deadline, answer, *more = plain
    caused_by = tuple(map(str, more[0])) if more else ()  # rows of 0.1.0 have none
    record = None if answer is None else decode(base64.b64decode(answer, validate=True))
    if not isinstance(record, Grant | Refusal | None):
        raise TypeError(f"a {type(record).__name__} where an answer belongs")
    return Held(HoldId(hold), RecorderId(recorder), boot, deadline, record, caused_by)


def _record(record: HoldRaised | Vote | Grant | Refusal) -> str:
    return base64.b64encode(encode(record)).decode()


def _typed(text: str, kind: type[R]) -> R:
    record = decode(base64.b64decode(text, validate=True))
    if not isinstance(record, kind):
        raise TypeError(f"a {type(record).__name__} where a {kind.__name__} belongs")
    return record


def _json(plain: dict[str, Any]) -> bytes:
    return json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()


def _plain(row: bytes) -> dict[str, Any]:
    try:
        plain = json.loads(row)
    except ValueError as e:
        raise StateUnreadable("a stored row of the approvals step is not JSON") from e
    if not isinstance(plain, dict) or plain.get("v") != VERSION:
        raise StateUnreadable("a stored row of the approvals step is of another release")
    return plain
