"""The page an auditor opens first: one HTML file, no script, no network. Made from what was counted, deterministic."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined

from evidence.approved import glass, standing
from evidence.logcheck import Indexed, Log
from evidence.tables import BEHAVIOUR, Query, approvals, chosen, draw, exceptions, population, seen
from ledger.note import VerifierKey
from schemas.ids import ApprovalId
from schemas.records import (
    ApprovalMoved,
    ApprovalRequest,
    Choice,
    Exchange,
    Grant,
    HoldGone,
    LeafBody,
    Over,
    Refusal,
    Released,
    Vote,
)

WORD = (
    "Which root key signs enrolments, and which keys are the reviewers', is the operator's word in keys/: compare them "
    "with what those people say."
)
LIMITS = (
    "The log's key signs what its operator wrote. Only somebody outside who kept an earlier checkpoint can show "
    "that the operator did not replace the whole log; compare the checkpoints here with those you hold.",
    "The trusted key must come from another hand than this bundle.",
    WORD,
    "Masked text of samples is the operator's word, under the manifest's signature; the entries themselves are proved.",
    "An answer's last bytes before a crash may be missing; such a command's result is unknown.",
)


@cache
def _template() -> str:
    return resources.files("evidence").joinpath("report.html").read_text(encoding="utf-8")


def _when(us: int) -> str:
    try:
        return datetime.fromtimestamp(us // 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return f"{us} microseconds"


def _exactly(us: int) -> str:
    """A period that begins within a second says so: what lies before it in that second is left out."""
    part = us % 1_000_000
    return f"{_when(us)}.{part:06d}" if part else _when(us)


@dataclass(frozen=True, slots=True)
class Decided:
    """One line of the approvals: who asked for what, who said what, and what became of it."""

    request: ApprovalId
    subject: str
    target: str
    effects: str
    risk: str
    asked: str
    votes: tuple[str, ...]
    outcome: str


def _decided(request: ApprovalId, about: list[Indexed]) -> Decided:
    bodies = [e.entry.body for e in about]
    asked = next((b for b in bodies if isinstance(b, ApprovalRequest)), None)
    effects = [f"{e.effect} {e.relation}".strip() for e in asked.effects] if asked else []
    return Decided(
        request=request,
        subject=asked.subject if asked else "asked outside this period",
        target=f"{asked.target} ({asked.environment})" if asked else "",
        effects=", ".join(effects[:5]) + (f" and {len(effects) - 5} more" if len(effects) > 5 else ""),
        risk=f"{asked.band.value} {asked.score}" if asked else "",
        asked=_when(asked.opened_us) if asked else "",
        votes=tuple(f"{v.reviewer}: {_word(v)}, {_when(v.cast_us)}" for v in _votes(bodies)),
        outcome=_outcome(bodies),
    )


def _word(vote: Vote) -> str:
    word = "BREAK-GLASS" if vote.choice is Choice.BREAK_GLASS else vote.choice.value
    if vote.uses == 1 and vote.shape is None:
        return word
    values = ", any values" if vote.shape is not None else ""
    return f"{word} {vote.uses} uses until {_when(vote.deadline_us)}{values}"


def _votes(bodies: list[LeafBody]) -> list[Vote]:
    """By time; a grant repeats those that made it."""
    found = [b for b in bodies if isinstance(b, Vote)] + [v for b in bodies if isinstance(b, Grant) for v in b.votes]
    return sorted({v.signature: v for v in found}.values(), key=lambda v: (v.cast_us, v.reviewer))


def _outcome(bodies: list[LeafBody]) -> str:
    ran = [b for b in bodies if isinstance(b, Exchange)]
    releases = sum(isinstance(b, Released) for b in bodies)
    undone = sum(isinstance(b, HoldGone) and b.why == Over.UNDONE for b in bodies)
    if releases:
        often = "released once" if releases == 1 else f"released {releases} times"
        often += f", of that {undone} undone" if undone else ""
        return f"{often}, " + (", ".join(sorted({b.result.value for b in ran})) or "its result is not here")
    moved = [b.after.value for b in bodies if isinstance(b, ApprovalMoved)]
    refused = [b.state.value for b in bodies if isinstance(b, Refusal)]
    return (moved or refused or ["open"])[-1]


def _seen(value: Any) -> Any:
    return seen(value) if isinstance(value, str) else value


def page(log: Log, query: Query, key: VerifierKey, root: bytes) -> bytes:
    entries = chosen(log, query)
    environment = Environment(autoescape=True, undefined=StrictUndefined, finalize=_seen)
    about = approvals(entries)
    return (
        environment.from_string(_template())
        .render(
            origin=key.name,
            limits=LIMITS,
            from_text=_exactly(query.from_us),
            to_text=_exactly(query.to_us),
            entries=len(entries),
            size=log.size,
            rows=population(log, query),
            approvals=[_decided(request, found) for request, found in about.items()],
            glass=glass(log, query.from_us, query.to_us),
            standing=standing(log, query.from_us, query.to_us),
            when=_when,
            unusual={
                kind.__name__: sum(isinstance(e.entry.body, kind) for e in entries) for kind in BEHAVIOUR.values()
            },
            exceptions=len(exceptions(log, query)),
            sample=draw(entries, query, root),
            seed=query.seed,
        )
        .encode()
    )
