"""Approvals that are more than people's yes to one run of one command: standing ones, and broken glass. Pure.

Broken glass is named in every bundle, whatever its period, until another person's review is in the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from evidence.logcheck import Indexed, Log
from schemas.ids import ApprovalId
from schemas.records import ApprovalRequest, Choice, Grant, HoldGone, Over, Released, Vote

REVIEWS = frozenset({Choice.ACCEPT, Choice.OBJECT})


@dataclass(frozen=True, slots=True)
class Glass:
    """One person approved alone. `review`: accept, object, due or OVERDUE."""

    request: ApprovalId
    by: str
    subject: str
    target: str
    at_us: int
    released: int
    due_us: int
    review: str
    reviewer: str
    reviewed_us: int


@dataclass(frozen=True, slots=True)
class Standing:
    """One approval for several uses, or for any values. `used`: what was released and not seen undone."""

    request: ApprovalId
    subject: str
    target: str
    reviewers: tuple[str, ...]
    allowed: int
    any_values: bool
    until_us: int
    used: int
    first_us: int
    last_us: int


def glass(log: Log, from_us: int, to_us: int) -> list[Glass]:
    """What was broken in the period, or before it and is not reviewed by its end; by time."""
    entries = _until(log, to_us)
    requests = _requests(entries)
    reviews: dict[ApprovalId, Indexed] = {}
    for e in entries:
        if isinstance(e.entry.body, Vote) and e.entry.body.choice in REVIEWS:
            reviews.setdefault(e.entry.body.request, e)
    found = []
    for at_us, vote in _votes(entries):
        if vote.choice is not Choice.BREAK_GLASS:
            continue
        asked, review = requests.get(vote.request), reviews.get(vote.request)
        if at_us < from_us and review is not None:
            continue
        due_us = at_us + (asked.rule.review_s if asked else 0) * 1_000_000
        said = review.entry.body if review is not None else None
        word = said.choice.value if isinstance(said, Vote) else "OVERDUE" if due_us <= to_us else "due"
        found.append(
            Glass(
                request=vote.request,
                by=vote.reviewer,
                subject=asked.subject if asked else "",
                target=asked.target if asked else "",
                at_us=at_us,
                released=sum(isinstance(b, Released) and b.request == vote.request for b in _bodies(entries)),
                due_us=due_us,
                review=word,
                reviewer=said.reviewer if isinstance(said, Vote) else "",
                reviewed_us=review.entry.time_us if review is not None else 0,
            )
        )
    return found


def standing(log: Log, from_us: int, to_us: int) -> list[Standing]:
    """Those on which something was released in the period; their uses are counted from their beginning."""
    entries = _until(log, to_us)
    requests = _requests(entries)
    grants: dict[ApprovalId, Grant] = {}
    times: dict[ApprovalId, list[int]] = {}
    undone = {b.hold for b in _bodies(entries) if isinstance(b, HoldGone) and b.why == Over.UNDONE}
    for e in entries:
        body = e.entry.body
        if isinstance(body, Grant) and any(vote.uses != 1 or vote.shape is not None for vote in body.votes):
            grants.setdefault(body.request, body)
        elif isinstance(body, Released) and body.hold not in undone:
            times.setdefault(body.request, []).append(e.entry.time_us)
    found = []
    for request, grant in sorted(grants.items()):
        released, asked = times.get(request, []), requests.get(request)
        allowed = min(vote.uses for vote in grant.votes)
        any_values = all(vote.shape is not None for vote in grant.votes)
        if not released or max(released) < from_us or (allowed == 1 and not any_values):
            continue
        found.append(
            Standing(
                request=request,
                subject=asked.subject if asked else "",
                target=asked.target if asked else "",
                reviewers=tuple(vote.reviewer for vote in grant.votes),
                allowed=allowed,
                any_values=any_values,
                until_us=min(grant.expires_us, *(vote.deadline_us for vote in grant.votes)),
                used=len(released),
                first_us=min(released),
                last_us=max(released),
            )
        )
    return found


def _until(log: Log, to_us: int) -> list[Indexed]:
    return [e for e in log.entries if e.entry.time_us < to_us]


def _bodies(entries: Iterable[Indexed]) -> Iterator[object]:
    return (e.entry.body for e in entries)


def _requests(entries: Iterable[Indexed]) -> dict[ApprovalId, ApprovalRequest]:
    return {b.request: b for b in _bodies(entries) if isinstance(b, ApprovalRequest)}


def _votes(entries: Iterable[Indexed]) -> Iterator[tuple[int, Vote]]:
    return ((e.entry.time_us, e.entry.body) for e in entries if isinstance(e.entry.body, Vote))
