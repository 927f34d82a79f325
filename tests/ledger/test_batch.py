"""A batch file: any Avro reader reads it, it comes back byte for byte, and no changed byte goes unseen."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace

import fastavro
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import container
from ledger.batch import BadBatch, Batch, BatchMeta, Consumed, Cursor, Item, decode, encode, read_meta
from ledger.entry import LARGEST, leaf_bytes
from ledger.tree import EMPTY_RANGE, leaf_hash
from schemas.codec import HEADER, from_plain, schema_header
from schemas.ids import Position, SessionId, Source
from schemas.records import Band, CommandKind, Decision, Effect, Exchange, Found, LedgerEntry, Result

JOURNAL = Source("journal:orders-db.0.1a2b3c4d")


def make_exchange(n: int) -> LedgerEntry:
    body = Exchange(
        session=SessionId(f"orders-db.0.1a2b3c4d/3/{n % 50}"),
        number=n,
        kind=CommandKind.EXTENDED,
        started_us=1_790_000_000_000_000 + n,
        ended_us=1_790_000_000_000_800 + n,
        result=Result.EXECUTED,
        tag="SELECT 1",
        sqlstate="",
        fingerprint=hashlib.sha256(b"%d" % (n % 20)).digest(),
        effects=(Effect("select", "public.accounts"),),
        effects_complete=True,
        score=3,
        band=Band.LOW,
        signals=(),
        decision=Decision.ALLOW,
        rule="",
        hold=None,
        rows=1,
        answer_bytes=120,
        excerpt=False,
        found=(Found("email", 2),),
        withheld=0,
        policy_version="0123456789abcdef",
        engine="pg1 mask1 sql1",
        content_sha256=hashlib.sha256(b"content %d" % n).digest(),
    )
    return LedgerEntry(JOURNAL, Position(0, n), 1_790_000_000_000_000 + n, body=body)


def make_item(n: int) -> Item:
    return Item(leaf_bytes(make_exchange(n)), hashlib.sha512(b"content %d" % n).digest())


def make_batch(count: int, first: int = 0) -> Batch:
    before = EMPTY_RANGE.extend([leaf_hash(make_item(n).leaf) for n in range(first)])
    items = tuple(make_item(n) for n in range(first, first + count))
    meta = BatchMeta(
        "shard-0",
        7,
        before,
        count,
        before.extend([leaf_hash(i.leaf) for i in items]).root(),
        bytes(range(32)),
        ((JOURNAL, Cursor(Position(0, first + count), bytes(32))),),
        Consumed("cluster", "events", 0, 41),
        (b"sixteen bytes id",),
    )
    return Batch(meta, items)


FILE = encode(make_batch(20, 13))


@pytest.mark.parametrize(("count", "first"), [(1, 0), (20, 13), (256, 0), (257, 5), (700, 1)])
def test_it_comes_back_as_it_went_in(count: int, first: int) -> None:
    batch = make_batch(count, first)
    raw = encode(batch)
    assert decode(raw) == batch
    assert read_meta(raw) == batch.meta
    assert encode(batch) == raw


def test_another_avro_reader_reads_typed_records() -> None:
    batch = make_batch(300)
    records = list(fastavro.reader(io.BytesIO(encode(batch)), return_record_name=True))
    assert [from_plain(LedgerEntry, r["entry"]) for r in records] == [make_exchange(n) for n in range(300)]
    assert [r["content"] for r in records] == [i.content for i in batch.items]


def test_a_leaf_in_an_odd_but_valid_encoding_stays_as_it_was() -> None:
    plain = make_item(0).leaf
    body = plain[HEADER:]
    assert body[0] == len(JOURNAL) * 2
    odd = plain[:HEADER] + bytes([body[0] | 0x80, 0]) + body[1:]  # an over-long varint
    batch = make_batch(1)
    hashed = leaf_hash(odd)
    batch = Batch(replace(batch.meta, root=EMPTY_RANGE.extend([hashed]).root()), (Item(odd, b""),))
    raw = encode(batch)
    assert decode(raw).items[0].leaf == odd
    assert len(list(fastavro.reader(io.BytesIO(raw)))) == 1


def test_large_content_and_the_largest_leaf() -> None:
    grown = make_exchange(0)
    leaf = leaf_bytes(replace(grown, body=replace(grown.body, tag="x" * 65_200)))
    items = (Item(leaf, b"\x00" * 3_000_000), Item(leaf, b""))
    meta = make_batch(2).meta
    meta = replace(meta, root=EMPTY_RANGE.extend([leaf_hash(leaf)] * 2).root())
    assert decode(encode(Batch(meta, items))).items == items


@pytest.mark.parametrize("leaf", [schema_header(LedgerEntry) + b"\0" * LARGEST, schema_header(LedgerEntry)])
def test_a_leaf_of_no_leafs_size_is_refused(leaf: bytes) -> None:
    with pytest.raises(BadBatch):
        encode(Batch(make_batch(1).meta, (Item(leaf, b""),)))


def test_leaves_of_another_schema_do_not_go_into_this_batch() -> None:
    with pytest.raises(BadBatch, match="another schema"):
        encode(Batch(make_batch(1).meta, (Item(b"\xc3\x01" + bytes(8) + b"body", b""),)))


def test_a_root_that_is_not_the_entries_is_refused() -> None:
    batch = make_batch(3)
    with pytest.raises(BadBatch, match="root"):
        encode(Batch(replace(batch.meta, root=bytes(32)), batch.items))


@settings(max_examples=300)
@given(st.integers(0, len(FILE) - 1), st.integers(1, 255))
def test_a_changed_byte_is_found_or_changes_only_what_the_signed_digest_covers(at: int, mask: int) -> None:
    changed = FILE[:at] + bytes([FILE[at] ^ mask]) + FILE[at + 1 :]
    try:
        back = decode(changed)
    except BadBatch:
        return
    assert [i.leaf for i in back.items] == [i.leaf for i in make_batch(20, 13).items]


def test_a_damaged_record_is_named_and_not_the_ones_before_it() -> None:
    batch = make_batch(200, 13)
    raw = bytearray(encode(batch))
    named = set()
    for at in range(len(raw) - 20_000, len(raw) - 4_000, 500):
        changed = bytes(raw[:at]) + bytes([raw[at] ^ 0x55]) + bytes(raw[at + 1 :])
        with pytest.raises(BadBatch) as damaged:
            decode(changed)
        named.add(damaged.value.index)
    assert len(named) > 10  # each place in the file names an entry of its own
    assert named <= set(range(13, 213))


@given(st.binary(max_size=300))
def test_any_bytes_are_no_batch(raw: bytes) -> None:
    for hostile in (raw, b"Obj\x01" + raw, FILE[: len(raw)], FILE[:-1]):
        with pytest.raises(BadBatch):
            decode(hostile)


def test_a_block_that_swells_is_refused_before_it_does() -> None:
    bomb = zstandard.ZstdCompressor().compress(b"\0" * (container.LARGEST_BLOCK + 1))
    with pytest.raises(container.BadContainer):
        container.unpack(bomb)
    assert container.salvage(bomb) == b""
    unsized = zstandard.ZstdCompressor(write_content_size=False).compress(b"\0" * 1000)
    with pytest.raises(container.BadContainer):
        container.unpack(unsized)


def test_nothing_of_traffic_is_shown() -> None:
    assert "select" not in repr(make_item(0)).lower()
    assert hashlib.sha256(FILE).digest() == hashlib.sha256(encode(make_batch(20, 13))).digest()
