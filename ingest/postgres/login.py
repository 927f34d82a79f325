"""From an accepted connection to a session: encryption, startup, identity, target.

Everything here is bounded: startup packets at 10,000 bytes, password messages at
4 KiB, the whole of it at `admission.login_seconds`. What fails is told to the
client once and recorded as LoginRefused.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from ingest.postgres import identity, refuse, target, tls
from ingest.postgres.channel import Channel
from ingest.postgres.identity import Identities, LoginRefused
from ingest.postgres.startup_parameters import ParameterRefused, for_target
from ingest.settings import GatewaySettings, Identity
from wire.postgres import messages as wire
from wire.postgres.reader import RemoteFault
from wire.postgres.startup import (
    LARGEST,
    NEWEST_MINOR,
    CancelRequest,
    GssEncRequest,
    SslRequest,
    StartupMessage,
    read_first,
)


@dataclass(frozen=True, slots=True)
class LoggedIn:
    identity: Identity
    startup: StartupMessage
    minor: int
    ready: target.Ready


class Doorkeeper:
    """What login needs, the same for every connection. Raises SettingsInvalid, ValueError at start."""

    def __init__(self, settings: GatewaySettings, mock_secret: bytes) -> None:
        self._settings = settings
        self._tls = tls.server_context(settings.tls) if settings.tls else None
        end_point = tls.own_end_point(settings.tls) if settings.tls else b""
        self._identities = Identities.of(settings.identities, mock_secret, end_point)
        self.target_tls = tls.target_context(settings.target)

    async def first(self, channel: Channel) -> CancelRequest | StartupMessage:
        """Through any requests for encryption. Raises RemoteFault, ConnectionError, ssl.SSLError, LoginRefused."""
        if (await channel.read(1))[0] == tls.HELLO and self._tls is not None:
            await self._start_tls(channel)
            if channel.alpn != tls.ALPN:
                raise LoginRefused("direct TLS without ALPN", "08P01", "tallystick: direct TLS needs ALPN postgresql")
        while True:
            packet = await _packet(channel)
            if isinstance(packet, SslRequest) and not channel.tls_version:
                channel.write(b"S" if self._tls else b"N")
                if self._tls:
                    await self._start_tls(channel)
            elif isinstance(packet, GssEncRequest):
                channel.write(b"N")
            elif isinstance(packet, (CancelRequest, StartupMessage)):
                return packet
            else:
                raise RemoteFault("asked for TLS twice")

    async def _start_tls(self, channel: Channel) -> None:
        assert self._tls is not None  # noqa: S101
        await channel.start_tls(self._tls, server_side=True)

    async def log_in(self, channel: Channel, startup: StartupMessage) -> LoggedIn:
        """Raises LoginRefused, ParameterRefused, TargetDown, ConnectionError."""
        settings = self._settings
        if settings.tls and settings.tls.required and not channel.tls_version:
            raise LoginRefused("no TLS", "28000", "tallystick: this gateway takes TLS connections only")
        minor = min(startup.minor, NEWEST_MINOR)
        if minor == 1:
            minor = 0  # there is no 3.1
        if startup.minor != minor or startup.protocol_options:
            channel.write(wire.negotiate_protocol_version(minor, startup.protocol_options))
        parameters = for_target(dict(startup.parameters), settings.target.database)
        known = await identity.authenticate(channel, startup.get("user"), self._identities)
        ready = await target.connect(settings.target, self.target_tls, parameters, settings.admission.connect_seconds)
        return LoggedIn(known, startup, minor, ready)


async def _packet(channel: Channel) -> CancelRequest | StartupMessage | SslRequest | GssEncRequest:
    least = 4
    while True:
        buffer = await channel.read(least)
        found = read_first(buffer[: LARGEST + 1])
        if found is not None:
            channel.take(found[1])
            return found[0]
        least = len(buffer) + 1


def told(error: Exception) -> tuple[bytes, str]:
    """(the FATAL error for the client, why for the journal)."""
    if isinstance(error, LoginRefused):
        return refuse.error_response("FATAL", error.sqlstate, error.told), error.why
    if isinstance(error, (ParameterRefused, target.TargetDown)):
        return refuse.error_response("FATAL", error.sqlstate, str(error)), str(error)
    if isinstance(error, ssl.SSLError):
        return b"", "TLS handshake failed"
    if isinstance(error, TimeoutError):
        return refuse.error_response("FATAL", "57P05", "tallystick: login took too long"), "login took too long"
    if isinstance(error, RemoteFault):
        return refuse.error_response("FATAL", "08P01", f"tallystick: {error}"), str(error)
    return b"", "connection ended"
