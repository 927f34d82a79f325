"""A reviewer's key that never leaves ssh-agent (draft-ietf-sshm-ssh-agent): plain Ed25519 keys alone.

The agent signs the bytes that it is given. Ours begin with "tallystick/<domain>/1\\0", what SSH signs with four
bytes of a length: neither can be taken for the other. Keys on security keys (sk-ssh-ed25519) sign more than the
bytes, which nobody who checks a vote could know, so they are not offered.
"""

from __future__ import annotations

import base64
import hashlib
import socket
from dataclasses import dataclass

from seal.sign import BadSignature, Domain, check, input_of

KIND = b"ssh-ed25519"
LARGEST_ANSWER = 256 * 1024  # as OpenSSH's own
ANSWERS_WITHIN_S = 60.0  # it may ask a person first (ssh-add -c)
_LIST, _LISTED, _SIGN, _SIGNED = 11, 12, 13, 14


class AgentFailed(RuntimeError):
    """The agent cannot be reached, refused, or did not answer as one does."""


@dataclass(frozen=True, slots=True)
class AgentKey:
    public: bytes
    comment: str

    @property
    def fingerprint(self) -> str:
        """As `ssh-add -l` shows it."""
        digest = hashlib.sha256(_blob(self.public)).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


class AgentSigner:
    """`name`: of the reviewer, in the policy. `agent`: the path of its socket."""

    def __init__(self, name: str, public: bytes, agent: str) -> None:
        self.name, self.public, self._agent = name, public, agent

    def sign(self, domain: Domain, message: bytes) -> bytes:
        """Raises AgentFailed."""
        asked = _sized(_blob(self.public)) + _sized(input_of(domain, message)) + bytes(4)
        read = _Read(_ask(self._agent, _SIGN, asked, _SIGNED))
        signed = _Read(read.string())
        kind, signature = signed.string(), signed.string()
        try:
            check(self.public, domain, message, signature)
        except BadSignature:
            raise AgentFailed("what ssh-agent gave is not a signature by that key") from None
        if kind != KIND:
            raise AgentFailed("ssh-agent signed with another kind of key")
        return signature


def keys(agent: str) -> list[AgentKey]:
    """Its Ed25519 keys, in its order. Raises AgentFailed."""
    read = _Read(_ask(agent, _LIST, b"", _LISTED))
    found = []
    for _ in range(read.number()):
        blob, comment = _Read(read.string()), read.string().decode("utf-8", "replace")
        if blob.string() == KIND:
            found.append(AgentKey(blob.string(), comment))
    return found


def _ask(agent: str, kind: int, body: bytes, wanted: int) -> bytes:
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWERS_WITHIN_S)
            connection.connect(agent)
            connection.sendall(_sized(bytes([kind]) + body))
            size = int.from_bytes(_exactly(connection, 4), "big")
            if not 0 < size <= LARGEST_ANSWER:
                raise AgentFailed("what listens there does not answer as ssh-agent does")
            answer = _exactly(connection, size)
    except OSError as e:
        raise AgentFailed(f"ssh-agent cannot be asked ({type(e).__name__})") from e
    if answer[0] != wanted:
        raise AgentFailed("ssh-agent refused: it has no such key, it is locked, or somebody said no")
    return answer[1:]


def _exactly(connection: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        more = connection.recv(size - len(parts))
        if not more:
            raise AgentFailed("ssh-agent closed the connection")
        parts += more
    return bytes(parts)


class _Read:
    """RFC 4251's numbers and strings, in order."""

    def __init__(self, raw: bytes) -> None:
        self._raw, self._at = raw, 0

    def number(self) -> int:
        return int.from_bytes(self._take(4), "big")

    def string(self) -> bytes:
        return self._take(self.number())

    def _take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._raw):
            raise AgentFailed("ssh-agent's answer is cut short")
        taken, self._at = self._raw[self._at : end], end
        return taken


def _blob(public: bytes) -> bytes:
    return _sized(KIND) + _sized(public)


def _sized(part: bytes) -> bytes:
    return len(part).to_bytes(4, "big") + part
