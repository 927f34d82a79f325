"""Runs the detectors over a text and everything encoded in it; gives findings at places of the text.

Text that no filter matches costs one scan of one `re2.Set`. A view is searched; its escapes are undone and it
is searched again; its blobs are opened, and so on to `DEPTH`. A blob still closed below that is withheld.
The set cannot fail open: re2 gives up a set only where 20 states do not fit in its memory, and that is
known when it is built (`Filters`).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TypeAlias

import re2

from mask import encodings, named
from mask.encodings import Budget
from mask.fields import Fields
from mask.kinds import Detector, DetectorFailed, Family, Finding, Kind, options
from mask.normal import Piece, View, rewritten, view
from mask.replace import Replaced, is_json, merged
from mask.values import VALUES
from wire.generations import Generations

DEPTH = 3
ESCAPES = 6  # escapes in escapes of another kind (`%5Cu0034`) that are followed, at each depth
MOST_TEXT = 4 << 20  # characters; more is withheld
MOST_FINDINGS = 200_000
SHORTEST = 5  # characters of the shortest thing that is found without a name: `a@b.c`
SHORTEST_WORD = 12  # and of the shortest that is nothing but letters and digits: a card number
AT_ONCE = 8  # texts that are looked at in one go
MEMORY = 64 << 20  # bytes that one set may use for its states

KEPT = frozenset((Kind.CARD, Kind.SSN, Kind.EMAIL, Kind.IBAN))
"""What a rule `keep` keeps. Secrets are never kept: see `mask.fields`."""

_TOKEN = re.compile(rb"tok:[a-z_]{2,20}:[a-z2-7]{20}(?![a-z2-7])")
_MARK = -1  # whose the marks of escapes are: no detector's
_PROBE = b"\x82\x82PROBE\x82\x82"
"""In no view: barriers stand for characters that are masked."""


Place: TypeAlias = tuple[int, int]
"""From the first character to behind the last."""


class TooMuch(Exception):
    """More than this room takes on. Carries nothing."""


class _Set:
    """Some filters, and by number in the set whose each is."""

    def __init__(self, filters: Iterable[tuple[int, bytes]]) -> None:
        chosen = options()
        chosen.max_mem = MEMORY
        self.set = re2.Set.SearchSet(chosen)
        self.whose: list[int] = []
        for nth, pattern in filters:
            self.set.Add(pattern)
            self.whose.append(nth)
        self.set.Add(_PROBE)
        self.whose.append(self.whose[0])  # where a text has the probe between barriers: it is searched in vain
        self.set.Compile()
        if self.set.Match(_PROBE) is None:
            raise MemoryError("the filters of the mask do not fit in memory")


class Filters:
    """The filters of some detectors by their families, and those of what may be encoded."""

    def __init__(self, detectors: Sequence[Detector]) -> None:
        self.detectors = tuple(detectors)
        numbered = list(enumerate(detectors))
        families = [[(nth, p) for nth, each in numbered if each.family is family for p in each.filters]
                    for family in Family]  # fmt: skip
        encoded = [(len(detectors), pattern) for pattern in encodings.FILTERS]  # one more than there are detectors
        encoded += [(_MARK, pattern) for pattern in encodings.MARKS]
        self._sets = [_Set(filters) for filters in (*families, encoded) if filters]

    def clean(self, data: bytes) -> bool:
        """Nothing matches, and nothing is escaped."""
        for each in self._sets:  # noqa: SIM110  a generator costs as much as one of the sets
            if each.set.Match(data) is not None:
                return False
        return True

    def sift(self, texts: Sequence[bytes], clean: list[bool]) -> None:
        """Takes `clean` from those in which something matches. Several are looked at in one go, line by line, because
        a look costs as much as reading hundreds of characters: no filter matches less for a line before or behind."""
        for each in self._sets:
            for at in range(0, len(texts), AT_ONCE):
                some = texts[at : at + AT_ONCE]
                if each.set.Match(b"\n".join(some)) is not None:
                    for n, text in enumerate(some, at):
                        clean[n] = clean[n] and each.set.Match(text) is None

    def hits(self, here: View) -> list[int]:
        """Whose filters match, by number: in order, because the same text has the same answer."""
        found = {each.whose[n] for each in self._sets for n in each.set.Match(here.data) or ()}
        return sorted(found - {_MARK})


class Search:
    """What one policy looks for. Built once and shared: building costs milliseconds."""

    def __init__(self, fields: Fields, values: Sequence[Detector] = VALUES) -> None:
        self.fields = fields
        self.by_name = named.detector(fields)
        self._located = named.locator(fields)
        self.with_names = Filters((*values, self.by_name))
        self._without = Filters(values)
        self.numeric: Generations[bytes, bool] = Generations(4096, 8 << 20)
        """Statements, by their blind key: are their constants numbers alone, and without a name that has a rule?"""
        self.plain: Generations[str, bool] = Generations(4096, 8 << 20)
        """Statements in which nothing is masked, whoever says them."""

    def clean(self, data: bytes) -> bool:
        """Nothing is in these bytes of a view, and nothing is encoded in them."""
        return self.with_names.clean(data)

    def clean_of(self, texts: Sequence[str]) -> list[bool]:
        """Of each, whether it is seen at a glance that `all` finds nothing."""
        views = [text.encode("ascii") if text.isascii() else view(text).data for text in texts]
        clean = [len(each) <= MOST_TEXT for each in views]
        self.with_names.sift(views, clean)
        return clean

    def all(
        self,
        text: str,
        *,
        names: bool = True,
        around: Sequence[Place] = (),
        kept: Sequence[Place] = (),
    ) -> list[Replaced]:
        """In order and apart. Nothing is found in or across the places `around` which it is to look, and
        secrets alone in those `kept`. Without `names`, what is encoded in the text is searched by names all the same:
        the text is SQL, where a name is code, and that is none. Raises DetectorFailed, TooMuch."""
        if len(text) > MOST_TEXT:
            raise TooMuch
        views = [_without_tokens(view(text))]
        if around:
            views = [views[0].blanked(around)]
        elif "\\" in text and is_json(text):
            views.append(rewritten(views[0], encodings.json_escapes(views[0])))
        filters = self.with_names if names else self._without
        hits = filters.hits(views[-1])
        if not hits and not encodings.has_any(views[-1].data):
            return []
        run = _Run(self, filters, views, names, kept)
        run.through(hits)
        return merged(run.findings, text) if run.findings else []

    def secrets(self, text: str) -> list[Replaced]:
        """What must be replaced even where the user's rule keeps the value."""
        return self.all(text, kept=[(0, len(text))])

    def kept(self, here: View) -> Iterable[Place]:
        return named.kept(here, self.fields, self._located)


class _Run:
    """One text under search."""

    def __init__(
        self,
        search: Search,
        filters: Filters,
        views: list[View],
        names: bool,
        kept: Iterable[Place] = (),
        beside: _Run | None = None,
    ) -> None:
        """`beside`: the run of which this is another reading; what that may still do is shared."""
        self._search, self._filters, self._names = search, filters, names
        self._decoded: list[Place] = []
        self._code: list[Place] | None = None
        """Where something was decoded, and what names would have said before that; of a text whose names are code."""
        self._view = views[-1]
        self._moved = [each for each in views if each.moves]
        """The views, from the text up, in which places are not those of the view below."""
        self._readings: int = beside._readings + 1 if beside else 0
        self._depth: int = beside._depth if beside else 0
        self._budget: Budget = beside._budget if beside else Budget()
        self._kept: list[Place] = [*kept]
        self.findings: list[Finding] = []

    def through(self, hits: list[int]) -> None:
        blobs = self._look(hits)
        for depth in range(self._depth, DEPTH + 1):
            self._depth = depth
            for _ in range(ESCAPES):
                here = self._view
                if not (encodings.has_escapes(here.data) and (pieces := encodings.escapes(here))):
                    break
                blobs = self._look_into(pieces)
            else:
                raise TooMuch
            if not blobs:
                break
            opened = encodings.blobs(self._view, self._budget)
            closed = opened.unreadable + ([piece[:2] for piece in opened.pieces] if depth == DEPTH else [])
            self._add([Finding(*span, Kind.ENCODED, "", withhold=True) for span in closed])
            if depth == DEPTH or not opened.pieces:
                break
            blobs = self._look_into(opened.pieces)
        if self._kept:
            self.findings = _without_kept(self.findings, sorted(self._kept))

    def _look_beside(self, pieces: Sequence[Piece]) -> None:
        """Searches a reading of the newest view that may be wrong: what is found is found, all else goes on without."""
        if self._readings == DEPTH:
            raise TooMuch
        above, filters = rewritten(self._view, pieces), self._search.with_names
        run = _Run(self._search, filters, [*self._moved, above], self._names, beside=self)
        self._decodes(pieces)
        run._decoded, run._code = [*self._decoded], self._code
        run.through(filters.hits(above))
        self.findings += run.findings

    def _decodes(self, pieces: Sequence[Piece]) -> None:
        if self._names:
            return
        if self._code is None:
            self._code = [self._place(each.start, each.end) for each in found(self._search.by_name, self._view)]
        self._decoded += (self._place(start, end) for start, end, _ in pieces)

    def _look_into(self, pieces: Sequence[Piece]) -> bool:
        self._decodes(pieces)
        self._filters = self._search.with_names
        self._view = above = rewritten(self._view, pieces)
        self._moved.append(above)
        return self._look(self._filters.hits(above))

    def _look(self, hits: list[int]) -> bool:
        """Searches the newest view. Whether something may be encoded in it."""
        detectors, by_name = self._filters.detectors, self._search.by_name
        for nth in hits:
            if nth < len(detectors):
                self._add(found(detectors[nth], self._view), everywhere=self._names or detectors[nth] is not by_name)
        if self._names and self._search.fields.keeps:
            self._kept += (self._place(*span) for span in self._search.kept(self._view))
        if encodings.has_quoted(self._view.data):
            self._look_beside(encodings.quoted(self._view))
        return bool(hits) and hits[-1] >= len(detectors)

    def _add(self, findings: list[Finding], *, everywhere: bool = True) -> None:
        if self._moved:
            place = self._place
            findings = [Finding(*place(s, e), kind, value, withhold) for s, e, kind, value, withhold in findings]
        if not everywhere:  # what was decoded is no code, nor is what only a decoded name speaks of
            code, decoded = _touching(findings, self._code or ()), _touching(findings, self._decoded)
            findings = [each for n, each in enumerate(findings) if n in decoded or n not in code]
        self.findings += findings
        if len(self.findings) > MOST_FINDINGS:
            raise TooMuch

    def _place(self, start: int, end: int) -> Place:
        """The same place in the text."""
        for each in reversed(self._moved):
            start, end = each.below(start, end)
        return start, end


def _touching(findings: Sequence[Finding], places: Iterable[Place]) -> set[int]:
    """Which of them are in one of these places or across it."""
    starts, ends = list[int](), list[int]()
    for start, end in sorted(places):
        if ends and start <= ends[-1]:
            ends[-1] = max(ends[-1], end)
        else:
            starts.append(start)
            ends.append(end)
    return {
        n
        for n, each in enumerate(findings)
        if (nth := bisect_right(ends, each.start)) < len(ends) and starts[nth] < each.end
    }


def _without_tokens(here: View) -> View:
    """What is masked is not looked at, nor is its kind a word that says what stands beside it."""
    return here.blanked(match.span() for match in _TOKEN.finditer(here.data)) if b"tok:" in here.data else here


def found(detector: Detector, here: View) -> list[Finding]:
    """What a detector says, checked. Raises DetectorFailed, which carries nothing of the text."""
    sound, size = True, len(here.data)
    try:
        findings = list(islice(detector.find(here), MOST_FINDINGS + 1))
        for start, end, *_ in findings:
            sound = sound and 0 <= start < end <= size
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
