"""Commands that run: `init`, `up`, and one a role."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer

from tallystick import config as configuration
from tallystick.terminal import DEFAULT_CONFIG, ConfigFile, fail, say


class Steps(StrEnum):
    ASK = "ask"
    MASK = "mask"
    APPROVALS = "approvals"
    BEHAVIOUR = "behaviour"
    NOTIFY = "notify"


def register(app: typer.Typer, ledger_app: typer.Typer) -> None:
    """`ledger_app` holds what is asked of a ledger; without a subcommand `tallystick ledger` is the role."""
    ledger_app.callback(invoke_without_command=True, epilog="Example: tallystick ledger --config tallystick.toml")(
        ledger
    )
    app.command(epilog="Example: tallystick init --target postgresql://app@db.internal:5432/orders")(init)
    app.command(epilog="Example: tallystick up --config tallystick.toml")(up)
    app.command(epilog="Example: tallystick gateway --config tallystick.toml --name orders-db")(gateway)
    app.command(epilog="Example: tallystick worker --steps mask --config tallystick.toml")(worker)


def init(
    target: Annotated[str, typer.Option(help="The database: postgresql://user@host:5432/name")],
    directory: Annotated[Path, typer.Option("--dir", help="Where to put it all.")] = Path(),
    name: Annotated[str, typer.Option(help="The gateway's name.")] = "db",
    listen: Annotated[str, typer.Option(help="Where machines connect.")] = "127.0.0.1:15432",
    deployment: Annotated[str, typer.Option(help="In the name of the log.")] = "local",
) -> None:
    """Makes keys, a policy with one reviewer, and a config with one identity. Overwrites nothing."""
    from seal.keyfiles import KeysUnusable
    from tallystick import setup

    try:
        made = setup.make(directory, target=target, name=name, listen=listen, deployment=deployment)
        configuration.load(made.config)
    except (setup.SetupRefused, KeysUnusable, configuration.ConfigInvalid) as e:
        fail(str(e))
    say(f"config      {made.config}   (if the target wants a password: name its file with target_password_file)")
    say(f"reviewer    {made.reviewer_key}   (give it to the person who approves; it is theirs alone)")
    say(f"identity    user {made.user}, password {made.password}   (shown once: the config has only its verifier)")
    say(f"root key    {directory / 'keys' / 'root.key'}   (move it off this machine)")
    say(f"next        tallystick up --config {made.config}")


def up(config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Every role, each in a process of its own; prints their addresses, then "ready"."""
    from tallystick import logs
    from tallystick.supervise import Role, Supervisor

    found = _load(config)
    if not found.gateway:
        fail(f"{config}: no [[gateway]] is configured, so there is nothing to record")
    where = ("--config", str(config.resolve()))
    roles = [
        Role("ledger", ("ledger", *where)),
        *([Role("notify", ("worker", "--steps", "notify", *where))] if found.notify else []),
        Role("ask", ("worker", "--steps", "ask", *where)),
        Role("mask", ("worker", "--steps", "mask", *where)),
        Role("approvals", ("worker", "--steps", "approvals", *where)),
        *([Role("behaviour", ("worker", "--steps", "behaviour", *where))] if _watches(found) else []),
        *(Role(f"gateway {g.name}", ("gateway", "--name", g.name, *where)) for g in found.gateway),
    ]
    logs.configure("up")
    if not found.kafka_servers:
        asyncio.run(_make_bus(found.data))
    raise typer.Exit(asyncio.run(Supervisor(roles, say).run()))


def _watches(config: configuration.Config) -> bool:
    """A key directory of an earlier release has no key for it: then what is recorded and held goes on without it."""
    from seal import keyfiles
    from tallystick.terminal import note

    if keyfiles.has_role(config.keys, "behaviour"):
        return True
    note(f"note: nobody watches behaviour: make its key with: tallystick keys add behaviour --dir {config.keys}")
    return False


async def _make_bus(data: Path) -> None:
    """Once, before the roles meet in it: several processes making one SQLite file would refuse each other."""
    from bus.local import LocalBus
    from bus.topics import BusDown

    try:
        await LocalBus(data).close()
    except BusDown as e:
        fail(str(e))


def gateway(
    config: ConfigFile = DEFAULT_CONFIG,
    name: Annotated[str | None, typer.Option(help="Which gateway; needed where the config has several.")] = None,
) -> None:
    """One gateway: in the data path."""
    from tallystick.roles import gateway as role

    found = _load(config)
    try:
        chosen = found.the_gateway(name)
    except configuration.ConfigInvalid as e:
        fail(str(e))
    _run("gateway", lambda stop: role.gateway(found, chosen, say, stop))


def worker(
    steps: Annotated[Steps, typer.Option(help="Which steps: each is a process with keys of its own.")],
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """One stream worker: `mask` (the record), `ask` (what is held, ahead of the masker), `approvals`, `behaviour`
    (what is unusual for an identity), or `notify` (tells people; needs a `notify` section)."""
    from tallystick.roles import workers as role

    found = _load(config)
    if steps is Steps.MASK:
        _run("mask", lambda stop: role.mask_worker(found, say, stop))
    elif steps is Steps.ASK:
        _run("ask", lambda stop: role.ask_worker(found, say, stop))
    elif steps is Steps.BEHAVIOUR:
        from tallystick.roles.behaviour import behaviour_worker

        _run("behaviour", lambda stop: behaviour_worker(found, say, stop))
    elif steps is Steps.NOTIFY:
        from tallystick.roles.notify import notify_worker

        _run("notify", lambda stop: notify_worker(found, say, stop))
    else:
        _run("approvals", lambda stop: role.approvals_worker(found, say, stop))


def ledger(context: typer.Context, config: ConfigFile = DEFAULT_CONFIG) -> None:
    """The ledger role (events in, signed batches out), or one of the commands below."""
    if context.invoked_subcommand is not None:
        return
    from tallystick.roles import ledger as role

    found = _load(config)
    _run("ledger", lambda stop: role.ledger(found, say, stop))


def _load(config: Path) -> configuration.Config:
    try:
        found = configuration.load(config)
        found.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    except configuration.ConfigInvalid as e:
        fail(str(e))
    except OSError as e:
        fail(f"data: {e.filename}: cannot be made ({e.strerror})")
    return found


def _run(name: str, role: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
    """What cannot work until somebody mends it is one line and exit 2; what the next start may mend is 1."""
    from bus.journal import JournalDamaged, JournalUnwritable
    from bus.topics import BusDown, BusRefused
    from ingest.recorder import NotAlone, RecorderTaken
    from ledger.recovery import CannotRecover
    from ledger.store import StoreBroken, StoreRefused
    from ledger.writer import Fenced
    from policy.document import RulesInvalid
    from seal.keyfiles import KeysUnusable
    from tallystick import roles

    try:
        roles.run(role, name)
    except (configuration.ConfigInvalid, KeysUnusable, RulesInvalid, BusRefused, StoreRefused) as e:
        fail(str(e))
    except (
        JournalDamaged, JournalUnwritable, BusDown, RecorderTaken, NotAlone, CannotRecover, StoreBroken, Fenced,
    ) as e:  # fmt: skip
        fail(f"{name}: {e}", 1)
    except OSError as e:
        fail(f"{name}: {e.strerror or type(e).__name__}: {e.filename or 'an address in the config'}", 1)
    except Exception as e:  # noqa: BLE001  # the outermost place: told by type and place, since its text may hold traffic
        structlog.get_logger().error("role failed", exc_info=e)
        raise typer.Exit(1) from None
