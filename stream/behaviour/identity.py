"""One identity: what is usual for it, and what was found lately that is not. Kept as two rows.

The head changes with every command, the sets once a day for each thing, so that a turn
writes little of what is large.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

from policy.behaviour import Mark, Settings
from schemas.ids import SessionId
from stream.behaviour.seen import Seen
from stream.behaviour.sketch import Sketch

SETS = {
    Mark.TARGET: 64,
    Mark.RELATION: 256,
    Mark.STATEMENT: 256,
    Mark.NETWORK: 64,
    Mark.APPLICATION: 32,
    Mark.DENIED: 64,
}
"""What is remembered by name, and how much of it."""
VOLUMES = (Mark.ROWS, Mark.BYTES, Mark.COMMANDS)
MOST_FINDINGS = 24
OFTEN = 2
"""How often one signal counts at a time: the tenth new statement says little that the second did not."""
WARM_DAYS = 5
"""On how many days an identity must have come before something can be unusual for it, where warm_up is that long."""
HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US


@dataclass(frozen=True, slots=True)
class Found:
    """Something unusual, until it has faded."""

    mark: Mark
    thing: str  # what makes it the same when it is found again
    points: int
    seen: str
    usual: str
    peers: int
    session: SessionId
    at_us: int
    told: bool = False  # in an alert

    def left(self, now_us: int, fade_us: int) -> int:
        """Points that have not faded."""
        return self.points * max(0, fade_us - max(0, now_us - self.at_us)) // fade_us


@dataclass(slots=True)
class Identity:
    subject: str
    first_us: int
    last_us: int
    active_days: int = 1
    hours: list[int] = field(default_factory=lambda: [-1] * 24)  # the day on which each was last worked in
    weekdays: list[int] = field(default_factory=lambda: [-1] * 7)  # from Monday
    hour: int = -1  # the running hour, from 1970
    totals: list[int] = field(default_factory=lambda: [0, 0, 0])  # in it, as VOLUMES
    limits: list[int] | None = None  # of them in it: not stored, and the same again
    sketches: dict[Mark, Sketch] = field(default_factory=lambda: {mark: Sketch() for mark in VOLUMES})
    seen: dict[Mark, Seen] = field(default_factory=lambda: {mark: Seen(most) for mark, most in SETS.items()})
    found: list[Found] = field(default_factory=list)
    suspension: str = ""
    suspended: str = ""  # the session for which it was
    suspended_until_us: int = 0

    # --- findings ------------------------------------------------------------------

    def warm(self, settings: Settings, at_us: int) -> bool:
        days = min(WARM_DAYS, settings.warm_up * 1_000_000 // DAY_US)
        return at_us - self.first_us >= settings.warm_up * 1_000_000 and self.active_days >= days

    def is_new(self, mark: Mark, thing: str, at_us: int, fade_us: int) -> bool:
        """Whether it was not found before, as long as that has not faded."""
        return not any(f.mark is mark and f.thing == thing and at_us - f.at_us < fade_us for f in self.found)

    def add(self, found: Found, fade_us: int) -> None:
        self.found = [f for f in self.found if f.left(found.at_us, fade_us) > 0]
        self.found.append(found)
        if len(self.found) > MOST_FINDINGS:
            least = min(self.found, key=lambda f: (not f.told, f.left(found.at_us, fade_us), f.at_us))
            self.found.remove(least)

    def score(self, now_us: int, fade_us: int, *, untold: bool = False) -> int:
        by_mark: dict[Mark, list[int]] = {}
        for each in self.found:
            if not (untold and each.told):
                by_mark.setdefault(each.mark, []).append(each.left(now_us, fade_us))
        return sum(sum(sorted(points, reverse=True)[:OFTEN]) for points in by_mark.values())

    def tell(self) -> tuple[Found, ...]:
        """What was not told yet; it is now."""
        untold = tuple(f for f in self.found if not f.told)
        self.found = [f if f.told else replace(f, told=True) for f in self.found]
        return untold

    # --- schedule ------------------------------------------------------------------

    def worked(self, hour: int, weekday: int, day: int, forget: int) -> bool:
        """Whether it works at this hour of the day, give or take one, and on this day of the week, if it has had one
        of each."""
        since = day - forget
        of_week = self.weekdays[weekday] >= since or day - self.first_us // DAY_US < 7
        return of_week and any(self.hours[(hour + n) % 24] >= since for n in (-1, 0, 1))

    def schedule(self) -> str:
        """In words."""
        days = [name for name, last in zip(DAYS, self.weekdays, strict=True) if last >= 0]
        hours = [n for n, last in enumerate(self.hours) if last >= 0]
        return f"{' '.join(days)} at {_spans(hours)} UTC"

    # --- rows ----------------------------------------------------------------------

    def head(self) -> bytes:
        plain = {
            "subject": self.subject,
            "first": self.first_us,
            "last": self.last_us,
            "active": self.active_days,
            "hours": self.hours,
            "weekdays": self.weekdays,
            "hour": self.hour,
            "totals": self.totals,
            "sketches": {mark.value: {str(n): c for n, c in s.counts.items()} for mark, s in self.sketches.items()},
            "found": [
                [f.mark.value, f.thing, f.points, f.seen, f.usual, f.peers, f.session, f.at_us, f.told]
                for f in self.found
            ],
            "suspension": [self.suspension, self.suspended, self.suspended_until_us],
        }
        return dumps(plain)

    def sets(self) -> bytes:
        return dumps({mark.value: seen.days for mark, seen in self.seen.items() if seen.days})


DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def read_identity(head: bytes, sets: bytes) -> Identity:
    h, s = json.loads(head), json.loads(sets)
    suspension, suspended, until_us = h["suspension"]
    return Identity(
        subject=h["subject"],
        first_us=h["first"],
        last_us=h["last"],
        active_days=h["active"],
        hours=h["hours"],
        weekdays=h["weekdays"],
        hour=h["hour"],
        totals=h["totals"],
        sketches={mark: Sketch({int(n): c for n, c in h["sketches"][mark.value].items()}) for mark in VOLUMES},
        seen={mark: Seen(most, s.get(mark.value, {})) for mark, most in SETS.items()},
        found=[Found(Mark(f[0]), *f[1:]) for f in h["found"]],
        suspension=suspension,
        suspended=suspended,
        suspended_until_us=until_us,
    )


def dumps(plain: Any) -> bytes:
    """The same value is always the same bytes."""
    return json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()


def _spans(hours: list[int]) -> str:
    """[8, 9, 10, 14] is "08-10h 14h"."""
    spans: list[list[int]] = []
    for hour in hours:
        if spans and spans[-1][1] == hour - 1:
            spans[-1][1] = hour
        else:
            spans.append([hour, hour])
    return " ".join(f"{a:02d}h" if a == b else f"{a:02d}-{b:02d}h" for a, b in spans) or "no hour"
