"""Bodies of every protocol become the same flat parameters, or are Unreadable."""

from __future__ import annotations

import json

import pytest
from botocore.serialize import CBORSerializer
from hypothesis import given
from hypothesis import strategies as st

from policy.aws.parameters import leaves, of_cbor, of_form, of_json, of_xml
from policy.http import Unreadable

VALUE = {"Name": "a", "Tags": [{"Key": "k", "On": True}, {"Key": "l", "Count": 300}], "None": None}
FLAT = (("Name", "a"), ("Tags.1.Key", "k"), ("Tags.1.On", True), ("Tags.2.Key", "l"), ("Tags.2.Count", 300))


def test_json() -> None:
    assert of_json(json.dumps(VALUE).encode()) == (*FLAT, ("None", None))
    assert of_json(b"") == ()


def test_xml() -> None:
    body = b'<A xmlns="x"><Policy>p</Policy><L><G xmlns:xsi="y" xsi:type="Group"><URI>u</URI></G></L></A>'
    assert of_xml(body) == (("A.Policy", "p"), ("A.L.G.type", "Group"), ("A.L.G.URI", "u"))


def test_cbor() -> None:
    cbor = b"\xa3dNameaadTags\x82\xa2cKeyakbOn\xf5\xa2cKeyaleCount\x19\x01\x2cdNone\xf6"
    assert of_cbor(cbor) == (*FLAT, ("None", None))
    assert of_cbor(b"\xbfaa\x9f\x01\x02\xffab\x20\xff") == (("a.1", 1), ("a.2", 2), ("b", -1))
    assert of_cbor(b"\xa1at\xc1\xfb\x41\xd9\x00\x00\x00\x00\x00\x00") == (("t", 1677721600.0),)


@pytest.mark.parametrize(
    "body",
    [
        b"\xa2aa\x01aa\x02",  # a key twice
        b"\xa1aa",
        b"\xa1aa\x5b\xff\xff\xff\xff\xff\xff\xff\xff",  # a length beyond its end
        b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x81" * 100 + b"\x01",
        b"\xa0\x00",  # something behind it
        b"\x01",
        b"\xa1\x01\x02",
        b"\xfc",
        b"\xff",
    ],
)
def test_cbor_that_is_not_read(body: bytes) -> None:
    with pytest.raises(Unreadable):
        of_cbor(body)


@pytest.mark.parametrize(
    "body",
    [
        b"<a>",
        b'<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>',
        b"<a><!-- c --></a>",
        b"<a>" * 80 + b"</a>" * 80,
        b"<a/>" + b" " * (1 << 20),
    ],
)
def test_xml_that_is_not_read(body: bytes) -> None:
    with pytest.raises(Unreadable):
        of_xml(body)


def test_a_field_twice_is_not_read() -> None:
    with pytest.raises(Unreadable):
        of_form([("DryRun", "true"), ("DryRun", "false")])


def test_too_many_parameters_are_not_read() -> None:
    with pytest.raises(Unreadable):
        leaves({"a": [0] * 30_000})


@given(st.binary(max_size=200))
def test_garbage_is_read_or_unreadable(body: bytes) -> None:
    for reader in (of_json, of_xml, of_cbor):
        try:
            reader(body)
        except Unreadable:
            pass


texts = st.text(st.characters(codec="utf-8"), max_size=30)
plain = st.recursive(
    st.booleans() | st.integers(-(1 << 60), 1 << 60) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(texts, plain, max_size=5))
def test_cbor_as_botocore_writes_it(value: dict[str, object]) -> None:
    assert of_cbor(_cbor(value)) == leaves(value)


def _cbor(value: object) -> bytes:
    """By botocore's own parts, without a model."""
    writer, made = CBORSerializer(), bytearray()
    if isinstance(value, bool):
        return bytes([0xF5 if value else 0xF4])
    if isinstance(value, int):
        writer._serialize_type_integer(made, value, None, None)
    elif isinstance(value, str):
        writer._serialize_type_string(made, value, None, None)
    elif isinstance(value, list):
        made += _head(writer, 4, len(value)) + b"".join(_cbor(each) for each in value)
    elif isinstance(value, dict):
        made += _head(writer, 5, len(value))
        for key, each in value.items():
            made += _cbor(key) + _cbor(each)
    return bytes(made)


def _head(writer: CBORSerializer, major: int, length: int) -> bytes:
    kind = {4: writer.LIST_MAJOR_TYPE, 5: writer.MAP_MAJOR_TYPE}[major]
    info, size = writer._get_additional_info_and_num_bytes(length)
    first: bytes = writer._get_initial_byte(kind, info)
    return first if not size else first + length.to_bytes(size)
