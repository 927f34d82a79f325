"""One PostgreSQL gateway: accepts, logs in, relays, drains.

    gateway = Gateway(settings, recorder, rules, consumer, match_secret, used_path)
    await gateway.serve(); ...; await gateway.drain()

The recorder is started (its boot acknowledged) before `serve`. Nothing here
touches traffic: a session's bytes go through ingest/postgres/relay.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from approvals.votes import Directory
from bus.topics import Consumer
from ingest.postgres import cancel, group, identity, login, refuse
from ingest.postgres.channel import Channel, ChannelLost
from ingest.postgres.hold import Desk
from ingest.postgres.identity import LoginRefused
from ingest.postgres.relay import Journal, Relay
from ingest.postgres.screen import Lookup, Screen
from ingest.postgres.startup_parameters import ParameterRefused
from ingest.postgres.target import TargetDown
from ingest.postgres.uses import UsedRequests
from ingest.settings import GatewaySettings
from ingest.suspensions import Suspensions
from policy.circumstances import Moment
from policy.judge import judge
from policy.rules import Rules
from schemas import records
from schemas.codec import encode
from schemas.frames import FrameKind
from schemas.ids import RecorderId, SessionId, session_id
from schemas.judging import Judgement, SessionFacts
from schemas.records import CloseReason, SessionClosed, SessionContext, SessionOpened
from wire.postgres import messages as wire
from wire.postgres.reader import RemoteFault
from wire.postgres.startup import CancelRequest


class SessionJournal(Journal, Protocol):
    """The recorder, as a gateway needs it."""

    @property
    def recorder(self) -> RecorderId: ...

    @property
    def boot(self) -> int: ...

    def digest_key(self) -> bytes: ...

    def session_opened(self) -> None: ...

    def session_closed(self) -> None: ...


@dataclass(slots=True)
class Metrics:
    """For /metrics: counters since the start, and what waits now."""

    sessions_opened: int = 0
    sessions_closed: int = 0
    logins_refused: int = 0
    commands: int = 0
    refused: Counter[str] = field(default_factory=Counter)  # by why
    holds: int = 0
    released: int = 0
    cache_hits: int = 0
    cache_misses: int = 0
    waiting: int = 0  # held commands
    oldest_s: float = 0.0  # how long the first of them has waited


@dataclass(slots=True)
class Session:
    relay: Relay
    id: SessionId
    key: cancel.CancelKey


class Gateway:
    def __init__(
        self,
        settings: GatewaySettings,
        recorder: SessionJournal,
        rules: Rules,
        consumer: Consumer,
        match_secret: bytes,
        used: Path,
        *,
        worker: int = 0,
        suspensions: Suspensions | None = None,
        clock_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self.settings = settings
        self._recorder = recorder
        self._rules = rules
        self._suspensions = suspensions
        self._clock_us = clock_us
        self._door = login.Doorkeeper(settings, match_secret)
        self._keys = cancel.CancelKeys(worker)
        self._desk = Desk(
            consumer,
            Directory(rules.reviewers),
            UsedRequests(used),
            match_secret,
            settings.holding,
            settings.approvals_url,
            clock_us,
        )
        self._screens: dict[SessionFacts, Screen] = {}
        self._sessions: dict[int, Session] = {}
        self._arriving: set[asyncio.Task[None]] = set()
        self._number = 0
        self._metrics = Metrics()
        self._server: asyncio.Server | None = None

    # --- life -----------------------------------------------------------------------

    async def serve(self) -> None:
        """Listens when it returns."""
        loop = asyncio.get_running_loop()
        host, port = self.settings.listen_host, self.settings.listen_port
        self._server = await loop.create_server(lambda: Channel(self._accepted), host, port, backlog=1024)

    @property
    def address(self) -> tuple[str, int]:
        if self._server is None:
            return self.settings.listen_host, self.settings.listen_port
        name = self._server.sockets[0].getsockname()
        return str(name[0]), int(name[1])

    async def drain(self) -> None:
        """Take nobody new; each session ends between two transactions. Who has none in `drain_seconds` is cut off.

        Returns when what was answered has been sent: a client may read slowly, and the process ends next.
        """
        if self._server is not None:
            self._server.close()
        for task in list(self._arriving):
            task.cancel()
        end = time.monotonic() + self.settings.drain_seconds
        leaving: set[Channel] = set()
        while time.monotonic() < end:
            for session in list(self._sessions.values()):
                leaving.add(session.relay.client)
                session.relay.end_when_idle()
            leaving = {channel for channel in leaving if not channel.lost}
            if not leaving:
                break
            await asyncio.sleep(0.02)
        self.close()

    def close(self) -> None:
        """Everything ends now."""
        if self._server is not None:
            self._server.close()
        for task in list(self._arriving):
            task.cancel()
        for session in list(self._sessions.values()):
            session.relay.terminate()

    @property
    def metrics(self) -> Metrics:
        totals = Metrics(
            self._metrics.sessions_opened,
            self._metrics.sessions_closed,
            self._metrics.logins_refused,
            self._metrics.commands + sum(s.relay.commands for s in self._sessions.values()),
            sum((s.relay.refused for s in self._sessions.values()), self._metrics.refused),
            self._desk.raised,
            self._desk.released,
            sum(s.hits for s in self._screens.values()),
            sum(s.misses for s in self._screens.values()),
            len(self._desk.waiting),
            self._desk.oldest_s(),
        )
        return totals

    def congested(self, now: bool) -> None:
        """The recorder's word that too much is not written: nobody is read until it is."""
        for session in list(self._sessions.values()):
            for channel in (session.relay.client, session.relay.target):
                if now:
                    channel.pause("journal")
                else:
                    channel.resume("journal")

    # --- arriving -------------------------------------------------------------------

    def _accepted(self, channel: Channel) -> None:
        if len(self._arriving) >= self.settings.admission.unauthenticated:
            channel.write(refuse.error_response("FATAL", "53300", "tallystick: too many connections are logging in"))
            channel.close()
            return
        task = asyncio.get_running_loop().create_task(self._arrive(channel))
        self._arriving.add(task)
        task.add_done_callback(self._arriving.discard)

    async def _arrive(self, channel: Channel) -> None:
        claimed = ""
        try:
            async with asyncio.timeout(self.settings.admission.login_seconds):
                first = await self._door.first(channel)
                if isinstance(first, CancelRequest):
                    self._keys.use(first.pid, first.key)
                    channel.close()
                    return
                claimed = first.get("user")
                logged_in = await self._door.log_in(channel, first)
        except asyncio.CancelledError:
            if claimed and not channel.lost:  # else encryption may just be agreed upon: nothing in clear then
                channel.write(refuse.error_response("FATAL", "57P03", "tallystick: the gateway is shutting down"))
            channel.close()
            raise
        except (
            LoginRefused, ParameterRefused, TargetDown, TimeoutError, RemoteFault, ssl.SSLError, OSError,
        ) as error:  # fmt: skip
            self._turn_away(channel, claimed, error)
            return
        self._open(channel, logged_in)

    def _turn_away(self, channel: Channel, claimed: str, error: Exception) -> None:
        answer, why = login.told(error)
        if answer and not channel.lost:
            channel.write(answer)
        channel.close()
        if isinstance(error, ChannelLost) and not claimed:
            return  # a port scan or a health check: nobody claimed to be anybody
        self._metrics.logins_refused += 1
        record = records.LoginRefused(claimed, self.settings.name, channel.peer, why, self._clock_us())
        self._recorder.put(0, FrameKind.LOGIN_REFUSED, encode(record))

    def _open(self, channel: Channel, who: login.LoggedIn) -> None:
        settings, target = self.settings, self.settings.target
        self._number += 1
        number = self._number
        name = session_id(self._recorder.recorder, self._recorder.boot, number)
        facts = SessionFacts(
            subject=who.identity.subject,
            claims=who.identity.claims,
            target=settings.name,
            protocol="postgres",
            environment=settings.environment,
            database=target.database,
            user=target.user,
        )
        relay = Relay(
            channel,
            who.ready,
            self._recorder,
            self._screen(facts),
            facts,
            lambda status, syncs, commands: self._context(name, facts, status, syncs, commands),
            number,
            settings.durability,
            settings.capture,
            lambda r: asyncio.get_running_loop().create_task(group.run(r, self._desk.hold)),
            self._finished,
            self._recorder.digest_key(),
            partial(self._suspended, facts.subject, name),
        )
        key = self._keys.issue(lambda: self._cancel(relay), long=who.minor >= 2)
        self._sessions[number] = Session(relay, name, key)
        self._metrics.sessions_opened += 1
        self._recorder.session_opened()
        opened = SessionOpened(
            name, facts.subject, "static", facts.claims, facts.target, facts.protocol, facts.environment,
            facts.database, facts.user, channel.peer, channel.tls_version, who.ready.channel.tls_version,
            who.startup.get("application_name"), f"3.{who.minor}", self._rules.version, self._clock_us(),
        )  # fmt: skip
        self._recorder.put(number, FrameKind.OPENED, encode(opened))
        identity.welcome(channel)
        channel.write(who.ready.greeting + wire.backend_key_data(key.process, key.secret) + wire.ready_for_query("I"))
        relay.start()
        if channel.lost:
            relay.close("client")

    def _screen(self, facts: SessionFacts) -> Screen:
        known = self._screens.get(facts)
        if known is None:
            rules = self._rules

            def moment() -> Moment:
                return rules.moment(self._clock_us())

            def decide(text: str, facts: SessionFacts, lookup: Lookup) -> Judgement:
                return judge(text, facts, rules, lookup=lookup, moment=moment())

            known = self._screens[facts] = Screen(decide, facts, moment if rules.timed else None)
        return known

    def _context(self, name: SessionId, facts: SessionFacts, status: str, syncs: int, commands: int) -> SessionContext:
        return SessionContext(
            name, facts.subject, facts.claims, facts.target, facts.protocol, facts.environment, facts.database,
            facts.user, self._rules.version, status, syncs, commands,
        )  # fmt: skip

    def _suspended(self, subject: str, session: SessionId) -> refuse.Refusal | None:
        found = None if self._suspensions is None else self._suspensions.of(subject, session)
        return None if found is None else refuse.suspended(found)

    # --- ending ---------------------------------------------------------------------

    def _cancel(self, relay: Relay) -> None:
        if self._desk.cancel(relay):
            return
        task = asyncio.get_running_loop().create_task(self._pass_on(relay))
        self._arriving.add(task)
        task.add_done_callback(self._arriving.discard)

    async def _pass_on(self, relay: Relay) -> None:
        seconds = self.settings.admission.connect_seconds
        with contextlib.suppress(OSError, TimeoutError):
            await cancel.pass_on(self.settings.target, self._door.target_tls, relay.target_key, seconds)

    def _finished(self, relay: Relay, reason: str) -> None:
        session = self._sessions.pop(relay.number, None)
        if session is None:
            return
        self._keys.withdraw(session.key)
        self._metrics.sessions_closed += 1
        self._metrics.commands += relay.commands
        self._metrics.refused += relay.refused
        closed = SessionClosed(session.id, CloseReason(reason), relay.commands, self._clock_us())
        relay.mark()
        self._recorder.put(relay.number, FrameKind.CLOSED, encode(closed))
        self._recorder.session_closed()
