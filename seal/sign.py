"""Ed25519 with a domain in front, so that a signature means one kind of thing."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from nacl.exceptions import BadSignatureError, CryptoError
from nacl.signing import SigningKey, VerifyKey


class Domain(StrEnum):
    SEGMENT = "segment"
    EPOCH = "epoch"
    EVENTS = "events"
    VOTE = "vote"
    ENROLMENT = "enrolment"
    REVIEWER_REQUEST = "reviewer-request"
    MANIFEST = "manifest"
    SUSPENSION = "suspension"


class BadSignature(ValueError):
    """Not signed by this key over these bytes in this domain."""


def input_of(domain: Domain, message: bytes) -> bytes:
    """What is really signed."""
    return b"tallystick/" + domain.value.encode() + b"/1\0" + message


class Signs(Protocol):
    """Whoever signs in a domain: a key that we have, or one that somebody else keeps (`ssh_agent.py`)."""

    name: str
    public: bytes

    def sign(self, domain: Domain, message: bytes) -> bytes: ...


class Signer:
    """A private key and the name it is enrolled under."""

    __slots__ = ("_key", "name", "public")

    def __init__(self, name: str, seed: bytes) -> None:
        self._key = SigningKey(seed)
        self.name = name
        self.public = bytes(self._key.verify_key)

    def __repr__(self) -> str:
        return f"Signer({self.name})"

    def sign(self, domain: Domain, message: bytes) -> bytes:
        return self._key.sign(input_of(domain, message)).signature

    def sign_note(self, text: bytes) -> bytes:
        """Bare Ed25519, for C2SP signed notes, which have their own framing."""
        return self._key.sign(text).signature


def _check(public: bytes, signed: bytes, signature: bytes) -> None:
    try:
        VerifyKey(public).verify(signed, signature)
    except (BadSignatureError, CryptoError, ValueError, TypeError) as e:
        raise BadSignature("the signature is not by this key over these bytes") from e


def check(public: bytes, domain: Domain, message: bytes, signature: bytes) -> None:
    """Raises BadSignature."""
    _check(public, input_of(domain, message), signature)


def check_note(public: bytes, text: bytes, signature: bytes) -> None:
    """Raises BadSignature."""
    _check(public, text, signature)
