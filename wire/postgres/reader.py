"""Cutting a byte stream at its message headers: a type byte and a length.

The gateway's hot path: nothing is decoded, payloads are not copied. `cut` walks a
buffer that is there; `Cutter` keeps the part message of a stream, and hands a
message larger than `hold_at_most` on in pieces, so that a 300 MB row passes
through in steady memory.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

HEADER = 5
_HEAD = struct.Struct(">BI")
LARGEST_MESSAGE = 0x3FFFFFFF
"""PostgreSQL refuses messages of 1 GiB and above (pqcomm.c, PQ_LARGE_MESSAGE_LIMIT)."""


class RemoteFault(ValueError):
    """The other side's bytes are not this protocol. The message never holds traffic."""


class RawMessage(NamedTuple):
    """One whole message: its type as a byte value, and what follows its header."""

    type: int
    payload: bytes

    def __repr__(self) -> str:
        return f"RawMessage({chr(self.type)!r}, {len(self.payload)} bytes)"


def cut(buffer: bytes, at: int = 0, limit: int = LARGEST_MESSAGE) -> tuple[list[tuple[int, int, int]], int]:
    """([(type, start, end), ...] of the whole messages from `at`, where the rest begins).

    A message's bytes are buffer[start:end], header included. Raises RemoteFault.
    """
    found: list[tuple[int, int, int]] = []
    size, head, append = len(buffer), _HEAD.unpack_from, found.append
    last = size - HEADER
    while at <= last:
        kind, length = head(buffer, at)
        if not 4 <= length <= limit:
            raise RemoteFault(f"message type {kind:#04x} with a length of {length}")
        end = at + length + 1
        if end > size:
            break
        append((kind, at, end))
        at = end
    return found, at


class Reader:
    """Whole messages of a stream; for dialogues whose messages are known to be small, and for tests."""

    def __init__(self, limit: int = LARGEST_MESSAGE) -> None:
        self._buffer, self._limit = b"", limit

    def feed(self, data: bytes) -> list[RawMessage]:
        """Raises RemoteFault."""
        buffer = self._buffer + data if self._buffer else data
        found, rest = cut(buffer, 0, self._limit)
        self._buffer = buffer[rest:]
        return [RawMessage(kind, buffer[start + HEADER : end]) for kind, start, end in found]

    @property
    def waiting(self) -> int:
        """Bytes of a message that is not whole yet."""
        return len(self._buffer)


@dataclass(frozen=True, slots=True)
class Whole:
    """A run of whole messages, to be forwarded as it stands."""

    data: bytes
    messages: tuple[tuple[int, int, int], ...]

    def __repr__(self) -> str:
        return f"Whole({len(self.messages)} messages, {len(self.data)} bytes)"


@dataclass(frozen=True, slots=True)
class Head:
    """The beginning of a message too large to hold: its header and what came with it."""

    type: int
    length: int  # of the whole message, header included
    data: bytes

    def __repr__(self) -> str:
        return f"Head({chr(self.type)!r}, {len(self.data)} of {self.length} bytes)"


@dataclass(frozen=True, slots=True)
class Body:
    """More of the message that the last Head began."""

    data: bytes
    last: bool

    def __repr__(self) -> str:
        return f"Body({len(self.data)} bytes{', last' if self.last else ''})"


Piece = Whole | Head | Body


class Cutter:
    """A stream as pieces to forward; holds back at most `hold_at_most` bytes and one header."""

    def __init__(self, hold_at_most: int, limit: int = LARGEST_MESSAGE) -> None:
        self._buffer, self._hold, self._limit = b"", hold_at_most, limit
        self._owed = 0  # bytes still to come of a message that is handed on in pieces

    def feed(self, data: bytes) -> list[Piece]:
        """Raises RemoteFault."""
        pieces: list[Piece] = []
        if self._owed:
            part, data = data[: self._owed], data[self._owed :]
            self._owed -= len(part)
            pieces.append(Body(part, not self._owed))
            if not data:
                return pieces
        buffer = self._buffer + data if self._buffer else data
        found, rest = cut(buffer, 0, self._limit)
        if found:
            pieces.append(Whole(buffer if rest == len(buffer) else buffer[:rest], tuple(found)))
        self._buffer = buffer[rest:] if rest else buffer
        if len(self._buffer) >= HEADER:
            kind, length = _HEAD.unpack_from(self._buffer)
            if length + 1 > self._hold:
                pieces.append(Head(kind, length + 1, self._buffer))
                self._owed = length + 1 - len(self._buffer)
                self._buffer = b""
        elif rest == len(buffer):
            self._buffer = b""
        return pieces

    @property
    def waiting(self) -> int:
        return len(self._buffer)
