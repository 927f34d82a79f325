"""The messages that somebody here reads or writes, as frozen types.

`parse_*` take a payload (what follows the header) and raise Malformed; `encode`
functions give whole messages. Types that carry traffic show lengths only.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache

from wire.postgres.reader import RemoteFault

MOST_FIELDS = 65_535
_ENDS_EARLY, _TOO_LONG = "a message ends before its fields do", "a message is longer than its fields"


class Malformed(RemoteFault):
    """One message whose fields are not as its type wants them; those around it may be."""


def frame(kind: str, payload: bytes = b"") -> bytes:
    """A whole message of that type."""
    return kind.encode("latin-1") + (len(payload) + 4).to_bytes(4, "big") + payload


class _Payload:
    """Reads a payload from front to back, never past its end."""

    __slots__ = ("at", "data")

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, n: int) -> bytes:
        if n < 0 or len(self.data) - self.at < n:
            raise Malformed(_ENDS_EARLY)
        self.at += n
        return self.data[self.at - n : self.at]

    def int16(self) -> int:
        return int.from_bytes(self.take(2), "big", signed=True)

    def uint16(self) -> int:
        return int.from_bytes(self.take(2), "big")

    def int32(self) -> int:
        return int.from_bytes(self.take(4), "big", signed=True)

    def uint32(self) -> int:
        return int.from_bytes(self.take(4), "big")

    def cstring(self) -> bytes:
        end = self.data.find(b"\0", self.at)
        if end < 0:
            raise Malformed("a text in a message has no end")
        found = self.data[self.at : end]
        self.at = end + 1
        return found

    def done(self) -> None:
        if self.at != len(self.data):
            raise Malformed(_TOO_LONG)


@dataclass(frozen=True, slots=True)
class Parse:
    name: bytes
    text: bytes
    oids: tuple[int, ...]

    def __repr__(self) -> str:
        return f"Parse({len(self.text)} bytes, {len(self.oids)} types)"


@dataclass(frozen=True, slots=True)
class Bind:
    portal: bytes
    statement: bytes
    values: tuple[bytes | None, ...]
    formats: tuple[int, ...]  # one a value: 0 text, 1 binary
    result_formats: tuple[int, ...]  # as sent: none, one for all, or one a column

    def __repr__(self) -> str:
        return f"Bind({len(self.values)} values)"


@dataclass(frozen=True, slots=True)
class Column:
    name: bytes
    table_oid: int
    attribute: int
    type_oid: int
    format: int

    def __repr__(self) -> str:
        return f"Column(type {self.type_oid})"


@dataclass(frozen=True, slots=True)
class Fields:
    """An ErrorResponse or NoticeResponse: (code letter, text) in order."""

    fields: tuple[tuple[str, bytes], ...]

    def get(self, letter: str) -> bytes:
        return dict(self.fields).get(letter, b"")

    def __repr__(self) -> str:
        return f"Fields({self.get('C').decode('latin-1')})"


def parse_query(payload: bytes) -> bytes:
    """The text of a Query, without its end."""
    source = _Payload(payload)
    text = source.cstring()
    source.done()
    return text


def parse_parse(payload: bytes) -> Parse:
    source = _Payload(payload)
    name, text = source.cstring(), source.cstring()
    oids = tuple(source.uint32() for _ in range(source.uint16()))
    source.done()
    return Parse(name, text, oids)


def parse_bind(payload: bytes) -> Bind:
    source = _Payload(payload)
    portal, statement = source.cstring(), source.cstring()
    codes = _codes(source)
    count = source.uint16()
    values, source.at = _values(source.data, source.at, count)
    results = _codes(source)  # which the target looks at for each column: a command without any runs with any code
    source.done()
    return Bind(portal, statement, tuple(values), _spread(codes, len(values)), results)


def _codes(source: _Payload) -> tuple[int, ...]:
    return tuple(source.int16() for _ in range(source.uint16()))


def _format_codes(source: _Payload) -> tuple[int, ...]:
    codes = _codes(source)
    if any(c not in (0, 1) for c in codes):
        raise Malformed("a format code is neither text nor binary")
    return codes


def _spread(codes: tuple[int, ...], count: int) -> tuple[int, ...]:
    """One code a value: none means text, one means all."""
    if len(codes) == count:
        return codes
    if len(codes) > 1:
        raise Malformed("format codes do not fit the values")
    return (codes[0] if codes else 0,) * count


def parse_named(payload: bytes) -> tuple[str, bytes]:
    """Describe and Close: ("S" statement or "P" portal, its name)."""
    source = _Payload(payload)
    kind = source.take(1)
    name = source.cstring()
    source.done()
    if kind not in (b"S", b"P"):
        raise Malformed("neither a statement nor a portal")
    return kind.decode(), name


def parse_execute(payload: bytes) -> tuple[bytes, int]:
    """(portal, row limit)."""
    source = _Payload(payload)
    portal, limit = source.cstring(), source.int32()
    source.done()
    return portal, limit


_SHORT = 4096


def parse_row_description(payload: bytes) -> tuple[Column, ...]:
    return _known_description(payload) if len(payload) <= _SHORT else _row_description(payload)


@lru_cache(maxsize=512)  # a client asks for the same thing again and again
def _known_description(payload: bytes) -> tuple[Column, ...]:
    return _row_description(payload)


def _row_description(payload: bytes) -> tuple[Column, ...]:
    source = _Payload(payload)
    columns: list[Column] = []
    for _ in range(source.uint16()):
        name = source.cstring()
        table, attribute, kind = source.uint32(), source.int16(), source.uint32()
        source.take(6)  # type size and modifier
        columns.append(Column(name, table, attribute, kind, source.int16()))
    source.done()
    return tuple(columns)


def parse_data_row(payload: bytes) -> tuple[bytes | None, ...]:
    if len(payload) < 2:
        raise Malformed(_ENDS_EARLY)
    values, at = _values(payload, 2, int.from_bytes(payload[:2], "big"))
    if at != len(payload):
        raise Malformed(_TOO_LONG)
    return tuple(values)


def _values(data: bytes, at: int, count: int) -> tuple[list[bytes | None], int]:
    """So many values from `at` on, and where they end: what there is most of, so it is read without a `_Payload`."""
    values: list[bytes | None] = []
    for _ in range(count):
        start = at + 4
        length = int.from_bytes(data[at:start], "big", signed=True)
        if len(data) < start or len(data) - start < length:
            raise Malformed(_ENDS_EARLY)
        if length < -1:
            raise Malformed("a value has a negative length")
        at = start if length == -1 else start + length
        values.append(None if length == -1 else data[start:at])
    return values, at


def parse_fields(payload: bytes) -> Fields:
    source = _Payload(payload)
    fields: list[tuple[str, bytes]] = []
    while (letter := source.take(1)) != b"\0":
        fields.append((letter.decode("latin-1"), source.cstring()))
    source.done()
    return Fields(tuple(fields))


def parse_parameter_status(payload: bytes) -> tuple[bytes, bytes]:
    source = _Payload(payload)
    pair = source.cstring(), source.cstring()
    source.done()
    return pair


def parse_parameter_description(payload: bytes) -> tuple[int, ...]:
    source = _Payload(payload)
    oids = tuple(source.uint32() for _ in range(source.uint16()))
    source.done()
    return oids


def parse_key_data(payload: bytes) -> tuple[int, bytes]:
    """(process id, cancel key of 4 to 256 bytes)."""
    if not 8 <= len(payload) <= 260:
        raise Malformed("a cancel key of impossible length")
    return int.from_bytes(payload[:4], "big"), payload[4:]


def parse_authentication(payload: bytes) -> tuple[int, bytes]:
    """(kind, the rest): 0 ok, 3 cleartext, 5 MD5 and salt, 10 SASL mechanisms, 11 continue, 12 final."""
    source = _Payload(payload)
    return source.uint32(), payload[4:]


def parse_copy_response(payload: bytes) -> tuple[int, tuple[int, ...]]:
    """CopyIn, CopyOut and CopyBoth: (overall format, one a column)."""
    source = _Payload(payload)
    overall = source.take(1)[0]
    codes = _format_codes(source)
    source.done()
    return overall, codes


def rows_of(tag: bytes) -> int:
    """How many rows a command tag names ("INSERT 0 5", "SELECT 3"); 0 where it names none."""
    last = tag.rpartition(b" ")[2]
    return int(last) if last.isdigit() and len(last) < 19 else 0


# --- encoding -----------------------------------------------------------------


def query(text: bytes) -> bytes:
    return frame("Q", text + b"\0")


def parse(text: bytes, name: bytes = b"", oids: tuple[int, ...] = ()) -> bytes:
    return frame("P", name + b"\0" + text + b"\0" + struct.pack(f">H{len(oids)}I", len(oids), *oids))


def bind(
    statement: bytes = b"",
    portal: bytes = b"",
    values: tuple[bytes | None, ...] = (),
    formats: tuple[int, ...] = (),
    result_formats: tuple[int, ...] = (),
) -> bytes:
    body = [portal, b"\0", statement, b"\0", struct.pack(f">H{len(formats)}h", len(formats), *formats)]
    body.append(len(values).to_bytes(2, "big"))
    for value in values:
        body.append(b"\xff\xff\xff\xff" if value is None else len(value).to_bytes(4, "big") + value)
    body.append(struct.pack(f">H{len(result_formats)}h", len(result_formats), *result_formats))
    return frame("B", b"".join(body))


def describe(kind: str, name: bytes = b"") -> bytes:
    return frame("D", kind.encode() + name + b"\0")


def close(kind: str, name: bytes = b"") -> bytes:
    return frame("C", kind.encode() + name + b"\0")


def execute(portal: bytes = b"", limit: int = 0) -> bytes:
    return frame("E", portal + b"\0" + limit.to_bytes(4, "big", signed=True))


SYNC = frame("S")
FLUSH = frame("H")
TERMINATE = frame("X")


def fields(kind: str, pairs: tuple[tuple[str, bytes], ...]) -> bytes:
    """An ErrorResponse ("E") or NoticeResponse ("N")."""
    return frame(kind, b"".join(letter.encode("latin-1") + text + b"\0" for letter, text in pairs) + b"\0")


def error(severity: str, sqlstate: str, message: str, detail: str = "", hint: str = "") -> bytes:
    return _told("E", severity, sqlstate, message, detail, hint)


def notice(sqlstate: str, message: str, detail: str = "", hint: str = "") -> bytes:
    return _told("N", "NOTICE", sqlstate, message, detail, hint)


def _told(kind: str, severity: str, sqlstate: str, message: str, detail: str, hint: str) -> bytes:
    pairs = [("S", severity), ("V", severity), ("C", sqlstate), ("M", message)]
    pairs += [(letter, text) for letter, text in (("D", detail), ("H", hint)) if text]
    return fields(kind, tuple((letter, text.replace("\0", "").encode()) for letter, text in pairs))


def ready_for_query(status: str) -> bytes:
    return frame("Z", status.encode())


def parameter_status(name: str, value: str) -> bytes:
    return frame("S", name.encode() + b"\0" + value.encode() + b"\0")


def backend_key_data(pid: int, key: bytes) -> bytes:
    return frame("K", pid.to_bytes(4, "big") + key)


def authentication(kind: int, rest: bytes = b"") -> bytes:
    return frame("R", kind.to_bytes(4, "big") + rest)


def negotiate_protocol_version(minor: int, unknown: tuple[str, ...]) -> bytes:
    names = b"".join(name.encode() + b"\0" for name in unknown)
    return frame("v", (3 << 16 | minor).to_bytes(4, "big") + len(unknown).to_bytes(4, "big") + names)
