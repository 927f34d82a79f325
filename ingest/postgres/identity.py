"""Who a client is: `static` identity, proved by SCRAM to the gateway's own verifier.

A machine never sees the target's credential. Password messages are read here
and nowhere recorded. Whoever is unknown gets the same exchange as whoever is
known and fails at its end.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ingest.postgres import scram
from ingest.postgres.channel import Channel
from ingest.postgres.target import AUTH_OK, AUTH_SASL, AUTH_SASL_CONTINUE, AUTH_SASL_FINAL, read_message
from ingest.settings import Identity
from seal.digest import keyed

PASSWORD_LIMIT = 4096
"""Longest password message that is read from somebody who has not logged in."""


class LoginRefused(PermissionError):
    """`why` is for the journal and the operator; the client is told `sqlstate` and `told`."""

    def __init__(self, why: str, sqlstate: str, told: str) -> None:
        super().__init__(why)
        self.why = why
        self.sqlstate = sqlstate
        self.told = told


@dataclass(frozen=True, slots=True)
class Identities:
    """All who may log in, by the name they log in with."""

    known: dict[str, Identity] = field(repr=False)
    verifiers: dict[str, scram.Verifier] = field(repr=False)
    mock_secret: bytes = field(repr=False)
    end_point: bytes = b""  # channel binding of our certificate; b"" where we have none
    cost: int = 4096  # iterations shown for a user that does not exist: those of one that does

    @staticmethod
    def of(identities: tuple[Identity, ...], mock_secret: bytes, end_point: bytes) -> Identities:
        """Raises ValueError for a verifier that is none."""
        verifiers = {i.user: scram.Verifier.parse(i.verifier) for i in identities}
        cost = next((v.iterations for v in verifiers.values()), 4096)
        return Identities({i.user: i for i in identities}, verifiers, mock_secret, end_point, cost)

    def verifier(self, user: str) -> scram.Verifier:
        known = self.verifiers.get(user)
        mock = scram.Verifier.mock(keyed(self.mock_secret, b"mock-salt", user.encode()), self.cost)
        return known or mock  # the mock is always made, so that time tells nothing


async def authenticate(channel: Channel, user: str, identities: Identities) -> Identity:
    """Raises LoginRefused, ConnectionError. AuthenticationOk is not sent yet: the target may still be down."""
    end_point = identities.end_point if channel.tls_version else b""
    offered = ([scram.PLUS] if end_point else []) + [scram.PLAIN]
    _ask(channel, AUTH_SASL, b"".join(name.encode() + b"\0" for name in offered) + b"\0")
    name, first = _initial_response(await _password_message(channel))
    if name not in offered:
        raise _refused(user, "SASL mechanism that was not offered")
    exchange = scram.ScramServer(identities.verifier(user), name, end_point)
    try:
        _ask(channel, AUTH_SASL_CONTINUE, exchange.first(first))
        signature = exchange.final(await _password_message(channel))
    except scram.ScramRefused as e:
        raise _refused(user, str(e) if user in identities.known else "unknown user") from None
    known = identities.known.get(user)
    if known is None:
        raise _refused(user, "unknown user")
    _ask(channel, AUTH_SASL_FINAL, signature)
    return known


def welcome(channel: Channel) -> None:
    _ask(channel, AUTH_OK, b"")


def _ask(channel: Channel, code: int, body: bytes) -> None:
    channel.write(b"R" + (len(body) + 8).to_bytes(4, "big") + code.to_bytes(4, "big") + body)


async def _password_message(channel: Channel) -> bytes:
    kind, body, _ = await read_message(channel, PASSWORD_LIMIT)
    if kind != 0x70:
        raise ConnectionError("expected a password message")
    return body


def _initial_response(body: bytes) -> tuple[str, bytes]:
    """Mechanism and first message of a SASLInitialResponse."""
    name, end, rest = body.partition(b"\0")
    size = int.from_bytes(rest[:4], "big")
    if not end or len(rest) != size + 4:
        raise ConnectionError("malformed SASL response")
    return name.decode("ascii", "replace"), rest[4:]


def _refused(user: str, why: str) -> LoginRefused:
    return LoginRefused(why, "28P01", f'password authentication failed for user "{user}"')
