"""What waits for one channel, and when how much of it goes. Pure: times are arguments, in seconds of one clock.

One notice is one message, until too many wait or too many went: then all that wait go as one digest. Its
first MOST_LISTED are in it whole, the rest as counts, so an outbox is small whatever happens while its
channel is down. Messages go one after the other, in the order of the record.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tallystick.notify.kinds import Kind
from tallystick.notify.notices import Notice

MOST_LISTED = 50
MOST_SINGLE = 3
"""Waiting at once: where there are more, they go together."""
BURST = 10
"""Messages that may go at once where none went for a while."""
TOO_OLD_US = 24 * 3600 * 1_000_000
"""What happened longer ago than this, by the bus's clock, is told as a count."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which notices a channel is for. Empty: all. The last three choose among what has a target."""

    kinds: frozenset[Kind] = frozenset()
    targets: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    min_score: int = 0

    def __contains__(self, notice: object) -> bool:
        if not isinstance(notice, Notice) or (self.kinds and notice.told.kind not in self.kinds):
            return False
        told = notice.told
        if not told.target:  # an alarm, or a request that is not remembered: better told than not
            return True
        return (
            (not self.targets or told.target in self.targets)
            and (not self.groups or not told.groups or not self.groups.isdisjoint(told.groups))
            and told.score >= self.min_score
        )


@dataclass(frozen=True, slots=True)
class Message:
    """What goes as one. `more` counts by kind what is not listed."""

    id: str
    at_us: int  # of the newest
    notices: tuple[Notice, ...]
    more: Mapping[Kind, int] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return self.notices[0].told.kind.value if self.alone else "digest"

    @property
    def alone(self) -> bool:
        return len(self.notices) == 1 and not self.more

    @property
    def count(self) -> int:
        return len(self.notices) + sum(self.more.values())


def message(notices: Sequence[Notice], at_us: int, more: Mapping[Kind, int] | None = None) -> Message:
    """Its id is a function of what is in it: sent again, it has the same."""
    counts = dict(sorted((more or {}).items()))
    said = " ".join([*(n.id for n in notices), *(f"{kind}={n}" for kind, n in counts.items())])
    return Message(f"msg_{hashlib.sha256(said.encode()).hexdigest()[:32]}", at_us, tuple(notices), counts)


class Outbox:
    """Not for two tasks that take at once."""

    def __init__(self, wanted: Wanted, per_minute: int) -> None:
        self._wanted, self._rate = wanted, per_minute / 60
        self._most = min(BURST, per_minute)
        self._tokens, self._at = float(self._most), 0.0
        self._waiting: list[Notice] = []
        self._more: Counter[Kind] = Counter()
        self._more_from = -1  # offset of the first that is only counted
        self._newest_us = 0
        self._leaving: Message | None = None
        self._leaving_from = -1

    def add(self, notice: Notice) -> None:
        """If this channel is for it."""
        if notice in self._wanted and len(self._waiting) < MOST_LISTED:
            self._newest_us = max(self._newest_us, notice.at_us)
            self._waiting.append(notice)
        else:
            self.count(notice)

    def count(self, notice: Notice) -> None:
        """As `add`, but it is told as a number."""
        if notice in self._wanted:
            self._newest_us = max(self._newest_us, notice.at_us)
            self._more_from = self._more_from if self._more else notice.offset
            self._more[notice.told.kind] += 1

    @property
    def waiting(self) -> int:
        """Notices that are not delivered or given up."""
        leaving = self._leaving.count if self._leaving else 0
        return len(self._waiting) + sum(self._more.values()) + leaving

    @property
    def oldest(self) -> int | None:
        """Offset of the first message of the bus with a notice that waits or is on its way."""
        offsets = [n.offset for n in self._waiting[:1]]
        offsets += [self._more_from] if self._more else []
        offsets += [self._leaving_from] if self._leaving else []
        return min(offsets, default=None)

    def pause(self, now: float) -> float | None:
        """Seconds until the next message may go; None while nothing waits."""
        if not self._waiting and not self._more:
            return None
        self._fill(now)
        return max(0.0, (1 - self._tokens) / self._rate)

    def take(self, now: float) -> Message:
        """The next message, which is then on its way until `done`."""
        self._fill(now)
        self._tokens -= 1
        if self._more or len(self._waiting) > MOST_SINGLE:
            taken, self._waiting = self._waiting, []
            more, self._more = self._more, Counter()
            offsets = [n.offset for n in taken[:1]] + ([self._more_from] if more else [])
        else:
            taken, self._waiting, more = self._waiting[:1], self._waiting[1:], Counter()
            offsets = [taken[0].offset]
        at_us = self._newest_us if more else taken[-1].at_us
        self._leaving, self._leaving_from = message(taken, at_us, more), min(offsets)
        return self._leaving

    def done(self) -> None:
        """Delivered, or given up."""
        self._leaving = None

    def _fill(self, now: float) -> None:
        self._tokens = min(self._most, self._tokens + (now - self._at) * self._rate)
        self._at = now
