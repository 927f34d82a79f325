r"""Text inside text: `\u0034`, `%34`, `&#52;`, `=34`; base64, hex; gzip, zlib and zstd inside those.

Gives *pieces* (`mask.normal`): what stands where, decoded. Two steps a level: escapes are undone first,
however often they were doubled, because they may cut a base64 in two; then blobs are opened. Quoted-printable is
undone beside that, not before: its sign is also that of `a=12`, and the end of a base64. Base64 is read
at all four alignments and hex at both, so that characters run together with it do not hide it. Only what
decodes to text is a piece: ids, digests and pictures stay what they are. What is compressed and cannot be
read, or is larger than the budget, is *unreadable*, and withheld.
"""

from __future__ import annotations

import binascii
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import zstandard

from mask.normal import Piece, View

MOST_INFLATED = 1 << 20  # bytes out of compressed data, of one text
_SHORTEST = 8  # printable bytes in a row; nothing shorter can hold a value
_WINDOW = 8 << 20  # of zstd, bytes


@dataclass(slots=True)
class Opened:
    """`unreadable`: places that must be withheld."""

    pieces: list[Piece] = field(default_factory=list)
    unreadable: list[tuple[int, int]] = field(default_factory=list)


@dataclass(slots=True)
class Budget:
    inflated: int = MOST_INFLATED


class _Unreadable(Exception):
    """Compressed, and cannot be read whole."""


class _Damaged(_Unreadable):
    """Not in the format that its first bytes promise."""


# --- escapes ------------------------------------------------------------------------------

_ESCAPES = re.compile(  # each begins with its one character: `re` passes over all others at once
    rb"\\(?<!\\\\)\\*+(?:u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2})|([nrtbf/]))"
    rb"|%(?:25)*[0-9A-Fa-f]{2}(?:%(?:25)*[0-9A-Fa-f]{2})*+"
    rb"|&#(?:([0-9]{1,7})|[xX]([0-9A-Fa-f]{1,6}));"
)
_PERCENT = re.compile(rb"%(?:25)*([0-9A-Fa-f]{2})")
_SHORT = {b"n": "\n", b"r": "\r", b"t": "\t", b"b": " ", b"f": " ", b"/": "/"}


def has_escapes(data: bytes) -> bool:
    return b"\\" in data or b"%" in data or b"&#" in data


def escapes(view: View) -> list[Piece]:
    return [(match.start(), match.end(), _unescaped(match)) for match in _ESCAPES.finditer(view.data)]


_JSON_ESCAPES = re.compile(rb"\\\\|\\(?:u([0-9A-Fa-f]{4})|([nrtbf/]))")


def json_escapes(view: View) -> list[Piece]:
    """Of a text that is JSON: what stands there once, and nothing else. A doubled backslash, and a quote, stay."""
    return [
        (match.start(), match.end(), _SHORT[match[2]] if match[2] else chr(int(match[1], 16)))
        for match in _JSON_ESCAPES.finditer(view.data)
        if match.lastindex
    ]


def _unescaped(match: re.Match[bytes]) -> str:
    u, x, short, decimal, hexadecimal = match.groups()
    if short:
        return _SHORT[short]
    if match.lastindex is None:
        raw = b"".join(binascii.unhexlify(pair) for pair in _PERCENT.findall(match[0]))
        return _text(raw)
    code = int(decimal) if decimal else int(u or x or hexadecimal, 16)
    return chr(code) if code < 0x110000 else " "


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


_QUOTED = re.compile(rb"(?:=[0-9A-F]{2}|(?<!=)=[ \t]{0,8}+\r?\n)++")
_MAY_BE_QUOTED = re.compile(rb"=[0-9A-F]{2}=(?:[0-9A-F]{2}|[ \t]{0,8}+\r?\n)|(?<!=)=[ \t]{0,8}+\r?\n")
_SOFT_BREAK = re.compile(rb"=[ \t]*+\r?\n")


def has_quoted(data: bytes) -> bool:
    """Whether this may be quoted-printable (RFC 2045, section 6.7): a line that goes on in the next, or two bytes. Two
    equals signs are none: it would write the first as `=3D`."""
    return b"=" in data and _MAY_BE_QUOTED.search(data) is not None


MARKS = (rb"\\", b"%", b"&#", rb"=[0-9A-F]{2}=(?:[0-9A-F]{2}|[ \t]{0,8}\r?\n)", rb"=[ \t]{0,8}\r?\n")
"""Of which one matches wherever `has_any` says yes: for those who look with a set anyway, and pay nothing for more."""


def has_any(data: bytes) -> bool:
    return has_escapes(data) or has_quoted(data)


def quoted(view: View) -> list[Piece]:
    return [(match.start(), match.end(), _unquoted(match[0])) for match in _QUOTED.finditer(view.data)]


def _unquoted(raw: bytes) -> str:
    return _text(binascii.unhexlify(_SOFT_BREAK.sub(b"", raw).replace(b"=", b"")))


# --- blobs ------------------------------------------------------------------------------------

# Three groups of base64 that say three bytes each below 0x80, printable or NUL, tab, newline; whatever is
# 11 characters of ASCII or more has them at its own alignment. Chance: 1 in 1,300 places of random text.
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def _class(said: Callable[[int], bool]) -> bytes:
    """The characters of base64 whose six bits are such."""
    chars = b"".join(_ALPHABET[n : n + 1] for n in range(64) if said(n))
    return rb"[" + chars.replace(b"+", rb"+\-").replace(b"/", b"/_") + rb"]"


_ANY = rb"[A-Za-z0-9+/_-]"
_GROUP = (
    _class(lambda n: n in (0, 2, 3) or 8 <= n < 32)  # the first byte: NUL, tab, newline, printable
    + _class(lambda n: n & 15 in (0, 2, 3, 4, 5, 6, 7))  # the high half of the second
    + _class(lambda n: n & 3 < 2)  # the high bits of the third
    + _ANY
)
_WIDE = rb"(?:[I-Za-f][AQgw]" + _ANY + _ANY + rb"A[C-H]" + _ANY + rb"A){2}"  # UTF-16
_GZIP64, _ZSTD64, _ZLIB64 = rb"H4sI", rb"KLUv[/_][Q-Za-f]", rb"e[AFJN]"
_PACKED64 = (
    rb"(?:" + _GZIP64 + rb"|" + _ZSTD64 + rb")" + _ANY + rb"{10}|(?:^|[^A-Za-z0-9+/_-])" + _ZLIB64 + _ANY + rb"{12}"
)
_HEX_TEXT = rb"(?:(?:[2-7][0-9A-Fa-f]|0[9aAdD])){8}"
_PACKED16 = rb"(?i)1f8b08[0-9a-f]{20}|28b52ffd[0-9a-f]{8}|(?:^|[^0-9a-f])78(?:01|5e|9c|da)[0-9a-f]{12}"
FILTERS = (rb"(?:" + _GROUP + rb"){3}", _WIDE, _PACKED64, _HEX_TEXT, _PACKED16)

_RUN = re.compile(rb"[A-Za-z0-9+/_-]{14,}+")
_HEX_RUN = re.compile(rb"[0-9A-Fa-f]{16,}+")
_WRAPPED = re.compile(
    rb"(?<![A-Za-z0-9+/_-])(?:[A-Za-z0-9+/_-]{60,}+(?:\r\n|\n|\r|[ \t])[ \t]{0,8}+)++[A-Za-z0-9+/_-]*+={0,2}+"
)
_MAGIC = rb"|".join((_GZIP64, _ZSTD64, rb"\A" + _ZLIB64))
_INTERESTING64 = re.compile(b"|".join((FILTERS[0], _WIDE, _MAGIC)))
_MAGIC64 = re.compile(_MAGIC)
_MAGIC16 = re.compile(rb"(?i)1f8b08|28b52ffd|\A78(?:01|5e|9c|da)")
_PADDING = re.compile(rb"={0,2}")
_UTF8 = rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}"
_PRINTABLE = re.compile(
    rb"(?:[\t\n\r\x20-\x7e]|%s){%d,}+|(?:[\t\n\r\x20-\x7e]\0){%d,}+" % (_UTF8, _SHORTEST, _SHORTEST)
)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_STANDARD = bytes.maketrans(b"-_", b"+/")
_BLANKS = b" \t\r\n"


def blobs(view: View, budget: Budget) -> Opened:
    """What is encoded in this view, in order and apart."""
    data = view.data
    opened, taken = Opened(), bytearray(len(data))
    found: list[Piece] = []
    for match in _WRAPPED.finditer(data):
        found += _whole(match[0].translate(_STANDARD), match.span(), budget, opened)
    for match in _HEX_RUN.finditer(data):
        found += _in_hex(match[0], match.start(), budget, opened)
    for match in _RUN.finditer(data):
        if _INTERESTING64.search(match[0]):
            found += _in_base64(match[0].translate(_STANDARD), match.start(), budget, opened)
    for start, end, text in sorted(found, key=lambda piece: (piece[0] - piece[1], piece[0])):  # longest first
        if data[end - 1] != 0x3D:
            end += _PADDING.match(data, end).end() - end  # type: ignore[union-attr]  # it matches nothing too
        if not any(taken[start:end]):
            taken[start:end] = b"\1" * (end - start)
            opened.pieces.append((start, end, text))
    opened.pieces.sort()
    return opened


def _whole(lines: bytes, span: tuple[int, int], budget: Budget, opened: Opened) -> Iterator[Piece]:
    raw = _base64(lines.translate(None, _BLANKS).rstrip(b"="))
    try:
        text = _inflated(raw, budget)
        if text is not None and any(len(each) % 4 for each in lines.split()[:-1]):
            raise _Unreadable  # these may be two, of which the second is read at the wrong place
    except _Unreadable:
        opened.unreadable.append(span)
        return
    if text is None:
        text = _printable(raw)
    if text:
        yield (*span, text)


def _in_base64(run: bytes, at: int, budget: Budget, opened: Opened) -> Iterator[Piece]:
    end = at + len(run)
    for magic in _MAGIC64.finditer(run):
        place = (at + magic.start(), end)
        try:
            text = _inflated(_base64(run[magic.start() :]), budget)
        except _Unreadable:
            opened.unreadable.append(place)
            return
        if text is not None:
            yield (*place, text)
            return
    raw = _base64(run)
    if text := _printable(raw):
        yield at, end, text
        return
    for shift in range(4):
        raw = _base64(run[shift:]) if shift else raw
        for match in _PRINTABLE.finditer(raw):
            first, last = match.start() * 4 // 3, -(-match.end() * 4 // 3)
            yield at + shift + first, min(at + shift + last, end), _said(match[0])


def _in_hex(run: bytes, at: int, budget: Budget, opened: Opened) -> Iterator[Piece]:
    end = at + len(run)
    for magic in _MAGIC16.finditer(run):
        digits = run[magic.start() :]
        place = (at + magic.start(), end)
        try:
            text = _inflated(binascii.unhexlify(digits[: len(digits) // 2 * 2]), budget)
        except _Unreadable:
            opened.unreadable.append(place)
            return
        if text is not None:
            yield (*place, text)
            return
    for shift in (0, 1):
        digits = run[shift:]
        raw = binascii.unhexlify(digits[: len(digits) // 2 * 2])
        if not shift and len(run) % 2 == 0 and (text := _printable(raw)):
            yield at, end, text
            return
        for match in _PRINTABLE.finditer(raw):
            yield at + shift + 2 * match.start(), at + shift + 2 * match.end(), _said(match[0])


def _base64(run: bytes) -> bytes:
    """Standard alphabet, no padding; a last character that says less than a byte is dropped."""
    whole = run[:-1] if len(run) % 4 == 1 else run
    return binascii.a2b_base64(whole + b"=" * (-len(whole) % 4))


def _plain(raw: bytes) -> str:
    """ASCII, or UTF-16 of it in either order."""
    return raw.replace(b"\0", b"").decode("ascii")


def _said(raw: bytes) -> str:
    """Of a run of what may be printed."""
    return _plain(raw) if b"\0" in raw else raw.decode("utf-8", "replace")


def _printable(raw: bytes) -> str | None:
    """The text that these bytes are, if they are nothing but text."""
    if len(raw) < _SHORTEST:
        return None
    try:
        text = _plain(raw) if raw.count(0) * 3 > len(raw) else raw.decode()
    except UnicodeDecodeError:
        return None
    return None if _CONTROL.search(text) else text


def _inflated(raw: bytes, budget: Budget) -> str | None:
    """What these bytes hold compressed; None where they are not. Raises _Unreadable."""
    plain = b""
    for nth in range(_MEMBERS):
        if raw.startswith((_GZIP, _ZSTD)):
            part, raw = _inflate(raw, budget)
        elif nth == 0 and raw[:1] == b"\x78" and len(raw) > 2 and int.from_bytes(raw[:2], "big") % 31 == 0:  # RFC 1950
            try:
                part, raw = _inflate(raw, budget)
            except _Damaged:
                return None  # two bytes are no proof: this was never compressed
        else:
            break
        plain += part
    else:
        raise _Unreadable
    return (plain + raw).decode("utf-8", "replace") if nth else None


_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_MEMBERS = 16  # one behind the other
_STEP = 64  # bytes of zstd at a time: one step makes 2 MiB at most


def _inflate(raw: bytes, budget: Budget) -> tuple[bytes, bytes]:
    """One member, and what is behind it. Raises _Unreadable: damaged, cut or too large."""
    unpacker: Any
    try:
        if raw.startswith(_ZSTD):
            unpacker = zstandard.ZstdDecompressor(max_window_size=_WINDOW).decompressobj()
            plain, at = b"", 0
            while not unpacker.eof and at < len(raw) and len(plain) <= budget.inflated:
                plain += unpacker.decompress(raw[at : at + _STEP])
                at += _STEP
            behind = unpacker.unused_data + raw[at:]
        else:
            unpacker = zlib.decompressobj(47)
            plain = unpacker.decompress(raw, budget.inflated + 1)
            behind = unpacker.unused_data
    except (zlib.error, zstandard.ZstdError):
        raise _Damaged from None
    if len(plain) > budget.inflated:
        budget.inflated = 0
        raise _Unreadable
    budget.inflated -= len(plain)
    if not unpacker.eof:
        raise _Unreadable
    return plain, behind
