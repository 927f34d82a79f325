"""Binary values made of others: arrays, records and ranges, as PostgreSQL writes them in text. Pure.

Bytes that are not exactly what their type says raise ValueError or struct.error.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

MOST_DIMENSIONS = 6
MOST_ELEMENTS = 1 << 20
_EMPTY, _FROM, _TO, _NO_START, _NO_END = 1, 2, 4, 8, 16

Read = Callable[[bytes], str]


def array(raw: bytes, element: int, read: Read) -> str:
    """Every element quoted that is not plain (array_out)."""
    dimensions, _, of = struct.unpack_from(">iiI", raw)
    if not 0 <= dimensions <= MOST_DIMENSIONS or of != element:
        raise ValueError("an array of something else")
    if not dimensions:
        if len(raw) != 12:
            raise ValueError("an empty array with something in it")
        return "{}"
    sizes = [struct.unpack_from(">i", raw, 12 + 8 * i)[0] for i in range(dimensions)]
    total = 1
    for size in sizes:
        total *= size
        if size <= 0 or total > MOST_ELEMENTS:
            raise ValueError("an array of no size, or too large")
    at = 12 + 8 * dimensions
    parts: list[str] = []
    for _ in range(total):
        value, at = _next(raw, at, read)
        parts.append("NULL" if value is None else _element(value))
    _whole(raw, at)
    for size in reversed(sizes):
        parts = ["{" + ",".join(parts[i : i + size]) + "}" for i in range(0, len(parts), size)]
    return parts[0]


def record(raw: bytes, reader: Callable[[int], Read]) -> str:
    """A row as one value (record_out); each field says its type."""
    (count,) = struct.unpack_from(">i", raw)
    if not 0 <= count <= len(raw) // 8:
        raise ValueError("more fields than bytes")
    at = 4
    parts: list[str] = []
    for _ in range(count):
        (oid,) = struct.unpack_from(">I", raw, at)
        value, at = _next(raw, at + 4, reader(oid))
        parts.append("" if value is None else _field(value, '",\\()'))
    _whole(raw, at)
    return "(" + ",".join(parts) + ")"


def span(raw: bytes, read: Read) -> str:
    """A range (range_out)."""
    flags = raw[0] if raw else _NO_END << 1
    if flags & ~31:
        raise ValueError("a range with flags that nobody knows")
    if flags & _EMPTY:
        _whole(raw, 1)
        return "empty"
    at, ends = 1, ["", ""]
    for n, endless in enumerate((_NO_START, _NO_END)):
        if not flags & endless:
            value, at = _next(raw, at, read)
            ends[n] = _field(value or "", '",\\()[]')
    _whole(raw, at)
    return ("[" if flags & _FROM else "(") + ",".join(ends) + ("]" if flags & _TO else ")")


def _next(raw: bytes, at: int, read: Read) -> tuple[str | None, int]:
    """A value behind its length, and where the next one begins."""
    (length,) = struct.unpack_from(">i", raw, at)
    at += 4
    if length == -1:
        return None, at
    if length < 0 or at + length > len(raw):
        raise ValueError("longer than all")
    return read(raw[at : at + length]), at + length


def _whole(raw: bytes, at: int) -> None:
    if at != len(raw):
        raise ValueError("bytes behind the end")


def _element(text: str) -> str:
    plain = text and text.upper() != "NULL" and not any(c in '{},"\\' or c.isspace() for c in text)
    return text if plain else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _field(text: str, special: str) -> str:
    plain = text and not any(c in special or c.isspace() for c in text)
    return text if plain else '"' + text.replace("\\", "\\\\").replace('"', '""') + '"'
