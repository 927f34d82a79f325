"""Runs the detectors over a text and everything encoded in it; gives findings at places of the text.

Text that no filter matches costs one scan of one `re2.Set`. A view is searched; its escapes are undone and it
is searched again; its blobs are opened, and so on to `DEPTH`. A blob still closed below that is withheld.
The set cannot fail open: re2 gives up a set only where 20 states do not fit in its memory, and that is
known when it is built (`Filters`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import re2

from mask import encodings, named
from mask.encodings import Budget
from mask.fields import Fields
from mask.kinds import Detector, DetectorFailed, Finding, Kind, compiled, options
from mask.normal import View, rewritten, view
from mask.replace import Replaced, merged
from mask.values import card, personal, secrets
from wire.generations import Generations

DEPTH = 3
MOST_TEXT = 4 << 20  # characters; more is withheld
MOST_FINDINGS = 200_000
SHORTEST = 5  # characters of the shortest thing that is found without a name: `a@b.c`
SHORTEST_WORD = 12  # and of the shortest that is nothing but letters and digits: a card number
MEMORY = 64 << 20  # bytes that one set may use for its states

VALUES: tuple[Detector, ...] = (card.DETECTOR, *personal.DETECTORS, *secrets.DETECTORS)
KEPT = frozenset((Kind.CARD, Kind.SSN, Kind.EMAIL, Kind.IBAN))
"""What a rule `keep` keeps. Secrets are never kept: see `mask.fields`."""

_PROBE = b"\x82\x82PROBE\x82\x82"
"""In no view: barriers stand for characters that are masked."""


Place: TypeAlias = tuple[int, int]
"""From the first character to behind the last."""


class TooMuch(Exception):
    """More than this room takes on. Carries nothing."""


class Filters:
    """The filters of some detectors, and of what may be encoded, as one set."""

    def __init__(self, detectors: Sequence[Detector]) -> None:
        self.detectors = tuple(detectors)
        self.whose: list[int] = []
        """By number in the set, the number of the detector; one more than those there are for an encoding."""
        chosen = options()
        chosen.max_mem = MEMORY
        self.set = re2.Set.SearchSet(chosen)
        for nth, patterns in enumerate((*(each.filters for each in detectors), (*encodings.FILTERS, _PROBE))):
            for pattern in patterns:
                self.set.Add(pattern)
                self.whose.append(nth)
        self.set.Compile()
        if self.set.Match(_PROBE) is None:
            raise MemoryError("the filters of the mask do not fit in memory")


class Search:
    """What one policy looks for. Built once and shared: building costs milliseconds."""

    def __init__(self, fields: Fields, values: Sequence[Detector] = VALUES) -> None:
        self.fields = fields
        by_name = named.detector(fields)
        self._located = compiled(by_name.filters[0])
        self._with_names = Filters((*values, by_name))
        self._without = Filters(values)
        self.numeric: Generations[bytes, bool] = Generations(4096, 8 << 20)
        """Statements, by their blind key: are their constants numbers alone, and without a name that has a rule?"""
        self._filters = self._with_names.set

    def clean(self, data: bytes) -> bool:
        """Nothing is in these bytes of a view, and nothing is encoded in them."""
        return self._filters.Match(data) is None and not encodings.has_escapes(data)

    def all(
        self,
        text: str,
        *,
        names: bool = True,
        around: Sequence[Place] = (),
        kept: Sequence[Place] = (),
    ) -> list[Replaced]:
        """In order and apart. Nothing is found in or across the places `around` which it is to look, and
        secrets alone in those `kept`. Raises DetectorFailed, TooMuch."""
        if len(text) > MOST_TEXT:
            raise TooMuch
        run = _Run(self, text, names, around, kept)
        run.through()
        return merged(run.findings, text) if run.findings else []

    def secrets(self, text: str) -> list[Replaced]:
        """What must be replaced even where the user's rule keeps the value."""
        return self.all(text, kept=[(0, len(text))])

    def chosen(self, names: bool) -> Filters:
        return self._with_names if names else self._without

    def kept(self, here: View) -> Iterable[Place]:
        return named.kept(here, self.fields, self._located) if self.fields.keeps else ()


class _Run:
    """One text under search."""

    def __init__(self, search: Search, text: str, names: bool, around: Sequence[Place], kept: Iterable[Place]) -> None:
        first = view(text)
        self._search, self._names = search, names
        self._views = [first.blanked(around) if around else first]
        self._budget = Budget()
        self._kept: list[Place] = [*kept]
        self.findings: list[Finding] = []

    def through(self) -> None:
        blobs = self._look()
        for depth in range(DEPTH + 1):
            last = self._views[-1]
            if encodings.has_escapes(last.data) and (pieces := encodings.escapes(last)):
                blobs = self._look(rewritten(last, pieces))
            if not blobs:
                break
            opened = encodings.blobs(self._views[-1], self._budget)
            closed = opened.unreadable + ([piece[:2] for piece in opened.pieces] if depth == DEPTH else [])
            self._add(Finding(*span, Kind.ENCODED, "", withhold=True) for span in closed)
            if depth == DEPTH or not opened.pieces:
                break
            blobs = self._look(rewritten(self._views[-1], opened.pieces))
        if self._kept:
            self.findings = _without_kept(self.findings, sorted(self._kept))

    def _look(self, here: View | None = None) -> bool:
        """Searches the last view. Whether something may be encoded in it."""
        if here is not None:
            self._views.append(here)
        here = self._views[-1]
        filters = self._search.chosen(self._names)
        hits = filters.set.Match(here.data)
        if hits is None:
            return False
        blobs = False
        for nth in sorted({filters.whose[hit] for hit in hits}):  # in order: the same text, the same answer
            if nth < len(filters.detectors):
                self._add(found(filters.detectors[nth], here))
            else:
                blobs = True
        if self._names:
            self._kept += (self._place(span) for span in self._search.kept(here))
        return blobs

    def _add(self, findings: Iterable[Finding]) -> None:
        for each in findings:
            start, end = self._place(each[:2])
            self.findings.append(each._replace(start=start, end=end))
        if len(self.findings) > MOST_FINDINGS:
            raise TooMuch

    def _place(self, span: Place) -> Place:
        """The same place in the text."""
        for each in reversed(self._views):
            span = each.below(*span)
        return span


def found(detector: Detector, here: View) -> list[Finding]:
    """What a detector says, checked. Raises DetectorFailed, which carries nothing of the text."""
    try:
        findings = list(detector.find(here))
        sound = all(0 <= each.start < each.end <= len(here.data) for each in findings)
    except Exception:  # noqa: BLE001  whatever it was may quote the text; the caller withholds
        sound = False
    if not sound:
        raise DetectorFailed(detector.name) from None
    return findings


def _without_kept(findings: Iterable[Finding], kept: list[Place]) -> list[Finding]:
    starts = [start for start, _ in kept]
    left = []
    for each in findings:
        nth = bisect_right(starts, each.start) - 1
        if each.kind not in KEPT or nth < 0 or kept[nth][1] < each.end:
            left.append(each)
    return left
