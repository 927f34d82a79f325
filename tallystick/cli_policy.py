"""`policy`: check a policy, start from a ready one, and try one on what is recorded.

What they do is in `trying.py`, imported by the command that needs it: the judge is slow to load.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from tallystick.terminal import DEFAULT_CONFIG, ConfigFile, fail, say

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object.")]
Since = Annotated[str, typer.Option("--since", help="How long back: 31d, 12h; or a day, UTC: 2026-01-31.")]


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: tallystick policy check policy.yaml")(check)
    app.command(epilog="Example: tallystick policy library soc2-changes > policy.yaml")(library)
    app.command(epilog="Example: tallystick policy simulate new.yaml --since 31d")(simulate)
    app.command(epilog="Example: tallystick policy rescore --since 90d")(rescore)


def check(path: Annotated[Path, typer.Argument(help="The policy file.")]) -> None:
    """Reads a policy whole (every key, every condition against sample commands) and tries its `tests`. Exit 2 with
    the line at fault."""
    from tallystick import trying

    trying.check(path)


def library(name: Annotated[str | None, typer.Argument(help="Which one to print.")] = None) -> None:
    """Ready policies to start from: their names and what each is for, or the text of one."""
    folder = files("policy.library")
    known = {path.name.removesuffix(".yaml"): path for path in folder.iterdir() if path.name.endswith(".yaml")}
    if name is None:
        for each in sorted(known):
            say(f"{each:<18} {known[each].read_text('utf-8').splitlines()[0].lstrip('# ')}")
    elif name in known:
        say(known[name].read_text("utf-8").rstrip("\n"))
    else:
        fail(f"there is no {name!r}; see: tallystick policy library")


def simulate(
    path: Annotated[Path | None, typer.Argument(help="The policy to try; else the one in the config.")] = None,
    since: Since = "31d",
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """What a policy would have held, denied and let through of the recorded commands, by identity, and what that
    changes against today's policy. Decided by the facts in the ledger, so it works where texts are erased."""
    from tallystick import trying

    trying.simulate(path, since, config, as_json=as_json)


def rescore(
    path: Annotated[
        Path | None, typer.Argument(help="The policy that was in force; else the one in the config.")
    ] = None,
    since: Since = "31d",
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Scores every recorded command again. Exit 1 if one scored under this policy and engine comes out otherwise; those
    under other ones are counted by version."""
    from tallystick import trying

    trying.rescore(path, since, config, as_json=as_json)
