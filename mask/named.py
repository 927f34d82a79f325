"""Values that text itself gives a name: `{"ssn": "536904399"}`, `password=x`, `<token>x</token>`, a header.

Works on any text, whole or cut, valid or not, JSON in JSON too: a quote is closed by the same quote behind
as many backslashes, and what is never closed goes on to the end. Each character is read once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from mask.fields import Fields, Ruling
from mask.kinds import Detector, Family, Finding, Kind, compiled
from mask.normal import View
from mask.tokens import MASKED
from schemas.judging import FieldAction

_BEHIND = rb"[a-z0-9_ -]{0,40}[\\\"'`\]]{0,8}(?:[ \t]{0,8}(?:=>|:=|[:=]|%3d)|>|[ \t]{1,8}['\"])"
"""A stem, the rest of its name, quotes, a divider."""
_FILTERED = re.sub(rb"\{0,[0-9]+\}", rb"*", re.sub(rb"\{1,[0-9]+\}", rb"+", _BEHIND))
"""Counts nothing: a set of filters has a state for each count."""
_NAME = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-"
_SPACE = re.compile(rb"[ \t\r\n]*+(?:=(?=[^=]))?[ \t]*+")
_OPENING = re.compile(rb"(\\*+)([\"'`])")
_QUOTES = {quote: re.compile(rb"(\\*+)" + re.escape(quote)) for quote in (b'"', b"'", b"`")}
_BARE = re.compile(rb"[^\s,;&\"'`<>()\[\]{}|\\\x82]++")
_LINE = re.compile(rb"[^\r\n\"'\\\x82]++")
_STRUCTURE = re.compile(rb"[\[\]{}]|(\\*+)([\"'])")
_LINES = ("authorization", "cookie")
_NOTHING = frozenset((b"null", b"true", b"false", b"none", b"nil", b"undefined"))
_PLACEHOLDER = re.compile(rb"(?:\$[0-9]++|\$?\{\{?[\w. ]*+\}?\}|%s|%\([\w]*+\)s|" + MASKED + rb")\Z")
_TOKEN = re.compile(rb"tok:[a-z_]++:[a-z2-7]{20}(?![a-z2-7])")
_NAME_LENGTH = 64


def detector(fields: Fields) -> Detector:
    """Finds what is named by the deny list and by the user's rules (`keep` too: see `kept`)."""
    located = locator(fields)

    def find(view: View) -> Iterator[Finding]:
        for start, end, ruling in _values(view, located, fields.judge):
            if ruling.action is not FieldAction.KEEP:
                yield Finding(start, end, ruling.kind, view.text[start:end], ruling.action is FieldAction.WITHHOLD)

    return Detector("named", (_stems(fields) + _FILTERED,), find, family=Family.WORDS)


def locator(fields: Fields) -> Any:
    """Finds names, with all that stands between them and their values."""
    return compiled(_stems(fields) + _BEHIND)


def _stems(fields: Fields) -> bytes:
    return b"(?i)(?:" + b"|".join(sorted(fields.stems())) + b")"


def kept(view: View, fields: Fields, located: object) -> Iterator[tuple[int, int]]:
    """The values that the user keeps."""
    for start, end, ruling in _values(view, located, fields.judge):
        if ruling.action is FieldAction.KEEP:
            yield start, end


def _values(view: View, located: object, judge: Callable[[str], Ruling | None]) -> Iterator[tuple[int, int, Ruling]]:
    data, done, stop = view.data, 0, 0
    for match in located.finditer(data):  # type: ignore[attr-defined]
        start, end = match.span()
        if start < done:
            continue
        name = _name(data, max(done, start - _NAME_LENGTH), start, end)
        ruling = judge(name)
        if ruling is None or _TOKEN.match(data, max(0, end - len(name) - 5)):
            continue
        at = end - 1 if data[end - 1] in b"'\"" else _SPACE.match(data, end).end()  # type: ignore[union-attr]
        line = name.lower().endswith(_LINES)
        if stop < at:  # looked for once, not for each value: texts have a hundred thousand
            stop = barrier if (barrier := data.find(b"\x82", at)) >= 0 else len(data)
        first, last, done = _extent(data, at, line, stop)
        if (
            first < last
            and _says_something(data[first:last], ruling.kind)
            and not (first == at and not line and _is_code(data, first, last, ruling.kind))
        ):
            yield first, last, ruling


def _name(data: bytes, earliest: int, start: int, end: int) -> str:
    """The whole name around a stem: back to its first letter, without quotes and divider."""
    if data[start] not in _NAME and end - start > 1:
        start += 1
    before = data[earliest:start]
    name = before[len(before.rstrip(_NAME)) :] + data[start:end]
    name = name.rstrip(b"'\" \t").removesuffix(b"%3D").removesuffix(b"%3d")
    return name.rstrip(b":=>\\\"'`] \t").decode("latin-1")


def _says_something(value: bytes, kind: Kind) -> bool:
    if kind is Kind.PHONE:  # "phone: please call"
        return len(_DIGIT.findall(value)) >= _FEWEST_DIGITS and not _PLACEHOLDER.match(value)
    return (
        (len(value) > 9 or value.lower() not in _NOTHING)
        and not _PLACEHOLDER.match(value)
        and (kind is Kind.PASSWORD or _ALNUM.search(value) is not None)
    )


_CODE = re.compile(rb"(?i:str|string|bytes|bool|int|any|optional|text|varchar|secretstr|self|this)\Z")
_PATH = re.compile(rb"[A-Za-z]++(?:[_.]++[A-Za-z]++)++\Z")


def _is_code(data: bytes, first: int, last: int, kind: Kind) -> bool:
    """Whether a value without quotes is a type, a call, or, where no person chose it, a name in code:
    `password: str`, `token = make(x)`, `secret=self.secret_key`. A password may be any of the last."""
    value = data[first:last]
    if data[last : last + 1] in (b"(", b"[") or _CODE.match(value):
        return True
    return kind is not Kind.PASSWORD and _PATH.match(value) is not None


_DIGIT = re.compile(rb"[0-9]")
_FEWEST_DIGITS = 5
_ALNUM = re.compile(rb"[0-9A-Za-z\x80]")


def _extent(data: bytes, at: int, line: bool, stop: int) -> tuple[int, int, int]:
    """Where the value that begins at `at` starts and ends, and where to read on. `stop`: the next barrier, or the
    end."""
    if opening := _OPENING.match(data, at):
        first = opening.end()
        last, after = _closed(data, first, len(opening[1]), opening[2], stop)
        return first, last, after
    if at < len(data) and data[at] in b"[{":
        last = _balanced(data, at, stop)
        return at, last, last
    bare = (_LINE if line else _BARE).match(data, at)
    end = bare.end() if bare else at
    return at, end, end


def _closed(data: bytes, first: int, backslashes: int, quote: bytes, stop: int) -> tuple[int, int]:
    """Quotes written at this depth have `backslashes` before them, mod twice as many and two."""
    at = first
    while match := _QUOTES[quote].search(data, at, stop):
        at = match.end()
        if len(match[1]) % (2 * backslashes + 2) != backslashes:
            continue
        if quote == b"'" and data[at : at + 1] == b"'" and match.start() > first:  # '' is a quote in SQL
            at += 1
            continue
        return match.end() - 1 - backslashes, at
    return stop, stop


def _balanced(data: bytes, at: int, stop: int) -> int:
    """Behind the bracket that closes the one at `at`. What strings hold does not count; one that is not closed goes
    on to the end, or to what is masked already."""
    depth = 0
    while match := _STRUCTURE.search(data, at, stop):
        at = match.end()
        if match[2]:
            at = _closed(data, at, len(match[1]), match[2], stop)[1]
            continue
        depth += 1 if match[0] in b"[{" else -1
        if depth == 0:
            return at
    return stop
