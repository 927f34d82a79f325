"""What a session must keep from one segment to the next, as bytes. Raw traffic: sealed before it is stored.

A Dialogue is not stored but told again what it was told since it was idle: its
rules stay in one place. An idle session keeps a counter and its portals, no more; what
was captured of an open answer is apart, in parts, so that it is written once.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from schemas.codec import decode, encode
from schemas.ids import HoldId, SessionId
from schemas.judging import SessionFacts
from schemas.records import Claim, CommandKind, Decided, Decision, Refused, Result
from stream.exchange import RawExchange
from stream.parsing import Parsing
from stream.transcript import Session, Told
from wire.postgres.dialogue import Operation, Outcome
from wire.postgres.messages import Column

VERSION = 2


class MemoryUnreadable(ValueError):
    """Not the state of a session of this release."""


@dataclass(frozen=True, slots=True)
class Captured:
    """How much of an open exchange's answer a part ends with."""

    rows: int
    copied: int


def dump(s: Session) -> bytes:
    """All but the answers of open exchanges, which `part` gives. The same session gives the same bytes."""
    binding = (raw for raw, _ in s.binding.values())
    pool = {raw.number: raw for raw in (*s.portals.values(), *binding, *s.bound.values(), *(raw for raw, _ in s.open))}
    described = _Columns()
    plain = {
        "v": VERSION,
        "id": s.id,
        "facts": None if s.facts is None else _facts(s.facts),
        "policy": s.policy_version,
        "number": s.number,
        "tx": s.dialogue.transaction_status,
        "raws": [_raw(raw, described) for _, raw in sorted(pool.items())],
        "columns": described.plain,
        "open": [raw.number for raw, _ in s.open],
        "portals": {_b(name): raw.number for name, raw in s.portals.items()},
        "bound": sorted(s.bound),
        "log": [[t.client, t.kind, _b(t.name), _b(t.portal), t.number] for t in s.log],
        "said": [_b(encode(said)) for said in (*s.decided.values(), *s.refused.values())],
        "drain": s.drain,
        "lost": s.lost,
    }
    if (parsing := s.parsing.dump()) is not None:
        plain["parsing"] = parsing
    return json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()


def part(raw: RawExchange, before: Sequence[Captured]) -> tuple[bytes | None, Captured]:
    """What was captured behind the parts before, or None for nothing; and where it ends."""
    at, end = before[-1] if before else Captured(0, 0), Captured(len(raw.rows), len(raw.copied))
    if at == end:
        return None, end
    described = _Columns()
    plain = {
        "rows": [[described.number(columns), _values(row)] for columns, row in raw.rows[at.rows :]],
        "copied": [_b(line) for line in raw.copied[at.copied :]],
        "columns": described.plain,
    }
    return json.dumps(plain, separators=(",", ":")).encode(), end


def load(dumped: bytes, parts: Mapping[int, Sequence[bytes]] = MappingProxyType({})) -> Session:
    """`parts` in order, by exchange. Raises MemoryUnreadable."""
    try:
        plain = json.loads(dumped)
        if plain["v"] != VERSION:
            raise MemoryUnreadable("the pipeline's state is of another release")
        session = _session(plain)
        for raw, _ in session.open:
            for some in parts.get(raw.number, ()):
                _add(raw, json.loads(some))
    except (KeyError, IndexError, TypeError, ValueError) as e:
        raise MemoryUnreadable("the pipeline's state cannot be read") from e
    return session


def captured(session: Session, parts: Mapping[int, Sequence[bytes]]) -> dict[int, list[Captured]]:
    """Of a session just loaded: where each of its parts ended, as `part` said it."""
    ends: dict[int, list[Captured]] = {raw.number: [] for raw, _ in session.open}
    for number, ended in ends.items():
        rows = copied = 0
        for some in parts.get(number, ()):
            plain = json.loads(some)
            rows, copied = rows + len(plain["rows"]), copied + len(plain["copied"])
            ended.append(Captured(rows, copied))
    return ends


def _add(raw: RawExchange, plain: dict[str, Any]) -> None:
    described = [tuple(map(_column, columns)) for columns in plain["columns"]]
    raw.rows += [(described[columns], _values_back(row)) for columns, row in plain["rows"]]
    raw.copied += [_u(line) for line in plain["copied"]]


def _session(plain: dict[str, Any]) -> Session:
    s = Session(SessionId(plain["id"]), policy_version=plain["policy"], number=plain["number"])
    if plain["facts"] is not None:
        *words, claims = plain["facts"]
        subject, target, protocol, environment, database, user = words
        s.facts = SessionFacts(subject, tuple(Claim(*c) for c in claims), target, protocol, environment, database, user)
    described = [tuple(map(_column, columns)) for columns in plain["columns"]]
    raws = {raw.number: raw for raw in (_raw_back(p, described) for p in plain["raws"])}
    s.portals = {_u(name): raws[n] for name, n in plain["portals"].items()}
    s.bound = {n: raws[n] for n in plain["bound"]}
    s.dialogue.transaction_status = plain["tx"]
    s.drain, s.lost = plain["drain"], plain["lost"]
    for said in plain["said"]:
        record = decode(_u(said))
        if isinstance(record, Decided):
            s.decided[record.offset] = record
        elif isinstance(record, Refused):
            s.refused[record.offset] = record
    operations = {}
    for client, kind, name, portal, number in plain["log"]:
        if client:
            operation = s.tell_client(kind, raws.get(number), name=_u(name), portal=_u(portal))
            if number and operation is not None:
                operations[number] = operation
                if kind == "B" and number in raws:  # others are on record, and their portals bound anew
                    s.binding[operation.portal] = raws[number], operation
        else:
            s.tell_server(kind, _u(name))
    s.parsing = Parsing.load(plain.get("parsing"), _parses(s))
    s.log = [Told(c, k, _u(n), _u(p), number) for c, k, n, p, number in plain["log"]]
    s.open = [(raws[n], operations[n]) for n in plain["open"]]
    return s


def _parses(s: Session) -> list[Operation]:
    return [op for op in s.dialogue.owed if op.kind == "P" and op.outcome is Outcome.OWED]


def _facts(f: SessionFacts) -> list[Any]:
    claims = [[c.name, c.value] for c in f.claims]
    return [f.subject, f.target, f.protocol, f.environment, f.database, f.user, claims]


class _Columns:
    """Row descriptions, each once: a thousand rows share one."""

    def __init__(self) -> None:
        self.plain: list[list[list[Any]]] = []
        self._known: dict[tuple[Column, ...], int] = {}

    def number(self, columns: tuple[Column, ...]) -> int:
        if columns not in self._known:
            self._known[columns] = len(self.plain)
            self.plain.append([[_b(c.name), c.table_oid, c.attribute, c.type_oid, c.format] for c in columns])
        return self._known[columns]


def _column(plain: list[Any]) -> Column:
    name, table, attribute, kind, form = plain
    return Column(_u(name), table, attribute, kind, form)


def _raw(r: RawExchange, described: _Columns) -> dict[str, Any]:
    return {
        "head": [r.number, r.kind.value, _b(r.text), r.started_us],
        "binds": _values(r.binds),
        "formats": [list(r.bind_formats), list(r.param_oids), list(r.result_formats)],
        "statement": _b(r.statement),
        "judged": [r.decision.value, r.rule, r.hold, r.refused],
        "columns": described.number(r.columns),
        "notices": [_b(notice) for notice in r.notices],
        "tags": [_b(tag) for tag in r.tags],
        "error": [_b(r.error), r.sqlstate],
        "counts": [r.row_count, r.size, r.excerpt, r.ended_us, r.result.value, r.sent],
    }


def _raw_back(p: dict[str, Any], described: list[tuple[Column, ...]]) -> RawExchange:
    number, kind, text, started = p["head"]
    decision, rule, hold, refused = p["judged"]
    rows, size, excerpt, ended, result, *sent = p["counts"]  # an earlier release had no `sent`
    bind_formats, param_oids, result_formats = p["formats"]
    return RawExchange(
        number=number,
        kind=CommandKind(kind),
        text=_u(text),
        started_us=started,
        binds=_values_back(p["binds"]),
        bind_formats=tuple(bind_formats),
        param_oids=tuple(param_oids),
        result_formats=tuple(result_formats),
        statement=_u(p["statement"]),
        decision=Decision(decision),
        rule=rule,
        hold=None if hold is None else HoldId(hold),
        refused=refused,
        columns=described[p["columns"]],
        notices=[_u(notice) for notice in p["notices"]],
        tags=[_u(tag) for tag in p["tags"]],
        error=_u(p["error"][0]),
        sqlstate=p["error"][1],
        row_count=rows,
        size=size,
        sent=sum(sent),
        excerpt=excerpt,
        ended_us=ended,
        result=Result(result),
    )


def _values(raw: Iterable[bytes | None]) -> list[str | None]:
    return [None if v is None else _b(v) for v in raw]


def _values_back(plain: list[str | None]) -> tuple[bytes | None, ...]:
    return tuple(None if v is None else _u(v) for v in plain)


def _b(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _u(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
