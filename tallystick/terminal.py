"""How commands speak: one line on stdout, or one line on stderr that says what to do and an exit code."""

from __future__ import annotations

import contextlib
import getpass
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, NoReturn

import typer

ConfigFile = Annotated[Path, typer.Option("--config", help="The configuration file.")]
DEFAULT_CONFIG = Path("tallystick.toml")


def fail(message: str, code: int = 2) -> NoReturn:
    note(message)
    raise typer.Exit(code)


def note(message: str) -> None:
    """A line for people, beside the output that a script reads."""
    from tallystick.visible import visible  # a message may quote what somebody else wrote

    print("\n".join(map(visible, message.split("\n"))), file=sys.stderr, flush=True)  # noqa: T201


SHORTEST_PASSPHRASE = 8


def passphrase(of: Path) -> str:
    """Asked for at the terminal, and nowhere else: in an argument or a variable, others could read it."""
    _at_a_terminal(of)
    return _asked(f"passphrase of {of}: ")


def new_passphrase(of: Path) -> str:
    _at_a_terminal(of)
    while True:
        first = _asked(f"new passphrase of {of}: ")
        if len(first) < SHORTEST_PASSPHRASE:
            note(f"{SHORTEST_PASSPHRASE} characters at least")
        elif _asked("once more: ") == first:
            return first
        else:
            note("not the same")


def _asked(prompt: str) -> str:
    try:
        return getpass.getpass(prompt)
    except UnicodeError:
        fail("a passphrase is text in UTF-8, which this terminal does not send")


def _at_a_terminal(of: Path) -> None:
    if not sys.stdin.isatty():
        fail(f"{of}: a passphrase is asked for at a terminal, and this is none; an unattended vote needs a key without")


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


@contextlib.contextmanager
def working(what: str) -> Iterator[None]:
    """Shows that long work goes on, if stderr is a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield


def moment(text: str, day: timedelta) -> int:
    """Microseconds. A day alone stands for its beginning, plus `day`."""
    try:
        if len(text) == 10:
            when = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC) + day
        else:
            when = datetime.fromisoformat(text)
            when = when if when.tzinfo else when.replace(tzinfo=UTC)
        return int(when.timestamp() * 1_000_000)
    except (ValueError, OverflowError):
        fail(f"{text}: not a day or a time; write 2026-01-31 or 2026-01-31T09:30:00Z")
