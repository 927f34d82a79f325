"""What exactly a leaf is: the single-object encoding of a LedgerEntry, byte for byte. Pure.

Leaf bytes are kept as they came and never made again from what they say, so an odd but
valid encoding stays what it was. `look` proves that a leaf decodes before it may be
committed (a batch that nobody can read would stay for ever) and says where it stands.
"""

from __future__ import annotations

import io
import re
import struct
from functools import cache
from typing import Any, NamedTuple

import fastavro

from schemas.codec import HEADER, CodecError, decode, encode, writer_schema
from schemas.ids import Position, Source
from schemas.records import LedgerEntry

LARGEST = 65_535
"""C2SP tlog-tiles: an entry's length is a uint16 in its bundle."""

_FOUR_NUMBERS = re.compile(rb"(?:[\x80-\xff]{0,9}[\x00-\x7f]){4}")  # position and time, as Avro longs


class NotALeaf(ValueError):
    """These bytes are no leaf: too long, or no LedgerEntry."""


class Seen(NamedTuple):
    """A leaf's head: who says it, where it stands, and the name of what it is."""

    source: Source
    position: Position
    time_us: int
    kind: str  # "Exchange", "Gap", ...


def leaf_bytes(entry: LedgerEntry) -> bytes:
    """Raises NotALeaf if it is too long."""
    leaf = encode(entry)
    _fits(leaf)
    return leaf


def read_leaf(leaf: bytes) -> LedgerEntry:
    """Raises NotALeaf."""
    _fits(leaf)
    try:
        entry = decode(leaf)
    except CodecError as e:
        raise NotALeaf(str(e)) from e
    if not isinstance(entry, LedgerEntry):
        raise NotALeaf(f"a {type(entry).__name__} is no LedgerEntry")
    kind_of(leaf)  # refuses what others would read as something else
    return entry


def look(leaf: bytes) -> Seen:
    """Decodes all of it, makes no record of it: a fifth of the cost. Raises NotALeaf."""
    _fits(leaf)
    schema = _schema(leaf[:HEADER])
    source = io.BytesIO(leaf)
    source.seek(HEADER)
    try:
        plain: Any = fastavro.schemaless_reader(source, schema, None, return_record_name=True)
        body, at = plain["body"], plain["position"]
        seen = Seen(
            Source(plain["source"]),
            Position(at["major"], at["minor"], at["index"]),
            plain["time_us"],
            body[0].rpartition(".")[2],
        )
    except (EOFError, ValueError, LookupError, TypeError, OverflowError, MemoryError, struct.error) as e:
        raise NotALeaf("the body does not hold its schema") from e
    if source.tell() != len(leaf):
        raise NotALeaf(f"{len(leaf) - source.tell()} bytes behind the record")
    if kind_of(leaf) != seen.kind:
        raise NotALeaf("the head is malformed")
    return seen


def kind_of(leaf: bytes) -> str:
    """The name of what a leaf says, from its head alone. Raises NotALeaf."""
    names = _names(leaf[:HEADER])
    try:
        at, shift, length = HEADER, 0, 0
        while leaf[at] >= 0x80:
            length |= (leaf[at] & 0x7F) << shift
            at, shift = at + 1, shift + 7
        length = (length | leaf[at] << shift) >> 1
        found = _FOUR_NUMBERS.match(leaf, at + 1 + length)
        if found is None:
            raise NotALeaf("the head is malformed")
        branch = leaf[found.end()]  # as a zig-zag number
        if branch & 1 or branch >= 0x80:  # readers differ: some count branches below zero from the end
            raise NotALeaf("what the leaf is, is not written as Avro writes it")
        return names[branch >> 1]
    except IndexError as e:
        raise NotALeaf("the head is malformed") from e


def _fits(leaf: bytes) -> None:
    if len(leaf) > LARGEST:
        raise NotALeaf(f"{len(leaf)} bytes; a leaf has at most {LARGEST}")


@cache
def _known(header: bytes) -> Any:
    # Parsed with fastavro's mark, without which it parses anew at every call: ten times the cost.
    return fastavro.parse_schema(writer_schema(header))


def _schema(header: bytes) -> Any:
    try:
        schema = _known(header)
    except KeyError as e:
        raise NotALeaf("no schema of this release has this fingerprint") from e
    if schema["name"].rpartition(".")[2] != LedgerEntry.__name__:
        raise NotALeaf("the record is no LedgerEntry")
    return schema


@cache
def _names(header: bytes) -> list[str]:
    body = next(f for f in _schema(header)["fields"] if f["name"] == "body")
    return [branch["name"].rpartition(".")[2] for branch in body["type"]]
