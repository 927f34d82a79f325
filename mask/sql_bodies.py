"""Names in a text that is no SQL as a whole: the body of a plpgsql function, statements among its own words.

It scans as SQL does, so it is cut at `;` and at the words that statements stand behind, and what parses from a verb on
is read as a statement. An assignment or a declaration names what is behind it: `pw := 'x'`, `pin text DEFAULT 'x'`.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence

from mask.fields import Names
from mask.search import TooMuch
from mask.sql_names import Named, named
from wire.postgres.grammar import LiteralKind, Span, Unparsable, parse

_PARSED = 16
"""How often a text is parsed over, at most: what does not parse is tried again from its next verb on."""
_CUT = re.compile(r";|\b(?:begin|then|else|loop|declare|exception|returning)\b", re.IGNORECASE)
_VERB = re.compile(
    r"\b(?:select|insert|update|delete|merge|with|perform|execute|call|alter|create|set|return(?:\s+query)?)\b",
    re.IGNORECASE,
)
_GIVEN = re.compile(_CUT.pattern + r"|(:=|\bdefault\b)", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d][\w$.]*")


def names(text: str, spans: Sequence[Span]) -> Named:
    """`spans`: the literals of `text`. Parameters of a body are its own, and have no names here. Raises TooMuch."""
    blank = _blanked(text, spans)
    found = Named(constants=_given(blank, spans))
    left = _PARSED * len(text) + 1000
    for start, end in _pieces(blank):
        at = start
        while verb := _VERB.search(blank, at, end):
            at = verb.end()
            for stop in _ends(blank, at, end):
                left -= stop - verb.start()
                if left < 0:
                    raise TooMuch
                if (inner := _read(text, verb, stop)) is not None:
                    found.constants |= {verb.start() + place: called for place, called in inner.items()}
                    at = stop
                    break
    return found


def _blanked(text: str, spans: Sequence[Span]) -> str:
    """Without words that are no words of the body."""
    parts: list[str] = []
    at = 0
    for span in spans:
        if span.kind is not LiteralKind.NUMBER:
            parts += (text[at : span.start], " " * (span.end - span.start))
            at = span.end
    return "".join((*parts, text[at:]))


def _pieces(blank: str) -> Iterator[tuple[int, int]]:
    start = 0
    for piece in blank.split(";"):
        yield start, start + len(piece)
        start += len(piece) + 1


def _ends(blank: str, at: int, end: int) -> tuple[int, ...]:
    """Where a statement may end: with its piece, or before a word of plpgsql's (`FOR x IN SELECT 1 LOOP`)."""
    word = _CUT.search(blank, at, end)
    return (end, word.start()) if word else (end,)


def _read(text: str, verb: re.Match[str], end: int) -> dict[int, Names] | None:
    """PERFORM, RETURN and EXECUTE of a string are SELECT to the grammar; as long, so that places stay."""
    sql, said = text[verb.start() : end], verb[0]
    if said.lower().startswith(("perform", "return", "execute")):
        sql = "SELECT".ljust(len(said)) + sql[len(said) :]
    try:
        return named(parse(sql)).constants
    except Unparsable:
        return None


def _given(blank: str, spans: Sequence[Span]) -> dict[int, Names]:
    """What stands behind `:=` or DEFAULT is called what is first in that statement."""
    places, called = [0], [""]  # from where on, what
    begins = 0
    for match in _GIVEN.finditer(blank):
        if match[1] is None:
            begins = match.end()
        if match[0] == ";":
            places.append(match.start())
            called.append("")
        elif match[1] is not None:
            word = _WORD.search(blank, begins, match.start())
            begins = begins if word else match.end()
            places.append(match.start())
            called.append(word[0] if word else "")
    found = {span.start: called[bisect_right(places, span.start) - 1] for span in spans}
    return {place: (name,) for place, name in found.items() if name}
