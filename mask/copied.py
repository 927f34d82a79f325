"""The data of a COPY: cut into rows and fields as its statement says, each field masked by its column's name.

Rows come out in the format they came in: a field that holds nothing stays byte by byte as it was, one that is
masked is written anew, and neither rows nor fields become more or fewer. Binary rows are shown as COPY's text
format writes them. What cannot be read is withheld: a field that is not UTF-8, or that the end of what was
captured cuts in two; a row that has not as many fields as there are columns, if any column is one to hide.

Work and memory grow with the length of the data and nothing else: it is cut by patterns that never go back.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice, repeat
from typing import NamedTuple

from mask.copy_shape import MOST_COLUMNS, Format, Shape
from mask.fields import UNNAMED, Names
from mask.values.personal import given_out
from schemas.records import Found

SIGNATURE = b"PGCOPY\n\xff\r\n\0"
_END = b"\\."
_ESCAPE = re.compile(rb"\\(?:([0-7]{1,3})|x([0-9A-Fa-f]{1,2})|(.))", re.DOTALL)
_LETTERS = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_ESCAPED = {plain.decode(): "\\" + letter.decode() for letter, plain in _LETTERS.items()} | {"\\": "\\\\"}
_SPACES = str.maketrans("", "", "\t\r\n")

Mask = Callable[
    [str, str | Names], tuple[str | None, tuple[Found, ...], int, tuple[Found, ...], tuple[tuple[str, str], ...]]
]
"""(text, name of its column) -> (masked, what was found, places withheld, what failed, what its name hid)."""


@dataclass(slots=True)
class Values:
    """Masks values one by one, and counts. `unreadable`: what stands for bytes that are withheld; `denies`: whether a
    name alone says that its values are hidden; `clean`: of each of some texts, whether nothing is to be found in it."""

    mask: Mask
    unreadable: Callable[[bytes], str]
    denies: Callable[[Names], bool]
    clean: Callable[[Sequence[str]], list[bool]]
    found: Counter[str] = field(default_factory=Counter)
    withheld: int = 0
    failed: Counter[str] = field(default_factory=Counter)

    def masked(self, text: str, name: Names = ()) -> str:
        shown, found, withheld, failed, _ = self.mask(text, name)
        for each in found:
            self.found[each.type] += each.count
        for each in failed:
            self.failed[each.type] += each.count
        self.withheld += withheld
        return shown or ""

    def searched(self, raw: bytes) -> str:
        """What has no name, as it is written."""
        try:
            return self.masked(raw.decode())
        except UnicodeDecodeError:
            return self.withhold(raw)

    def withhold(self, raw: bytes) -> str:
        if not raw:
            return ""
        self.withheld += 1
        return self.unreadable(raw)


def rows(shapes: tuple[Shape | None, ...], data: bytes, values: Values, *, whole: bool) -> Iterator[str]:
    """The rows of one COPY, each with the end of line it has. `shapes`: of every COPY that these data may be of.

    Not `whole`: the data may go on where they end, so their last value may be half of one.
    """
    only = shapes[0] if len(shapes) == 1 else None
    if only is not None and only.format is Format.BINARY:
        yield from _tuples(only, data, values)
    elif only is not None:
        yield from _lines(only, data, values, whole)
    elif shapes and all(shape is not None and not _hides(shape, values) for shape in shapes):
        for line in data.splitlines(keepends=True):
            text = line.rstrip(b"\r\n")
            done = whole or text != line
            yield (values.searched(text) if done else values.withhold(text)) + line[len(text) :].decode()
    elif data:
        yield values.withhold(data)


def _hides(shape: Shape, values: Values) -> bool:
    return shape.format is Format.BINARY or any(map(values.denies, shape.origins))


# --- text and CSV -----------------------------------------------------------------


_AT_ONCE = 64  # rows
_DIVIDE = frozenset((b"\t", b",", b";", b"|"))
"""No detector's word or number goes on over one of these, so what is in a field is found in its row."""
_NULLS = re.compile(rb"(?<![^\t])\\N(?![^\t])")
_NINE = re.compile(r"(?<![0-9])[0-9]{9}(?![0-9])")


class _Row(NamedTuple):
    raw: bytes
    end: bytes  # b"" for the last, if it has none


class _Columns(NamedTuple):
    names: tuple[Names, ...]
    hidden: tuple[int, ...]  # those whose name alone says it


def _lines(shape: Shape, data: bytes, values: Values, whole: bool) -> Iterator[str]:
    rows, columns = _cut(shape, data), _columns(shape.origins, values)
    if shape.header and (row := next(rows, None)):
        fields = _fields(shape, row.raw)
        yield _line(shape, row, fields, values, columns, whole or bool(row.end), header=True) + row.end.decode()
        if not columns.names:
            columns = _columns(_names(shape, fields), values)
    while some := list(islice(rows, _AT_ONCE)):
        for row, clean in zip(some, _clean(shape, some, values, columns), strict=True):
            done = whole or bool(row.end)
            shown = _kept(shape, row.raw, values, columns) if clean and done else None
            if shown is None:
                shown = _line(shape, row, _fields(shape, row.raw), values, columns, done)
            yield shown + row.end.decode()


def _columns(names: tuple[Names, ...], values: Values) -> _Columns:
    return _Columns(names, tuple(n for n, each in enumerate(names) if values.denies(each)))


def _line(
    shape: Shape, row: _Row, fields: list[bytes], values: Values, columns: _Columns, done: bool, *, header: bool = False
) -> str:
    names, hidden = columns
    count = len(fields)
    if row.raw == _END:  # the end of data, in its own words
        return _END.decode()
    if names and (count > len(names) or (done and count < len(names))):
        return values.searched(row.raw) if done and not hidden else values.withhold(row.raw)
    return _joined(shape, fields, values, _unlike(shape, fields) if header else names, done)


def _clean(shape: Shape, rows: Sequence[_Row], values: Values, columns: _Columns) -> list[bool]:
    """Of each row, whether its fields are as they are written, and the detectors find nothing in any of them."""
    said = [_said(shape, row.raw) for row in rows]
    if shape.delimiter not in _DIVIDE or (not columns.names and values.denies(shape.unnamed)):
        return [False] * len(rows)
    found = values.clean([text or "" for text in said])
    if not columns.names:  # nine digits may be an SSN
        found = [clean and not _NINE.search(text or "") for clean, text in zip(found, said, strict=True)]
    return [clean and text is not None for clean, text in zip(found, said, strict=True)]


def _said(shape: Shape, raw: bytes) -> str | None:
    """A row as it is written; None where a quote may make something else of it. (A backslash is never clean.)"""
    if shape.format is Format.CSV and shape.quote in raw:
        return None
    if shape.format is Format.TEXT and shape.null == b"\\N" and shape.delimiter == b"\t" and b"\\N" in raw:
        raw = _NULLS.sub(b"", raw)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None


def _kept(shape: Shape, raw: bytes, values: Values, columns: _Columns) -> str | None:
    """A clean row, but for the columns whose name hides them; None if it has more or fewer."""
    names, hidden = columns
    if not hidden:
        return raw.decode()
    fields = raw.split(shape.delimiter)
    if len(fields) != len(names):
        return None
    shown = [each.decode() for each in fields]
    for n in hidden:
        shown[n] = _shown(shape, fields[n], names[n], values)
    return shape.delimiter.decode().join(shown)


def _cut(shape: Shape, data: bytes) -> Iterator[_Row]:
    """PostgreSQL's rows (CopyReadLineText, CopyReadAttributesText and ...CSV): in text a backslash takes what is
    behind it along, in CSV a quote all up to the next one."""
    start = 0
    for mark in _ends(shape).finditer(data):
        if mark.lastindex is not None:
            yield _Row(data[start : mark.start()], mark[1])
            start = mark.end()
    if start < len(data):
        yield _Row(data[start:], b"")


def _fields(shape: Shape, raw: bytes) -> list[bytes]:
    fields: list[bytes] = []
    at = 0
    for mark in _marks(shape).finditer(raw):
        if mark.lastindex is not None:
            fields.append(raw[at : mark.start()])
            at = mark.end()
    return [*fields, raw[at:]]


@lru_cache(maxsize=64)
def _ends(shape: Shape) -> re.Pattern[bytes]:
    """What is passed over; or an end of line (1)."""
    return re.compile(_passed(shape) + rb"|(\r\n?|\n)", re.DOTALL)


@lru_cache(maxsize=64)
def _marks(shape: Shape) -> re.Pattern[bytes]:
    """What is passed over; or a delimiter (1)."""
    return re.compile(_passed(shape) + rb"|(" + re.escape(shape.delimiter) + rb")", re.DOTALL)


def _passed(shape: Shape) -> bytes:
    return _quoted(shape) if shape.format is Format.CSV else rb"\\(?:.|\Z)"


def _quoted(shape: Shape) -> bytes:
    """From a quote to the next, or to the end of all; doubled quotes are two such pieces."""
    quote, escape = re.escape(shape.quote), re.escape(shape.escape)
    if shape.escape == shape.quote:
        return quote + rb"[^" + quote + rb"]*+(?:" + quote + rb"|\Z)"
    return quote + rb"(?:[^" + quote + escape + rb"]++|" + escape + rb"(?:.|\Z))*+(?:" + quote + rb"|\Z)"


def _joined(shape: Shape, fields: list[bytes], values: Values, names: tuple[Names, ...], done: bool) -> str:
    of = zip(fields[:-1], names or repeat(shape.unnamed), strict=False)
    shown = [_shown(shape, raw, name, values) for raw, name in of]
    last = fields[-1]
    name = names[len(shown)] if names else shape.unnamed
    shown.append(_shown(shape, last, name, values) if done else values.withhold(last))
    return shape.delimiter.decode().join(shown)


def _unlike(shape: Shape, fields: list[bytes]) -> tuple[Names, ...]:
    """For a header: a field that is its column's name is shown; any other may be a value, where there is no
    header though the statement says so."""
    said = [(_plain(shape, raw) or b"").decode("utf-8", "replace").lower() for raw in fields]
    columns = zip(said, shape.names, shape.origins, strict=False)
    return tuple(() if field == name.lower() else names for field, name, names in columns)


def _names(shape: Shape, fields: list[bytes]) -> tuple[Names, ...]:
    if len(fields) > MOST_COLUMNS:
        return ()
    said = ((_plain(shape, raw) or b"").decode("utf-8", "replace") for raw in fields)
    return tuple(tuple(each.removesuffix(UNNAMED) + name for each in shape.unnamed) for name in said)


def _shown(shape: Shape, raw: bytes, name: Names, values: Values) -> str:
    if raw == shape.null:
        return values.searched(raw)
    plain = _plain(shape, raw)
    if plain is None:
        return values.withhold(raw)
    try:
        text = plain.decode()
        written = text if plain is raw else raw.decode()
    except UnicodeDecodeError:
        return values.withhold(raw)
    masked = values.masked(text, _name(shape, name, text))
    if masked != text:
        return _written(shape, masked, quoted=shape.quote in raw)
    # What was escaped by mistake (`C:\4111...`) is read by people as it is written.
    return written if written == text or values.masked(written) == written else values.withhold(raw)


def _name(shape: Shape, names: Names, text: str) -> Names:
    """Nine digits that may be an SSN are taken for one where nobody says what they are."""
    nine = names is shape.unnamed and len(text) == 9 and text.isdigit() and text.isascii()
    return ("ssn",) if nine and given_out(int(text[:3]), int(text[3:5]), int(text[5:])) else names


def _plain(shape: Shape, raw: bytes) -> bytes | None:
    """What a field says; None if its quote is never closed."""
    if shape.format is Format.TEXT:
        return _ESCAPE.sub(_unescaped, raw) if b"\\" in raw else raw
    if shape.quote not in raw:
        return raw
    parts: list[bytes] = []
    for piece in _pieces(shape).finditer(raw):
        if piece[1] is None:
            parts.append(piece[0])
        elif not piece[2]:
            return None
        else:
            parts.append(_doubled(shape).sub(rb"\1", piece[1]))
    return b"".join(parts)


def _unescaped(match: re.Match[bytes]) -> bytes:
    octal, hexadecimal, letter = match.groups()
    if letter is not None:
        return _LETTERS.get(letter, letter)
    return bytes((int(octal or hexadecimal, 8 if octal else 16) & 255,))


@lru_cache(maxsize=64)
def _pieces(shape: Shape) -> re.Pattern[bytes]:
    """A quoted piece (1 what is in it, 2 its end), or an unquoted one."""
    quote, escape = re.escape(shape.quote), re.escape(shape.escape)
    pair = quote + quote if shape.escape == shape.quote else escape + rb"(?:.|\Z)"
    inner = rb"((?:[^" + quote + escape + rb"]++|" + pair + rb")*+)"
    return re.compile(quote + inner + rb"(" + quote + rb"|\Z)|[^" + quote + rb"]++", re.DOTALL)


@lru_cache(maxsize=64)
def _doubled(shape: Shape) -> re.Pattern[bytes]:
    quote, escape = re.escape(shape.quote), re.escape(shape.escape)
    return re.compile(escape + rb"([" + quote + escape + rb"])")


def _written(shape: Shape, text: str, *, quoted: bool = False) -> str:
    if shape.format is not Format.CSV:
        special = {shape.delimiter.decode(): "\\" + shape.delimiter.decode()} | _ESCAPED
        return "".join(special.get(c, c) for c in text)
    delimiter, quote, escape = shape.delimiter.decode(), shape.quote.decode(), shape.escape.decode()
    if not quoted and not any(c in text for c in (delimiter, quote, "\r", "\n")):
        return text
    if escape != quote:
        text = text.replace(escape, escape + escape)
    return quote + text.replace(quote, escape + quote) + quote


# --- binary -----------------------------------------------------------------------


_AS_TEXT = Shape()


def _tuples(shape: Shape, data: bytes, values: Values) -> Iterator[str]:
    """Lengths say where data end too soon. What a wrong length, or bytes behind the end, leave over is withheld."""
    at = _behind_header(data)
    while 0 < at < len(data):
        count = int.from_bytes(data[at : at + 2], "big", signed=True)
        if count == -1:
            at += 2
            break
        if at + 2 > len(data) or not 0 <= count <= MOST_COLUMNS:
            break
        shown, at = _tuple(shape, data, at + 2, count, values)
        yield "\t".join(shown) + "\n"
    if at < len(data):
        yield values.withhold(data[at:])


def _tuple(shape: Shape, data: bytes, at: int, count: int, values: Values) -> tuple[list[str], int]:
    """The fields of a row as COPY's text format writes them, and where the next row begins."""
    names: tuple[Names | None, ...] = shape.origins or (shape.unnamed,) * count
    if len(names) != count:
        names = (None,) * count
    shown: list[str] = []
    for name in names:
        if at == len(data):
            break
        length = int.from_bytes(data[at : at + 4], "big", signed=True)
        end = at + 4 + max(length, 0)
        if length < -1 or end > len(data):
            return [*shown, values.withhold(data[at:])], len(data)
        shown.append("\\N" if length < 0 else _value(shape, data[at + 4 : end], name, values))
        at = end
    return shown, at


def _behind_header(data: bytes) -> int:
    """Where the first row begins; 0 if this is no binary COPY, or one of which a reader must know more."""
    flags, extension = int.from_bytes(data[11:15], "big"), int.from_bytes(data[15:19], "big")
    known = data.startswith(SIGNATURE) and flags < 1 << 16 and 19 + extension <= len(data)
    return 19 + extension if known else 0


def _value(shape: Shape, raw: bytes, name: Names | None, values: Values) -> str:
    """Types are not known, so only text is read, and whatever else looks like it."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return values.withhold(raw)
    if name is None or not text.translate(_SPACES).isprintable():
        return values.withhold(raw)
    return _written(_AS_TEXT, values.masked(text, _name(shape, name, text)))
