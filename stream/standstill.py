"""Whether a worker stands still: work was due, and for so long nothing moved. Pure: times and facts are arguments.

Faust can lose its way where partitions move twice at once: it then neither reads nor ends, and says nothing
(seen once in some fifty kills). Whoever watches ends such a process; the next one goes on from what is durable.
"""

from __future__ import annotations


class Standstill:
    """Told what moves; asked twice, half the patience apart, so that work which has only just come is no standstill.

    `patience_s`: seconds, monotonic, as all times here.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._seen: object = None
        self._since = 0.0
        self._asked = False  # whether half the patience is over, and what was due then is known
        self.due: frozenset[object] = frozenset()
        """What was due at half the patience."""

    def moved(self, now: float, seen: object = None) -> None:
        """Something went on, or cannot: begins anew. `seen` as for `asks`."""
        self._seen, self._since, self._asked, self.due = seen, now, False, frozenset()

    def asks(self, now: float, seen: object) -> bool:
        """Whether it wants to be told what is due. `seen` is another value whenever something moved."""
        if seen != self._seen:
            self.moved(now, seen)
        return now - self._since >= self._patience_s / 2

    def stands(self, now: float, due: frozenset[object]) -> bool:
        """What is due now, after `asks` said yes. True: some of it was due at half the patience too."""
        if not self._asked:
            # From here again half: a machine that slept in the first half has not waited for the second.
            self._asked, self._since, self.due = True, now, due
            return False
        if self.due & due:
            return True
        self.moved(now, self._seen)
        return False
