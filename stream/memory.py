"""What a transcript must keep from one segment to the next, as bytes. Raw traffic: sealed before it is stored.

A Dialogue is not stored but told again what it was told since it was idle: its
rules stay in one place. An idle session keeps a counter and its portals, no more.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from schemas.codec import decode, encode
from schemas.ids import HoldId, RecorderId, SessionId
from schemas.judging import SessionFacts
from schemas.records import Claim, CommandKind, Decided, Decision, Refused, Result
from stream.exchange import RawExchange
from stream.transcript import Session, Told, Transcript
from wire.postgres.messages import Column

VERSION = 1
MOST_TOLD = 20_000
"""A session that was not idle for longer than this is given up as lost, not kept for ever."""


class MemoryUnreadable(ValueError):
    """Not the state of a transcript of this release."""


def dump(transcript: Transcript) -> bytes:
    sessions = {str(n): _session(s) for n, s in sorted(transcript.sessions.items())}
    plain = {"v": VERSION, "recorder": transcript.recorder, "boot": transcript.boot, "sessions": sessions}
    return json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()


def load(raw: bytes) -> Transcript:
    """Raises MemoryUnreadable."""
    try:
        plain = json.loads(raw)
        if plain["v"] != VERSION:
            raise MemoryUnreadable("the pipeline's state is of another release")
        transcript = Transcript(RecorderId(plain["recorder"]), plain["boot"])
        transcript.sessions = {int(n): _session_back(s) for n, s in plain["sessions"].items()}
    except (KeyError, IndexError, TypeError, ValueError) as e:
        raise MemoryUnreadable("the pipeline's state cannot be read") from e
    return transcript


def _session(s: Session) -> dict[str, Any]:
    pool = {raw.number: raw for raw in (*s.portals.values(), *s.bound.values(), *(raw for raw, _ in s.open))}
    opened = [raw.number for raw, _ in s.open]
    return {
        "id": s.id,
        "facts": None if s.facts is None else _facts(s.facts),
        "policy": s.policy_version,
        "number": s.number,
        "tx": s.dialogue.transaction_status,
        "raws": [_raw(raw, whole=n in opened) for n, raw in sorted(pool.items())],
        "open": opened,
        "portals": {_b(name): raw.number for name, raw in s.portals.items()},
        "bound": sorted(s.bound),
        "log": [[t.client, t.kind, _b(t.name), _b(t.portal), t.number] for t in s.log],
        "said": [_b(encode(said)) for said in (*s.decided.values(), *s.refused.values())],
        "drain": s.drain,
        "lost": s.lost or len(s.log) > MOST_TOLD,
    }


def _session_back(plain: dict[str, Any]) -> Session:
    s = Session(SessionId(plain["id"]), policy_version=plain["policy"], number=plain["number"])
    if plain["facts"] is not None:
        *words, claims = plain["facts"]
        subject, target, protocol, environment, database, user = words
        s.facts = SessionFacts(subject, tuple(Claim(*c) for c in claims), target, protocol, environment, database, user)
    raws = {raw.number: raw for raw in map(_raw_back, plain["raws"])}
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
        else:
            s.tell_server(kind, _u(name))
    s.log = [Told(c, k, _u(n), _u(p), number) for c, k, n, p, number in plain["log"]]
    s.open = [(raws[n], operations[n]) for n in plain["open"]]
    return s


def _facts(f: SessionFacts) -> list[Any]:
    claims = [[c.name, c.value] for c in f.claims]
    return [f.subject, f.target, f.protocol, f.environment, f.database, f.user, claims]


def _raw(r: RawExchange, *, whole: bool) -> dict[str, Any]:
    """`whole`: with the captured answer, which a portal's finished exchange no longer needs."""
    return {
        "head": [r.number, r.kind.value, _b(r.text), r.started_us],
        "binds": [None if v is None else _b(v) for v in r.binds],
        "formats": [list(r.bind_formats), list(r.param_oids), list(r.result_formats)],
        "statement": _b(r.statement),
        "judged": [r.decision.value, r.rule, r.hold, r.refused],
        "columns": [_column(c) for c in r.columns],
        "rows": [[[_column(c) for c in cols], [None if v is None else _b(v) for v in row]] for cols, row in r.rows]
        if whole
        else [],
        "copied": [_b(line) for line in r.copied] if whole else [],
        "notices": [_b(notice) for notice in r.notices],
        "tags": [_b(tag) for tag in r.tags],
        "error": [_b(r.error), r.sqlstate],
        "counts": [r.row_count, r.size, r.excerpt, r.ended_us, r.result.value],
    }


def _raw_back(p: dict[str, Any]) -> RawExchange:
    number, kind, text, started = p["head"]
    decision, rule, hold, refused = p["judged"]
    rows, size, excerpt, ended, result = p["counts"]
    return RawExchange(
        number=number,
        kind=CommandKind(kind),
        text=_u(text),
        started_us=started,
        binds=_values(p["binds"]),
        bind_formats=tuple(p["formats"][0]),
        param_oids=tuple(p["formats"][1]),
        result_formats=tuple(p["formats"][2]) if len(p["formats"]) > 2 else (),  # states before 0.1.0 had none
        statement=_u(p["statement"]),
        decision=Decision(decision),
        rule=rule,
        hold=None if hold is None else HoldId(hold),
        refused=refused,
        columns=tuple(map(_column_back, p["columns"])),
        rows=[(tuple(map(_column_back, cols)), _values(row)) for cols, row in p["rows"]],
        copied=[_u(line) for line in p["copied"]],
        notices=[_u(notice) for notice in p["notices"]],
        tags=[_u(tag) for tag in p["tags"]],
        error=_u(p["error"][0]),
        sqlstate=p["error"][1],
        row_count=rows,
        size=size,
        excerpt=excerpt,
        ended_us=ended,
        result=Result(result),
    )


def _values(plain: list[str | None]) -> tuple[bytes | None, ...]:
    return tuple(None if v is None else _u(v) for v in plain)


def _column(c: Column) -> list[Any]:
    return [_b(c.name), c.table_oid, c.attribute, c.type_oid, c.format]


def _column_back(plain: list[Any]) -> Column:
    name, table, attribute, kind, form = plain
    return Column(_u(name), table, attribute, kind, form)


def _b(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _u(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
