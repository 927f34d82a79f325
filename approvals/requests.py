"""What a request asks for, and for which holds its approval may be used."""

from __future__ import annotations

from approvals.state import Request
from approvals.votes import Directory, Why, objection
from schemas.records import ApprovalRequest, ApproverRule, HoldRaised, Vote


def same_command(asked: HoldRaised, raised: HoldRaised) -> bool:
    """The same command. The match key covers subject and target; they are compared all the same."""
    return (asked.match_key, asked.subject, asked.target) == (raised.match_key, raised.subject, raised.target)


def accepts(today: ApproverRule, asked: ApproverRule) -> bool:
    """Whether every approval under the rule that was asked under is one under today's."""
    return (
        set(asked.groups) <= set(today.groups)
        and asked.quorum >= today.quorum
        and asked.expires_s <= today.expires_s
        and (asked.reason_required or not today.reason_required)
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
    )


def objects(request: Request, vote: Vote, directory: Directory, now_us: int) -> Why | None:
    """Why this vote does not count for the request, or None."""
    about = request.raised
    return objection(vote, request.id, about.commitment, directory, about.rule, about.subject, now_us, about.caused_by)
