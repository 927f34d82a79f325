"""Avro object container files, as bytes: framing and zstandard blocks. Pure.

Written by hand rather than by fastavro because a leaf's bytes go in as they came: what
was hashed is what is stored. Any Avro reader reads the file (a test does, with fastavro).
Each record is flushed on its own inside its block's zstandard frame, about 6 % larger,
so that a damaged byte spoils the records from it on and not the ones before: that is
how a verifier can name the entry. Reading is bounded before anything is allocated.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import zstandard

MAGIC = b"Obj\x01"
SYNC = 16
LARGEST_FILE = 128 * 1024 * 1024  # and its blocks, unpacked: each may be small and say that it is large
LARGEST_BLOCK = 64 * 1024 * 1024  # one record may be all of it; blocks are cut at BLOCK_BYTES
BLOCK_RECORDS = 256
BLOCK_BYTES = 256 * 1024


class BadContainer(ValueError):
    """Not an object container file of the kind this module writes."""


@dataclass(frozen=True, slots=True)
class Block:
    """`count` records, still compressed."""

    count: int
    packed: bytes


@dataclass(frozen=True, slots=True)
class Container:
    metadata: dict[str, bytes]
    sync: bytes
    blocks: tuple[Block, ...]


def long(n: int) -> bytes:
    """Avro's zig-zag varint."""
    n = (n << 1) ^ (n >> 63)
    out = bytearray()
    while n & ~0x7F:
        out.append((n & 0x7F) | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def prefixed(raw: bytes) -> bytes:
    return long(len(raw)) + raw


def sync_marker(name: str) -> bytes:
    """Sixteen bytes that depend on the name alone, so that the same batch gives the same file."""
    return hashlib.sha256(name.encode()).digest()[:SYNC]


def write(metadata: dict[str, bytes], sync: bytes, records: Sequence[bytes]) -> bytes:
    out = [MAGIC, long(len(metadata))]
    for key, value in metadata.items():
        out += [prefixed(key.encode()), prefixed(value)]
    out += [long(0), sync]
    for group in _groups(records):
        out += [long(len(group)), prefixed(_pack(group)), sync]
    return b"".join(out)


def _groups(records: Sequence[bytes]) -> Iterator[list[bytes]]:
    group: list[bytes] = []
    size = 0
    for record in records:
        if group and (len(group) == BLOCK_RECORDS or size + len(record) > BLOCK_BYTES):
            yield group
            group, size = [], 0
        group.append(record)
        size += len(record)
    if group:
        yield group


def _pack(records: list[bytes]) -> bytes:
    packer = zstandard.ZstdCompressor(level=1).compressobj(size=sum(map(len, records)))
    out = []
    for record in records:
        out += [packer.compress(record), packer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)]
    out.append(packer.flush())
    return b"".join(out)


def unpack(packed: bytes) -> bytes:
    """A block's plain bytes. Raises BadContainer."""
    try:
        size = zstandard.frame_content_size(packed)
        if not 0 <= size <= LARGEST_BLOCK:
            raise BadContainer("a block says no size, or a larger one than a batch may have")
        return zstandard.ZstdDecompressor().decompress(packed, max_output_size=size)
    except (zstandard.ZstdError, MemoryError) as e:
        raise BadContainer("a block does not decompress") from e


def plain_size(packed: bytes) -> int:
    """How much a block says it unpacks to, which `unpack` holds it to; 0 where it says nothing that can be."""
    try:
        size = zstandard.frame_content_size(packed)
    except zstandard.ZstdError:
        return 0
    return size if 0 <= size <= LARGEST_BLOCK else 0


def salvage(packed: bytes) -> bytes:
    """As much of a damaged block as comes out before the damage."""
    out = bytearray()
    try:
        if not 0 <= zstandard.frame_content_size(packed) <= LARGEST_BLOCK:
            return b""
        unpacker = zstandard.ZstdDecompressor().decompressobj()
        for at in range(len(packed)):  # a byte at a time: what came out before the error stays
            out += unpacker.decompress(packed[at : at + 1])
            if len(out) > LARGEST_BLOCK:
                break
    except zstandard.ZstdError:
        pass
    return bytes(out)


class Reader:
    """Walks bytes, never past their end."""

    __slots__ = ("at", "data")

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, n: int) -> bytes:
        if n < 0 or len(self.data) - self.at < n:
            raise BadContainer("the file ends early")
        self.at += n
        return self.data[self.at - n : self.at]

    def long(self) -> int:
        value = shift = 0
        while True:
            if self.at >= len(self.data):
                raise BadContainer("the file ends early")
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return (value >> 1) ^ -(value & 1)
            if shift > 63:
                raise BadContainer("a number is malformed")

    def prefixed(self) -> bytes:
        return self.take(self.long())


def read_head(source: Reader, most_keys: int) -> tuple[dict[str, bytes], bytes]:
    """(metadata, sync marker). Raises BadContainer."""
    if len(source.data) > LARGEST_FILE:
        raise BadContainer(f"{len(source.data)} bytes; a batch has at most {LARGEST_FILE}")
    if source.take(len(MAGIC)) != MAGIC:
        raise BadContainer("not an Avro object container file")
    count = source.long()
    if not 0 < count <= most_keys:
        raise BadContainer("the file's metadata is not a batch's")
    found: dict[str, bytes] = {}
    for _ in range(count):
        key = source.prefixed()
        try:
            found[key.decode("ascii")] = source.prefixed()
        except UnicodeDecodeError as e:
            raise BadContainer("the file's metadata is not a batch's") from e
    if source.long() != 0:
        raise BadContainer("the file's metadata is not a batch's")
    return found, source.take(SYNC)


def read(data: bytes, most_keys: int) -> Container:
    """Raises BadContainer."""
    source = Reader(data)
    metadata, sync = read_head(source, most_keys)
    blocks = []
    while source.at < len(data):
        count = source.long()
        if not 0 < count <= BLOCK_RECORDS:
            raise BadContainer("a block's count is not one that this format writes")
        blocks.append(Block(count, source.prefixed()))
        if source.take(SYNC) != sync:
            raise BadContainer("a block does not end with the file's sync marker")
    return Container(metadata, sync, tuple(blocks))
