"""Whether a value lies in a file: as it is, in base64, in hex, and inside zip, gzip, zstd and Avro."""

from __future__ import annotations

import base64
import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import fastavro
import re2
import zstandard

ZSTD, GZIP = b"\x28\xb5\x2f\xfd", b"\x1f\x8b\x08"
LARGEST = 64 * 1024 * 1024


def forms(value: str) -> tuple[bytes, ...]:
    """How a value may be written. In base64 a run of it, at each of the three places it may begin."""
    raw = value.encode()
    found = [raw, raw.hex().encode(), raw.hex().upper().encode(), value.encode("utf-16-le")]
    for shift in range(3):
        coded = base64.b64encode(b"\0" * shift + raw)
        start, end = -(-shift * 4 // 3), len(coded) - (4 if (len(raw) + shift) % 3 else 0)
        found += [coded[start:end], coded[start:end].replace(b"+", b"-").replace(b"/", b"_")]
    return tuple(dict.fromkeys(found))


def layers(raw: bytes, depth: int = 3) -> Iterator[bytes]:
    """The bytes themselves, and all that unpacks out of them."""
    yield raw
    if depth == 0:
        return
    for inner in (*_zip(raw), *_avro(raw), *_streams(raw)):
        yield from layers(inner, depth - 1)


def _zip(raw: bytes) -> Iterator[bytes]:
    if raw[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(raw)) as opened:
            for name in opened.namelist():
                yield name.encode()
                yield opened.read(name)


def _avro(raw: bytes) -> Iterator[bytes]:
    if raw[:4] == b"Obj\x01":
        for record in fastavro.reader(io.BytesIO(raw), return_record_name=True):
            yield repr(record).encode()
            yield from _bytes_in(record)


def _bytes_in(value: object) -> Iterator[bytes]:
    if isinstance(value, bytes):
        yield value
    elif isinstance(value, str):
        yield value.encode()
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _bytes_in(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _bytes_in(inner)


def _streams(raw: bytes) -> Iterator[bytes]:
    for magic, unpack in ((ZSTD, _zstd), (GZIP, _gzip)):
        at = raw.find(magic)
        while at >= 0:
            inner = unpack(raw[at:])
            if inner:
                yield inner
            at = raw.find(magic, at + 1)


def _zstd(raw: bytes) -> bytes:
    try:
        return zstandard.ZstdDecompressor().decompressobj().decompress(raw)[:LARGEST]
    except zstandard.ZstdError:
        return b""


def _gzip(raw: bytes) -> bytes:
    try:
        return gzip.decompress(raw)[:LARGEST]
    except (OSError, EOFError, zlib.error):
        return b""


@cache
def _any_of(values: tuple[str, ...]) -> Any:
    """One pass for all forms of all values."""
    options = re2.Options()
    options.encoding = options.Encoding.LATIN1
    ways = [b"".join(b"\\x%02x" % byte for byte in way) for value in values for way in forms(value)]
    return re2.compile(b"|".join(ways), options)


def found_in(path: Path, values: tuple[str, ...]) -> list[str]:
    """Which of the values this file holds."""
    found: list[str] = []
    raw = path.read_bytes()
    if raw.endswith(bytes(4096)):  # Kafka makes an index 10 MiB of zeros; one is kept, for it may end UTF-16
        raw = raw.rstrip(b"\0") + b"\0"
    for layer in layers(raw):
        if _any_of(values).search(layer):
            found += [v for v in values if v not in found and any(way in layer for way in forms(v))]
    return found
