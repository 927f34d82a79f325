"""SCRAM-SHA-256 and -PLUS, the server's half (RFC 5802, RFC 7677; PostgreSQL chapter "SASL Authentication").

The scramp package plays the client's half towards the target, but its server
refuses the empty user name that libpq sends in its first message, so this half
is here: HMAC and SHA-256 of the standard library, compared in constant time.
A user that does not exist gets the same exchange with a made-up salt and fails
at the same step, so the answers do not tell who exists.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from dataclasses import dataclass, field

PLAIN = "SCRAM-SHA-256"
PLUS = "SCRAM-SHA-256-PLUS"
BINDING = b"p=tls-server-end-point"

MESSAGE_LIMIT = 2048
"""A SCRAM message of an honest client has about 200 bytes."""


class ScramRefused(ValueError):
    """The exchange failed; the message is for the operator and has nothing of the client's."""


@dataclass(frozen=True, slots=True)
class Verifier:
    """What is stored in place of a password (the form of pg_authid.rolpassword)."""

    iterations: int
    salt: bytes = field(repr=False)
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)

    @staticmethod
    def parse(text: str) -> Verifier:
        """From `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`. Raises ValueError."""
        try:
            scheme, cost, keys = text.split("$")
            iterations, salt = cost.split(":")
            stored, server = keys.split(":")
            parsed = Verifier(int(iterations), _unbase64(salt), _unbase64(stored), _unbase64(server))
        except (ValueError, ScramRefused):
            parsed, scheme = None, ""
        if parsed is None or scheme != PLAIN or len(parsed.stored_key) != 32 or len(parsed.server_key) != 32:
            raise ValueError("verifier: must look like SCRAM-SHA-256$4096:<salt>$<StoredKey>:<ServerKey>")
        return parsed

    @staticmethod
    def of(password: str, salt: bytes, iterations: int = 4096) -> Verifier:
        """For a password that is ASCII (others need SASLprep: let PostgreSQL make theirs)."""
        salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, iterations)
        stored = hashlib.sha256(_hmac(salted, b"Client Key")).digest()
        return Verifier(iterations, salt, stored, _hmac(salted, b"Server Key"))

    @staticmethod
    def mock(seed: bytes, iterations: int) -> Verifier:
        """For a user that does not exist: `seed` (16 bytes or more) is always the same for the same name."""
        return Verifier(iterations, seed[:16], secrets.token_bytes(32), secrets.token_bytes(32))

    def __str__(self) -> str:
        salt, stored, server = (base64.b64encode(b).decode() for b in (self.salt, self.stored_key, self.server_key))
        return f"{PLAIN}${self.iterations}:{salt}${stored}:{server}"


class ScramServer:
    """One exchange: `first`, then `final`, each once.

    `end_point` is the tls-server-end-point hash of our certificate where -PLUS
    was offered, else b"". Raises ScramRefused.
    """

    def __init__(self, verifier: Verifier, mechanism: str, end_point: bytes) -> None:
        self._verifier = verifier
        self._mechanism = mechanism
        self._end_point = end_point
        self._header = b""
        self._client_bare = b""
        self._server_first = b""
        self._nonce = b""

    def first(self, message: bytes) -> bytes:
        """The client's first message in, ours out."""
        if len(message) > MESSAGE_LIMIT:
            raise ScramRefused("SCRAM message too long")
        flag, _, rest = message.partition(b",")
        authzid, comma, self._client_bare = rest.partition(b",")
        if not comma or authzid:
            raise ScramRefused("malformed SCRAM message")
        self._check_flag(flag)
        self._header = flag + b",,"
        attributes = _attributes(self._client_bare)
        if [name for name, _ in attributes[:2]] != [b"n", b"r"]:
            raise ScramRefused("malformed SCRAM message")
        client_nonce = attributes[1][1]
        if not client_nonce:
            raise ScramRefused("malformed SCRAM message")
        self._nonce = client_nonce + base64.b64encode(secrets.token_bytes(18))
        salt = base64.b64encode(self._verifier.salt)
        self._server_first = b"r=%s,s=%s,i=%d" % (self._nonce, salt, self._verifier.iterations)
        return self._server_first

    def _check_flag(self, flag: bytes) -> None:
        """RFC 5802 section 6: who was offered -PLUS must use it or not know of it."""
        if self._mechanism == PLUS:
            if flag != BINDING:
                raise ScramRefused("channel binding type is not tls-server-end-point")
        elif flag == b"y":
            if self._end_point:
                raise ScramRefused("client thinks that channel binding is not offered, but it is")
        elif flag != b"n":
            raise ScramRefused("malformed SCRAM message")

    def final(self, message: bytes) -> bytes:
        """The client's proof in, our signature out."""
        if len(message) > MESSAGE_LIMIT:
            raise ScramRefused("SCRAM message too long")
        attributes = _attributes(message)
        if [name for name, _ in attributes[:2]] != [b"c", b"r"] or attributes[-1][0] != b"p":
            raise ScramRefused("malformed SCRAM message")
        binding = self._header + (self._end_point if self._mechanism == PLUS else b"")
        if not hmac.compare_digest(attributes[0][1], base64.b64encode(binding)):
            raise ScramRefused("channel binding does not match")
        if not hmac.compare_digest(attributes[1][1], self._nonce):
            raise ScramRefused("nonce does not match")
        proof = _unbase64(attributes[-1][1])
        if len(proof) != 32:
            raise ScramRefused("malformed SCRAM message")
        without_proof = message[: message.rindex(b",p=")]
        auth = b",".join((self._client_bare, self._server_first, without_proof))
        signature = _hmac(self._verifier.stored_key, auth)
        client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
        if not hmac.compare_digest(hashlib.sha256(client_key).digest(), self._verifier.stored_key):
            raise ScramRefused("password does not match")
        return b"v=" + base64.b64encode(_hmac(self._verifier.server_key, auth))


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


def _unbase64(text: str | bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ScramRefused("malformed base64 in a SCRAM message") from None


def _attributes(message: bytes) -> list[tuple[bytes, bytes]]:
    """`a=value` pairs. A mandatory extension (`m=`) is one we cannot know."""
    pairs = []
    for part in message.split(b","):
        name, equals, value = part.partition(b"=")
        if not equals or len(name) != 1 or name == b"m":
            raise ScramRefused("malformed SCRAM message")
        pairs.append((name, value))
    return pairs
