"""How the uses that an approval allows are taken, come back, and end. Pure: a request in, the next one out."""

from __future__ import annotations

from dataclasses import replace

from approvals.grants import MOST_USES
from approvals.state import Request, Use
from schemas.ids import HoldId
from schemas.records import ApprovalState, Choice, Over

NEVER_RAN = frozenset({Over.CLIENT_LEFT, Over.CANCELLED, Over.TIMEOUT, Over.CHANGED, Over.NOT_RECORDED, Over.SUSPENDED})


def taken(request: Request, number: int, hold: HoldId) -> Request:
    """The use is granted to this hold."""
    before = next((use for use in request.uses if use.number == number), Use(number))
    return _with(request, replace(before, releases=before.releases + 1, hold=hold))


def over(request: Request, hold: HoldId, why: str) -> tuple[Request, ApprovalState] | None:
    """What became of a hold that was granted, and the state that the request is in by that; None if it has no use.
    A word that this release does not know: it ran."""
    use = next((use for use in request.uses if use.hold == hold), None)
    if use is None or not request.live:
        return None
    releases = use.releases - (why in NEVER_RAN)
    kept = why not in (*NEVER_RAN, Over.UNDONE) or releases >= MOST_USES
    back = _with(request, replace(use, releases=releases, hold=None, kept=kept))
    if why == Over.UNVERIFIED:
        return back, ApprovalState.SUPERSEDED
    if back.kept >= back.allowed:
        return back, ApprovalState.USED
    if any(vote.choice is Choice.REVOKE for vote in back.votes):
        return back, ApprovalState.REVOKED
    return back, back.state if kept else ApprovalState.APPROVED


def _with(request: Request, use: Use) -> Request:
    others = (other for other in request.uses if other.number != use.number)
    return replace(request, uses=tuple(sorted((*others, use), key=lambda u: u.number)))
