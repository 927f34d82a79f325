"""Signals: named reasons for concern, and the score they add up to. The tables are `signals.yaml`, one a protocol.

score = for each axis its worst signal; the axes added; at most 100
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, lru_cache

from policy import package_yaml
from policy.aws.marks import Mark as AwsMark
from policy.kubernetes.marks import Mark as KubernetesMark
from policy.sql.marks import Mark as SqlMark
from schemas.records import Band

_TABLES: tuple[tuple[str, type[StrEnum]], ...] = (
    ("policy", SqlMark),
    ("policy.aws", AwsMark),
    ("policy.kubernetes", KubernetesMark),
)
"""Where a `signals.yaml` lies, and the marks that it has rows for. No two marks are spelt alike."""


class Axis(StrEnum):
    DATA_LOSS = "data-loss"
    EXPOSURE = "exposure"
    AVAILABILITY = "availability"
    PRIVILEGE = "privilege"


@dataclass(frozen=True, slots=True)
class Signal:
    mark: StrEnum
    id: str  # `Purpose:Target/What`
    axis: Axis
    points: int
    production: int  # points where the environment is production
    reason: str
    instead: str  # what to do instead; "" where there is nothing to say
    false_positives: str
    reference: str  # a page of the maker's about what is done


@cache
def table() -> dict[StrEnum, Signal]:
    return {mark: signal for package, marks in _TABLES for mark, signal in _rows(package, marks)}


def _rows(package: str, marks: type[StrEnum]) -> Iterator[tuple[StrEnum, Signal]]:
    for row in package_yaml.load(package, "signals.yaml")["signals"]:
        mark = marks(row["mark"])
        yield (
            mark,
            Signal(
                mark,
                row["id"],
                Axis(row["axis"]),
                row["points"],
                row.get("production", row["points"]),
                row["reason"],
                row["instead"],
                row["false_positives"],
                row["reference"],
            ),
        )


def signals(marks: Iterable[StrEnum], environment: str) -> tuple[Signal, ...]:
    """The signals of some marks, worst first. A signal of no points is none."""
    known = table()
    found = [signal for mark in marks if points(signal := known[mark], environment)]
    found.sort(key=lambda signal: (-points(signal, environment), signal.id))
    return tuple(found)


@lru_cache(maxsize=4096)  # commands have few sets of marks, sessions fewer environments
def weigh(marks: frozenset[StrEnum], environment: str) -> tuple[tuple[str, ...], int]:
    """The ids of the signals of some marks, worst first, and their score."""
    found = signals(marks, environment)
    return tuple(signal.id for signal in found), score(found, environment)


def points(signal: Signal, environment: str) -> int:
    return signal.production if environment.lower().startswith("prod") else signal.points


def by_axis(ids: Iterable[str], environment: str) -> dict[Axis, int]:
    """The points of each axis: its worst signal's. Ids that this version does not have count nothing."""
    worst: dict[Axis, int] = {}
    for each in ids:
        if each in _by_id():
            signal = _by_id()[each]
            worst[signal.axis] = max(worst.get(signal.axis, 0), points(signal, environment))
    return worst


@cache
def _by_id() -> dict[str, Signal]:
    return {signal.id: signal for signal in table().values()}


def score(found: Iterable[Signal], environment: str) -> int:
    worst: dict[Axis, int] = {}
    for signal in found:
        worst[signal.axis] = max(worst.get(signal.axis, 0), points(signal, environment))
    return min(100, sum(worst.values()))


def band(score_: int) -> Band:
    if score_ >= 90:
        return Band.CRITICAL
    if score_ >= 70:
        return Band.HIGH
    return Band.MEDIUM if score_ >= 40 else Band.LOW
