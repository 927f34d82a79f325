"""How reviewers decide, counted from ledger entries. Pure.

Who is asked too often reads no longer what they sign: that shows as many yeses, and quick
ones. Both times are the bus's: when the request was opened, and when the vote came.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median_low

from schemas.ids import ApprovalId
from schemas.records import ApprovalRequest, Choice, LedgerEntry, Vote

HASTY_US = 10_000_000
"""A decision within ten seconds: the command was hardly read."""


_DECISIONS = (Choice.APPROVE, Choice.DENY, Choice.BREAK_GLASS)


@dataclass(frozen=True, slots=True)
class Row:
    """One reviewer's counted votes. `decided`: of requests that are among the entries: approved, denied, or alone."""

    reviewer: str
    decided: int
    approved: int
    denied: int
    revoked: int
    hasty: int
    median_us: int  # from the request's opening to the decision; 0 where nothing was decided
    standing: int = 0  # of those approved: for several uses, or any values
    alone: int = 0  # broke the glass


def count(entries: Iterable[LedgerEntry]) -> list[Row]:
    """By name."""
    opened: dict[ApprovalId, int] = {}
    took: dict[str, list[int]] = {}
    said: dict[str, list[Vote]] = {}
    for entry in entries:
        body = entry.body
        if isinstance(body, ApprovalRequest):
            opened[body.request] = body.opened_us
        elif isinstance(body, Vote) and body.request in opened:
            said.setdefault(body.reviewer, []).append(body)
            if body.choice in _DECISIONS:
                took.setdefault(body.reviewer, []).append(max(0, entry.time_us - opened[body.request]))
    return [_row(name, choices, took.get(name, [])) for name, choices in sorted(said.items())]


def _row(name: str, votes: list[Vote], took: list[int]) -> Row:
    said = [vote.choice for vote in votes]
    return Row(
        reviewer=name,
        decided=len(took),
        approved=said.count(Choice.APPROVE),
        denied=said.count(Choice.DENY),
        revoked=said.count(Choice.REVOKE),
        hasty=sum(us < HASTY_US for us in took),
        median_us=median_low(took) if took else 0,
        standing=sum(vote.uses != 1 or vote.shape is not None for vote in votes),
        alone=said.count(Choice.BREAK_GLASS),
    )
