"""Records come back as they went in; what is no record is a named error; an older reader still reads."""

import contextlib
import dataclasses
import io
import json
import typing
from enum import StrEnum
from importlib import resources
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import codec
from schemas.avro import RECORDS, bare, hints, schema_of, union_members
from schemas.ids import ApprovalId, HoldId, Position, RecorderId, SessionId, Source
from schemas.records import (
    ApprovalRequest,
    ApproverRule,
    Band,
    Choice,
    Claim,
    CommandKind,
    Effect,
    Grant,
    HeldCommand,
    HoldRaised,
    JournalSegment,
    LedgerAlive,
    LedgerEntry,
    PolicyInForce,
    Released,
    Vote,
)

LONG = st.integers(-(2**63), 2**63 - 1)


def values(kind: Any) -> st.SearchStrategy[Any]:
    kind = bare(kind)
    simple = {str: st.text(max_size=8), int: LONG, bytes: st.binary(max_size=8), bool: st.booleans()}
    if kind in simple:
        return simple[kind]
    if members := union_members(kind):
        return st.one_of([st.none() if m is type(None) else values(m) for m in members])
    if args := typing.get_args(kind):
        return st.lists(values(args[0]), max_size=2).map(tuple)
    if kind is Position:
        return st.builds(Position, LONG, LONG, LONG)
    if issubclass(kind, StrEnum):
        return st.sampled_from(list(kind))
    return st.deferred(lambda: st.builds(kind, **{n: values(k) for n, k in hints(kind).items()}))


ANY_RECORD = st.sampled_from(sorted(RECORDS)).flatmap(lambda name: values(RECORDS[name]))


@pytest.mark.parametrize("name", sorted(RECORDS))
def test_the_avsc_file_is_the_dataclass(name: str) -> None:
    text = resources.files("schemas").joinpath(f"{name}.avsc").read_text()
    assert json.loads(text) == schema_of(RECORDS[name]), "run: python tools/make_avsc.py"


@given(ANY_RECORD)
def test_a_record_comes_back_and_its_bytes_with_it(record: Any) -> None:
    data = codec.encode(record)
    assert codec.decode(data) == record
    assert codec.encode(codec.decode(data)) == data


@given(ANY_RECORD, st.data())
def test_cut_short_or_with_more_behind_is_a_named_error(record: Any, data: st.DataObject) -> None:
    whole = codec.encode(record)
    with pytest.raises(codec.TrailingBytes):
        codec.decode(whole + b"\0")
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(codec.UnknownSchema if cut < codec.HEADER else codec.TruncatedRecord):
        codec.decode(whole[:cut])


@given(st.binary(max_size=200))
def test_random_bytes_are_never_anything_but_a_codec_error(data: bytes) -> None:
    for body in (data, codec.schema_header(Vote) + data, codec.schema_header(LedgerEntry) + data):
        with contextlib.suppress(codec.CodecError):
            codec.decode(body)


def test_an_older_reader_reads_a_newer_writer_and_the_other_way_round() -> None:
    today = schema_of(LedgerAlive)
    newer = {**today, "fields": [*today["fields"], {"name": "note", "type": "string", "default": ""}]}
    # An older program that was given the newer schema file (schemas/old is where it lies) reads its records.
    codec.add_old_schema(json.dumps(newer))
    out = io.BytesIO()
    out.write(codec.MARKER + codec.fingerprint_of(json.dumps(newer)))
    fastavro.schemaless_writer(out, fastavro.parse_schema(newer), {"at_us": 5, "note": "later"})
    assert codec.decode(out.getvalue()) == LedgerAlive(at_us=5)
    # A newer program reads what today's wrote.
    body = io.BytesIO(codec.encode(LedgerAlive(at_us=6))[codec.HEADER :])
    read = fastavro.schemaless_reader(body, fastavro.parse_schema(today), fastavro.parse_schema(newer))
    assert read == {"at_us": 6, "note": ""}


# A record as each earlier release wrote it. For ever: a log and a journal of then must be read now.
OLD: dict[str, tuple[str, Any]] = {
    "LedgerEntry-1": (
        "c301c1e7ea1dfae7cef30e73686172643a30020406082a02760462790a",
        LedgerEntry(Source("shard:0"), Position(1, 2, 3), 4, body=PolicyInForce("v", "by", 5)),
    ),
    "LedgerEntry-2": (
        "c3014c0ef23b5173d74c0e73686172643a30020406082a02760462790a",
        LedgerEntry(Source("shard:0"), Position(1, 2, 3), 4, body=PolicyInForce("v", "by", 5)),
    ),
    "LedgerEntry-5": (
        "c301bb36b8bc562a5cce0e73686172643a30020406082a02760462790a",
        LedgerEntry(Source("shard:0"), Position(1, 2, 3), 4, body=PolicyInForce("v", "by", 5)),
    ),
    "PolicyInForce-1": ("c301b9272c66f9bb8a2d02760462790a", PolicyInForce("v", "by", 5)),
    "LedgerEntry-3": (
        "c30111cb8d7611d24591027302040608100a7265712d310c686f6c642d310a722f312f310463690464621470726f64756374696f6e0263"
        "06646261020664626100047801a001086869676802025300020c64656c65746502740002040a722f312f310268",
        LedgerEntry(
            Source("s"),
            Position(1, 2, 3),
            4,
            body=ApprovalRequest(
                ApprovalId("req-1"),
                HoldId("hold-1"),
                SessionId("r/1/1"),
                "ci",
                "db",
                "production",
                b"c",
                ApproverRule("dba", ("dba",), 2, 60, True),
                80,
                Band.HIGH,
                ("S",),
                (Effect("delete", "t"),),
                1,
                2,
                SessionId("r/1/1"),
                b"h",
            ),
        ),
    ),
    "HeldCommand-1": (
        "c3011231bf46fd6d22c30c686f6c642d310c73696d706c65027404020276000004000200022e0002026e027600026d0263027306646261"
        "020664626100047801020401",
        HeldCommand(
            HoldId("hold-1"),
            CommandKind.SIMPLE,
            "t",
            (b"v", None),
            (0, 1),
            (23,),
            (Claim("n", "v"),),
            b"m",
            b"c",
            b"s",
            ApproverRule("dba", ("dba",), 2, 60, True),
            1,
            2,
            True,
        ),
    ),
    "HoldRaised-1": (
        "c301d8b37812f4e343c30c686f6c642d310272020a722f312f310463690464621470726f64756374696f6e026d02630664626102066462"
        "6100047801020c64656c65746502740001a001086869676802025300027602040002780268",
        HoldRaised(
            HoldId("hold-1"),
            RecorderId("r"),
            1,
            SessionId("r/1/1"),
            "ci",
            "db",
            "production",
            b"m",
            b"c",
            ApproverRule("dba", ("dba",), 2, 60, True),
            (Effect("delete", "t"),),
            True,
            80,
            Band.HIGH,
            ("S",),
            "v",
            1,
            2,
            False,
            b"x",
            b"h",
        ),
    ),
    "Grant-1": (
        "c301d5c1513f060ebc4f0c686f6c642d3102720a7265712d310c686f6c642d310263020a7265712d31026306616e6e0e617070726f7665"
        "02720604027300000806",
        Grant(
            HoldId("hold-1"),
            RecorderId("r"),
            ApprovalId("req-1"),
            HoldId("hold-1"),
            b"c",
            (Vote(ApprovalId("req-1"), b"c", "ann", Choice.APPROVE, b"r", 3, 2, b"s"),),
            4,
            3,
        ),
    ),
    "JournalSegment-1": (
        "c301cd3b3149dc2f99820c64622e302e61020406080a0c0863636363026b0273026701027802066f6e6500",
        JournalSegment(
            RecorderId("db.0.a"), 1, 2, 3, 4, 5, 6, b"c" * 4, "k", b"s", "g", True, b"x", (b"one",), asks=True
        ),
    ),
    "LedgerEntry-4": (
        "c3016f5dfa9c122dbdff0273020406080c0c686f6c642d310a7265712d3102630206616e6e000a",
        LedgerEntry(
            Source("s"),
            Position(1, 2, 3),
            4,
            body=Released(HoldId("hold-1"), ApprovalId("req-1"), b"c", ("ann",), 5),
        ),
    ),
    "HeldCommand-2": (
        "c301be26ccc66829e4e20c686f6c642d310c73696d706c65027404020276000004000200022e0002026e027600026d0263027306"
        "6462610206646261000478010204010206616e6e00",
        HeldCommand(
            HoldId("hold-1"),
            CommandKind.SIMPLE,
            "t",
            (b"v", None),
            (0, 1),
            (23,),
            (Claim("n", "v"),),
            b"m",
            b"c",
            b"s",
            ApproverRule("dba", ("dba",), 2, 60, True),
            1,
            2,
            True,
            ("ann",),
        ),
    ),
    "HoldRaised-2": (
        "c3016894ed6bb8cbaa470c686f6c642d310272020a722f312f310463690464621470726f64756374696f6e026d02630664626102"
        "0664626100047801020c64656c65746502740001a0010868696768020253000276020400027802680206616e6e00",
        HoldRaised(
            HoldId("hold-1"),
            RecorderId("r"),
            1,
            SessionId("r/1/1"),
            "ci",
            "db",
            "production",
            b"m",
            b"c",
            ApproverRule("dba", ("dba",), 2, 60, True),
            (Effect("delete", "t"),),
            True,
            80,
            Band.HIGH,
            ("S",),
            "v",
            1,
            2,
            False,
            b"x",
            b"h",
            ("ann",),
        ),
    ),
    "Grant-2": (
        "c3013f1796335f1a54df0c686f6c642d3102720a7265712d310c686f6c642d310263020a7265712d31026306616e6e0e61707072"
        "6f7665027206040273000008060206616e6e00",
        Grant(
            HoldId("hold-1"),
            RecorderId("r"),
            ApprovalId("req-1"),
            HoldId("hold-1"),
            b"c",
            (Vote(ApprovalId("req-1"), b"c", "ann", Choice.APPROVE, b"r", 3, 2, b"s"),),
            4,
            3,
            ("ann",),
        ),
    ),
    "Vote-1": (
        "c301e244b2dd874476a90a7265712d31026306616e6e0e617070726f766502720604027306776879",
        Vote(ApprovalId("req-1"), b"c", "ann", Choice.APPROVE, b"r", 3, 2, b"s", "why"),
    ),
    "Released-1": (
        "c301d399529ad4eb0f4b0c686f6c642d310a7265712d3102630206616e6e000a",
        Released(HoldId("hold-1"), ApprovalId("req-1"), b"c", ("ann",), 5),
    ),
}


@pytest.mark.parametrize("name", sorted(OLD))
def test_what_an_earlier_release_wrote_is_read_and_has_its_own_schema(name: str) -> None:
    written, record = bytes.fromhex(OLD[name][0]), OLD[name][1]
    assert codec.decode(written) == record
    text = resources.files("schemas").joinpath("old", f"{name}.avsc").read_text()
    assert written[2 : codec.HEADER] == codec.fingerprint_of(text)
    assert written[: codec.HEADER] != codec.schema_header(type(record))


def test_each_earlier_schema_has_a_record_here() -> None:
    assert {p.name for p in resources.files("schemas").joinpath("old").iterdir()} == {f"{n}.avsc" for n in OLD}


def test_the_fingerprint_is_the_specifications() -> None:
    # Avro specification: CRC-64-AVRO of the canonical form "null" is 63dd24e7cc258f8a.
    assert codec.fingerprint_of('"null"').hex() == bytes.fromhex("63dd24e7cc258f8a")[::-1].hex()


def test_leaf_records_have_no_maps_floats_or_logical_types() -> None:
    text = json.dumps(schema_of(LedgerEntry))
    for word in ('"map"', '"float"', '"double"', "logicalType"):
        assert word not in text


def test_every_dataclass_is_frozen() -> None:
    for cls in RECORDS.values():
        assert cls.__dataclass_params__.frozen, cls
        assert dataclasses.is_dataclass(cls)
