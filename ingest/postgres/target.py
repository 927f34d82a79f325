"""Connecting to the target with the injected credential, up to its first ReadyForQuery.

The target is spoken to in protocol 3.0: the only thing 3.2 adds is a longer
cancel key, and clients have keys of ours. What the target sends before it is
ready (settings, notices) is kept for the client.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from dataclasses import dataclass

from scramp import ScramClient, ScramException

from ingest.postgres import tls
from ingest.postgres.cancel import SSL_REQUEST, CancelKey
from ingest.postgres.channel import Channel, ChannelLost
from ingest.settings import Target

PROTOCOL = 3 << 16
LOGIN_MESSAGE_LIMIT = 64 << 10

AUTH_OK, AUTH_CLEARTEXT, AUTH_MD5, AUTH_SASL, AUTH_SASL_CONTINUE, AUTH_SASL_FINAL = 0, 3, 5, 10, 11, 12


class TargetDown(ConnectionError):
    """No session at the target. `sqlstate` and the message are for the client: nothing of the credential is in them."""

    def __init__(self, message: str, sqlstate: str = "08006") -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


@dataclass(frozen=True, slots=True)
class Ready:
    """The target waits for commands."""

    channel: Channel
    key: CancelKey
    settings: dict[str, str]  # as reported by ParameterStatus
    greeting: bytes  # the ParameterStatus and NoticeResponse messages, as they came


async def connect(target: Target, context: ssl.SSLContext | None, parameters: dict[str, str], seconds: float) -> Ready:
    """Raises TargetDown."""
    channel: Channel | None = None
    try:
        async with asyncio.timeout(seconds):
            _, channel = await asyncio.get_running_loop().create_connection(Channel, target.host, target.port)
            if context is not None:
                await _start_tls(channel, context, target)
            channel.write(_startup(target, parameters))
            await _authenticate(channel, target)
            return await _until_ready(channel)
    except TargetDown:
        _abandon(channel)
        raise
    except TimeoutError:
        _abandon(channel)
        raise TargetDown("tallystick: the target did not answer in time") from None
    except ssl.SSLError as e:
        _abandon(channel)
        raise TargetDown(f"tallystick: TLS to the target failed ({e.reason or 'handshake'})") from None
    except OSError as e:
        _abandon(channel)
        raise TargetDown(f"tallystick: cannot connect to the target ({type(e).__name__})") from None
    except asyncio.CancelledError:
        _abandon(channel)
        raise


def _abandon(channel: Channel | None) -> None:
    if channel is not None:
        channel.abort()


async def _start_tls(channel: Channel, context: ssl.SSLContext, target: Target) -> None:
    channel.write(SSL_REQUEST)
    answer = await channel.read(1)
    if answer[:1] != b"S":
        raise TargetDown("tallystick: the target does not offer TLS, which target's sslmode asks for")
    if len(answer) > 1:  # CVE-2021-23222: plaintext behind the answer is an attacker's
        raise TargetDown("tallystick: the target sent bytes before TLS began")
    channel.take(1)
    await channel.start_tls(context, server_side=False, hostname=target.host)


def _startup(target: Target, parameters: dict[str, str]) -> bytes:
    pairs = {"user": target.user, "database": target.database, **parameters}
    body = b"".join(name.encode() + b"\0" + value.encode() + b"\0" for name, value in pairs.items()) + b"\0"
    return (len(body) + 8).to_bytes(4, "big") + PROTOCOL.to_bytes(4, "big") + body


async def read_message(channel: Channel, limit: int) -> tuple[int, bytes, bytes]:
    """(type, body, whole message). Raises ChannelLost, and ConnectionError for a length that cannot be."""
    header = await channel.read(5)
    length = int.from_bytes(header[1:5], "big")
    if not 4 <= length <= limit:
        raise ConnectionError(f"message length {length} during login")
    whole = (await channel.read(length + 1))[: length + 1]
    channel.take(length + 1)
    return whole[0], whole[5:], whole


async def _authenticate(channel: Channel, target: Target) -> None:
    scram: ScramClient | None = None
    proved = True
    while True:
        kind, body, _ = await read_message(channel, LOGIN_MESSAGE_LIMIT)
        if kind == 0x45:  # ErrorResponse
            raise _refused(body)
        if kind in (0x4E, 0x76):  # NoticeResponse, NegotiateProtocolVersion
            continue
        if kind != 0x52 or len(body) < 4:
            raise TargetDown("tallystick: the target does not speak PostgreSQL's protocol", "08P01")
        code, rest = int.from_bytes(body[:4], "big"), body[4:]
        if code == AUTH_OK and proved:
            return
        if code == AUTH_CLEARTEXT and channel.tls_version:
            _send(channel, target.password.encode() + b"\0")
        elif code == AUTH_MD5 and len(rest) == 4:
            _send(channel, _md5(target, rest) + b"\0")
        elif code == AUTH_SASL:
            scram, proved = _begin_scram(channel, target, rest), False
        elif code == AUTH_SASL_CONTINUE and scram is not None:
            _send(channel, await _prove(scram, rest))
        elif code == AUTH_SASL_FINAL and scram is not None:
            _check_target_knows(scram, rest)
            proved = True
        elif code == AUTH_CLEARTEXT:
            raise TargetDown("tallystick: the target asks for the password in clear without TLS; use scram-sha-256")
        elif code == AUTH_OK:
            raise TargetDown("tallystick: the target did not prove that it knows the password")
        else:
            raise TargetDown(f"tallystick: the target asks for authentication method {code}, which is not supported")


def _send(channel: Channel, body: bytes) -> None:
    channel.write(b"p" + (len(body) + 4).to_bytes(4, "big") + body)


def _md5(target: Target, salt: bytes) -> bytes:
    inner = hashlib.md5(target.password.encode() + target.user.encode(), usedforsecurity=False).hexdigest()
    return b"md5" + hashlib.md5(inner.encode() + salt, usedforsecurity=False).hexdigest().encode()


def _begin_scram(channel: Channel, target: Target, offered: bytes) -> ScramClient:
    names = [n.decode("ascii", "replace") for n in offered.split(b"\0") if n]
    certificate = channel.peer_certificate()
    binding = ("tls-server-end-point", tls.end_point(certificate)) if certificate else None
    known = [n for n in names if n == "SCRAM-SHA-256" or (n == "SCRAM-SHA-256-PLUS" and binding)]
    try:
        client = ScramClient(known, target.user, target.password, channel_binding=binding)
        first = str(client.get_client_first()).encode()
    except ScramException:
        raise TargetDown("tallystick: no password for the target, or no SCRAM mechanism that is known") from None
    name = str(client.mechanism_name).encode()
    _send(channel, name + b"\0" + len(first).to_bytes(4, "big") + first)
    return client


async def _prove(client: ScramClient, server_first: bytes) -> bytes:
    """The proof costs thousands of hashes, and the target says how many: not on the loop."""

    def work() -> str:
        client.set_server_first(server_first.decode("ascii"))
        return str(client.get_client_final())

    try:
        return (await asyncio.get_running_loop().run_in_executor(None, work)).encode()
    except (ScramException, UnicodeDecodeError):
        raise TargetDown("tallystick: the target's SCRAM exchange is malformed") from None


def _check_target_knows(client: ScramClient, server_final: bytes) -> None:
    """The target proves that it knows the verifier: an impostor ends here."""
    try:
        client.set_server_final(server_final.decode("ascii"))
    except (ScramException, UnicodeDecodeError):
        raise TargetDown("tallystick: the target could not prove that it knows the password") from None


async def _until_ready(channel: Channel) -> Ready:
    settings: dict[str, str] = {}
    greeting: list[bytes] = []
    key = CancelKey(0, b"")
    while True:
        kind, body, whole = await read_message(channel, LOGIN_MESSAGE_LIMIT)
        if kind == 0x53:  # ParameterStatus
            name, _, value = body.partition(b"\0")
            settings[name.decode("utf-8", "replace")] = value.rstrip(b"\0").decode("utf-8", "replace")
            greeting.append(whole)
        elif kind == 0x4B and len(body) >= 8:  # BackendKeyData
            key = CancelKey(int.from_bytes(body[:4], "big"), body[4:])
        elif kind == 0x4E:  # NoticeResponse
            greeting.append(whole)
        elif kind == 0x5A:  # ReadyForQuery
            return Ready(channel, key, settings, b"".join(greeting))
        elif kind == 0x45:  # ErrorResponse
            raise _refused(body)
        else:
            raise TargetDown("tallystick: the target does not speak PostgreSQL's protocol", "08P01")


def _refused(body: bytes) -> TargetDown:
    """The target's own words, except about the credential, which is not the client's."""
    fields = {part[:1]: part[1:].decode("utf-8", "replace") for part in body.split(b"\0") if part}
    sqlstate = fields.get(b"C", "08004")
    if sqlstate.startswith("28"):
        return TargetDown("tallystick: the target refused the gateway's credential", "08004")
    return TargetDown(fields.get(b"M", "the target refused the connection"), sqlstate)


__all__ = ["ChannelLost", "Ready", "TargetDown", "connect", "read_message"]
