"""Who may lift a suspension: one reviewer of the policy's groups for it, with a reason, and not for an own run."""

from __future__ import annotations

from approvals.votes import Directory, Why, objection
from schemas.ids import ApprovalId
from schemas.records import ApproverRule, Choice, Suspended, Vote
from seal.suspension import suspension_digest


def objects(suspended: Suspended, vote: Vote, directory: Directory, groups: tuple[str, ...], now_us: int) -> Why | None:
    """Why this vote does not lift it, or None. It is over the suspension's id and the digest of what it says."""
    if vote.choice is not Choice.APPROVE:
        return Why.OTHER_COMMAND
    rule = ApproverRule("resume", groups, 1, 0, reason_required=True)
    behind = {*suspended.caused_by, *directory.behind(suspended.subject, ())}
    commitment = suspension_digest(suspended)
    return objection(
        vote, ApprovalId(suspended.suspension), commitment, directory, rule, suspended.subject, now_us, behind
    )
