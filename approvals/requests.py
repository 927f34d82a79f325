"""What a request asks for, and for which holds its approval may be used."""

from __future__ import annotations

from approvals.state import Request
from approvals.votes import REVIEWING, Directory, Why, objection
from schemas.records import ApprovalRequest, ApprovalState, ApproverRule, Choice, HoldRaised, Vote


def same_command(asked: HoldRaised, raised: HoldRaised) -> bool:
    """The same command. The match key covers subject and target; they are compared all the same."""
    return (asked.match_key, asked.subject, asked.target) == (raised.match_key, raised.subject, raised.target)


def same_shape(asked: HoldRaised, raised: HoldRaised) -> bool:
    """The same command but for its values."""
    known = raised.shape_key is not None
    return known and (asked.shape_key, asked.subject, asked.target) == (raised.shape_key, raised.subject, raised.target)


def accepts(today: ApproverRule, asked: ApproverRule) -> bool:
    """Whether every approval under the rule that was asked under is one under today's."""
    return (
        set(asked.groups) <= set(today.groups)
        and asked.quorum >= today.quorum
        and asked.expires_s <= today.expires_s
        and (asked.reason_required or not today.reason_required)
        and asked.standing_s <= today.standing_s
        and asked.standing_uses <= today.standing_uses
        and asked.any_values <= today.any_values
        and asked.break_glass <= today.break_glass
        and asked.break_glass_own <= today.break_glass_own
        and asked.review_s <= today.review_s
    )


def asked(request: Request) -> ApprovalRequest:
    raised = request.raised
    return ApprovalRequest(
        request=request.id,
        first_hold=raised.hold,
        session=raised.session,
        subject=raised.subject,
        target=raised.target,
        environment=raised.environment,
        commitment=raised.commitment,
        rule=raised.rule,
        score=raised.score,
        band=raised.band,
        signals=raised.signals,
        effects=raised.effects,
        opened_us=request.opened_us,
        expires_us=request.expires_us,
        content_session=raised.session,
        content_sha256=raised.content_sha256,
        caused_by=raised.caused_by,
        shape=raised.shape,
        sizes=raised.sizes,
    )


def takes(request: Request, choice: Choice) -> bool:
    """Whether such a vote may be cast on the request as it stands."""
    if choice is Choice.REVOKE:
        return request.live
    if choice in REVIEWING:
        return request.unreviewed
    return request.state is ApprovalState.PENDING


def objects(request: Request, vote: Vote, directory: Directory, now_us: int) -> Why | None:
    """Why this vote does not count for the request, or None."""
    about = request.raised
    if vote.shape is not None and vote.shape != about.shape:
        return Why.OTHER_COMMAND
    behind = about.caused_by
    if vote.choice in REVIEWING and request.review is not None:
        behind = (*behind, request.review.by)
    return objection(vote, request.id, about.commitment, directory, about.rule, about.subject, now_us, behind)
