"""What a client sends, cut into messages: of each the names and texts that judging needs, and no more."""

from __future__ import annotations

from ingest.postgres.screen import Verdict
from schemas.ids import HoldId
from wire.postgres.reader import HEADER, RemoteFault

SMALL_MESSAGE = 10_000
"""PostgreSQL's own limit on every message that carries no data (PQ_SMALL_MESSAGE_LIMIT)."""

CARRIES_DATA = frozenset(b"QPBFd")
LARGEST_COPY_DATA = 16 << 20
"""One CopyData message of the client; larger ones are a fault (drivers send far smaller ones)."""


class Message:
    """One client message of a group that is being judged."""

    __slots__ = ("base", "end", "hold", "kind", "name", "portal", "start", "text", "types", "verdict")

    def __init__(self, kind: int, start: int, end: int) -> None:
        self.kind = kind
        self.start = start
        self.end = end
        self.name = b""
        self.portal = b""
        self.text = b""
        self.base = b""  # of a Bind: what its name means if no Parse before it works that is not answered yet
        self.types = b""  # of a Parse: the parameter types, as sent
        self.verdict: Verdict | None = None
        self.hold: HoldId | None = None  # the hold that released it

    def __repr__(self) -> str:
        return f"Message({chr(self.kind)}, {self.end - self.start} bytes)"


def read(found: list[tuple[int, int, int]], buffer: bytes) -> list[Message]:
    """The names and texts that judging needs. Raises RemoteFault."""
    messages = []
    for kind, start, end in found:
        message = Message(kind, start, end)
        messages.append(message)
        if end - start > SMALL_MESSAGE and kind not in CARRIES_DATA:
            raise RemoteFault("message too long")
        if kind == 0x53:
            continue
        if kind == 0x44:
            if buffer[start + HEADER : start + 6] == b"S":
                message.name = buffer[start + 6 : end - 1]
            continue
        try:
            if kind == 0x42:
                after = buffer.index(b"\0", start + HEADER, end)
                message.portal = buffer[start + HEADER : after]
                message.name = buffer[after + 1 : buffer.index(b"\0", after + 1, end)]
            elif kind == 0x45:
                message.portal = buffer[start + HEADER : buffer.index(b"\0", start + HEADER, end)]
            elif kind == 0x51:
                message.text = buffer[start + HEADER : buffer.index(b"\0", start + HEADER, end)]
            elif kind == 0x50:
                after = buffer.index(b"\0", start + HEADER, end)
                message.name = buffer[start + HEADER : after]
                last = buffer.index(b"\0", after + 1, end)
                message.text = buffer[after + 1 : last]
                message.types = buffer[last + 1 : end]
            elif kind == 0x43:
                name = buffer[start + 6 : buffer.index(b"\0", start + 6, end)]
                if buffer[start + HEADER] == 0x50:
                    message.portal = b"P" + name
                else:
                    message.name = name
            elif kind not in b"HXdcfF":
                raise RemoteFault(f"message type {kind:#04x}")
        except ValueError:
            raise RemoteFault("a name or text that does not end") from None
    return messages


def fits(buffer: bytes, at: int, most: int) -> bool:
    """Whether the message at `at`, of which a part is here, may be waited for. `most`: bytes of a command. Raises
    RemoteFault."""
    if len(buffer) - at < HEADER:
        return True
    kind, length = buffer[at], int.from_bytes(buffer[at + 1 : at + 5], "big")
    if kind not in CARRIES_DATA and length > SMALL_MESSAGE:
        raise RemoteFault(f"message type {kind:#04x} with a length of {length}")
    return length <= (LARGEST_COPY_DATA if kind == 0x64 else most)
