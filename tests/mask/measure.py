"""Recall and precision of the mask on texts whose values are known.

A planted value is *found* when nothing of it is left outside of what is replaced, whatever it was taken for. A
replacement is *false* when it covers no planted value; it counts against the type that it was given.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from mask.search import Search
from tests.mask.corpora import Planted


@dataclass(slots=True)
class Score:
    planted: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    false: Counter[str] = field(default_factory=Counter)
    missed: list[tuple[str, str]] = field(default_factory=list)
    """(type, text): for who looks into it."""
    alarms: list[tuple[str, str]] = field(default_factory=list)
    size: int = 0

    def recall(self, kind: str) -> float:
        return self.found[kind] / max(1, self.planted[kind])

    def precision(self, kind: str) -> float:
        return self.found[kind] / max(1, self.found[kind] + self.false[kind])


def measure(search: Search, texts: Iterable[Planted], score: Score | None = None) -> Score:
    score = score or Score()
    for text, truth in texts:
        score.size += len(text)
        places = search.all(text)
        for start, end, kind in truth:
            score.planted[kind] += 1
            if any(each.start <= start and end <= each.end for each in places):
                score.found[kind] += 1
            else:
                score.missed.append((kind, text))
        for each in places:
            if not any(each.start < end and start < each.end for start, end, _ in truth):
                for kind in each.kinds:
                    score.false[kind.value] += 1
                    score.alarms.append((kind.value, text[max(0, each.start - 40) : each.end + 20]))
    return score
