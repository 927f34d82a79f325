"""A recorder's closed segments, copied to the topic `journal`: nothing else happens to them.

In order, each at least once. How far it got lies in a small file beside the journal,
with the identity of the topic it was said to: it may be behind what Kafka has, since
a repeat costs nothing (the pipeline drops what it has applied). On another cluster, or
a topic that was made again, everything that is still on disk is sent again; files go
only once the ledger covers them, so that is all from the last covered position on.

Kafka down is waited for, whatever the reason: what waits is on disk, and a gateway
must not end for it. `lag` says how much and for how long.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from bus.follow import Follower
from bus.journal import epoch_path, epochs
from bus.topics import JOURNAL, LARGEST_MESSAGE, Bus, BusDown, Message

POSITION = "published.json"
MOST = 64  # segments, and
ROOM = LARGEST_MESSAGE  # bytes, in one send: all that is held in memory
LOOK_S = 1.0  # how often the position is written down, and the topic looked at: is it still the same?
_FASTEST_S, _SLOWEST_S = 0.005, 0.05  # looking for more
_BACK_OFF_S = 1.0
_NOTHING = -1

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Lag:
    """What the topic has not got yet."""

    size: int  # bytes of the journal's files
    seconds: float  # since all there was had been sent; after a start, since that was last written down


class Publisher:
    """One recorder's. `run` it; `stop` ends it when what is there has been sent, or cannot be."""

    def __init__(self, bus: Bus, place: Path, clock: Callable[[], float] = time.time) -> None:
        """`place` is the recorder's folder and has its name; `clock` gives seconds since 1970."""
        self._bus, self._producer, self._place, self._clock = bus, bus.producer(), place, clock
        self._stopping = asyncio.Event()
        self._identity, self._sent, self._caught_up = self._remembered()
        self._kept = (self._identity, self._sent)
        self._follower = Follower(place, 0, self._sent)
        self._on_its_way = 0

    def stop(self) -> None:
        self._stopping.set()

    def lag(self) -> Lag:
        """For the metrics; looks at the sizes of the files."""
        size = self._on_its_way + self._follower.left()
        return Lag(size, max(0.0, self._clock() - self._caught_up) if size else 0.0)

    async def prune_journal(self, recorder: str, covered_epoch: int) -> list[int]:
        """Deletes this recorder's files of epochs before the covered one, and gives those. Never the newest."""
        if recorder != self._place.name:
            raise ValueError(f"{recorder} is not {self._place.name}")
        gone = [epoch for epoch in epochs(self._place)[:-1] if epoch < covered_epoch]
        for epoch in gone:
            epoch_path(self._place, epoch).unlink(missing_ok=True)
        return gone

    async def run(self) -> None:
        """Until `stop`. Raises MessageTooLarge: a segment that no bus takes, so that nothing behind it can go."""
        try:
            while True:
                try:
                    identity: str | None = await self._bus.identity(JOURNAL)
                    while identity is not None:
                        identity = await self._publish(identity)
                    return
                except BusDown as e:
                    _log.warning("the journal waits to be published", recorder=self._place.name, fault=str(e))
                    if await self._stopped_within(_BACK_OFF_S):
                        return
        finally:
            self._keep()
            self._follower.close()

    async def _publish(self, identity: str) -> str | None:
        """Gives the identity of the topic that it is now, if it is another one; None when stopped. Raises BusDown."""
        if identity != self._identity:
            if self._identity:
                _log.error("alarm", alarm="another journal topic", before=self._identity, now=identity)
            self._identity, self._sent = identity, _NOTHING
        self._follower.close()
        self._follower, self._on_its_way = Follower(self._place, 0, self._sent), 0
        pause, looked_up = _FASTEST_S, time.monotonic()
        while True:
            last = self._stopping.is_set()  # asked before looking: what came until then is still sent
            looked = self._clock()
            found = await asyncio.to_thread(self._follower.take, MOST, ROOM)
            size = await self._send(found)
            if len(found) < MOST and size < ROOM:
                self._caught_up = looked
            if time.monotonic() - looked_up > LOOK_S:
                looked_up = time.monotonic()
                current = await self._bus.identity(JOURNAL)
                if current != identity:  # what went to the new one meanwhile is still on disk, and goes again in order
                    return current
                await asyncio.to_thread(self._keep)
            if found:
                pause = _FASTEST_S
            elif last:
                return None
            else:
                await self._stopped_within(pause)
                pause = min(pause * 1.5, _SLOWEST_S)

    async def _send(self, found: list[Message]) -> int:
        """Gives the size. Raises BusDown: then they are read and sent again, whatever became of them."""
        size = sum(len(message.value) for message in found)
        if found:
            self._on_its_way = size
            await self._producer.send(JOURNAL, [(message.key, message.value) for message in found])
            self._on_its_way, self._sent = 0, found[-1].offset
        return size

    async def _stopped_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return False
        return True

    # --- the position -----------------------------------------------------------------

    def _remembered(self) -> tuple[str, int, float]:
        """Identity of the topic, last offset sent, when all had been. What cannot be read is sent again."""
        try:
            kept = json.loads((self._place / POSITION).read_bytes())
            return str(kept["topic"]), int(kept["sent"]), float(kept["caught_up"])
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError) as e:
            _log.warning("published position not read", recorder=self._place.name, fault=type(e).__name__)
        return "", _NOTHING, self._clock()

    def _keep(self) -> None:
        """Whole or not at all. What cannot be written is written later: until then a restart only repeats more."""
        path, now = self._place / POSITION, (self._identity, self._sent)
        if now == self._kept:
            return
        fresh = path.with_suffix(".new")
        try:
            with fresh.open("w", encoding="ascii") as f:
                json.dump({"topic": now[0], "sent": now[1], "caught_up": self._caught_up}, f)
                f.flush()
                os.fsync(f.fileno())
            fresh.replace(path)
        except OSError as e:
            _log.warning("published position not kept", recorder=self._place.name, fault=e.strerror)
            return
        self._kept = now
