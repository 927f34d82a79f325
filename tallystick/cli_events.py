"""`sessions`, `events`, `reviewers`: what is recorded, as lists."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from tallystick.terminal import DEFAULT_CONFIG, ConfigFile, fail, note, say

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: tallystick sessions --json | jq -r 'select(.held > 0).session'")(sessions)
    app.command(epilog="Example: tallystick events --kind Grant --json")(events)
    app.command(epilog="Example: tallystick reviewers")(reviewers)


@dataclasses.dataclass(slots=True)
class Session:
    """One line of `sessions`; times as ISO 8601, UTC."""

    session: str
    subject: str
    target: str
    environment: str
    database: str
    user: str
    application: str
    client_address: str
    opened: str
    closed: str | None = None
    reason: str = "open"
    commands: int = 0  # that are in the ledger
    failed: int = 0
    refused: int = 0
    unknown: int = 0
    held: int = 0
    score: int = 0  # the highest
    band: str = "low"
    signals: list[str] = dataclasses.field(default_factory=list)


def sessions(config: ConfigFile = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Every session in the ledger, oldest first: whose, to what, how it ended."""
    from tallystick.recorded import as_json as json_line

    found = gather(config)
    if as_json:
        for session in found:
            say(json_line(dataclasses.asdict(session)))
        return
    if not found:
        note("no session is in the ledger yet")
    for line in _listed(found):
        say(line)


def gather(config: Path) -> list[Session]:
    from schemas.records import Exchange, Hold, SessionClosed, SessionOpened
    from tallystick.recorded import iso, open_log

    found: dict[str, Session] = {}
    for _, entry in open_log(config).entries():
        body = entry.body
        if isinstance(body, SessionOpened):
            found[body.session] = Session(
                session=body.session,
                subject=body.subject,
                target=body.target,
                environment=body.environment,
                database=body.database,
                user=body.user,
                application=body.application,
                client_address=body.client_address,
                opened=iso(body.opened_us),
            )
        elif isinstance(body, SessionClosed) and body.session in found:
            found[body.session].closed = iso(body.closed_us)
            found[body.session].reason = body.reason.value
        elif isinstance(body, Exchange) and body.session in found:
            _count(found[body.session], body)
        elif isinstance(body, Hold) and body.session in found:
            found[body.session].held += 1
            _judge(found[body.session], body)
    return list(found.values())


def _count(session: Session, body: Any) -> None:
    session.commands += 1
    if body.result.value != "executed":
        setattr(session, body.result.value, getattr(session, body.result.value) + 1)
    _judge(session, body)


def _judge(session: Session, body: Any) -> None:
    if body.score >= session.score:
        session.score, session.band = body.score, body.band.value
    session.signals += [s for s in body.signals if s not in session.signals]


def _listed(found: list[Session]) -> list[str]:
    head = ("opened (UTC)", "session", "subject", "target", "ended", "commands", "refused", "held", "worst")
    rows = [
        (
            s.opened[:19].replace("T", " "),
            s.session,
            s.subject,
            f"{s.target}/{s.database}",
            s.reason,
            str(s.commands),
            str(s.refused),
            str(s.held),
            f"{s.band} {s.score}",
        )
        for s in found
    ]
    return columns([head, *rows]) if rows else []


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Left-aligned columns, every cell made visible."""
    from tallystick.visible import visible

    shown = [[visible(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in shown]


def events(
    config: ConfigFile = DEFAULT_CONFIG,
    session: Annotated[str | None, typer.Option(help="Only this session's, with its approvals.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only this kind: Exchange, Hold, Grant, Gap, …")] = None,
    as_json: AsJson = False,
) -> None:
    """Every entry of the ledger, in its order: the facts, without texts."""
    from typing import get_args

    from schemas.records import LeafBody
    from tallystick.recorded import as_json as json_line
    from tallystick.recorded import iso, open_log
    from tallystick.visible import visible

    kinds = sorted(k.__name__ for k in get_args(LeafBody))
    if kind is not None and kind not in kinds:
        fail(f"no such kind; there are: {', '.join(kinds)}")
    related: set[str] = set()
    for found, entry in open_log(config).entries():
        name, body = type(entry.body).__name__, dataclasses.asdict(entry.body)
        if (session is not None and not _of(session, body, related)) or (kind is not None and name != kind):
            continue
        if as_json:
            line = {
                "index": found.index,
                "time": iso(entry.time_us),
                "source": entry.source,
                "position": list(entry.position),
                "kind": name,
                "body": body,
            }
            say(json_line(line))
        else:
            say(visible(f"{found.index:>8}  {iso(entry.time_us)[:23]}  {name:<16}  {_summary(body)}"))


def _of(session: str, body: dict[str, Any], related: set[str]) -> bool:
    """Whether an entry is of this session; `related` gathers the ids of its holds and requests."""
    ids = {body[name] for name in ("hold", "request", "first_hold") if body.get(name)}
    if body.get("session") == session or ("session" not in body and ids & related):
        related |= ids
        return True
    return False


def _summary(body: dict[str, Any]) -> str:
    """Short facts of an entry; digests and long lists only in the JSON."""
    parts = []
    for name, value in body.items():
        if isinstance(value, str | int) and value not in ("", 0) and not name.endswith("_us"):
            parts.append(f"{name}={value}")
        elif name in ("signals", "reviewers") and value:
            parts.append(f"{name}={','.join(value)}")
        elif name == "effects" and value:
            parts.append("effects=" + ",".join(f"{e['effect']} {e['relation']}".strip() for e in value[:4]))
    return " ".join(parts)


def reviewers(config: ConfigFile = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """How each reviewer decided: how often yes, how fast. Quick yeses are a sign that too much is asked."""
    from evidence.reviewers import count
    from tallystick.recorded import as_json as json_line
    from tallystick.recorded import open_log

    found = count(entry for _, entry in open_log(config).entries())
    if as_json:
        for row in found:
            say(json_line(dataclasses.asdict(row)))
        return
    if not found:
        note("no vote is in the ledger yet")
        return
    head = ("reviewer", "decided", "approved", "denied", "revoked", "median", "within 10 s", "standing", "alone")
    cells = [
        (
            row.reviewer,
            str(row.decided),
            f"{row.approved} ({100 * row.approved // row.decided} %)" if row.decided else "0",
            str(row.denied),
            str(row.revoked),
            f"{row.median_us / 1_000_000:.0f} s",
            str(row.hasty),
            str(row.standing),
            str(row.alone),
        )
        for row in found
    ]
    for line in columns([head, *cells]):
        say(line)
