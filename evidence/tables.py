"""Everything in a bundle that follows from the entries: made by the builder, made again by the verifier. Pure.

Because both call `derive`, "the report agrees with the log" is one comparison of bytes.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from unicodedata import ucd_3_2_0

from evidence.approved import Glass, Standing, glass, standing
from evidence.logcheck import Indexed, Log
from evidence.population import Row, count, holes
from ledger.note import public_part
from ledger.proof import Proof
from ledger.tree import HashTree
from schemas.ids import ApprovalId, HoldId
from schemas.records import (
    Alert,
    ApprovalMoved,
    ApprovalRequest,
    Choice,
    Conflict,
    Exchange,
    Gap,
    Grant,
    Hold,
    HoldGone,
    KeyEnrolled,
    Learning,
    MaskingFailed,
    Over,
    PolicyInForce,
    Refusal,
    Released,
    Result,
    Resumed,
    ReviewOverdue,
    RuleAlerted,
    ScreenDisagrees,
    SessionClosed,
    Suspended,
    Undecoded,
    Vote,
)

_LOUD = {
    Choice.BREAK_GLASS: "BREAK-GLASS: one person approved alone",
    Choice.OBJECT: "BREAK-GLASS that its reviewer objects to",
}
EXCEPTIONS = (Undecoded, Conflict, ScreenDisagrees, MaskingFailed, Alert, Suspended)
_DAY_US = 24 * 3600 * 1_000_000
BEHAVIOUR = {"alerts.csv": Alert, "suspensions.csv": Suspended, "resumptions.csv": Resumed, "learning.csv": Learning}
"""Parts that are there where there is something in them (CC7.2)."""


@dataclass(frozen=True, slots=True)
class Query:
    """What was asked: entries with from_us <= time < to_us, and how many exchanges to draw by which seed."""

    from_us: int
    to_us: int
    seed: str
    sample: int

    def has(self, found: Indexed) -> bool:
        return self.from_us <= found.entry.time_us < self.to_us


def chosen(log: Log, query: Query) -> list[Indexed]:
    return [e for e in log.entries if query.has(e)]


def population(log: Log, query: Query) -> tuple[Row, ...]:
    before = (e.entry for e in log.entries if e.entry.time_us < query.from_us)
    return count((e.entry for e in chosen(log, query)), before)


def draw(entries: Sequence[Indexed], query: Query, root: bytes) -> list[Indexed]:
    """The exchanges with the smallest SHA-256(root ‖ seed ‖ index): known to nobody before root and seed are."""

    def rank(e: Indexed) -> bytes:
        return hashlib.sha256(root + query.seed.encode() + e.index.to_bytes(8, "big")).digest()

    exchanges = [e for e in entries if isinstance(e.entry.body, Exchange)]
    return sorted(sorted(exchanges, key=rank)[: query.sample], key=lambda e: e.index)


def derive(log: Log, query: Query) -> dict[str, bytes]:
    """Part name -> bytes, for every part that follows from entries and query."""
    entries = chosen(log, query)
    tree = HashTree(log.base)
    tree.extend(log.hashes)
    requests = approvals(entries)
    parts = {
        "query.json": as_json(query),
        "population.csv": _rows(Row, population(log, query)),
        "exchanges.csv": _entries_csv(entries, Exchange),
        "gaps.csv": _entries_csv(entries, Gap),
        "keys/enrolments.json": as_json([described(e) for e in log.entries if isinstance(e.entry.body, KeyEnrolled)]),
        "policies.csv": _entries_csv([e for e in log.entries if e.entry.time_us < query.to_us], PolicyInForce),
        "exceptions.csv": table(["index", "time_us", "source", "kind", "why"], map(_exception, exceptions(log, query))),
        "break-glass.csv": _rows(Glass, glass(log, query.from_us, query.to_us)),
        "standing.csv": _rows(Standing, standing(log, query.from_us, query.to_us)),
    }
    kinds = {type(e.entry.body) for e in entries}
    parts |= {part: _entries_csv(entries, kind) for part, kind in BEHAVIOUR.items() if kind in kinds}
    for request, about in requests.items():
        parts[f"approvals/{request}.json"] = as_json([described(e) for e in about])
    proved = {e.index for e in draw(entries, query, tree.root())} | {e.index for a in requests.values() for e in a}
    for index in sorted(proved):
        proof = Proof(index, tuple(tree.inclusion_proof(index, tree.size)), public_part(log.note))
        parts[f"proofs/{index}.tlog-proof"] = proof.text().encode()
    return parts


def approvals(entries: Sequence[Indexed]) -> dict[ApprovalId, list[Indexed]]:
    """All that concerns each request: request, holds, votes, answers, release, exchange."""
    holds: dict[HoldId, ApprovalId] = {}
    for e in entries:
        body = e.entry.body
        if isinstance(body, Hold | Grant | Refusal | Released):
            holds[body.hold] = body.request
        elif isinstance(body, ApprovalRequest):
            holds[body.first_hold] = body.request
    about: dict[ApprovalId, list[Indexed]] = {}
    for e in entries:
        body = e.entry.body
        request: ApprovalId | None = None
        if isinstance(body, ApprovalRequest | Vote | Grant | Refusal | Released | ApprovalMoved | ReviewOverdue | Hold):
            request = body.request
        elif isinstance(body, HoldGone | Exchange) and body.hold is not None:
            request = holds.get(body.hold)
        if request is not None and plain(request):
            about.setdefault(request, []).append(e)
    return dict(sorted(about.items()))


def plain(request: ApprovalId) -> bool:
    """Whether it can be the name of a part. Ids are made by `seal.digest.approval_id`; others are no approvals."""
    return request.isascii() and request.replace("-", "").isalnum()


def described(e: Indexed) -> dict[str, Any]:
    """An entry for people; bytes as hex."""
    return {
        "index": e.index,
        "kind": type(e.entry.body).__name__,
        "leaf": e.leaf,
        "entry": dataclasses.asdict(e.entry),
    }


def as_json(value: Any) -> bytes:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=True, default=_hex) + "\n").encode()


def _hex(value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError(f"no JSON form for {type(value).__name__}")


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")  # RFC 4180
    writer.writerow(head)
    writer.writerows([cell(v) for v in row] for row in rows)
    return out.getvalue().encode()


def cell(value: Any) -> str:
    """As text. What a spreadsheet would run as a formula gets an apostrophe in front."""
    if isinstance(value, bytes):
        value = value.hex()
    elif isinstance(value, tuple):
        value = as_json([dataclasses.asdict(v) if dataclasses.is_dataclass(v) else v for v in value])  # type: ignore[arg-type]
        value = json.dumps(json.loads(value), separators=(",", ":"))
    elif isinstance(value, StrEnum):
        value = value.value
    text = "" if value is None else seen(str(value))
    return "'" + text if text[:1] in ("=", "+", "-", "@") and not isinstance(value, int) else text


def seen(text: str) -> str:
    """Control, format and bidirectional characters as escapes: traffic chose the text, and it fools no reader.

    By one version of Unicode, which every Python has: by its own, another Python would make another report.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if _printable(c) else c.encode("unicode_escape").decode() for c in text)


def _printable(c: str) -> bool:
    return c == " " or ucd_3_2_0.category(c)[0] not in "CZ"


def _rows(kind: type[Any], rows: Iterable[Any]) -> bytes:
    return table([f.name for f in dataclasses.fields(kind)], map(_cells, rows))


def _cells(row: Any) -> list[Any]:
    return [getattr(row, f.name) for f in dataclasses.fields(row)]


def _entries_csv(entries: Sequence[Indexed], kind: type[Any]) -> bytes:
    names = [f.name for f in dataclasses.fields(kind)]
    found = (e for e in entries if isinstance(e.entry.body, kind))
    return table(["index", "time_us", *names], ([e.index, e.entry.time_us, *_cells(e.entry.body)] for e in found))


def exceptional(e: Indexed) -> str:
    """Why an auditor should look at this entry, or ""."""
    body = e.entry.body
    if isinstance(body, RuleAlerted):
        return f"the rule {body.rule} tells of it"
    if isinstance(body, EXCEPTIONS):
        return type(body).__name__
    if isinstance(body, Exchange) and body.result is Result.UNKNOWN:
        return "result unknown"
    if isinstance(body, Exchange) and not body.effects_complete and body.result is Result.EXECUTED:
        return "effects not fully known"
    if isinstance(body, Vote) and body.choice in _LOUD:
        return _LOUD[body.choice]
    if isinstance(body, Released) and body.break_glass:
        return "BREAK-GLASS: released by one person's word"
    if isinstance(body, ReviewOverdue):
        return "BREAK-GLASS that nobody reviewed in time"
    if isinstance(body, HoldGone) and body.why == Over.UNVERIFIED:
        return "a grant that its gateway did not accept"
    if isinstance(body, SessionClosed) and body.reason.value == "cut":
        return "session cut"
    return ""


def exceptions(log: Log, query: Query) -> list[tuple[Indexed, str]]:
    """What an auditor should look at, and why; of a session's commands, those that the whole log lacks."""
    entries = chosen(log, query)
    lacking = holes((e.entry.body for e in log.entries), (e.entry.body for e in entries))
    found = []
    for e in entries:
        why = exceptional(e)
        if not why and isinstance(e.entry.body, SessionClosed):
            why = lacking.get(e.entry.body.session, "")
        if why:
            found.append((e, why))
    found += [(e, "its own time is far outside the period, among entries of it") for e in _astray(log, query, entries)]
    return sorted(found, key=lambda one: one[0].index)


def _astray(log: Log, query: Query, entries: Sequence[Indexed]) -> list[Indexed]:
    """A recorder's clock says when an entry was, so a clock that is wrong, or was set, takes it out of every period;
    and what came late is in no bundle that was made before."""
    if not entries:
        return []
    first, last = entries[0].index, entries[-1].index
    far = Query(query.from_us - _DAY_US, query.to_us + _DAY_US, "", 0)
    return [e for e in log.entries if first < e.index < last and not far.has(e)]


def _exception(found: tuple[Indexed, str]) -> list[Any]:
    e, why = found
    return [e.index, e.entry.time_us, e.entry.source, type(e.entry.body).__name__, why]
