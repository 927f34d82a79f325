"""A leaf is proved to decode before it may be committed, and its head is read without decoding it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.entry import LARGEST, NotALeaf, kind_of, leaf_bytes, look, read_leaf
from schemas.codec import encode, schema_header, writer_schema
from schemas.ids import START, Position, Source
from schemas.records import Gap, LedgerAlive, LedgerEntry, LedgerStarted, PolicyInForce, Tick

BODIES = [LedgerAlive(5), Gap(Source("journal:r"), START, Position(1, 2, 3), "", 7), PolicyInForce("v", "by", 1)]


@given(
    st.text(max_size=200),
    st.tuples(*[st.integers(-(2**63), 2**63 - 1)] * 4),
    st.sampled_from(BODIES),
)
def test_the_head_says_what_the_whole_says(source: str, numbers: tuple[int, ...], body: Gap) -> None:
    entry = LedgerEntry(Source(source), Position(*numbers[:3]), numbers[3], body=body)
    leaf = leaf_bytes(entry)
    assert read_leaf(leaf) == entry
    assert look(leaf) == (entry.source, entry.position, entry.time_us, type(body).__name__)
    assert kind_of(leaf) == type(body).__name__


GOOD = leaf_bytes(LedgerEntry(Source("shard:0"), Position(1, 2), 3, body=LedgerStarted("1", 2, "file", 3)))


@pytest.mark.parametrize("leaf", [GOOD[:-1], GOOD + b"\0", b"", GOOD[:10], b"\xc3\x01" + bytes(30), encode(Tick())])
def test_what_is_no_whole_leaf_is_refused(leaf: bytes) -> None:
    with pytest.raises(NotALeaf):
        look(leaf)
    with pytest.raises(NotALeaf):
        read_leaf(leaf)


def test_a_leaf_has_a_largest_size() -> None:
    with pytest.raises(NotALeaf, match="65535"):
        leaf_bytes(LedgerEntry(Source("s"), START, 0, body=PolicyInForce("x" * LARGEST, "", 0)))


@given(st.binary(max_size=120))
def test_hostile_bytes_give_a_clear_error(body: bytes) -> None:
    leaf = schema_header(LedgerEntry) + body
    for reading in (look, kind_of, read_leaf):
        try:
            reading(leaf)
        except NotALeaf:
            continue


@pytest.mark.parametrize("odd", ["below zero", "two bytes"])
def test_what_a_leaf_is_has_one_spelling(odd: str) -> None:
    """fastavro counts a branch below zero from the end, where others see no Avro: a Gap could look like anything."""
    gap = LedgerEntry(Source("journal:r"), Position(1, 2, 3), 4, body=BODIES[1])
    leaf = leaf_bytes(gap)
    at = 10 + 1 + len("journal:r") + 4  # header, source, position and time
    branches = next(f for f in writer_schema(leaf[:10])["fields"] if f["name"] == "body")["type"]
    other = [2 * (len(branches) - leaf[at] // 2) - 1] if odd == "below zero" else [leaf[at] | 0x80, 0]
    leaf = leaf[:at] + bytes(other) + leaf[at + 1 :]
    for reading in (look, kind_of, read_leaf):
        with pytest.raises(NotALeaf):
            reading(leaf)
