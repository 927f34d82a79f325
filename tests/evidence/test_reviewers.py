"""Figures of fatigue, from entries alone."""

from __future__ import annotations

from dataclasses import replace

from approvals.votes import cast
from evidence.reviewers import Row, count
from schemas.ids import ApprovalId, HoldId, Position, SessionId, Source
from schemas.records import ApprovalRequest, ApproverRule, Band, Choice, LeafBody, LedgerEntry
from seal.sign import Signer

SECOND = 1_000_000
RULE = ApproverRule("dba", ("dba",), 2, 3600)


def entry(at_s: int, body: LeafBody) -> LedgerEntry:
    return LedgerEntry(Source("approvals:x:0:r"), Position(at_s, 0, 0), at_s * SECOND, body=body)


def asked(n: int, at_s: int) -> LedgerEntry:
    session = SessionId("r/1/1")
    body = ApprovalRequest(
        ApprovalId(f"req-{n}"), HoldId(f"hold-{n}"), session, "ci", "db", "p", b"c", RULE, 1, Band.HIGH, (), (),
        at_s * SECOND, 0, session, b"",
    )  # fmt: skip
    return entry(at_s, body)


def said(n: int, at_s: int, name: str, choice: Choice = Choice.APPROVE) -> LedgerEntry:
    return entry(at_s, cast(Signer(name, b"k" * 32), ApprovalId(f"req-{n}"), b"c", choice, 10**15, "", 0))


def test_each_reviewers_rate_and_median_by_the_buss_clock() -> None:
    found = count(
        [
            *(asked(1, 100), said(1, 103, "ann"), said(1, 160, "bob", Choice.DENY)),
            *(asked(2, 200), said(2, 209, "ann"), asked(3, 300), said(3, 360, "ann", Choice.DENY)),
            *(said(2, 400, "bob", Choice.REVOKE), said(3, 400, "cyd", Choice.REVOKE)),
        ]
    )
    assert found == [
        Row("ann", decided=3, approved=2, denied=1, revoked=0, hasty=2, median_us=9 * SECOND),
        Row("bob", decided=1, approved=0, denied=1, revoked=1, hasty=0, median_us=60 * SECOND),
        Row("cyd", decided=0, approved=0, denied=0, revoked=1, hasty=0, median_us=0),
    ]


def test_standing_votes_and_broken_glass_are_counted_and_reviews_are_no_decisions() -> None:
    wide = replace(said(1, 130, "ann").body, uses=30)  # type: ignore[type-var]
    found = count(
        [
            *(asked(1, 100), entry(130, wide), asked(2, 200), said(2, 230, "gus", Choice.BREAK_GLASS)),
            *(said(2, 300, "ann", Choice.OBJECT),),
        ]
    )
    assert found == [
        Row("ann", decided=1, approved=1, denied=0, revoked=0, hasty=0, median_us=30 * SECOND, standing=1),
        Row("gus", decided=1, approved=0, denied=0, revoked=0, hasty=0, median_us=30 * SECOND, alone=1),
    ]


def test_a_vote_on_what_was_asked_elsewhere_counts_for_nothing() -> None:
    assert count([said(1, 5, "ann")]) == []
