"""How large amounts usually are: an exponential histogram of whole numbers. Bounded, no floats.

A bucket holds amounts that begin with the same three bits, so a quantile is told at most a
quarter too high. At most 256 buckets for amounts below 2^64.
"""

from __future__ import annotations

MOST = 1024
"""Amounts, after which all counts are halved: what was long ago counts less, and what was once is forgotten."""


def bucket(amount: int) -> int:
    """0 to 3 stand alone; then four buckets an octave."""
    if amount < 4:
        return max(0, amount)
    octave = amount.bit_length() - 3
    return 4 * (octave + 1) + (amount >> octave) - 4


def upper(number: int) -> int:
    """The largest amount in a bucket."""
    if number < 4:
        return number
    octave, part = divmod(number - 4, 4)
    return ((part + 5) << octave) - 1


class Sketch:
    __slots__ = ("counts",)

    def __init__(self, counts: dict[int, int] | None = None) -> None:
        self.counts = {} if counts is None else counts

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def add(self, amount: int) -> None:
        at = bucket(amount)
        self.counts[at] = self.counts.get(at, 0) + 1
        if self.total > MOST:
            self.counts = {n: count // 2 for n, count in self.counts.items() if count > 1}

    def quantile(self, percent: int) -> int:
        """An amount that at least so many of a hundred do not exceed; 0 of nothing."""
        left = -(-self.total * percent // 100)
        for at in sorted(self.counts):
            left -= self.counts[at]
            if left <= 0:
                return upper(at)
        return 0
