"""`up`: one child process a role, restarted when it dies, all ended together.

Separate processes, separate keys: the gateway does not share a process with the
masker. A child tells that it is ready by a line "ready <address>" on its stdout.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from tallystick.harden import die_with

LONGEST_PAUSE_S = 10.0
DRAIN_S = 20.0
WRONG_USE = 2
"""A role's exit code where no second try helps: the config, a key or the policy must be mended first."""


@dataclass(frozen=True, slots=True)
class Role:
    """A child: what it is called, and the arguments of `tallystick` that start it."""

    name: str
    arguments: tuple[str, ...]


class Supervisor:
    def __init__(self, roles: Sequence[Role], say: Callable[[str], None]) -> None:
        self._roles, self._say = roles, say
        self._stopping = asyncio.Event()
        self._code = 0
        self._children: dict[str, asyncio.subprocess.Process] = {}

    async def run(self) -> int:
        """Until SIGTERM or SIGINT. Starts all roles at once, tells of them in order. Returns an exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        addresses: list[asyncio.Future[str]] = [loop.create_future() for _ in self._roles]
        keepers = [asyncio.create_task(self._keep(*each)) for each in zip(self._roles, addresses, strict=True)]
        for role, address in zip(self._roles, addresses, strict=True):
            if not await self._first(address):
                break
            self._say(f"{role.name:<20} {address.result()}".rstrip())
        if not self._stopping.is_set():
            self._say("ready")
        await self._stopping.wait()
        await self._drain()
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)
        return self._code

    async def _first(self, address: asyncio.Future[str]) -> bool:
        """True once the role is ready; False if all end before."""
        stopping = asyncio.create_task(self._stopping.wait())
        waits: set[asyncio.Future[Any]] = {address, stopping}
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        return address.done()

    async def _keep(self, role: Role, address: asyncio.Future[str]) -> None:
        log, pause = structlog.get_logger(), 0.1
        while not self._stopping.is_set():
            child = await self._start(role)
            self._children[role.name] = child
            while child.stdout is not None and (line := await child.stdout.readline()):
                text = line.decode(errors="replace").rstrip()
                if text.startswith("ready"):
                    pause = 0.1
                    if not address.done():
                        address.set_result(text.removeprefix("ready").strip())
            code = await child.wait()
            if self._stopping.is_set():
                return
            if code == WRONG_USE and not address.done():
                log.error("role cannot start: mend what it says above", child=role.name)
                self._code = WRONG_USE
                self._stopping.set()
                return
            log.error("role ended, starting it again", child=role.name, code=code, pause_s=pause)
            try:
                await asyncio.wait_for(self._stopping.wait(), pause)
            except TimeoutError:
                pause = min(pause * 2, LONGEST_PAUSE_S)

    async def _start(self, role: Role) -> asyncio.subprocess.Process:
        me = os.getpid()
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tallystick",
            *role.arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            preexec_fn=lambda: die_with(me),
        )

    async def _drain(self) -> None:
        """In order: the gateway first, so that what it recorded can still flow to the ledger."""
        for role in reversed(self._roles):
            child = self._children.get(role.name)
            if child is None or child.returncode is not None:
                continue
            child.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(child.wait(), DRAIN_S)
            except TimeoutError:
                child.kill()
                await child.wait()
