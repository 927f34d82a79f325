"""What a value says, as text, by its type and format; or Unreadable, and then the mask withholds it.

Text format is UTF-8. Binary format is read for the types below only (PostgreSQL's
`*send` functions); whatever is not exactly one of them is Unreadable, never a
guess and never an error. Text made of binary need not equal the target's own
spelling; it is for detectors and people.
"""

from __future__ import annotations

import datetime
import ipaddress
import struct
import uuid
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A value that is not shown."""

    reason: str
    length: int


MOST_DIMENSIONS = 6
MOST_ELEMENTS = 1 << 20
LONGEST_SCALE = 16_383
_MICROS_A_DAY = 86_400_000_000
_DAYS_BEFORE = datetime.date(2000, 1, 1).toordinal()


class _Odd(ValueError):
    """Bytes that are not what their type says."""


def to_text(oid: int, code: int, raw: bytes) -> str | Unreadable:
    """`code` is 0 for text, 1 for binary. Never raises."""
    try:
        if code == 0:
            return raw.decode("utf-8")
        reader = _BINARY.get(oid)
        if reader is not None:
            return reader(raw)
        element = _ARRAYS.get(oid)
        if element is not None:
            return _array(raw, element)
    except (ValueError, struct.error, OverflowError):
        return Unreadable(f"not valid for type {oid}", len(raw))
    return Unreadable(f"type {oid} in binary", len(raw))


def _int(raw: bytes, size: int) -> str:
    if len(raw) != size:
        raise _Odd
    return str(int.from_bytes(raw, "big", signed=True))


def _bool(raw: bytes) -> str:
    return {b"\0": "f", b"\1": "t"}[raw] if raw in (b"\0", b"\1") else _fail()


def _fail() -> str:
    raise _Odd


def _oid(raw: bytes) -> str:
    return str(struct.unpack(">I", raw)[0])


def _utf8(raw: bytes) -> str:
    return raw.decode("utf-8")


def _jsonb(raw: bytes) -> str:
    return raw[1:].decode("utf-8") if raw[:1] == b"\1" else _fail()


def _uuid(raw: bytes) -> str:
    return str(uuid.UUID(bytes=raw))


def _date_of(days: int) -> str:
    return datetime.date.fromordinal(_DAYS_BEFORE + days).isoformat()


def _date(raw: bytes) -> str:
    (days,) = struct.unpack(">i", raw)
    if days in (0x7FFFFFFF, -0x80000000):
        return "infinity" if days > 0 else "-infinity"
    return _date_of(days)


def _clock(micros: int) -> str:
    seconds, rest = divmod(micros, 1_000_000)
    shown = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{shown}.{rest:06}".rstrip("0") if rest else shown


def _time(raw: bytes) -> str:
    (micros,) = struct.unpack(">q", raw)
    return _clock(micros) if 0 <= micros <= _MICROS_A_DAY else _fail()


def _timestamp(raw: bytes) -> str:
    (micros,) = struct.unpack(">q", raw)
    if micros in (0x7FFFFFFFFFFFFFFF, -0x8000000000000000):
        return "infinity" if micros > 0 else "-infinity"
    days, rest = divmod(micros, _MICROS_A_DAY)
    return f"{_date_of(days)} {_clock(rest)}"


def _timestamptz(raw: bytes) -> str:
    shown = _timestamp(raw)
    return shown if shown.endswith("infinity") else shown + "+00"


def _numeric(raw: bytes) -> str:
    """Digits of base 10,000: count, weight of the first, sign, digits to show behind the point."""
    count, weight, sign, scale = struct.unpack_from(">HhHH", raw)
    if sign in (0xC000, 0xD000, 0xF000):
        return {0xC000: "NaN", 0xD000: "Infinity", 0xF000: "-Infinity"}[sign]
    if len(raw) != 8 + 2 * count or sign not in (0, 0x4000) or scale > LONGEST_SCALE:
        raise _Odd
    digits = struct.unpack_from(f">{count}H", raw, 8)
    if any(d > 9999 for d in digits):
        raise _Odd
    whole = "".join(f"{digits[i] if i < count else 0:04}" for i in range(weight + 1)).lstrip("0") or "0"
    behind = "".join(f"{digits[i] if 0 <= i < count else 0:04}" for i in range(weight + 1, weight + 2 + scale // 4))
    return ("-" if sign else "") + whole + ("." + behind[:scale] if scale else "")


def _inet(raw: bytes) -> str:
    family, bits, is_cidr, size = struct.unpack_from(">BBBB", raw)
    if (family, size) not in ((2, 4), (3, 16)) or len(raw) != 4 + size or bits > size * 8:
        raise _Odd
    address = ipaddress.ip_address(raw[4:])
    return str(address) if bits == size * 8 and not is_cidr else f"{address}/{bits}"


def _array(raw: bytes, element: int) -> str:
    """PostgreSQL's array text, every element quoted that is not plain."""
    dimensions, _, of = struct.unpack_from(">iiI", raw)
    if not 0 <= dimensions <= MOST_DIMENSIONS or of != element:
        raise _Odd
    if not dimensions:
        return "{}" if len(raw) == 12 else _fail()
    sizes = [struct.unpack_from(">i", raw, 12 + 8 * i)[0] for i in range(dimensions)]
    total = 1
    for size in sizes:
        total *= size
        if size < 0 or total > MOST_ELEMENTS:
            raise _Odd
    parts = _elements(raw, 12 + 8 * dimensions, total, _BINARY[element])
    for size in reversed(sizes):
        if size == 0:
            raise _Odd
        parts = ["{" + ",".join(parts[i : i + size]) + "}" for i in range(0, len(parts), size)]
    return parts[0]


def _elements(raw: bytes, at: int, total: int, read: Callable[[bytes], str]) -> list[str]:
    parts: list[str] = []
    for _ in range(total):
        (length,) = struct.unpack_from(">i", raw, at)
        at += 4
        if length == -1:
            parts.append("NULL")
            continue
        if length < 0 or at + length > len(raw):
            raise _Odd
        parts.append(_quoted(read(raw[at : at + length])))
        at += length
    if at != len(raw):
        raise _Odd
    return parts


def _quoted(text: str) -> str:
    plain = text and text.upper() != "NULL" and not any(c in '{},"\\' or c.isspace() for c in text)
    return text if plain else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


_BINARY: dict[int, Callable[[bytes], str]] = {
    16: _bool,
    17: lambda raw: "\\x" + raw.hex(),
    18: _utf8,  # "char"
    19: _utf8,  # name
    20: lambda raw: _int(raw, 8),
    21: lambda raw: _int(raw, 2),
    23: lambda raw: _int(raw, 4),
    25: _utf8,
    26: _oid,
    114: _utf8,  # json
    650: _inet,  # cidr
    700: lambda raw: f"{struct.unpack('>f', raw)[0]:.9g}",
    701: lambda raw: repr(struct.unpack(">d", raw)[0]),
    705: _utf8,  # unknown
    869: _inet,
    1042: _utf8,
    1043: _utf8,
    1082: _date,
    1083: _time,
    1114: _timestamp,
    1184: _timestamptz,
    1700: _numeric,
    2950: _uuid,
    3802: _jsonb,
}
_ARRAYS = {
    1000: 16, 1001: 17, 1002: 18, 1003: 19, 1016: 20, 1005: 21, 1007: 23, 1009: 25, 1028: 26, 199: 114, 651: 650,
    1021: 700, 1022: 701, 1041: 869, 1014: 1042, 1015: 1043, 1182: 1082, 1183: 1083, 1115: 1114, 1185: 1184,
    1231: 1700, 2951: 2950, 3807: 3802,
}  # fmt: skip
