"""Whether a value lies in a file: as it is, in base64, in hex, and inside zip, gzip, zstd and Avro."""

from __future__ import annotations

import base64
import gzip
import io
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import fastavro
import re2
import zstandard

from tallystick import config
from tests.scenarios.conftest import NAMED, Deployment

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
    if raw[:2] == b"PK" and zipfile.is_zipfile(io.BytesIO(raw)):  # of what is encrypted one in 65,536 begins so
        with zipfile.ZipFile(io.BytesIO(raw)) as opened:
            for name in opened.namelist():
                yield name.encode()
                yield opened.read(name)


def _avro(raw: bytes) -> Iterator[bytes]:
    if raw[:4] == b"Obj\x01":
        for record in fastavro.reader(io.BytesIO(raw), return_record_name=True):
            yield repr(_without_bytes(record)).encode()  # what is a number, above all
            yield from _bytes_in(record)


def _without_bytes(value: object) -> object:
    """They are looked at as they are; `repr` would write each as an escape, of which addresses come about."""
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, dict):
        return {key: _without_bytes(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_bytes(inner) for inner in value]
    return value


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


AT_ONCE, MEMORY = 1000, 256 << 20
"""Needles of one pattern, and bytes for its states: with more it would be slow until all of these are made."""


class Needles:
    """Many byte strings that are looked for in one pass."""

    def __init__(self, needles: Iterable[bytes]) -> None:
        options = re2.Options()
        options.encoding = options.Encoding.LATIN1
        options.max_mem = MEMORY
        escaped = [b"".join(b"\\x%02x" % byte for byte in needle) for needle in needles]
        cuts = range(0, len(escaped), AT_ONCE)
        self._patterns = [re2.compile(b"|".join(escaped[at : at + AT_ONCE]), options) for at in cuts]

    def in_(self, raw: bytes) -> Iterator[bytes]:
        """Those that are there, but for such as overlap another."""
        for pattern in self._patterns:
            yield from (match[0] for match in pattern.finditer(raw))


@cache
def _ways(values: tuple[str, ...]) -> Needles:
    return Needles(way for value in values for way in forms(value))


def found_in(path: Path, values: tuple[str, ...]) -> list[str]:
    """Which of the values this file holds; none, if it is gone: Kafka deletes what is covered."""
    found: list[str] = []
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return []
    if raw.endswith(bytes(4096)):  # Kafka makes an index 10 MiB of zeros; one is kept, for it may end UTF-16
        raw = raw.rstrip(b"\0") + b"\0"
    for layer in layers(raw):
        if any(_ways(values).in_(layer)):
            found += [v for v in values if v not in found and any(way in layer for way in forms(v))]
    return found


def files(deployment: Deployment) -> list[Path]:
    """Journals, tables, logs, keys, bundles; in full mode Kafka's logs, changelogs among them, and MinIO's disk too."""
    mine = config.load(deployment.made.config).kafka.prefix  # of its topics and groups; its bucket has that name too

    def another(path: Path) -> bool:
        """Of a test before this one: it has had other values, and there may be much of it."""
        named = (NAMED.match(part) for part in path.parts)
        return any(found is not None and found[0] != mine for found in named)

    places = (deployment.place, *deployment.elsewhere)
    found = [p for place in places for p in place.rglob("*") if p.is_file() and not another(p)]
    assert len(found) > 10
    return found


def left(deployment: Deployment, values: tuple[str, ...]) -> dict[str, list[str]]:
    """By file: the values that are in it."""
    return {str(p): held for p in files(deployment) if (held := found_in(p, values))}
