"""How commands speak: one line on stdout, or one line on stderr that says what to do and an exit code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

ConfigFile = Annotated[Path, typer.Option("--config", help="The configuration file.")]
DEFAULT_CONFIG = Path("tallystick.toml")


def fail(message: str, code: int = 2) -> NoReturn:
    print(message, file=sys.stderr)  # noqa: T201
    raise typer.Exit(code)


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201
