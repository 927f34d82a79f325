"""Things that were seen, with the day they were last seen: bounded, the longest unseen go first."""

from __future__ import annotations


class Seen:
    """Of one identity. Days are counted from 1970."""

    __slots__ = ("days", "most")

    def __init__(self, most: int, days: dict[str, int] | None = None) -> None:
        self.most, self.days = most, {} if days is None else days

    def has(self, thing: str, day: int, forget: int) -> bool:
        """Whether it was seen within `forget` days before `day`."""
        return self.days.get(thing, -1) >= day - forget

    def note(self, thing: str, day: int) -> bool:
        """Whether that changed anything: once a day for each thing."""
        if self.days.get(thing, -1) >= day:
            return False
        self.days[thing] = day
        if len(self.days) > self.most:
            gone = sorted(self.days, key=lambda t: (self.days[t], t))[: max(1, self.most // 8)]
            for each in gone:
                del self.days[each]
        return True

    def some(self, most: int = 3) -> str:
        """In words: the newest of them, and how many more there are."""
        newest = sorted(self.days, key=lambda t: (-self.days[t], t))
        more = f" and {len(newest) - most} more" if len(newest) > most else ""
        return (", ".join(newest[:most]) + more) if newest else "nothing"


class SharedSeen:
    """Of a class: each thing with the two identities that did it last, and when."""

    __slots__ = ("doers", "most")

    def __init__(self, most: int, doers: dict[str, dict[str, int]] | None = None) -> None:
        self.most, self.doers = most, {} if doers is None else doers

    def others(self, thing: str, who: str, day: int, forget: int) -> bool:
        """Whether another than `who` did it within `forget` days."""
        return any(other != who and at >= day - forget for other, at in self.doers.get(thing, {}).items())

    def note(self, thing: str, who: str, day: int) -> bool:
        known = self.doers.setdefault(thing, {})
        if known.get(who, -1) >= day:
            return False
        known[who] = day
        if len(known) > 2:
            del known[min(known, key=lambda w: (known[w], w))]
        if len(self.doers) > self.most:
            newest = {t: max(days.values()) for t, days in self.doers.items()}
            for each in sorted(newest, key=lambda t: (newest[t], t))[: max(1, self.most // 8)]:
                del self.doers[each]
        return True
