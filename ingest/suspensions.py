"""Who is suspended, as this gateway believes it: by the behaviour step's signature, until a reviewer's or the time.

    await suspensions.learn(end)    # before the port opens: every message that `grants` still has
    await suspensions.follow()      # for ever

What gateways are told is kept on the bus for a day, and no suspension lasts as long: so a
gateway that starts, on whatever disk, knows each that lasts before its first client. A
behaviour step that is down suspends nobody, and a bus that is down lifts nothing early.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from approvals.suspensions import objects
from approvals.votes import CLOCKS_APART_US, Directory
from bus.topics import GRANTS, BusDown, Consumer, OffsetLost
from schemas.codec import HEADER, CodecError, decode, schema_header
from schemas.ids import SessionId, SuspensionId
from schemas.records import Resumed, Scope, Suspended
from seal.keyfiles import Enrolled, NotEnrolled
from seal.sign import BadSignature
from seal.suspension import check_suspension

_HEADERS = frozenset((schema_header(Suspended), schema_header(Resumed)))
_log = structlog.get_logger()


class Suspensions:
    def __init__(
        self,
        consumer: Consumer,
        enrolled: Enrolled,
        directory: Directory,
        groups: tuple[str, ...],
        clock_us: Callable[[], int],
    ) -> None:
        """`consumer` is of `grants` alone. `groups`: whose members may lift a suspension, by this gateway's policy."""
        self._consumer, self._enrolled, self._directory = consumer, enrolled, directory
        self._groups, self._clock_us = groups, clock_us
        self._known: dict[SuspensionId, Suspended] = {}
        self._of: dict[str, list[Suspended]] = {}  # subject or session
        self._lifted: dict[SuspensionId, int] = {}  # until when it would have lasted: it may come again

    def lasting(self) -> int:
        """How many do now."""
        now_us = self._clock_us()
        return sum(each.until_us > now_us for each in self._known.values())

    def of(self, subject: str, session: SessionId) -> Suspended | None:
        """Why this session runs nothing now."""
        if not self._known:
            return None
        now_us = self._clock_us()
        some = [*self._of.get(subject, ()), *self._of.get(session, ())]
        return next((each for each in some if each.until_us > now_us), None)

    async def learn(self, end: int) -> None:
        """All before `end`, the offset that the next message will have. Raises BusDown."""
        at = -1
        await self._consumer.seek(GRANTS, 0, 0)
        while at < end - 1:
            try:
                messages = await self._consumer.batch(500, 1.0)
            except OffsetLost as lost:  # older ones are gone, and what they said is over
                await self._consumer.seek(lost.topic, lost.partition, lost.first)
                at = lost.first - 1
                continue
            for message in messages:
                self.take(message.value)
                at = message.offset

    async def follow(self) -> None:
        while True:
            try:
                for message in await self._consumer.batch(100, 1.0):
                    self.take(message.value)
            except OffsetLost as lost:
                await self._consumer.seek(lost.topic, lost.partition, lost.first)
            except BusDown:
                await asyncio.sleep(0.5)

    def take(self, value: bytes) -> None:
        """Whatever comes on `grants`."""
        if value[:HEADER] not in _HEADERS:
            return
        try:
            record = decode(value)
        except CodecError:
            return
        if isinstance(record, Suspended):
            self._suspend(record)
        elif isinstance(record, Resumed):
            self._resume(record)

    def _suspend(self, suspended: Suspended) -> None:
        now_us = self._clock_us()
        if suspended.until_us <= now_us or suspended.suspension in {*self._known, *self._lifted}:
            return
        try:
            check_suspension(suspended, self._enrolled, now_us)
        except (BadSignature, NotEnrolled):
            _log.error("alarm", alarm="bad suspension", suspension=suspended.suspension[:40])
            return
        self._known[suspended.suspension] = suspended
        key = suspended.subject if suspended.scope is Scope.IDENTITY else suspended.session
        self._of.setdefault(key, []).append(suspended)
        self._forget(now_us)

    def _resume(self, resumed: Resumed) -> None:
        suspended, now_us = self._known.get(resumed.suspension), self._clock_us()
        if suspended is None:
            return
        why = objects(suspended, resumed.vote, self._directory, self._groups, now_us - CLOCKS_APART_US)
        if why is not None:
            _log.error("alarm", alarm="bad suspension", suspension=suspended.suspension, why=why.value)
            return
        self._lifted[suspended.suspension] = suspended.until_us
        self._drop(suspended)

    def _forget(self, now_us: int) -> None:
        for each in [s for s in self._known.values() if s.until_us <= now_us]:
            self._drop(each)
        self._lifted = {name: until_us for name, until_us in self._lifted.items() if until_us > now_us}

    def _drop(self, suspended: Suspended) -> None:
        del self._known[suspended.suspension]
        key = suspended.subject if suspended.scope is Scope.IDENTITY else suspended.session
        self._of[key].remove(suspended)
        if not self._of[key]:
            del self._of[key]
