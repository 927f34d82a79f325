"""`approve`, `deny`, `revoke`, `break-glass` and `review`: a reviewer's own signature.

A reviewer signs what was shown to them: the request is fetched and shown first, and the
commitment in that very answer is what the vote is over. The key never leaves this process.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from tallystick.cli_approvals import (
    REFUSED,
    Ca,
    KeyFile,
    Name,
    Request,
    Url,
    as_reviewer,
    checked,
    read,
    speaking,
    width,
)
from tallystick.terminal import DEFAULT_CONFIG, ConfigFile, fail, moment, say

if TYPE_CHECKING:
    from schemas.records import Choice
    from seal.sign import Signs
    from tallystick.asked import Asked
    from tallystick.door import DoorClient

OPEN_FOR = {
    **dict.fromkeys(("approve", "deny", "break-glass"), ("pending",)),
    "revoke": ("pending", "approved", "reserved"),
}
COUNTED_WITHIN_S = 5.0
MOST_LINES = 100  # of a command, where it is voted on

Reason = Annotated[str, typer.Option(help="Why; it is signed, and other reviewers see it.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask; needed where stdin is no terminal.")]


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: tallystick approve req-abcdefghijklmnop --reason 'INC-7, agreed with the team'")(
        approve
    )
    app.command(epilog="Example: tallystick deny req-abcdefghijklmnop --reason 'not from CI'")(deny)
    app.command(epilog="Example: tallystick revoke req-abcdefghijklmnop --reason 'the freeze was extended'")(revoke)
    app.command(
        "break-glass", epilog="Example: tallystick break-glass req-abcdefghijklmnop --reason 'INC-9: disk full'"
    )(break_glass)
    app.command(epilog="Example: tallystick review req-abcdefghijklmnop --accept --reason 'INC-9 is as told'")(review)


@dataclass(frozen=True, slots=True)
class Standing:
    """What a vote allows beyond one use."""

    uses: int
    until_us: int
    any_values: bool


def approve(
    request: Request,
    reason: Reason,
    standing: Annotated[
        bool,
        typer.Option("--standing", help="For more than one use: with --until and --uses, as far as the rule lets."),
    ] = False,
    until: Annotated[str | None, typer.Option(help="Last day, itself included; or a time, itself not.")] = None,
    uses: Annotated[int | None, typer.Option(min=1, help="How often the command may run on it.")] = None,
    any_values: Annotated[
        bool, typer.Option("--any-values", help="Whatever stands in the places that are shown as free.")
    ] = False,
    key: KeyFile = None,
    name: Name = None,
    config: ConfigFile = DEFAULT_CONFIG,
    url: Url = None,
    ca: Ca = None,
    yes: Yes = False,
) -> None:
    """Shows what is asked for, and signs your yes to exactly that. Exit 0 counted, 1 not counted, 2 wrong use."""
    from schemas.records import Choice

    more = None
    if standing:
        if until is None or uses is None:
            fail("--standing: say until when, and how often: --until 2026-12-31 --uses 30")
        more = Standing(uses, moment(until, timedelta(days=1)), any_values)
    elif until is not None or uses is not None or any_values:
        fail("--until, --uses and --any-values are of a standing approval: add --standing")
    _vote(Choice.APPROVE, request, reason, as_reviewer(key, name, config, url, ca), more, yes=yes)


def deny(
    request: Request,
    reason: Reason,
    key: KeyFile = None,
    name: Name = None,
    config: ConfigFile = DEFAULT_CONFIG,
    url: Url = None,
    ca: Ca = None,
    yes: Yes = False,
) -> None:
    """Shows what is asked for, and signs your no: one no is enough. Exit 0 counted, 1 not counted, 2 wrong use."""
    from schemas.records import Choice

    _vote(Choice.DENY, request, reason, as_reviewer(key, name, config, url, ca), yes=yes)


def revoke(
    request: Request,
    reason: Reason,
    key: KeyFile = None,
    name: Name = None,
    config: ConfigFile = DEFAULT_CONFIG,
    url: Url = None,
    ca: Ca = None,
    yes: Yes = False,
) -> None:
    """Takes a request back before its use, whoever approved it; what runs already is not called back.
    Exit 0 counted, 1 not counted, 2 wrong use."""
    from schemas.records import Choice

    _vote(Choice.REVOKE, request, reason, as_reviewer(key, name, config, url, ca), yes=yes)


def break_glass(
    request: Request,
    reason: Reason,
    key: KeyFile = None,
    name: Name = None,
    config: ConfigFile = DEFAULT_CONFIG,
    url: Url = None,
    ca: Ca = None,
    yes: Yes = False,
) -> None:
    """Approves alone, where the approvers cannot be reached: once, if the policy gives you the right and its rule
    allows it. Everybody is told; another person has to review it. Exit 0 counted, 1 not counted, 2 wrong use."""
    from schemas.records import Choice

    _vote(Choice.BREAK_GLASS, request, reason, as_reviewer(key, name, config, url, ca), yes=yes)


def review(
    request: Request,
    reason: Reason,
    accept: Annotated[bool, typer.Option("--accept/--object", help="Was it right to break the glass?")],
    key: KeyFile = None,
    name: Name = None,
    config: ConfigFile = DEFAULT_CONFIG,
    url: Url = None,
    ca: Ca = None,
    yes: Yes = False,
) -> None:
    """Says, signed, what you think of glass that another person broke. Exit 0 counted, 1 not counted, 2 wrong use."""
    from schemas.records import Choice

    choice = Choice.ACCEPT if accept else Choice.OBJECT
    _vote(choice, request, reason, as_reviewer(key, name, config, url, ca), yes=yes)


def _vote(
    choice: Choice,
    request: str,
    reason: str,
    who: tuple[DoorClient, Signs],
    more: Standing | None = None,
    *,
    yes: bool,
) -> None:
    from approvals.votes import ReasonTooLong, cast
    from schemas.ids import ApprovalId
    from tallystick.asked import shown
    from tallystick.recorded import iso

    door, signer = who
    if not yes and not sys.stdin.isatty():
        fail("stdin is no terminal, so nobody can be asked: add --yes if you have seen what is asked for")
    with speaking():
        asked = read(door.request(checked(request)), request)
    for line in shown(asked, width(), MOST_LINES):
        say(line)
    _check_open(asked, choice)
    if more is not None:
        _check_standing(asked, more, time.time_ns() // 1000)
        values = "any values in the free places" if more.any_values else "exactly these values"
        say(f"you allow   {more.uses} uses until {iso(more.until_us)[:19]}Z, with {values}")
    if not yes and not confirmed(choice.value, signer.name):
        fail("nothing was signed", REFUSED)
    now_us = time.time_ns() // 1000
    deadline_us, uses, shape = deadline(asked, now_us), 1, None
    if more is not None:
        deadline_us, uses, shape = more.until_us, more.uses, asked.shape if more.any_values else None
    try:
        with speaking():
            vote = cast(signer, ApprovalId(request), asked.commitment, choice, deadline_us, reason, now_us, uses, shape)
    except (ReasonTooLong, UnicodeEncodeError) as e:
        fail(f"--reason: {e}")
    with speaking():
        door.vote(vote)
        state = _counted(door, request, signer.name, choice.value)
    say(f"{request}: your {choice.value} is counted; the request is {state}")


def _check_open(asked: Asked, choice: Choice) -> None:
    if choice.value in OPEN_FOR:
        if asked.state not in OPEN_FOR[choice.value]:
            fail(f"{asked.id} is {asked.state}: there is nothing to {choice.value}", REFUSED)
    elif asked.review is None or asked.review.said:
        fail(f"{asked.id}: there is nothing to review", REFUSED)


def _check_standing(asked: Asked, more: Standing, now_us: int) -> None:
    from tallystick.visible import visible

    if not asked.standing_uses:
        fail(f"the rule {visible(asked.rule)} allows no standing approvals (`standing` in the policy)", REFUSED)
    if more.uses > asked.standing_uses:
        fail(f"--uses: the rule allows at most {asked.standing_uses}", REFUSED)
    if not now_us < more.until_us <= now_us + asked.standing_s * 1_000_000:
        fail(f"--until: the rule allows at most {asked.standing_s // 86400} days from now", REFUSED)
    if more.any_values and asked.shape is None:
        fail("--any-values: the rule does not allow it, or other values would decide what this command does", REFUSED)


def deadline(asked: Asked, now_us: int) -> int:
    """Of the vote. An approval lives as long as its rule says: the span that the request itself was given, from now.
    The clock that counts is the door's; it is believed as far as clocks may be apart."""
    from approvals.votes import CLOCKS_APART_US

    theirs = min(max(asked.now_us, now_us - CLOCKS_APART_US), now_us + CLOCKS_APART_US)
    return theirs + max(0, asked.expires_us - asked.opened_us)


def confirmed(word: str, name: str) -> bool:
    from tallystick.visible import visible

    print(f"Sign {word} as {visible(name)}? [y/N] ", end="", file=sys.stderr, flush=True)  # noqa: T201
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _counted(door: DoorClient, request: str, name: str, choice: str) -> str:
    """The state once the approvals step has taken the vote."""
    from tallystick.asked import standing
    from tallystick.visible import visible

    end = time.monotonic() + COUNTED_WITHIN_S
    while True:
        asked = read(door.request(request), request)
        if any((reviewer, said.partition(",")[0]) == (name, choice) for reviewer, said, _ in asked.votes):
            return visible(standing(asked.state, asked.uses, asked.review))
        if time.monotonic() > end:
            fail(f"{request}: the vote was taken and is not counted yet; see: tallystick requests {request}", REFUSED)
        time.sleep(0.1)
