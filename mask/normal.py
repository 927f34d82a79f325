"""One plain form of text to search in, and the way back to the places in the original.

A *view* is text as a detector wants it: every character folded (compatibility forms, all of Unicode's
digits, dashes and spaces to ASCII; combining marks and invisible characters dropped) and, beside it, one
byte a character: ASCII as it is, `LETTER` and `SYMBOL` for the rest, `BARRIER` for what is masked already.
ASCII text is its own view. Views of decoded text (`mask.encodings`) are made by `rewritten`.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence

LETTER, SYMBOL, BARRIER = "\x80", "\x81", "\x82"
REMEMBERED = 8192  # characters in each table: hostile text brings a million different ones

Piece = tuple[int, int, str]
"""Characters `start` to `end` of the text below stand for this text."""


class _Fold(dict[int, str]):
    def __missing__(self, code: int) -> str:
        folded = _fold(chr(code))
        if len(self) < REMEMBERED:
            self[code] = folded
        return folded


class _Classes(dict[int, str]):
    def __missing__(self, code: int) -> str:
        char = chr(code)
        return LETTER if char.isalnum() else SYMBOL


_DASHES = frozenset("\u2212\u2043\u02d7\u30fc\u2015")
_STOPS = frozenset("\u3002\u00b7\u2022\u2027\u30fb")


def _fold(char: str) -> str:
    if char in _STOPS:
        return "."
    return "".join(filter(None, (_fold_one(c) for c in unicodedata.normalize("NFKD", char))))


def _fold_one(char: str) -> str:
    if "\x20" <= char <= "\x7e" or char in "\t\n\r":
        return char
    category = unicodedata.category(char)
    if category in ("Mn", "Me", "Mc", "Cf"):
        return ""
    digit = unicodedata.digit(char, None)
    if digit is not None:
        return str(digit)
    if category == "Pd" or char in _DASHES:
        return "-"
    if category in ("Zl", "Zp"):
        return "\n"
    if category in ("Zs", "Cc"):
        return " " if ord(char) > 0x7F else char
    return char


_FOLD = _Fold({c: chr(c) for c in range(128)})
_CLASSES = _Classes({**{c: chr(c) for c in range(128)}, ord(BARRIER): BARRIER})


class View:
    """Text to search in. `text` and `data` have one item for the same character."""

    __slots__ = ("_pieces", "_rewrites", "_starts", "data", "text")

    def __init__(self, text: str, data: bytes, rewrites: Callable[[], list[Piece]] = list) -> None:
        """`rewrites` is asked once, when a place below is wanted: most texts have nothing in them."""
        self.text = text
        self.data = data
        self._rewrites = rewrites
        self._pieces: list[Piece] | None = None
        self._starts: list[int] = []

    def __repr__(self) -> str:
        return f"View({len(self.data)} characters)"

    @property
    def moves(self) -> bool:
        """Whether a place here may be another one below."""
        return self._rewrites is not list

    def below(self, start: int, end: int) -> tuple[int, int]:
        """The same characters in the text that this view was made of, rounded outwards. `start` < `end`."""
        if self._pieces is None:
            self._pieces = self._rewrites()
            self._starts = _starts(self._pieces)
        if not self._pieces:
            return start, end
        return self._place(start)[0], self._place(end - 1)[1]

    def _place(self, at: int) -> tuple[int, int]:
        """What character `at` stands for below."""
        nth = bisect_right(self._starts, at) - 1
        if nth < 0 or self._pieces is None:
            return at, at + 1
        first, end, text = self._pieces[nth]
        inside = at - self._starts[nth]
        if inside < len(text):
            return first, end
        place = end + inside - len(text)
        return place, place + 1

    def blanked(self, spans: Iterable[tuple[int, int]]) -> View:
        """The same view in which nothing is found in, or across, these spans. In order and apart."""
        data = bytearray(self.data)
        parts: list[str] = []
        at = 0
        for start, end in spans:
            data[start:end] = b"\x82" * (end - start)
            parts += (self.text[at:start], BARRIER * (end - start))
            at = end
        parts.append(self.text[at:])
        return View("".join(parts), bytes(data), self._rewrites)


def view(text: str) -> View:
    """The view of a text as it came. Linear; ASCII costs one copy."""
    if text.isascii():
        return View(text, text.encode("ascii"))
    plain = text.translate(_FOLD)
    return View(plain, _bytes(plain), lambda: _folds(text))


def folded(text: str) -> str:
    """The text as a view has it."""
    return text if text.isascii() else text.translate(_FOLD)


def rewritten(below: View, pieces: Sequence[Piece]) -> View:
    """A view in which each piece of `below.text` is replaced. Pieces are in order and apart.
    `View.below` of the result gives places in `below`."""
    parts: list[str] = []
    kept: list[Piece] = []
    at = 0
    for start, end, text in pieces:
        plain = folded(text)
        parts += (below.text[at:start], plain)
        kept.append((start, end, plain))
        at = end
    parts.append(below.text[at:])
    text = "".join(parts)
    return View(text, _bytes(text), lambda: kept)


def _bytes(text: str) -> bytes:
    return text.encode("ascii") if text.isascii() else text.translate(_CLASSES).encode("latin-1")


def _starts(pieces: Sequence[Piece]) -> list[int]:
    """Where each piece starts in the view."""
    starts, shift = [], 0
    for start, end, text in pieces:
        starts.append(start + shift)
        shift += len(text) - (end - start)
    return starts


def _folds(text: str) -> list[Piece]:
    """The characters that became none or several."""
    return [
        (at, at + 1, plain) for at, char in enumerate(text) if char > "\x7f" and len(plain := _FOLD[ord(char)]) != 1
    ]
