"""The page an auditor opens first: one HTML file, no script, no network. Made from what was counted, deterministic."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined

from evidence.logcheck import Log
from evidence.population import count
from evidence.tables import Query, approvals, chosen, draw, seen
from ledger.note import VerifierKey

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
            from_text=_when(query.from_us),
            to_text=_when(query.to_us),
            entries=len(entries),
            size=log.size,
            rows=count(e.entry for e in entries),
            approvals=[(r, ", ".join(type(e.entry.body).__name__ for e in a)) for r, a in about.items()],
            sample=draw(entries, query, root),
            seed=query.seed,
        )
        .encode()
    )
