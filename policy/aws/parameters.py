"""Parameters of a call as flat leaves, whatever protocol carried them.

    of_json(b'{"Tags": [{"Key": "a"}]}') == (("Tags.1.Key", "a"),)

Lists count from 1, as in AWS's query protocol, so that the same parameter has about the same path in each.
"""

from __future__ import annotations

import struct
import xml.etree.ElementTree as ElementTree  # documents with a DOCTYPE, and so entities, are refused first
from collections.abc import Sequence
from typing import Any

from policy.http import MAX_BODY, MAX_DEPTH, MAX_PARAMETERS, Unreadable, load_json

Parameters = tuple[tuple[str, object], ...]
_MOST = 20 * MAX_PARAMETERS


def leaves(value: Any) -> Parameters:
    """Raises Unreadable where there are too many."""
    found: list[tuple[str, object]] = []
    stack: list[tuple[str, Any]] = [("", value)]
    while stack:
        path, each = stack.pop()
        if isinstance(each, dict):
            stack.extend((f"{path}.{key}" if path else str(key), inner) for key, inner in reversed(each.items()))
        elif isinstance(each, list):
            stack.extend((f"{path}.{at}", inner) for at, inner in reversed(list(enumerate(each, 1))))
        else:
            found.append((path, each))
        if len(found) + len(stack) > _MOST:
            raise Unreadable(f"more than {_MOST} parameters")
    return tuple(found)


def of_json(body: bytes) -> Parameters:
    found = load_json(body) if body.strip() else {}
    if not isinstance(found, dict):
        raise Unreadable("the body is not a JSON object")
    return leaves(found)


def of_form(given: Sequence[tuple[str, str]]) -> Parameters:
    found = dict(given)
    if len(found) < len(given):
        raise Unreadable("a field that is there twice")
    return tuple(found.items())


def of_xml(body: bytes) -> Parameters:
    if len(body) > MAX_BODY or b"<!" in body.replace(b"<![CDATA[", b""):
        raise Unreadable("an XML body that is too long, or has a DOCTYPE or comments")
    try:
        root = ElementTree.fromstring(body)  # noqa: S314
    except ElementTree.ParseError:
        raise Unreadable("the body is not XML") from None
    found: list[tuple[str, object]] = []
    stack = [(root, root.tag.rpartition("}")[2], 0)]
    while stack:
        element, path, depth = stack.pop()
        if depth > MAX_DEPTH or len(found) > _MOST:
            raise Unreadable("the body is nested too deep, or too long")
        found += [(f"{path}.{key.rpartition('}')[2]}", value) for key, value in element.attrib.items()]
        if len(element) == 0:
            found.append((path, (element.text or "").strip()))
        stack.extend((each, f"{path}.{each.tag.rpartition('}')[2]}", depth + 1) for each in reversed(element))
    return tuple(found)


def of_cbor(body: bytes) -> Parameters:
    """RFC 8949, what smithy-rpc-v2-cbor uses of it."""
    if not body:
        return ()
    if len(body) > MAX_BODY:
        raise Unreadable(f"a body of {len(body)} bytes; {MAX_BODY} at most are read")
    try:
        value, end = _cbor(body, 0, 0)
    except (IndexError, struct.error, UnicodeDecodeError, OverflowError):
        raise Unreadable("the body is not CBOR") from None
    if end != len(body) or not isinstance(value, dict):
        raise Unreadable("the body is not one CBOR map")
    return leaves(value)


_BREAK = object()


def _cbor(body: bytes, at: int, depth: int) -> tuple[Any, int]:
    """The value that begins at `at`, and where it ends."""
    if depth > MAX_DEPTH:
        raise Unreadable("the body is nested too deep")
    major, minor = body[at] >> 5, body[at] & 31
    at += 1
    if major == 7:
        return _simple(body, at, minor)
    length, at = _length(body, at, minor)
    if major in (0, 1):
        return (length if major == 0 else -1 - length), at
    if major in (2, 3):
        return _string(body, at, length, major)
    if major == 6:  # a tag: times and big numbers
        return _cbor(body, at, depth + 1)
    return _collection(body, at, length, major, depth)


def _length(body: bytes, at: int, minor: int) -> tuple[int, int]:
    """-1 for a length that is not said."""
    if minor < 24:
        return minor, at
    if minor == 31:
        return -1, at
    size = {24: 1, 25: 2, 26: 4, 27: 8}.get(minor, 0)
    if not size or at + size > len(body):
        raise Unreadable("the body is not CBOR")
    return int.from_bytes(body[at : at + size]), at + size


def _simple(body: bytes, at: int, minor: int) -> tuple[Any, int]:
    if minor in (25, 26, 27):
        code, size = {25: (">e", 2), 26: (">f", 4), 27: (">d", 8)}[minor]
        return struct.unpack_from(code, body, at)[0], at + size
    known: dict[int, Any] = {20: False, 21: True, 22: None, 23: None, 31: _BREAK}
    if minor not in known:
        raise Unreadable("the body is not CBOR")
    return known[minor], at


def _string(body: bytes, at: int, length: int, major: int) -> tuple[Any, int]:
    if length < 0:
        raise Unreadable("CBOR text in pieces")  # no SDK sends it
    raw = body[at : at + length]
    if len(raw) < length:
        raise Unreadable("the body is not CBOR")
    return (raw.decode("utf-8") if major == 3 else raw), at + length


def _collection(body: bytes, at: int, length: int, major: int, depth: int) -> tuple[Any, int]:
    items: list[Any] = []
    wanted = length * (major - 3)  # a map has keys and values
    while length < 0 or len(items) < wanted:
        item, at = _cbor(body, at, depth + 1)
        if item is _BREAK:
            if length < 0:
                break
            raise Unreadable("the body is not CBOR")
        items.append(item)
    if major == 4:
        return items, at
    keys = items[::2]
    if len(items) % 2 or not all(isinstance(key, str) for key in keys) or len(set(keys)) < len(keys):
        raise Unreadable("a key is there twice in one object")
    return dict(zip(keys, items[1::2], strict=True)), at
