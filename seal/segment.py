"""What a recorder signs of a segment, and how the running digest goes on."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from dataclasses import replace

from schemas.records import JournalSegment
from seal.keyfiles import Enrolled
from seal.sign import Domain, Signer, check

_NUMBERS = struct.Struct(">qqqqqqB")
CHAIN_START = bytes(32)


def _text(value: str) -> bytes:
    raw = value.encode()
    return len(raw).to_bytes(4, "big") + raw


def next_chain(chain: bytes, chunks: Iterable[bytes]) -> bytes:
    """SHA-256(chain before ‖ SHA-256 of the chunks, each with its length before it)."""
    inner = hashlib.sha256()
    for chunk in chunks:
        inner.update(len(chunk).to_bytes(4, "big"))
        inner.update(chunk)
    return hashlib.sha256(chain + inner.digest()).digest()


def header_bytes(segment: JournalSegment) -> bytes:
    """Everything that is signed: unambiguous, all of the header but the signature."""
    numbers = _NUMBERS.pack(
        segment.boot,
        segment.epoch,
        segment.first,
        segment.last,
        segment.prior_epoch,
        segment.prior_chunk,
        segment.recovered,
    )
    key = hashlib.sha256(segment.sealed_key).digest()
    names = _text(segment.recorder) + _text(segment.masker_key) + _text(segment.signer)
    return numbers + segment.chain + key + names


def sign_segment(signer: Signer, segment: JournalSegment) -> JournalSegment:
    named = replace(segment, signer=signer.name)
    return replace(named, signature=signer.sign(Domain.SEGMENT, header_bytes(named)))


def check_segment(segment: JournalSegment, enrolled: Enrolled, at_us: int) -> None:
    """The header's signature by an enrolled recorder key. Raises NotEnrolled or BadSignature.

    The chain is checked by whoever knows the one before: see `next_chain`.
    """
    public = enrolled.public(segment.signer, "gateway", at_us)
    check(public, Domain.SEGMENT, header_bytes(segment), segment.signature)
