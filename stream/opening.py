"""A sealed segment becomes frames. What fails here fails on its bytes alone, so it is poison."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from schemas.frames import Frame, TornFrame, unpack
from schemas.ids import SessionId, session_id
from schemas.records import JournalSegment
from seal.box import CannotOpen, EpochKey, open_sealed
from seal.keyfiles import Enrolled, NotEnrolled
from seal.segment import check_segment
from seal.sign import BadSignature


class Poison(ValueError):
    """This segment can never be read: said in the ledger as Undecoded, and the stream goes on."""


class Stranger(Poison):
    """No enrolled recorder signed it: what it says of itself, its position too, is nobody's word."""


class NoMaskerKey(RuntimeError):
    """The private key is not here. Nothing is skipped: bring the key back and start again."""


@dataclass(frozen=True, slots=True)
class Opened:
    segment: JournalSegment
    frames: tuple[Frame, ...]

    @property
    def sessions(self) -> tuple[SessionId, ...]:
        """Those with frames here; their content keys must be durable before the first output."""
        numbers = dict.fromkeys(frame.session for frame in self.frames if frame.session)
        return tuple(session_id(self.segment.recorder, self.segment.boot, number) for number in numbers)

    def __repr__(self) -> str:
        return f"Opened({self.segment.recorder}, {self.segment.epoch}, {len(self.frames)} frames)"


def check_signed(segment: JournalSegment, enrolled: Enrolled, at_us: int) -> None:
    """Raises Stranger."""
    try:
        check_segment(segment, enrolled, at_us)
    except (BadSignature, NotEnrolled) as e:
        raise Stranger("the segment is not signed by an enrolled recorder") from e


def open_segment(segment: JournalSegment, private: Callable[[str], bytes], enrolled: Enrolled, at_us: int) -> Opened:
    """Checks the recorder's signature, opens the chunks, unpacks the frames. Raises Stranger, Poison or NoMaskerKey.

    The header's signature covers the sealed epoch key, and only its recorder and the masker
    can seal a chunk under that key and number: so the chunks are the recorder's own.
    """
    check_signed(segment, enrolled, at_us)
    if len(segment.chunks) != segment.last - segment.first + 1:
        raise Poison("the segment has another number of chunks than its header says")
    try:
        key = private(segment.masker_key)
    except KeyError as e:
        raise NoMaskerKey(f"masker key {segment.masker_key} is not in the key directory") from e
    frames: list[Frame] = []
    try:
        epoch = EpochKey(_epoch_key(key, segment.sealed_key), segment.recorder, segment.epoch)
        for number, chunk in enumerate(segment.chunks, segment.first):
            frames.extend(unpack(epoch.open(number, chunk)))
    except (CannotOpen, TornFrame, ValueError) as e:
        raise Poison("the segment's chunks do not open, or hold torn frames") from e
    return Opened(segment, tuple(frames))


@lru_cache(maxsize=256)
def _epoch_key(private: bytes, sealed: bytes) -> bytes:
    """The same bytes all through an epoch, which is an hour of segments. Raises CannotOpen."""
    return open_sealed(private, sealed)
