"""What a chunk holds once it is opened: frames, one after another.

A frame is packed as `>QIBI` {micros since 1970, session number, kind, length}
and its bytes. This is the gateway's hot path, so it is struct, not Avro; the
rarer kinds carry an Avro record (`codec.encode`) as their bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

HEADER = struct.Struct(">QIBI")


class FrameKind(IntEnum):
    """What the bytes of a frame are."""

    CLIENT = 1  # whole messages of the client, as they came; forwarded once durable
    SERVER = 2  # whole messages of the target, as they were forwarded
    SERVER_HEAD = 3  # the first bytes of one message larger than what is captured
    ELIDED = 4  # record Elided: what was forwarded but not captured
    OPENED = 5  # record SessionOpened
    CLOSED = 6  # record SessionClosed
    CONTEXT = 7  # once per segment and session: record SessionContext
    STATEMENT = 8  # once per segment for each prepared text used: record Statement
    DECISION = 9  # record Decided: the screen said something else than allow
    HOLD = 10  # record HeldCommand
    RELEASED = 11  # record Released
    REFUSED = 12  # record Refused: the gateway substituted a command
    GONE = 13  # record HoldGone: the client left or cancelled while held
    LOGIN_REFUSED = 14  # record LoginRefused (session number 0)
    BOOT = 15  # record BootMark, session number 0: first frame of a boot's first epoch


ASKING = (FrameKind.HOLD, FrameKind.GONE, FrameKind.BOOT)
"""What the approvals step is told of: `JournalSegment.asks` says whether any is in it."""


class Frame(NamedTuple):
    """One piece of traffic. `data` may be raw traffic: never log it."""

    micros: int
    session: int
    kind: FrameKind
    data: bytes

    def __repr__(self) -> str:
        return f"Frame({self.micros}, {self.session}, {self.kind.name}, {len(self.data)} bytes)"


class TornFrame(ValueError):
    """The chunk ends inside a frame, or names a kind that does not exist."""


def unpack(plain: bytes) -> Iterator[Frame]:
    """The frames of an opened chunk, in order. Raises TornFrame."""
    at, end = 0, len(plain)
    while at < end:
        if end - at < HEADER.size:
            raise TornFrame(f"{end - at} bytes left where a frame header has {HEADER.size}")
        micros, session, kind, length = HEADER.unpack_from(plain, at)
        at += HEADER.size
        if end - at < length:
            raise TornFrame(f"frame of {length} bytes, {end - at} left")
        try:
            which = FrameKind(kind)
        except ValueError:
            raise TornFrame(f"frame kind {kind}") from None
        yield Frame(micros, session, which, plain[at : at + length])
        at += length


def pack(frame: Frame) -> bytes:
    return HEADER.pack(frame.micros, frame.session, frame.kind, len(frame.data)) + frame.data
