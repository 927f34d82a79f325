"""The command line. Errors are one line that says what to do; wrong use exits 2."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from tallystick import (
    cli_approvals,
    cli_behaviour,
    cli_events,
    cli_evidence,
    cli_keys,
    cli_ledger,
    cli_notify,
    cli_policy,
    cli_replay,
    cli_roles,
    cli_votes,
)
from tallystick import config as configuration
from tallystick.terminal import DEFAULT_CONFIG, ConfigFile, fail, note, say
from tallystick.version import VERSION

if TYPE_CHECKING:
    from schemas.judging import Judgement

app = typer.Typer(
    name="tallystick",
    help="The audit ledger for machine identities.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
keys_app = typer.Typer(help="Keys: make them, wrap them, look at them.", no_args_is_help=True)
policy_app = typer.Typer(help="The policy: check it, try it on what was, start from a ready one.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")
app.add_typer(policy_app, name="policy")
ledger_app = typer.Typer()
app.add_typer(ledger_app, name="ledger")
cli_roles.register(app, ledger_app)
cli_keys.register(keys_app)
cli_policy.register(policy_app)
cli_ledger.register(app, ledger_app)
for part in (cli_approvals, cli_votes, cli_behaviour, cli_events, cli_replay, cli_evidence, cli_notify):
    part.register(app)

TIMES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M"]
LARGEST_LINE = 4 * 1024 * 1024


def _version(wanted: bool) -> None:
    if wanted:
        say(VERSION)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which.")] = False,
) -> None:
    """The audit ledger for machine identities."""


@app.command(epilog="Example: echo 'delete from job_log' | tallystick explain")
def explain(
    protocol: Annotated[str, typer.Option(help="postgres or kubernetes or aws")] = "postgres",
    as_json: Annotated[bool, typer.Option("--json", help='Lines in are {"command": …}, lines out JSON too.')] = False,
    policy: Annotated[Path | None, typer.Option(help="A policy file; else the default policy.")] = None,
    environment: Annotated[str, typer.Option(help="What the target is.")] = "production",
    subject: Annotated[str, typer.Option(help="Whose command it is.")] = "nobody",
    at: Annotated[datetime | None, typer.Option(formats=TIMES, help="When, in UTC; else now.")] = None,
) -> None:
    """What each command does, what is of concern about it, what the policy says. One a line on stdin."""
    from policy import judge as judging
    from policy import requests
    from schemas.judging import SessionFacts
    from tallystick.trying import read_policy

    if protocol not in requests.PROTOCOLS:
        fail(f"--protocol is one of {', '.join(requests.PROTOCOLS)}")
    rules = read_policy(policy)
    facts = SessionFacts(subject, (), "stdin", protocol, environment, "", "")
    when = at.replace(tzinfo=UTC) if at else datetime.now(UTC)
    moment = rules.moment(int(when.timestamp()) * 1_000_000)
    for line in sys.stdin:
        if not line.strip():
            continue
        judged = requests.judge_line(_command(line, as_json), facts, rules, moment=moment)
        explained = judging.explain_json(judged, environment, rules)
        say(json.dumps(explained) if as_json else _in_words(judged, explained["sum"]))


def _command(line: str, as_json: bool) -> str:
    if len(line) > LARGEST_LINE:
        fail(f"a line of {len(line)} characters; a command has at most {LARGEST_LINE}")
    if not as_json:
        return line.rstrip("\n")
    try:
        command = json.loads(line)["command"]
    except (ValueError, KeyError, TypeError, RecursionError):
        fail('with --json each line is {"command": "…"}')
    if isinstance(command, dict):  # a request over HTTP
        return json.dumps(command)
    return command if isinstance(command, str) else fail('with --json each line is {"command": "…"}')


def _in_words(judged: Judgement, summed: dict[str, dict[str, int]]) -> str:
    does = ", ".join(f"{e.effect} {e.relation}".strip() for e in judged.effects) or "nothing"
    known = "" if judged.complete else f"; not wholly known: {judged.reason}"
    why = f" [{', '.join(judged.signals)}]" if judged.signals else ""
    terms = [f"{axis} {points}" for axis, points in summed["points"].items()]
    terms += [f"{percent}% {name}" for name, percent in summed["percent"].items()]
    how = f" ({', '.join(terms)})" if len(terms) > 1 else ""
    why += f"; keeps no value: {', '.join(judged.masks)}" if judged.masks else ""
    why += f"; tells people: {', '.join(judged.alerts)}" if judged.alerts else ""
    return f"{judged.decision.value:<5} {judged.band.value} {judged.score}{how}: {does}{known}{why}"


@app.command(epilog="Example: tallystick check --config tallystick.toml")
def check(
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: Annotated[bool, typer.Option("--json", help="One object: good, and the findings.")] = False,
) -> None:
    """Tries everything that the config names (keys, policy, bus, store, targets, ports); a line for each fault."""
    from tallystick.checking import Finding, findings

    try:
        found = configuration.load(config)
    except configuration.ConfigInvalid as e:
        if not as_json:
            fail(str(e))
        said = [Finding("config", False, line) for line in str(e).splitlines()]
    else:
        said = []
        for finding in findings(found):
            said.append(finding)
            if not as_json:
                tell = say if finding.good else note
                tell(f"{'good' if finding.good else 'fix':<5}{finding.about:<20} {finding.text}")
    to_fix = sum(not finding.good for finding in said)
    if as_json:
        say(json.dumps({"good": not to_fix, "findings": [asdict(finding) for finding in said]}))
    elif to_fix:
        note(f"{to_fix} to fix")
    else:
        say("good")
    raise typer.Exit(2 if to_fix else 0)


@app.command(epilog="Example: tallystick demo --out demo-out")
def demo(
    out: Annotated[Path, typer.Option(help="Where the bundle, the key and the config are left.")] = Path("demo-out"),
    interactive: Annotated[bool, typer.Option("--interactive", help="You are the reviewer.")] = False,
) -> None:
    """The whole story on a real PostgreSQL 18: a CI token, stolen; held, judged, recorded, proved."""
    from tallystick import demo as story  # the demo's packages are an extra

    raise typer.Exit(story.run_story(Console(highlight=False, emoji=False), out.resolve(), interactive=interactive))


def main() -> None:
    app()
