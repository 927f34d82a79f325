"""The face of the room: one `Masker` a session, and what it answers.

    masker = masker_for(token_secret, rules.field_rules)(session)
    masked = masker.value("536904399", "ssn")     # .text, .found, .withheld

Never raises, whatever the text: a fault of any detector, or a text that is too much, withholds the whole
value, and `.failed` names the detector, or the module of this room. An exception never carries traffic.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from mask import copied, literals
from mask.copy_shape import Shape
from mask.fields import Fields, Names, Ruling
from mask.kinds import Detector, DetectorFailed, Finding, Kind
from mask.replace import Counts, Replaced, replaced
from mask.search import SHORTEST, SHORTEST_WORD, Search, TooMuch
from mask.tokens import Tokens, is_masked
from mask.values import OPTIONAL, VALUES
from schemas.ids import SessionId
from schemas.judging import Detect, FieldAction, FieldRule
from schemas.records import Found

__all__ = ["Copied", "Masked", "Masker", "Tokens", "masker_for"]

VERSION = "mask6"
"""Raised with every change of what is masked, but for the table of detectors, which has a digest of its own."""
MOST_COPIED = 512 * 1024
"""Characters shown of one COPY: a token is many times as long as the shortest value that it stands for."""
_ROW = 4  # what a row costs besides, so that a million empty ones are too much too


class Masked(NamedTuple):
    """`text` is None for a NULL. `found` by type, in order of the type; `withheld`: values not shown at all;
    `failed`: how many of them because of a fault, by what failed."""

    text: str | None
    found: tuple[Found, ...] = ()
    withheld: int = 0
    failed: tuple[Found, ...] = ()
    hidden: tuple[tuple[str, str], ...] = ()
    """What was replaced for its name alone, and by what: no detector would know it where it is said again."""


class Copied(NamedTuple):
    """The rows of a COPY. `cut`: there were more, above what is shown of one."""

    rows: tuple[str, ...]
    found: tuple[Found, ...] = ()
    withheld: int = 0
    failed: tuple[Found, ...] = ()
    cut: bool = False


def _harmless(text: str) -> bool:
    """Too short for anything: most cells are."""
    length = len(text)
    return length < SHORTEST or (length < SHORTEST_WORD and text.isalnum() and text.isascii())


_NULL = Masked(None)
_BOOLEANS = frozenset(("", "t", "f", "true", "false"))


class Masker:
    """Masks what one session said. Stateless but for its keys; the rules may be shared: see `masker_for`."""

    def __init__(
        self,
        tokens: Tokens,
        field_rules: Iterable[FieldRule] = (),
        *,
        detectors: Sequence[Detector] = VALUES,
        search: Search | None = None,
    ) -> None:
        """`search` is what `field_rules` and `detectors` were already built into."""
        self._tokens = tokens
        self._search = search or Search(Fields(field_rules), detectors)
        self._fields = self._search.fields

    def value(self, value: str | None, column: str | Names = "") -> Masked:
        """A value of a row or a parameter, as text; None is NULL and stays so."""
        return _NULL if value is None else self.text(value, column)

    def text(self, text: str, name: str | Names = "") -> Masked:
        """Any text, under the name of its field, or all its names, if it has any."""
        if not name and _harmless(text):
            return Masked(text)
        try:
            ruling = self._fields.judge(name)
            if ruling is not None:
                return self._ruled(text, ruling)
            if _harmless(text) or (text.isascii() and self._search.clean(text.encode("ascii"))):
                return Masked(text)
            return self._replaced(text, self._search.all(text))
        except Exception as e:  # noqa: BLE001  fails closed: whatever failed, the text is not passed
            return self._withheld(text, e)

    def speaks_of(self, text: str) -> bool:
        """Whether names in this text may have a say: see `Fields.speaks_of`."""
        return self._fields.hides or self._fields.speaks_of(text)  # what nobody names may be hidden, too

    def unreadable(self, raw: bytes) -> Masked:
        """What is no text, or of a type that nobody reads here: withheld."""
        return Masked(self._tokens.unreadable(raw), (), 1) if raw else Masked("")

    def sql(self, sql: str) -> Masked:
        """A command. Constants are masked by what the grammar says of them, the rest by the detectors."""
        try:
            counts = Counts()
            shown = literals.mask_sql(sql, self._search, self._tokens, counts)
            return Masked(shown, counts.found(), counts.withheld, hidden=tuple(counts.hidden.items()))
        except Exception as e:  # noqa: BLE001
            return self._withheld(sql, e)

    def copied(self, shapes: tuple[Shape | None, ...], data: bytes, *, whole: bool) -> Copied:
        """The data of a COPY, row by row: see `mask.copied.rows`."""
        values = copied.Values(self.text, self._tokens.unreadable, self._denies, self._search.clean_of)
        shown: list[str] = []
        size = 0
        try:
            for row in copied.rows(shapes, data, values, whole=whole):
                size += len(row) + _ROW
                if size > MOST_COPIED:
                    break
                shown.append(row)
        except Exception as e:  # noqa: BLE001
            return Copied((self._tokens.unreadable(data),), (), 1, _fault(e))
        return Copied(tuple(shown), counted(values.found), values.withheld, counted(values.failed), size > MOST_COPIED)

    def _denies(self, name: str | Names) -> bool:
        ruling = self._fields.judge(name)
        return ruling is not None and ruling.action is not FieldAction.KEEP

    def _withheld(self, text: str, why: Exception) -> Masked:
        return Masked(self._tokens.withheld(text), (), 1, _fault(why))

    def _ruled(self, text: str, ruling: Ruling) -> Masked:
        if ruling.action is FieldAction.KEEP:
            return self._replaced(text, self._search.secrets(text))
        if (text in _BOOLEANS and ruling.kind is not Kind.FIELD) or is_masked(text):
            return Masked(text)
        withhold = ruling.action is FieldAction.WITHHOLD
        one = Finding(0, len(text), ruling.kind, text, withhold)
        shown = self._tokens.of(one)
        return Masked(shown, (Found(ruling.kind, 1),), int(withhold), hidden=((text, shown),))

    def _replaced(self, text: str, places: list[Replaced]) -> Masked:
        if not places:
            return Masked(text)
        counts = Counts().add(places)
        return Masked(replaced(text, places, self._tokens), counts.found(), counts.withheld)


def counted(counts: Mapping[str, int]) -> tuple[Found, ...]:
    """In order of the type: the same text gives the same bytes."""
    return tuple(Found(each, count) for each, count in sorted(counts.items()))


def _fault(error: Exception) -> tuple[Found, ...]:
    """Whose fault it is: a detector's, or the module of this room that was reached last. Nobody's where the text was
    too much: that is a limit, and the same for everybody."""
    if isinstance(error, TooMuch):
        return ()
    if isinstance(error, DetectorFailed):
        return (Found(str(error), 1),)
    module, place = __name__, error.__traceback__
    while place is not None:
        name = str(place.tb_frame.f_globals.get("__name__", ""))
        module, place = (name if name.startswith("mask.") else module), place.tb_next
    return (Found(module.removeprefix("mask."), 1),)


def table(detect: Collection[Detect] = ()) -> tuple[Detector, ...]:
    """The detectors that run: all, and of those on request the ones that are named."""
    return (*VALUES, *(each for each in OPTIONAL if each.name in detect))


def engine(detect: Collection[Detect] = ()) -> str:
    """What entries say of the mask: its version, a digest of its detectors' names and filters, those on request."""
    digest = hashlib.sha256()
    for each in VALUES:
        digest.update(each.name.encode() + b"\0" + b"\0".join(each.filters) + b"\n")
    return "+".join(
        (f"{VERSION}.{digest.hexdigest()[:8]}", *sorted(each.name for each in OPTIONAL if each.name in detect))
    )


def masker_for(
    secret: bytes, field_rules: Iterable[FieldRule] = (), detect: Collection[Detect] = ()
) -> Callable[[SessionId], Masker]:
    """Makes maskers of sessions: the rules are built once, and an unbuildable rule fails here.
    `detect`: what is looked for besides."""
    search = Search(Fields(field_rules), table(detect))
    return lambda session: Masker(Tokens(secret, session), search=search)
