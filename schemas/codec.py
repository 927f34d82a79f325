"""One encoding for everything written: Avro single-object encoding.

0xC3 0x01, the CRC-64-AVRO fingerprint of the writer's schema (little-endian), the
body (Avro specification, "Single-object encoding"). A reader knows every schema
this release writes and those of `schemas/old/`, and resolves an old writer's
record into today's type. What it cannot read is an error with a name, never a
guess: UnknownSchema, TruncatedRecord, TrailingBytes.
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable
from enum import StrEnum
from importlib import resources
from typing import Any, TypeVar

import fastavro
from fastavro.schema import fingerprint, to_parsing_canonical_form

from schemas.avro import NAMESPACE, RECORDS, bare, hints, union_members
from schemas.ids import Position

MARKER = b"\xc3\x01"
HEADER = 10
LARGEST = 64 * 1024 * 1024

Plain = dict[str, Any]
T = TypeVar("T")


class CodecError(ValueError):
    """Bytes that are no record of ours."""


class UnknownSchema(CodecError):
    """No marker, or a fingerprint this release does not know: a newer writer, or not a record."""


class TruncatedRecord(CodecError):
    """The body ends early or does not hold what its schema says."""


class TrailingBytes(CodecError):
    """A whole record, and bytes behind it."""


# --- values: dataclass <-> what fastavro takes, one closure a type, made once -----


def _to(kind: Any) -> Callable[[Any], Any] | None:
    """None where the value is its own plain form."""
    kind = bare(kind)
    members = [m for m in union_members(kind) if m is not type(None)]
    if len(members) == 1:
        inner = _to(members[0])
        return None if inner is None else lambda v: None if v is None else inner(v)
    if members:
        each = {m: (f"{NAMESPACE}.{m.__name__}", _record_to(m)) for m in members}
        return lambda v: (each[type(v)][0], each[type(v)][1](v))
    args = getattr(kind, "__args__", None)
    if args:
        item = _to(args[0])
        return list if item is None else lambda v: [item(x) for x in v]
    if kind is Position:
        return lambda v: {"major": v[0], "minor": v[1], "index": v[2]}
    if isinstance(kind, type) and kind.__name__ in RECORDS:
        return _record_to(kind)
    return None


def _from(kind: Any) -> Callable[[Any], Any] | None:
    kind = bare(kind)
    members = [m for m in union_members(kind) if m is not type(None)]
    if len(members) == 1:
        inner = _from(members[0])
        return None if inner is None else lambda v: None if v is None else inner(v)
    if members:
        each = {f"{NAMESPACE}.{m.__name__}": _record_from(m) for m in members}
        return lambda v: each[v[0]](v[1])
    args = getattr(kind, "__args__", None)
    if args:
        item = _from(args[0])
        return tuple if item is None else lambda v: tuple([item(x) for x in v])
    if kind is Position:
        return lambda v: Position(v["major"], v["minor"], v["index"])
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return kind
    if isinstance(kind, type) and kind.__name__ in RECORDS:
        return _record_from(kind)
    return None


def _record_to(cls: type[Any]) -> Callable[[Any], Plain]:
    plan = [(name, _to(kind)) for name, kind in hints(cls).items()]
    return lambda r: {n: getattr(r, n) if f is None else f(getattr(r, n)) for n, f in plan}


def _record_from(cls: type[T]) -> Callable[[Plain], T]:
    plan = [(name, _from(kind)) for name, kind in hints(cls).items()]
    return lambda d: cls(**{n: d[n] if f is None else f(d[n]) for n, f in plan})


# --- schemas ----------------------------------------------------------------------


class _Known:
    """One record type: its schema, its header, its two conversions."""

    __slots__ = ("cls", "header", "make", "plain", "schema")

    def __init__(self, cls: type[Any], text: str) -> None:
        self.cls = cls
        self.schema = fastavro.parse_schema(json.loads(text))  # with its mark, else parsed anew at every call
        self.header = MARKER + fingerprint_of(text)
        self.plain = _record_to(cls)
        self.make = _record_from(cls)


def fingerprint_of(schema_text: str) -> bytes:
    """CRC-64-AVRO of the Parsing Canonical Form, 8 bytes, little-endian."""
    canonical = to_parsing_canonical_form(json.loads(schema_text))
    return bytes.fromhex(fingerprint(canonical, "CRC-64-AVRO"))  # fastavro gives the hex of the little-endian bytes


def _packaged(folder: str) -> dict[str, str]:
    base = resources.files("schemas")
    place = base if not folder else base.joinpath(folder)
    if not place.is_dir():
        return {}
    return {p.name: p.read_text(encoding="utf-8") for p in place.iterdir() if p.name.endswith(".avsc")}


_KNOWN: dict[type[Any], _Known] = {}
_READERS: dict[bytes, tuple[Any, _Known]] = {}  # header -> (writer's schema, today's record)


def _load() -> None:
    texts = _packaged("")
    for name, cls in RECORDS.items():
        known = _Known(cls, texts[f"{name}.avsc"])
        _KNOWN[cls] = known
        _READERS[known.header] = (known.schema, known)
    for text in _packaged("old").values():
        add_old_schema(text)


def add_old_schema(text: str) -> None:
    """Lets records of an earlier release's schema be read. KeyError if its name is no record of ours."""
    described = json.loads(text)
    known = _KNOWN[RECORDS[described["name"]]]
    _READERS.setdefault(MARKER + fingerprint_of(text), (fastavro.parse_schema(described), known))


def schema_header(cls: type[Any]) -> bytes:
    """The ten bytes that every record of this type begins with."""
    return _KNOWN[cls].header


def avro_schema(cls: type[Any]) -> Any:
    """The parsed schema, for container files."""
    return _KNOWN[cls].schema


def writer_schema(header: bytes) -> Any:
    """The parsed schema of records that begin with these ten bytes, today's or an old one. KeyError if unknown."""
    return _READERS[header][0]


def to_plain(record: Any) -> Plain:
    """What fastavro writes for this record."""
    return _KNOWN[type(record)].plain(record)


def from_plain(cls: type[T], plain: Plain) -> T:
    """The record of what fastavro read with `return_record_name=True`."""
    made: T = _KNOWN[cls].make(plain)
    return made


# --- bytes ------------------------------------------------------------------------


def encode(record: Any) -> bytes:
    """Single-object encoding. KeyError if it is no record of `records.py`."""
    known = _KNOWN[type(record)]
    out = io.BytesIO()
    out.write(known.header)
    fastavro.schemaless_writer(out, known.schema, known.plain(record))
    return out.getvalue()


def decode(data: bytes) -> Any:
    """The record, whole and exactly. Raises a CodecError."""
    known, plain = _read(data)
    try:
        return known.make(plain)
    except (ValueError, KeyError, TypeError, OverflowError) as e:
        raise TruncatedRecord(f"{known.cls.__name__}: the body does not hold its schema") from e


def decode_plain(data: bytes) -> tuple[type[Any], Plain]:
    """As `decode`, but fastavro's own values, for who reads a few fields of many records: half of the cost.

    A union's member that is a record is (full name, fields). `from_plain` makes the record of it.
    """
    known, plain = _read(data)
    return known.cls, plain


def _read(data: bytes) -> tuple[_Known, Plain]:
    if len(data) < HEADER or data[:2] != MARKER:
        raise UnknownSchema("no single-object marker (C3 01) and fingerprint at the start")
    if len(data) > LARGEST:
        raise TruncatedRecord(f"{len(data)} bytes; a record has at most {LARGEST}")
    found = _READERS.get(data[:HEADER])
    if found is None:
        raise UnknownSchema(f"schema fingerprint {data[2:HEADER].hex()}: written by a newer release?")
    writer, known = found
    source = io.BytesIO(data)
    source.seek(HEADER)
    try:
        plain: Any = fastavro.schemaless_reader(
            source, writer, None if writer is known.schema else known.schema, return_record_name=True
        )
    except (EOFError, ValueError, IndexError, KeyError, TypeError, OverflowError, MemoryError, struct.error) as e:
        raise TruncatedRecord(f"{known.cls.__name__}: the body does not hold its schema") from e
    if source.tell() != len(data):
        raise TrailingBytes(f"{known.cls.__name__}: {len(data) - source.tell()} bytes behind the record")
    return known, plain


_load()
