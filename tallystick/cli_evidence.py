"""`bundle` and `verify`: what an auditor is given, and how they check it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tallystick.terminal import DEFAULT_CONFIG, ConfigFile, fail, moment, note, say, working

if TYPE_CHECKING:
    from evidence.outcome import Outcome
    from ledger.note import Checkpoint, VerifierKey

MOST_FINDINGS = 50
LARGEST_KEY_FILE = 4096


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: tallystick bundle --from 2026-01-01 --to 2026-03-31 --out q1.zip --seed 8271")(bundle)
    app.command(epilog="Example: tallystick verify q1.zip --key log.vkey")(verify)


# --- verify ---------------------------------------------------------------------------


def verify(
    path: Annotated[Path, typer.Argument(help="A bundle, an exported log, or a ledger's store.")],
    key: Annotated[str, typer.Option(help="The log's verifier key, or the file that holds it; from another hand.")],
    seen: Annotated[
        Path | None, typer.Option(help="A checkpoint of this log that you kept: that nothing since was cut off.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Checks evidence offline. Exit 0 valid, 10 altered, 11 missing, 12 gap, 13 extra, 14 cannot verify."""
    from evidence.verify import verify as check

    trusted = _trusted(key)
    kept = None if seen is None else _kept(seen, trusted)
    with working(f"verifying {path.name}"):
        outcome = check(path, trusted, kept)
    tell(outcome, as_json)


def _kept(seen: Path, key: VerifierKey) -> Checkpoint:
    from ledger.note import LARGEST, BadNote, open_checkpoint

    try:
        with seen.open("rb") as f:
            return open_checkpoint(f.read(LARGEST + 1), key)
    except OSError as e:
        fail(f"{seen}: cannot be read ({e.strerror})")
    except BadNote as e:
        fail(f"--seen: {e}; keep what `tallystick ledger status --json` says as checkpoint")


def _trusted(key: str) -> VerifierKey:
    from ledger.note import BadNote, parse_vkey

    text = key
    if "+" not in key or Path(key).is_file():
        try:
            with Path(key).open("rb") as f:
                text = f.read(LARGEST_KEY_FILE).decode()
        except (OSError, UnicodeDecodeError) as e:
            reason = getattr(e, "strerror", None) or "not a text"
            fail(f"{key}: no verifier key can be read there ({reason}); the operator prints it: tallystick keys show")
    try:
        return parse_vkey(text)
    except BadNote as e:
        fail(f"--key: {e}; the operator prints it: tallystick keys show")


def tell(outcome: Outcome, as_json: bool) -> None:
    """Says it, and ends the command with its exit code."""
    from tallystick.recorded import as_json as json_line
    from tallystick.visible import visible

    word = _word(outcome.code.name)
    if as_json:
        findings = [{"outcome": _word(f.code.name), "what": f.what} for f in outcome.findings]
        say(
            json_line(
                {
                    "outcome": word,
                    "exit": int(outcome.code),
                    "findings": findings,
                    "about": outcome.about,
                    "not_proved": outcome.facts,
                }
            )
        )
        raise typer.Exit(int(outcome.code))
    say(f"{word}: {outcome.about}" if outcome.about else word)
    for finding in outcome.findings[:MOST_FINDINGS]:
        say(visible(f"  {_word(finding.code.name):<14} {finding.what}"))
    if len(outcome.findings) > MOST_FINDINGS:
        say(f"  … {len(outcome.findings) - MOST_FINDINGS} more (--json has them)")
    for fact in outcome.facts:
        say(visible(f"not proved: {fact}"))
    raise typer.Exit(int(outcome.code))


def _word(name: str) -> str:
    return "cannot verify" if name == "CANNOT" else name.lower()


# --- bundle ---------------------------------------------------------------------------


def bundle(
    since: Annotated[str, typer.Option("--from", help="First day, UTC: 2026-01-31; or a time: 2026-01-31T09:30:00Z")],
    until: Annotated[str, typer.Option("--to", help="Last day, itself included; or a time, itself not.")],
    out: Annotated[Path, typer.Option(help="The zip; a new file.")],
    config: ConfigFile = DEFAULT_CONFIG,
    seed: Annotated[str, typer.Option(help="Your auditor's seed: it draws the sample, with the log's root.")] = "",
    sample: Annotated[int, typer.Option(min=0, max=10_000, help="How many exchanges to draw.")] = 25,
    shard: Annotated[str, typer.Option(help="Which log: after an adoption there is one more.")] = "0",
) -> None:
    """Builds the evidence bundle of a period, and verifies it as an auditor would."""
    from evidence.bundle import CannotBuild
    from evidence.tables import Query
    from evidence.verify import verify as check
    from ledger.succession import shards
    from tallystick.bundling import write
    from tallystick.recorded import SHARD, open_log, reading

    query = Query(moment(since, timedelta()), moment(until, timedelta(days=1)), seed, sample)
    if query.from_us >= query.to_us:
        fail("--from must be before --to")
    if out.exists():
        fail(f"{out}: is there already, and nothing is overwritten")
    log = open_log(config, shard)
    try:
        with reading(), working("building"):
            others = [name for name in shards(log.store, SHARD) if name != shard]
            write(log, query, out)
        with working("verifying it"):
            outcome = check(out, log.key)
    except CannotBuild as e:
        fail(str(e), 1)
    except OSError as e:
        fail(f"{out}: cannot be written ({e.strerror})")
    if not seed:
        note("no seed was given, so the operator could foresee the sample: ask your auditor for one, and use --seed")
    if others:
        note(f"the log lies in several shards, and this bundle has {shard} alone: make one of {', '.join(others)} too")
    say(f"{out}: {out.stat().st_size} bytes")
    tell(outcome, as_json=False)
