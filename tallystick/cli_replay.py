"""`replay`: one session as it went, to read, to watch, or for a program."""

from __future__ import annotations

import dataclasses
import json
import time
from typing import Annotated, Any

import typer

from tallystick.terminal import DEFAULT_CONFIG, ConfigFile, fail, say

LONGEST_PAUSE_S = 3.0


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: tallystick replay orders-db.0.1a2b3c4d/1/7 --speed 10")(replay)


def replay(
    session: Annotated[str, typer.Argument(help="As `tallystick sessions` names it.")],
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, texts whole.")] = False,
    speed: Annotated[
        float | None, typer.Option(min=0.01, help="As fast as it went times this; a pause is 3 s at most.")
    ] = None,
    asciicast: Annotated[bool, typer.Option("--asciicast", help="For asciinema: asciicast v2 on stdout.")] = False,
) -> None:
    """Replays a session from the ledger: commands and answers, masked, with what was held and who decided."""
    if as_json + asciicast + (speed is not None) > 1:
        fail("choose one of --json, --speed and --asciicast")
    moments = _moments(session, config)
    if as_json:
        _as_json(moments)
    elif asciicast:
        _as_cast(session, moments)
    else:
        _as_text(moments, speed)


def _moments(session: str, config: Any) -> list[Any]:
    from schemas.records import (
        Alert,
        ApprovalRequest,
        Exchange,
        Grant,
        Hold,
        HoldGone,
        MaskingFailed,
        Refusal,
        Released,
        SessionClosed,
        SessionOpened,
        Suspended,
        Vote,
    )  # fmt: skip
    from tallystick.recorded import Content, open_log
    from tallystick.replay import Moment, moment_us, of_session

    log = open_log(config)
    kept = []
    for found, entry in log.entries():
        body = entry.body
        if isinstance(body, SessionOpened | SessionClosed | Exchange | Hold) and body.session == session:
            content, masked = log.masked(found, entry)
        elif isinstance(
            body, ApprovalRequest | Vote | Grant | Refusal | Released | HoldGone | MaskingFailed | Alert | Suspended
        ):
            content, masked = Content.NONE, None
        else:
            continue
        kept.append(Moment(moment_us(body, entry.time_us), found.index, body, content, masked))
    moments = of_session(kept, session)
    return moments or fail("no such session is in the ledger; list them with: tallystick sessions")


def _as_text(moments: list[Any], speed: float | None) -> None:
    from tallystick.recorded import iso
    from tallystick.replay import lines

    say(f"{iso(moments[0].at_us)[:10]}, UTC; masked")
    before = moments[0].at_us
    for moment in moments:
        if speed is not None:
            time.sleep(max(0.0, min(LONGEST_PAUSE_S, (moment.at_us - before) / 1_000_000 / speed)))
            before = moment.at_us
        for line in lines(moment):
            say(line)


def _as_json(moments: list[Any]) -> None:
    from tallystick.recorded import as_json, iso

    for m in moments:
        line = {"index": m.index, "time": iso(m.at_us), "kind": type(m.body).__name__, "content": m.content.value}
        say(as_json({**line, "masked": m.masked, "body": dataclasses.asdict(m.body)}))


def _as_cast(session: str, moments: list[Any]) -> None:
    """https://docs.asciinema.org/manual/asciicast/v2/"""
    from tallystick.replay import WIDTH, lines

    start = moments[0].at_us
    head = {"version": 2, "width": WIDTH, "height": 40, "timestamp": start // 1_000_000, "title": session}
    say(json.dumps({**head, "idle_time_limit": LONGEST_PAUSE_S}))
    last = 0.0
    for moment in moments:
        last = max(last, (moment.at_us - start) / 1_000_000)
        say(json.dumps([round(last, 6), "o", "".join(f"{line}\r\n" for line in lines(moment))]))
