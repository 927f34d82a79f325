"""The roles of this room: loops that end by `stop()`, or by an error that nobody here can mend.

A bus that is down is waited for: the stage is thrown away and restored from the
table, since nothing may be assumed of what was said. Anything else leaves `run`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence

from approvals.state import State
from approvals.votes import Directory
from bus.topics import APPROVALS, BusDown, TableBus
from schemas.codec import encode
from schemas.ids import SessionId
from schemas.records import Tick
from seal.box import CannotOpen
from seal.content import ContentGone, ContentKeys, decrypt, encrypt
from seal.digest import hkdf
from seal.keyfiles import Enrolled, MaskerKeys
from seal.sign import Signer
from stream.approvals_stage import ApprovalsStage
from stream.ask_stage import Asked, AskStage
from stream.mask_stage import Done, MaskStage
from stream.pipeline import Tools
from stream.resuming import Resuming
from stream.runner import Stage, nothing, turn

TICK_S = 1.0
_BACK_OFF_S = 0.5


class SealedState:
    """State at rest, for the masker alone: sealed under the newest of its keys, opened under any."""

    def __init__(self, privates: Sequence[bytes]) -> None:
        """Newest first."""
        self._keys = [hkdf(private, b"tallystick/pipeline-state/1") for private in privates]

    def seal(self, plain: bytes) -> bytes:
        return encrypt(self._keys[0], b"state", plain)

    def open(self, sealed: bytes) -> bytes:
        """Raises CannotOpen."""
        for key in self._keys[:-1]:
            with contextlib.suppress(CannotOpen):
                return decrypt(key, b"state", sealed)
        return decrypt(self._keys[-1], b"state", sealed)


def ensure_keys(keys: ContentKeys, sessions: Iterable[SessionId]) -> Mapping[SessionId, bytes]:
    """Every session's content key, durable; none for a session whose content was erased."""
    wanted = tuple(dict.fromkeys(sessions))
    try:
        return keys.ensure(wanted)
    except ContentGone:
        found: dict[SessionId, bytes] = {}
        for session in wanted:
            try:
                found |= keys.ensure((session,))
            except ContentGone:
                continue
        return found


class Worker:
    """A stage, its group and its table, until stopped."""

    def __init__(
        self, bus: TableBus, group: str, topic: str, new: Callable[[], Stage], at: Callable[[str], None] = nothing
    ) -> None:
        self._bus, self._group, self._topic, self._new, self._at = bus, group, topic, new, at
        self._stop = asyncio.Event()
        self.ready = False
        self.handled = 0

    def stop(self) -> None:
        self._stop.set()

    async def run(self) -> None:
        """Until `stop()`. Raises what is not BusDown: the process ends and the next start begins from the table."""
        while not self._stop.is_set():
            try:
                await self._life()
            except BusDown:
                self.ready = False
                await self._pause(_BACK_OFF_S)

    async def _life(self) -> None:
        table = self._bus.table(self._group)
        stage = self._new()
        stage.restore(await table.items(), await self._bus.identity(self._topic))
        consumer, producer = await self._bus.consumer(self._group, (self._topic,)), self._bus.producer()
        self.ready = True
        while True:
            last = self._stop.is_set()  # asked before the turn: what came until then is still done
            done = await turn(stage, consumer, producer, table, timeout_s=0.0 if last else 0.25, at=self._at)
            self.handled += done
            if last and not done:
                return

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            pass


def mask_stages(
    tools: Tools, masker: MaskerKeys, enrolled: Enrolled, keys: ContentKeys, done: Done | None = None
) -> Callable[[], Stage]:
    """Makes the stages of role `worker --steps mask`. `tools.content_key` is taken from `keys`, a segment at a time."""
    box = SealedState(masker.privates)
    return lambda: MaskStage(tools, masker.private, enrolled, lambda wanted: ensure_keys(keys, wanted), box, done)


def ask_stages(
    tools: Tools, masker: MaskerKeys, enrolled: Enrolled, keys: ContentKeys, asked: Asked | None = None
) -> Callable[[], Stage]:
    """Makes the stages of role `worker --steps ask`."""
    return lambda: AskStage(tools, masker.private, enrolled, lambda wanted: ensure_keys(keys, wanted), asked)


class ApprovalsWorker(Worker):
    """Role `worker --steps approvals`: the step, and a Tick a second while there is something to expire."""

    def __init__(
        self,
        bus: TableBus,
        signer: Signer,
        directory: Directory,
        at: Callable[[str], None] = nothing,
        resuming: Resuming | None = None,
    ) -> None:
        self._stage = ApprovalsStage(signer, directory, resuming)

        def new() -> Stage:
            self._stage = ApprovalsStage(signer, directory, resuming)
            return self._stage

        super().__init__(bus, "approvals", APPROVALS, new, at)

    @property
    def state(self) -> State:
        """What the door reads: as applied, which is at most one turn ahead of what is stored."""
        return self._stage.state

    async def run(self) -> None:
        ticking = asyncio.create_task(self._tick())
        try:
            await super().run()
        finally:
            ticking.cancel()

    async def _tick(self) -> None:
        producer = self._bus.producer()
        while not self._stop.is_set():
            await self._pause(TICK_S)
            if self.state.requests:
                try:
                    await producer.send(APPROVALS, [(b"tick", encode(Tick()))])
                except BusDown:
                    continue
