"""One session as it went, for a reader: masked texts, table-like answers, approvals where they came. Pure.

Nothing from traffic is printed as it is: see `visible.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len, set_cell_size

from schemas.records import (
    Alert,
    ApprovalRequest,
    Exchange,
    Grant,
    Hold,
    HoldGone,
    LeafBody,
    MaskingFailed,
    Over,
    Refusal,
    Released,
    SessionClosed,
    SessionOpened,
    Suspended,
    Vote,
)
from tallystick.recorded import Content, iso
from tallystick.visible import BAR, block, visible

WIDTH = 120
MOST_ROWS = 50
MOST_LINES = 400
NARROWEST = 24


@dataclass(frozen=True, slots=True)
class Moment:
    """One entry of a session, with its masked text where that can be read."""

    at_us: int
    index: int
    body: LeafBody
    content: Content
    masked: Any


def of_session(moments: Iterator[Moment] | list[Moment], session: str) -> list[Moment]:
    """Those of one session, approvals of its holds included, by time and then as they lie in the log."""
    known = list(moments)
    holds = {m.body.hold for m in known if isinstance(m.body, Hold) and m.body.session == session}
    asked = {m.body.request for m in known if isinstance(m.body, Hold | ApprovalRequest) and m.body.session == session}
    found = [m for m in known if _concerns(m.body, session, holds, asked)]
    return sorted(found, key=lambda m: (_rank(m.body), m.at_us, m.index))


def _concerns(body: LeafBody, session: str, holds: set[Any], asked: set[Any]) -> bool:
    if isinstance(
        body, SessionOpened | SessionClosed | Exchange | Hold | ApprovalRequest | MaskingFailed | Alert | Suspended
    ):
        return body.session == session
    if isinstance(body, Vote):
        return body.request in asked
    return isinstance(body, Grant | Refusal | Released | HoldGone) and body.hold in holds


def _rank(body: LeafBody) -> int:
    return 0 if isinstance(body, SessionOpened) else 2 if isinstance(body, SessionClosed) else 1


def moment_us(body: LeafBody, entry_us: int) -> int:
    """When it happened: as the record says, else when it was written."""
    for name in ("opened_us", "started_us", "raised_us", "cast_us", "at_us", "closed_us"):
        found = getattr(body, name, 0)
        if found:
            return int(found)
    return entry_us


def lines(moment: Moment) -> list[str]:
    """What a reader sees of one moment."""
    clock = iso(moment.at_us)[11:23]
    return [visible(f"{clock}  {_headline(moment.body)}"), *_body(moment)]


def _headline(body: LeafBody) -> str:
    match body:
        case SessionOpened():
            return (
                f"session {body.session}: {body.subject} ({body.method}) to {body.target}/{body.database} "
                f"as {body.user}, {body.environment}, from {body.client_address}"
                + (f", application {body.application}" if body.application else "")
            )
        case SessionClosed():
            return f"session closed by {body.reason.value}" + (f": {body.detail}" if body.detail else "")
        case Exchange():
            return _of_exchange(body)
        case Hold():
            signals = f" [{', '.join(body.signals)}]" if body.signals else ""
            return f"HELD, waits for {body.request}: {body.band.value} {body.score}{signals}"
        case ApprovalRequest():
            return f"{body.request} asks {body.rule.quorum} of {', '.join(body.rule.groups)}"
        case Vote():
            often = f", {body.uses} uses" if body.uses != 1 else ""
            return f"{body.request}: {body.reviewer} says {body.choice.value}{often}"
        case Grant():
            return f"{body.request}: granted by {', '.join(v.reviewer for v in body.votes)}"
        case Refusal():
            return f"{body.request}: not granted, {body.state.value}" + (f" ({body.detail})" if body.detail else "")
        case Released():
            alone = "BREAK-GLASS: " if body.break_glass else ""
            use = f", use {body.use}" if body.use != 1 else ""
            return f"{alone}{body.request}: released to the target{use}"
        case Alert():
            signals = ", ".join(dict.fromkeys(f.signal for f in body.findings))
            return f"ALERT {body.alert}: {body.score} points for what is unusual [{signals}]; see: tallystick alerts"
        case Suspended():
            return f"SUSPENDED {body.suspension}: this {body.scope.value}, until {iso(body.until_us)[:19]}Z"
        case MaskingFailed():
            what = f"command {body.number}" if body.number else "what is not in a command"
            return f"masking failed: {body.values} values of {what} withheld, {body.detector} failed on them"
        case HoldGone():
            return (
                f"what was released is {body.why}"
                if body.why in (Over.KEPT, Over.UNDONE)
                else f"waits no longer: {body.why}"
            )
        case _:
            return type(body).__name__


def _of_exchange(body: Exchange) -> str:
    parts = [f"#{body.number} {body.result.value.upper() if body.result.value != 'executed' else 'executed'}"]
    if body.tag:
        parts.append(body.tag)
    if body.sqlstate:
        parts.append(f"SQLSTATE {body.sqlstate}")
    parts.append(f"{body.rows} row{'' if body.rows == 1 else 's'}")
    parts.append(f"{body.band.value} {body.score}")
    if body.signals:
        parts.append(f"[{', '.join(body.signals)}]")
    if body.ended_us:
        parts.append(f"{(body.ended_us - body.started_us) / 1000:.1f} ms")
    if body.found or body.withheld:
        found = [f"{f.count} {f.type}" for f in body.found] + ([f"{body.withheld} withheld"] if body.withheld else [])
        parts.append(f"masked: {', '.join(found)}")
    return "  ".join(parts)


def _body(moment: Moment) -> list[str]:
    if not isinstance(moment.body, Exchange | Hold) or moment.content is Content.NONE:
        return []
    if moment.content is not Content.SHOWN:
        return [f"    ({WHY[moment.content]})"]
    try:
        shown = command_lines(moment.masked["command"])
        if "answer" in moment.masked:
            shown += _answer(moment.masked["answer"])
    except (KeyError, TypeError, AttributeError):
        return ["    (the masked text is of another release: see --json)"]
    return ["    " + line for line in _cut(shown, MOST_LINES)]


WHY = {
    Content.ERASED: "the text was erased: its session's content key is destroyed",
    Content.NO_KEY: "the text cannot be opened here: the content keys are not in this place",
    Content.ALTERED: "the text is NOT the one that the entry names: see tallystick ledger verify",
}


def command_lines(command: Any, width: int = WIDTH - 4) -> list[str]:
    """The masked text and its parameters, behind a bar."""
    shown = block(str(command["text"]).strip("\n"), width)
    for n, value in enumerate(command["params"], 1):
        shown += [f"{BAR}${n} = NULL"] if value is None else block(f"${n} = {value!r}", width)
    return shown


def _answer(answer: Any) -> list[str]:
    shown = []
    for notice in answer["notices"]:
        shown.append(visible(f"{notice.get('S', 'NOTICE')}: {notice.get('M', '')}"))
    if answer["columns"]:
        shown += _table(answer["columns"], answer["rows"])
    shown += [visible(line.rstrip("\n")) for line in answer["copied"][:MOST_ROWS]]
    if len(answer["copied"]) > MOST_ROWS:
        shown.append(f"… {len(answer['copied']) - MOST_ROWS} more lines (--json has them)")
    if answer["error"]:
        error = answer["error"]
        shown.append(visible(f"{error.get('S', 'ERROR')} {error.get('C', '')}: {error.get('M', '')}"))
    if answer["excerpt"]:
        shown.append("… the answer was longer: the rest is counted, not kept")
    return shown


def _table(columns: list[str], rows: list[list[str | None]]) -> list[str]:
    head = [visible(c) for c in columns]
    cells = [[visible("NULL" if v is None else v) for v in row] for row in rows[:MOST_ROWS]]
    count = max([len(head), *map(len, cells)])
    table = [row + [""] * (count - len(row)) for row in [head, *cells]]
    widths = _fitting([max(cell_len(row[n]) for row in table) for n in range(count)])
    shown = [" | ".join(_cell(c, w) for c, w in zip(row, widths, strict=True)).rstrip() for row in table]
    shown.insert(1, "-+-".join("-" * w for w in widths))
    if len(rows) > MOST_ROWS:
        shown.append(f"… {len(rows) - MOST_ROWS} more rows (--json has them)")
    return shown


def _fitting(widths: list[int]) -> list[int]:
    """The widest columns are cut until the table fits, though never below NARROWEST."""
    room = WIDTH - 4 - 3 * (len(widths) - 1)
    most = min(max(widths), room)
    while most > NARROWEST and sum(min(w, most) for w in widths) > room:
        most -= 1
    return [min(w, max(most, NARROWEST)) for w in widths]


def _cell(text: str, width: int) -> str:
    return set_cell_size(text, width) if cell_len(text) <= width else set_cell_size(text, width - 1) + "…"


def _cut(shown: list[str], most: int) -> list[str]:
    return shown if len(shown) <= most else [*shown[:most], f"… {len(shown) - most} more lines (--json has them)"]
