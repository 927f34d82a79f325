"""`notify test`: does somebody hear of it?"""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

import typer

from tallystick import config as configuration
from tallystick.terminal import DEFAULT_CONFIG, ConfigFile, fail, note, say


def register(app: typer.Typer) -> None:
    notify_app = typer.Typer(help="Where people are told of what happens.", no_args_is_help=True)
    notify_app.callback()(_root)
    notify_app.command("test", epilog="Example: tallystick notify test --name oncall")(send_test)
    app.add_typer(notify_app, name="notify")


def _root() -> None:
    """Where people are told of what happens: the `notify` sections of the config."""


def send_test(
    config: ConfigFile = DEFAULT_CONFIG,
    name: Annotated[str | None, typer.Option(help="Only this one.")] = None,
) -> None:
    """Sends a test message through each channel, once. Exit 0 if every one was taken, else 1."""
    from tallystick.backends import now_us
    from tallystick.notify.channels import NotSent, channel
    from tallystick.notify.notices import trial
    from tallystick.notify.outbox import message

    try:
        found = configuration.load(config)
        chosen = [n for n in found.notify if name in (None, n.name)]
        if not chosen:
            known = ", ".join(n.name for n in found.notify) or "none"
            fail(f"{config}: no such [[notify]]; there are: {known}")
        channels = [channel(settings, found.door, time.time) for settings in chosen]
    except configuration.ConfigInvalid as e:
        fail(str(e))
    failed = 0
    for one in channels:
        at_us = now_us()
        try:
            asyncio.run(one.send(message([trial(at_us)], at_us)))
        except NotSent as e:
            failed += 1
            note(f"{one.name}: not taken: {e}")
        else:
            say(f"{one.name}: taken")
    if failed:
        raise typer.Exit(1)
