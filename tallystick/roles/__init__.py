"""How each role is put together: its keys, its parts, its end.

A role loads only its own code and keys. It says "ready <address>" on stdout when it can do
its job, drains at SIGTERM or SIGINT, and ends with an error where it cannot go on: whoever
started it (`up`, systemd, an orchestrator) starts it again, and it goes on from what is
durable. `harden` comes before the first key is read.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import TYPE_CHECKING, Any

import uvloop

from bus.topics import Bus, BusDown
from tallystick import logs
from tallystick.config import Address, Config
from tallystick.harden import allow_many_files, harden
from tallystick.ops import Figures, OpsServer, Ready

if TYPE_CHECKING:
    from policy.rules import Rules

Say = Callable[[str], None]
ASK_S = 2.0  # for a page of `ops`: whoever asks waits


def run(role: Callable[[asyncio.Event], Coroutine[Any, Any, None]], name: str) -> None:
    """Runs a role until it is told to stop. Raises what ended it."""
    harden()
    allow_many_files()
    logs.configure(name)

    async def life() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        await role(stop)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(life())


def read_rules(config: Config) -> Rules:
    """Raises OSError, RulesInvalid."""
    from policy import rules  # not for a role that judges nothing

    return rules.parse(config.policy.read_text(encoding="utf-8"))


async def until(stop: asyncio.Event, *tasks: asyncio.Task[Any]) -> None:
    """Until `stop`, or until one of the tasks ends: none may, so its error is raised."""
    stopping = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait({stopping, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    for task in done - {stopping}:
        task.result()
        if not stop.is_set():
            raise RuntimeError("a part of this role ended by itself")


@contextlib.asynccontextmanager
async def ops(role: str, at: Address | None, figures: Figures, ready: Ready) -> AsyncIterator[None]:
    """/healthz, /readyz and /metrics while the role lives, if the config says where."""
    if at is None:
        yield
        return
    server = OpsServer(role, figures, ready)
    await server.start(at.host, at.port)
    try:
        yield
    finally:
        await server.close()


async def bus_fault(bus: Bus, topic: str) -> str:
    """Why the bus does not answer, or "": one question, on a connection that is open already."""
    try:
        async with asyncio.timeout(ASK_S):
            await bus.identity(topic)
    except TimeoutError:
        return f"the bus does not answer within {ASK_S:g} s"
    except BusDown as e:
        return str(e)
    return ""
