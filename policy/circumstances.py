"""Circumstances: what the policy knows of a command's surroundings, and how that weighs on its score.

    context:
      - {name: production, environments: ["prod*"], percent: 120}
      - {name: machines of the CI, subjects: ["ci-*"], percent: 90}
      - {name: personal data, tables: [public.users, "hr.*"], percent: 150}
      - {name: out of hours, days: [sat, sun], hours: "20:00-06:00", percent: 110}
      - {name: freeze, from: "2026-12-20", until: "2027-01-03", percent: 200}

One holds where all that it names holds; rules ask `"freeze" in context`. Times are UTC; hours that end before they
begin go over midnight and belong to the day they began on; `until` is the first moment that is not in it.

score = sum of signals * each percent / 100, rounded down once, at most 100; of what is not wholly known at least 40
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable
from dataclasses import dataclass

from policy.document import Value
from schemas.judging import SessionFacts
from schemas.records import Effect

Moment = tuple[str, ...]
"""Names of the circumstances with a time that holds now. The rest of a judgement does not depend on time."""

MOST = 64
LEAST_PERCENT, MOST_PERCENT = 50, 400
NEVER_LOW = 40
_FIELDS = ("name", "percent", "environments", "subjects", "targets", "tables", "days", "hours", "from", "until")
_PATTERNS = ("environments", "subjects", "targets", "tables")
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)")
_MINUTE_US = 60_000_000
_DAY_MINUTES = 1440
_EPOCH_DAY = 3  # 1970-01-01 was a Thursday


@dataclass(frozen=True, slots=True)
class Circumstance:
    """Empty tuples, and None, ask nothing."""

    name: str
    percent: int
    environments: tuple[str, ...]
    subjects: tuple[str, ...]
    targets: tuple[str, ...]
    tables: tuple[str, ...]
    days: frozenset[int]
    hours: tuple[int, int] | None  # minutes of the day
    from_us: int | None
    until_us: int | None

    @property
    def timed(self) -> bool:
        return bool(self.days) or self.hours is not None or self.from_us is not None or self.until_us is not None

    def at(self, at_us: int) -> bool:
        """Whether its time holds."""
        if (self.from_us is not None and at_us < self.from_us) or (
            self.until_us is not None and at_us >= self.until_us
        ):
            return False
        day, minute = divmod(at_us // _MINUTE_US, _DAY_MINUTES)
        if self.hours is not None:
            begins, ends = self.hours
            if begins < ends and not begins <= minute < ends:
                return False
            if begins >= ends and ends <= minute < begins:
                return False
            if begins >= ends and minute < ends:
                day -= 1  # the night began yesterday
        return not self.days or (day + _EPOCH_DAY) % 7 in self.days

    def holds(self, facts: SessionFacts, effects: Iterable[Effect], moment: Moment) -> bool:
        return (
            (not self.timed or self.name in moment)
            and _is_one_of(facts.environment, self.environments)
            and _is_one_of(facts.subject, self.subjects)
            and _is_one_of(facts.target, self.targets)
            and (not self.tables or any(_is_table(each.relation, self.tables) for each in effects))
        )


def moment(all_: tuple[Circumstance, ...], at_us: int) -> Moment:
    """At a time, in microseconds since 1970."""
    return tuple(each.name for each in all_ if each.timed and each.at(at_us))


def score(base: int, found: Iterable[Circumstance], complete: bool) -> int:
    weighed, of = base, 1
    for each in found:
        weighed, of = weighed * each.percent, of * 100
    weighed //= of
    return max(min(weighed, 100), 0 if complete else NEVER_LOW)


def _is_one_of(word: str, patterns: tuple[str, ...]) -> bool:
    return not patterns or any(_matches(word, pattern) for pattern in patterns)


def _matches(word: str, pattern: str) -> bool:
    return word.startswith(pattern[:-1]) if pattern.endswith("*") else word == pattern


def _is_table(relation: str, patterns: tuple[str, ...]) -> bool:
    """A name without its schema may be the table of any; that it is one of `schema.*` is not assumed."""
    bare = "." not in relation
    return any(
        _matches(relation, pattern) or (bare and "." in pattern and _bare(relation, pattern))
        for pattern in patterns
        if relation
    )


def _bare(relation: str, pattern: str) -> bool:
    table = pattern.rpartition(".")[2]
    return table != "*" and _matches(relation, table)


def read(place: Value) -> tuple[Circumstance, ...]:
    """Raises RulesInvalid."""
    found: list[Circumstance] = []
    for item in place.items():
        parts = item.fields(_FIELDS, ("name",))
        name = parts["name"].text()
        if any(name == each.name for each in found):
            raise parts["name"].invalid(f"{name!r} is taken")
        if len(parts) == 1 or (len(parts) == 2 and "percent" in parts):
            raise item.invalid("names nothing that must hold, so it would always")
        if len(found) == MOST:
            raise item.invalid(f"there are at most {MOST}")
        from_us, until_us = (date(parts[key]) if key in parts else None for key in ("from", "until"))
        if from_us is not None and until_us is not None and from_us >= until_us:
            raise parts["until"].invalid("is not after `from`")
        asked = {key: _patterns(parts[key]) if key in parts else () for key in _PATTERNS}
        days = [_DAYS.index(day.one_of(_DAYS)) for day in parts["days"].items()] if "days" in parts else ()
        found.append(
            Circumstance(
                name,
                _percent(parts["percent"]) if "percent" in parts else 100,
                asked["environments"],
                asked["subjects"],
                asked["targets"],
                asked["tables"],
                frozenset(days),
                _hours(parts["hours"]) if "hours" in parts else None,
                from_us,
                until_us,
            )
        )
    return tuple(found)


def _percent(place: Value) -> int:
    percent = place.number()
    if not LEAST_PERCENT <= percent <= MOST_PERCENT:
        raise place.invalid(f"must be from {LEAST_PERCENT} to {MOST_PERCENT}")
    return percent


def _patterns(place: Value) -> tuple[str, ...]:
    found = []
    for item in place.items():
        pattern = item.text()
        if not pattern.rstrip("*") or "*" in pattern[:-1]:
            raise item.invalid("is a name; `*` only ends it")
        found.append(pattern)
    if not found:
        raise place.invalid("is empty, so it would ask nothing")
    return tuple(found)


def _hours(place: Value) -> tuple[int, int]:
    found = _HOURS.fullmatch(place.text())
    if found is None:
        raise place.invalid('must be hours such as "20:00-06:00" (UTC)')
    hour, minute, to_hour, to_minute = map(int, found.groups())
    begins, ends = hour * 60 + minute, to_hour * 60 + to_minute
    if begins == ends or ends > _DAY_MINUTES:
        raise place.invalid('must be hours such as "20:00-06:00" (UTC)')
    return begins, ends


def date(place: Value) -> int:
    """A day or a time in UTC, as microseconds since 1970. Raises RulesInvalid."""
    try:
        when = datetime.datetime.fromisoformat(place.text())
    except ValueError:
        raise place.invalid('must be a day or a time, such as "2026-12-20" or "2026-12-20T18:00Z"') from None
    when = when if when.tzinfo else when.replace(tzinfo=datetime.UTC)
    since = when - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    return since // datetime.timedelta(microseconds=1)
