"""`tallystick ledger …`: the log itself, as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tallystick import cli_events, cli_evidence, cli_mask
from tallystick.terminal import DEFAULT_CONFIG, ConfigFile, fail, note, say, working

Shard = Annotated[str, typer.Option(help="Which log of the deployment; embedded there is one.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object.")]


def register(app: typer.Typer, ledger_app: typer.Typer) -> None:
    cli_mask.register(app)
    ledger_app.command("export", epilog="Example: tallystick ledger export public-log")(export)
    ledger_app.command("verify", epilog="Example: tallystick ledger verify --config tallystick.toml")(verify)
    ledger_app.command("proof", epilog="Example: tallystick ledger proof 42 > 42.tlog-proof")(proof)
    ledger_app.command("adopt", epilog='Example: tallystick ledger adopt --reason "restored, INC-482"')(adopt)
    ledger_app.command("status", epilog="Example: tallystick ledger status --json")(status)


def export(
    directory: Annotated[Path, typer.Argument(help="A new directory.")],
    config: ConfigFile = DEFAULT_CONFIG,
    shard: Shard = "0",
) -> None:
    """Writes the log as a static C2SP tlog-tiles directory, and its verifier key as log.vkey."""
    from ledger.export import CannotExport
    from ledger.export import export as write
    from ledger.note import BadNote
    from tallystick.recorded import open_log, reading

    log = open_log(config, shard)
    try:
        with reading(), working("exporting"):
            size = write(log.store, shard, log.key, directory)
    except CannotExport as e:
        fail(str(e))
    except BadNote as e:
        fail(f"{directory}: {e}; see: tallystick ledger verify", 1)
    except OSError as e:
        fail(f"{directory}: cannot be written ({e.strerror})")
    say(f"{size} entries in {directory}; give auditors {directory / 'log.vkey'} by another way than the log")


def verify(config: ConfigFile = DEFAULT_CONFIG, shard: Shard = "0", as_json: AsJson = False) -> None:
    """Checks every byte of the log where it lies. Exit 0 valid, 10 altered, 11 missing, 12 gap, 13 extra, 14 cannot."""
    from evidence.verify import verify_store
    from tallystick.recorded import open_log

    log = open_log(config, shard)
    with working("verifying"):
        outcome = verify_store(log.store, log.shard, log.key)
    cli_evidence.tell(outcome, as_json)


def proof(
    entry: Annotated[int, typer.Argument(min=0, help="The entry's index, as `tallystick events` shows it.")],
    config: ConfigFile = DEFAULT_CONFIG,
    shard: Shard = "0",
    as_json: Annotated[bool, typer.Option("--json", help="With the leaf, which a checker needs.")] = False,
) -> None:
    """Prints the proof that an entry is in the log: a C2SP tlog-proof, which any tlog tool checks."""
    from ledger.proof import verify as check
    from ledger.reader import Prover, entries
    from ledger.tree import ProofInvalid, leaf_hash
    from tallystick.recorded import as_json as json_line
    from tallystick.recorded import open_log, reading

    log = open_log(config, shard)
    with reading(), working("reading the log"):
        prover = Prover(log.store, shard)
        if entry >= prover.head.size:
            fail(f"there is no entry {entry}: the log has {prover.head.size}, counted from 0")
        found = next(entries(log.store, shard, entry, entry + 1))
        made = prover.proof(entry)
        try:
            check(made, found.leaf, log.key)
        except ProofInvalid as e:
            fail(f"{e}; see what is whole with: tallystick ledger verify", 1)
        text = made.text()
    if as_json:
        hashed = leaf_hash(found.leaf)
        say(
            json_line(
                {"index": entry, "leaf": found.leaf, "leaf_hash": hashed, "batch": found.batch_seq, "proof": text}
            )
        )
    else:
        say(text.rstrip("\n"))


def adopt(
    reason: Annotated[str, typer.Option(help="Why; it is written into the log.")], config: ConfigFile = DEFAULT_CONFIG
) -> None:
    """Lets the ledger go on where its store lost the end: a new shard, whose first entry says what it lacks."""
    from bus.topics import BusDown
    from ledger.recovery import CannotRecover
    from ledger.store import StoreBroken
    from ledger.succession import NothingToAdopt
    from ledger.writer import Fenced
    from seal.keyfiles import KeysUnusable
    from tallystick.adopting import adopt_shard
    from tallystick.config import ConfigInvalid
    from tallystick.recorded import load

    try:
        with working("looking at what is left"):
            said = adopt_shard(load(config), reason)
    except (NothingToAdopt, CannotRecover, StoreBroken, Fenced, BusDown, KeysUnusable, ConfigInvalid) as e:
        fail(str(e))
    say(f"shard {said.before} is kept with {said.size} entries; the ledger goes on in the next, which says so")


def status(config: ConfigFile = DEFAULT_CONFIG, shard: Shard = "0", as_json: AsJson = False) -> None:
    """Where the log stands: size, root, newest batch, and up to where each source is covered."""
    from tallystick.recorded import as_json as json_line

    found = _status(config, shard)
    if as_json:
        say(json_line(found))
        return
    if not found["size"]:
        note("the log has no entries yet")
    for name in ("origin", "size", "root", "batches", "newest_entry"):
        say(f"{name.replace('_', ' '):<13} {found[name]}")
    for line in cli_events.columns([("covered", *map(str, c.values())) for c in found["cursors"]] or [("",)]):
        say(line)


def _status(config: Path, shard: str) -> dict[str, Any]:
    import base64

    from ledger import layout
    from ledger.batch import decode
    from ledger.entry import look
    from ledger.reader import head
    from tallystick.recorded import iso, open_log, reading

    log = open_log(config, shard)
    with reading():
        at = head(log.store, shard)
        newest = decode(log.store.get(layout.batch(shard, at.seq))) if at.seq >= 0 else None
        times = [look(item.leaf).time_us for item in newest.items] if newest else []
    cursors = newest.meta.cursors if newest else ()
    return {
        "origin": log.key.name,
        "key": str(log.key),
        "size": at.size,
        "root": base64.b64encode(at.root).decode(),
        "batches": at.seq + 1,
        "newest_entry": iso(max(times)) if times else "",
        "store": log.store.name,
        "checkpoint": at.checkpoint.decode(),
        "cursors": [{"source": s, "position": "/".join(map(str, c.last))} for s, c in cursors],
    }
