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

from wire.postgres import composed


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A value that is not shown."""

    reason: str
    length: int


DEEPEST = 4
"""Records in records."""
LONGEST_SCALE = 16_383
_MICROS_A_DAY = 86_400_000_000
_DAYS_BEFORE = datetime.date(2000, 1, 1).toordinal()


class _Odd(ValueError):
    """Bytes that are not what their type says."""


class _UnknownType(Exception):
    """Its oid; no bytes."""


def to_text(oid: int, code: int, raw: bytes) -> str | Unreadable:
    """`code` is 0 for text, 1 for binary. Never raises."""
    try:
        if code == 0:
            return raw.decode("utf-8")
        return _reader(oid, 0)(raw)
    except _UnknownType as e:
        return Unreadable(f"type {e} in binary", len(raw))
    except (ValueError, struct.error, OverflowError):
        return Unreadable(f"not valid for type {oid}", len(raw))


def _reader(oid: int, depth: int) -> Callable[[bytes], str]:
    """Raises _UnknownType: also of what holds such a value, which is shown whole or not at all."""
    if (plain := _BINARY.get(oid)) is not None:
        return plain
    if oid == _RECORD and depth < DEEPEST:
        return lambda raw: composed.record(raw, lambda inner: _reader(inner, depth + 1))
    if oid in _ARRAYS:
        element = _ARRAYS[oid]
        read = _reader(element, depth + 1)
        return lambda raw: composed.array(raw, element, read)
    if oid in _RANGES:
        return lambda raw: composed.span(raw, _BINARY[_RANGES[oid]])
    raise _UnknownType(oid)


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


def _timetz(raw: bytes) -> str:
    micros, west = struct.unpack(">qi", raw)
    hours, rest = divmod(abs(west), 3600)
    minutes, seconds = divmod(rest, 60)
    zone = (
        f"{'-' if west > 0 else '+'}{hours:02}"
        + (f":{minutes:02}" if rest else "")
        + (f":{seconds:02}" if seconds else "")
    )
    return _clock(micros) + zone if 0 <= micros <= _MICROS_A_DAY else _fail()


def _interval(raw: bytes) -> str:
    """EncodeInterval, style `postgres`: a positive part behind a negative one has a plus."""
    micros, days, months = struct.unpack(">qii", raw)
    if (micros, days, months) in _ENDLESS:
        return _ENDLESS[micros, days, months]
    parts: list[str] = []
    negative = False
    years, rest = divmod(abs(months), 12)
    sign = -1 if months < 0 else 1
    for value, unit in ((sign * years, "year"), (sign * rest, "mon"), (days, "day")):
        if value:
            parts.append(f"{'+' if negative and value > 0 else ''}{value} {unit}{'' if value == 1 else 's'}")
            negative = value < 0
    if micros or not parts:
        mark = "-" if micros < 0 else "+" if negative else ""
        parts.append(mark + _clock(abs(micros)))
    return " ".join(parts)


_ENDLESS = {
    (2**63 - 1, 2**31 - 1, 2**31 - 1): "infinity",
    (-(2**63), -(2**31), -(2**31)): "-infinity",
}


def _hardware(raw: bytes, size: int) -> str:
    return raw.hex(":") if len(raw) == size else _fail()


def _bits(raw: bytes) -> str:
    (count,) = struct.unpack_from(">i", raw)
    if len(raw) != 4 + (count + 7) // 8 or count < 0:
        raise _Odd
    return "".join(f"{byte:08b}" for byte in raw[4:])[:count]


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
    28: _oid,  # xid
    29: _oid,  # cid
    114: _utf8,  # json
    142: _utf8,  # xml
    650: _inet,  # cidr
    700: lambda raw: f"{struct.unpack('>f', raw)[0]:.9g}",
    701: lambda raw: repr(struct.unpack(">d", raw)[0]),
    705: _utf8,  # unknown
    774: lambda raw: _hardware(raw, 8),  # macaddr8
    829: lambda raw: _hardware(raw, 6),  # macaddr
    869: _inet,
    1042: _utf8,
    1043: _utf8,
    1082: _date,
    1083: _time,
    1114: _timestamp,
    1184: _timestamptz,
    1186: _interval,
    1266: _timetz,
    1560: _bits,
    1562: _bits,  # varbit
    1700: _numeric,
    2950: _uuid,
    3802: _jsonb,
    4072: _jsonb,  # jsonpath: a version and text, too
    5069: lambda raw: str(struct.unpack(">Q", raw)[0]),  # xid8
}
_RECORD = 2249
_RANGES = {3904: 23, 3906: 1700, 3908: 1114, 3910: 1184, 3912: 1082, 3926: 20}
_ARRAYS = {
    1000: 16, 1001: 17, 1002: 18, 1003: 19, 1016: 20, 1005: 21, 1007: 23, 1009: 25, 1028: 26, 199: 114, 651: 650,
    1021: 700, 1022: 701, 1041: 869, 1014: 1042, 1015: 1043, 1182: 1082, 1183: 1083, 1115: 1114, 1185: 1184,
    1231: 1700, 2951: 2950, 3807: 3802, 143: 142, 775: 774, 1040: 829, 1187: 1186, 1270: 1266, 1561: 1560, 1563: 1562,
    2287: _RECORD, 3905: 3904, 3907: 3906, 3909: 3908, 3911: 3910, 3913: 3912, 3927: 3926, 4073: 4072,
}  # fmt: skip
