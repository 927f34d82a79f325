"""A batch: entries and their content, and all that a writer must know to go on. Pure.

The file is an Avro object container (a lake table as it lies): record {entry: LedgerEntry,
content: bytes}. A record is the leaf's own Avro body, then the content: bytes as they
came, so an odd but valid encoding comes back as it went in. Metadata `tallystick.batch`
is JSON (positions, cursors, compact range); `tallystick.leaves` has six bytes an entry,
its leaf's length and CRC-32 of leaf and content: the lengths make a pass as fast as
SHA-256, and both let a verifier name a damaged entry. What binds entries is the root and
the signed digest of the file; nothing here is trusted for being here.
"""

from __future__ import annotations

import base64
import json
import struct
from dataclasses import astuple, dataclass
from functools import cache, lru_cache
from typing import Any
from zlib import crc32

from fastavro.schema import SchemaParseException as SchemaError
from fastavro.schema import UnknownType

from ledger import container
from ledger.container import BadContainer, Reader, prefixed
from ledger.entry import LARGEST
from ledger.tree import CompactRange, leaf_hash
from schemas.codec import HEADER, fingerprint_of, schema_header, writer_schema
from schemas.ids import Position, Source
from schemas.records import LedgerEntry

MOST_ENTRIES = 1 << 16
FARTHEST = 1 << 62
"""More batches or entries than there can be; Python would not write a much longer number in a finding."""
_MARK = struct.Struct(">HI")
_KEYS = ("avro.schema", "avro.codec", "tallystick.batch", "tallystick.leaves")


class BadBatch(ValueError):
    """The bytes are no batch, or its entries are not those that its metadata says."""

    def __init__(self, message: str, index: int | None = None) -> None:
        super().__init__(message)
        self.index = index  # the entry that is at fault, where one is known


@dataclass(frozen=True, slots=True)
class Item:
    leaf: bytes
    content: bytes  # ciphertext, may be empty

    def __repr__(self) -> str:
        return f"Item({len(self.leaf)} + {len(self.content)} bytes)"


@dataclass(frozen=True, slots=True)
class Heard:
    """What a recorder's newest beat or boot says of it: by this a disk that is lost is measured."""

    epoch: int  # where its journal ended; -1 for none
    chunk: int
    opened: int  # sessions since the boot
    closed: int
    farewell: bool
    at_us: int
    gone: bool = False  # a Gap has told that nothing more comes

    @property
    def journal(self) -> Position:
        return Position(self.epoch, self.chunk, 0)


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a source stands, and SHA-256 of its newest message, to know a repeat from a conflict."""

    last: Position
    digest: bytes
    conflict: bytes = b""  # SHA-256 of the unlike message already told of, so that it is told once
    heard: Heard | None = None  # of beats


@dataclass(frozen=True, slots=True)
class Consumed:
    """Up to which message of the bus this shard has gone."""

    cluster: str
    topic: str
    partition: int
    offset: int  # the last one; -1 for none


@dataclass(frozen=True, slots=True)
class BatchMeta:
    shard: str
    seq: int
    before: CompactRange  # all entries before this batch
    count: int
    root: bytes  # of the tree with this batch
    previous: bytes  # SHA-256 of the batch before; empty for the first
    cursors: tuple[tuple[Source, Cursor], ...]
    consumed: Consumed
    enrolled: tuple[bytes, ...] = ()  # SHA-256[:16] of each enrolment that is an entry by now
    schema: bytes = schema_header(LedgerEntry)  # the ten bytes that every leaf here begins with

    @property
    def first(self) -> int:
        return self.before.size

    @property
    def size(self) -> int:
        return self.before.size + self.count


@dataclass(frozen=True, slots=True)
class Batch:
    meta: BatchMeta
    items: tuple[Item, ...]

    def after(self) -> CompactRange:
        return self.meta.before.extend([leaf_hash(i.leaf) for i in self.items])


# --- metadata -----------------------------------------------------------------------


@cache
def schema_text(header: bytes) -> str:
    """The container's schema for leaves that begin so. KeyError if this release does not know them."""
    entry = _without_hints(writer_schema(header))
    fields = [{"name": "entry", "type": entry}, {"name": "content", "type": "bytes"}]
    item = {"type": "record", "name": "BatchItem", "namespace": "tallystick", "fields": fields}
    return json.dumps(item, separators=(",", ":"))


def _without_hints(node: Any) -> Any:
    if isinstance(node, dict):
        return {k: _without_hints(v) for k, v in node.items() if not k.startswith("__")}
    return [_without_hints(x) for x in node] if isinstance(node, list) else node


@lru_cache(maxsize=8)
def _leaf_header(text: str) -> bytes:
    """What leaves of a container with this schema begin with. Raises BadBatch."""
    try:
        return b"\xc3\x01" + fingerprint_of(json.dumps(json.loads(text)["fields"][0]["type"]))
    except (LookupError, ValueError, TypeError, AttributeError, RecursionError, SchemaError, UnknownType) as e:
        raise BadBatch("the batch's schema is no Avro schema") from e


def _check_schema(text: str, header: bytes) -> None:
    """A schema that this release knows stands there as it writes it; another must be the one that leaves name."""
    try:
        same = text == schema_text(header)
    except KeyError:
        same = _leaf_header(text) == header
    if not same:
        raise BadBatch("the batch's schema is not the one its leaves name")


def _described(meta: BatchMeta) -> bytes:
    c = meta.consumed
    plain = {
        "shard": meta.shard,
        "seq": meta.seq,
        "first": meta.first,
        "count": meta.count,
        "root": meta.root.hex(),
        "before": [h.hex() for h in meta.before.hashes],
        "previous": meta.previous.hex(),
        "cursors": [
            [source, list(k.last), k.digest.hex(), k.conflict.hex(), *([list(astuple(k.heard))] if k.heard else [])]
            for source, k in meta.cursors
        ],
        "consumed": [c.cluster, c.topic, c.partition, c.offset],
        "enrolled": [e.hex() for e in meta.enrolled],
        "schema": meta.schema.hex(),
    }
    return json.dumps(plain, separators=(",", ":")).encode()


def _meta(described: bytes) -> BatchMeta:
    try:
        d = json.loads(described)
        cursors = tuple(
            (
                Source(source),
                Cursor(
                    Position(*map(int, last)),
                    bytes.fromhex(digest),
                    bytes.fromhex(conflict),
                    Heard(*heard[0]) if heard else None,
                ),
            )
            for source, last, digest, conflict, *heard in d["cursors"]
        )
        cluster, topic, partition, offset = d["consumed"]
        meta = BatchMeta(
            shard=d["shard"],
            seq=int(d["seq"]),
            before=CompactRange(int(d["first"]), tuple(bytes.fromhex(h) for h in d["before"])),
            count=int(d["count"]),
            root=bytes.fromhex(d["root"]),
            previous=bytes.fromhex(d["previous"]),
            cursors=cursors,
            consumed=Consumed(str(cluster), str(topic), int(partition), int(offset)),
            enrolled=tuple(bytes.fromhex(e) for e in d["enrolled"]),
            schema=bytes.fromhex(d["schema"]),
        )
        canonical = _described(meta) == described
        meta.shard.encode()  # a text that can be written down: no number, no half of a surrogate pair
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError, OverflowError) as e:
        raise BadBatch("the file's metadata is not a batch's") from e
    if not canonical:
        raise BadBatch("the file's metadata is not written as it was")
    if not 0 < meta.count <= MOST_ENTRIES or not 0 <= meta.seq <= FARTHEST or meta.size > FARTHEST:
        raise BadBatch(f"a batch has 1 to {MOST_ENTRIES} entries")
    return meta


def _sync(meta: BatchMeta) -> bytes:
    return container.sync_marker(f"tallystick/{meta.shard}/{meta.seq}")


# --- writing ------------------------------------------------------------------------


def encode(batch: Batch) -> bytes:
    """The file, the same bytes for the same batch. Read back and every leaf compared before it is given out.

    Raises BadBatch if it would not come back byte for byte.
    """
    meta = batch.meta
    records, marks = [], []
    for n, item in enumerate(batch.items):
        if not item.leaf.startswith(meta.schema):
            raise BadBatch("a leaf was written under another schema: cut the batch before it", meta.first + n)
        if not HEADER < len(item.leaf) <= LARGEST:
            raise BadBatch(f"a leaf of {len(item.leaf)} bytes", meta.first + n)
        records.append(item.leaf[HEADER:] + prefixed(item.content))
        marks.append(_MARK.pack(len(item.leaf), crc32(item.content, crc32(item.leaf))))
    described = {
        "avro.schema": schema_text(meta.schema).encode(),
        "avro.codec": b"zstandard",
        "tallystick.batch": _described(meta),
        "tallystick.leaves": base64.b64encode(b"".join(marks)),  # text, since readers take all metadata for text
    }
    made = container.write(described, _sync(meta), records)
    back = decode(made)
    if back != batch:
        raise BadBatch("the batch does not read back as it was written")
    return made


# --- reading ------------------------------------------------------------------------


def decode(data: bytes) -> Batch:
    """The batch, its root computed anew. Raises BadBatch."""
    batch, hashes = read(data)
    if batch.meta.before.extend(hashes).root() != batch.meta.root:
        raise BadBatch("the entries do not lead to the batch's root")
    return batch


def read(data: bytes) -> tuple[Batch, list[bytes]]:
    """(batch, leaf hashes); the root is the caller's to compare. Raises BadBatch, with the entry where known."""
    try:
        found = container.read(data, len(_KEYS))
        meta, marks = _checked(found.metadata, found.sync)
        if sum(b.count for b in found.blocks) != meta.count:
            raise BadBatch("the blocks do not hold as many entries as the metadata says")
        if sum(container.plain_size(b.packed) for b in found.blocks) > container.LARGEST_FILE:
            raise BadBatch(f"the blocks hold more than {container.LARGEST_FILE} bytes when unpacked")
    except BadContainer as e:
        raise BadBatch(str(e)) from e
    items: list[Item] = []
    hashes: list[bytes] = []
    for block in found.blocks:
        own = marks[len(items) : len(items) + block.count]
        whole, plain = True, b""
        try:
            plain = container.unpack(block.packed)
        except BadContainer:
            whole, plain = False, container.salvage(block.packed)
        _split(plain, meta, own, items, hashes, whole)
    return Batch(meta, tuple(items)), hashes


def _split(
    plain: bytes, meta: BatchMeta, marks: list[tuple[int, int]], items: list[Item], hashes: list[bytes], whole: bool
) -> None:
    source = Reader(plain)
    for length, mark in marks:
        index = meta.first + len(items)
        try:
            leaf = meta.schema + source.take(length - HEADER)
            content = source.prefixed()
        except BadContainer as e:
            raise BadBatch(f"entry {index} cannot be read: its bytes are damaged", index) from e
        if crc32(content, crc32(leaf)) != mark:
            raise BadBatch(f"entry {index} is not the one that was written", index)
        items.append(Item(leaf, content))
        hashes.append(leaf_hash(leaf))
    if source.at != len(plain) or not whole:
        raise BadBatch("there are bytes behind a block's last entry", meta.first + len(items) - 1)


def _checked(found: dict[str, bytes], sync: bytes) -> tuple[BatchMeta, list[tuple[int, int]]]:
    if tuple(found) != _KEYS or found["avro.codec"] != b"zstandard":
        raise BadBatch("the file's metadata is not a batch's")
    meta = _meta(found["tallystick.batch"])
    try:
        text = found["avro.schema"].decode()
    except UnicodeDecodeError as e:
        raise BadBatch("the batch's schema is no Avro schema") from e
    _check_schema(text, meta.schema)
    try:
        packed = base64.b64decode(found["tallystick.leaves"], validate=True)
    except ValueError as e:
        raise BadBatch("the file's metadata is not a batch's") from e
    if sync != _sync(meta) or len(packed) != meta.count * _MARK.size:
        raise BadBatch("the file's metadata is not a batch's")
    marks = list(_MARK.iter_unpack(packed))
    if any(not HEADER < length <= LARGEST for length, _ in marks):
        raise BadBatch("a leaf's length is not one that a leaf has")
    return meta, marks


def read_meta(data: bytes) -> BatchMeta:
    """The metadata alone. Raises BadBatch."""
    try:
        return _checked(*container.read_head(Reader(data), len(_KEYS)))[0]
    except BadContainer as e:
        raise BadBatch(str(e)) from e
