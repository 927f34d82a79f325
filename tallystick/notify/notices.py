"""From a record to words: which records a person is told of, and what is said. Pure.

A new kind of record is a line of `_WORDS` and a function that gives its `Told` (`requests.py`, `alarms.py`). What is
said comes from leaves alone: names passed the mask's detectors, values and reviewers' reasons are not in them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from schemas.ids import Position, Source
from schemas.records import LeafBody
from tallystick.notify import alarms, requests
from tallystick.notify.kinds import Kind
from tallystick.notify.requests import Memory
from tallystick.notify.told import Told


@dataclass(frozen=True, slots=True)
class Notice:
    """Told, with its place: `id` is the same whenever the same record is read again."""

    id: str
    at_us: int
    offset: int  # of the message of `events` that it came in
    told: Told


_WORDS: dict[str, Callable[[Any, Memory], Told | None]] = {
    "ApprovalRequest": requests.opened,
    "Vote": requests.voted,
    "ApprovalMoved": requests.moved,
    "Gap": alarms.gap,
    "Undecoded": alarms.undecoded,
    "Conflict": alarms.conflict,
    "ScreenDisagrees": alarms.disagrees,
    "MaskingFailed": alarms.masking,
    "HoldGone": alarms.hold_gone,
    "ReviewOverdue": alarms.overdue,
    "Alert": alarms.alert,
    "RuleAlerted": alarms.rule,
    "Suspended": alarms.suspended,
    "Resumed": alarms.resumed,
}
"""By the name of a leaf's record."""

TOLD_OF = frozenset(_WORDS)


def notice(body: LeafBody, source: Source, at: Position, time_us: int, offset: int, memory: Memory) -> Notice | None:
    """None where there is nothing to tell. What the record says of a request is remembered."""
    say = _WORDS.get(type(body).__name__)
    told = say(body, memory) if say else None
    if told is None:
        return None
    name = hashlib.sha256(f"{source} {at.major} {at.minor} {at.index}".encode()).hexdigest()[:32]
    return Notice(name, time_us, offset, told)


def trial(at_us: int) -> Notice:
    """Told when somebody asks whether a channel works."""
    told = Told(Kind.TEST, "A test by `tallystick notify test`: this channel works")
    return Notice(hashlib.sha256(f"test {at_us}".encode()).hexdigest()[:32], at_us, -1, told)
