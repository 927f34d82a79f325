"""What the policy says of behaviour: how much each unusual thing counts, and what follows. Settings only.

    behaviour:
      alert_at: 60                  # points that make an alert
      suspend_at: 120               # and that suspend; without it nothing is ever suspended
      suspend: session              # or identity
      suspend_for: 1h               # at most 12h
      resume: [reviewers]           # groups whose members may lift a suspension
      warm_up: 14d                  # how long the usual is learned before it is missed
      fade: 1d                      # in which points fade to nothing
      sleep: 45d                    # unused for so long, an identity sleeps
      forget: 90d                   # not seen for so long, a thing is no longer usual
      volume: {factor: 4, rows: 1000, bytes: 1000000, commands: 200}   # a multiple of the usual, and no less than
      run: {claims: [run_id], longest: 1d}
      points: {statement: 0, network: 40}
      classes:                      # peers: what one of them does is not new for the others
        - {name: ci, identities: ["ci-*"], alert_at: 80}

A class takes what it does not say from above it. None of this is in a judgement: a score is a function of the command,
and a rule that holds by a behaviour's signal is refused when the policy is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cache

from policy import package_yaml
from policy.document import Value, nearest
from schemas.records import Scope

MOST_CLASSES = 64
MOST_POINTS = 1000
LONGEST_SUSPENSION_S = 12 * 3600
"""Half of how long the bus keeps what gateways are told: one that starts learns every suspension that lasts."""
_DAY_S = 86400
_SPANS = {  # the setting, and the longest that it may be
    "suspend_for": LONGEST_SUSPENSION_S,
    "warm_up": 90 * _DAY_S,
    "fade": 30 * _DAY_S,
    "sleep": 366 * _DAY_S,
    "forget": 366 * _DAY_S,
}
_FIELDS = ("alert_at", "suspend_at", "suspend", *_SPANS, "volume", "points")
_VOLUME = ("factor", "rows", "bytes", "commands")


class Mark(StrEnum):
    """What may be unusual; the rows of behaviour.yaml."""

    TARGET = "target"
    RELATION = "relation"
    STATEMENT = "statement"
    NETWORK = "network"
    APPLICATION = "application"
    HOUR = "hour"
    ROWS = "rows"
    BYTES = "bytes"
    COMMANDS = "commands"
    RUN = "run"
    WOKE = "woke"
    DENIED = "denied"


@dataclass(frozen=True, slots=True)
class Signal:
    mark: Mark
    id: str
    points: int
    reason: str
    instead: str
    false_positives: str


@cache
def table() -> Mapping[Mark, Signal]:
    rows = package_yaml.load("policy", "behaviour.yaml")["signals"]
    found = [Signal(Mark(row["mark"]), *(row[part] for part in _PARTS)) for row in rows]
    return {signal.mark: signal for signal in found}


_PARTS = ("id", "points", "reason", "instead", "false_positives")


@dataclass(frozen=True, slots=True)
class Volume:
    """More than `factor` times the usual in an hour, and more than the least."""

    factor: int = 4
    rows: int = 1000
    bytes: int = 1_000_000
    commands: int = 200

    def least(self, mark: Mark) -> int:
        return {Mark.ROWS: self.rows, Mark.BYTES: self.bytes, Mark.COMMANDS: self.commands}[mark]


@dataclass(frozen=True, slots=True)
class Settings:
    """Of one class of identities. Spans in seconds."""

    alert_at: int = 60
    suspend_at: int = 0  # never
    suspend: Scope = Scope.SESSION
    suspend_for: int = 3600
    warm_up: int = 14 * _DAY_S
    fade: int = _DAY_S
    sleep: int = 45 * _DAY_S
    forget: int = 90 * _DAY_S
    volume: Volume = Volume()
    points: Mapping[Mark, int] = field(default_factory=lambda: {mark: s.points for mark, s in table().items()})


@dataclass(frozen=True, slots=True)
class IdentityClass:
    name: str
    identities: tuple[str, ...]  # a subject; `*` only ends it
    settings: Settings

    def has(self, subject: str) -> bool:
        return any(subject.startswith(p[:-1]) if p.endswith("*") else subject == p for p in self.identities)


@dataclass(frozen=True, slots=True)
class Behaviour:
    settings: Settings = field(default_factory=Settings)
    classes: tuple[IdentityClass, ...] = ()
    resume: tuple[str, ...] = ("reviewers",)
    run_claims: tuple[str, ...] = ("run_id",)
    run_longest: int = _DAY_S  # seconds

    def of(self, subject: str) -> tuple[str, Settings]:
        """The first class that names it, or ""."""
        for each in self.classes:
            if each.has(subject):
                return each.name, each.settings
        return "", self.settings


def read(place: Value, groups: frozenset[str]) -> Behaviour:
    """`groups`: those that reviewers are in. Raises RulesInvalid."""
    parts = place.fields((*_FIELDS, "resume", "run", "classes"))
    settings = _settings(parts, Settings())
    if "resume" in parts:
        for group in parts["resume"].items():
            if groups and group.text() not in groups:
                raise group.invalid(f"no reviewer is in {group.text()!r}{nearest(group.text(), groups)}")
    run = parts["run"].fields(("claims", "longest")) if "run" in parts else {}
    found = Behaviour(
        settings,
        _classes(parts["classes"], settings) if "classes" in parts else (),
        parts["resume"].texts() if "resume" in parts else ("reviewers",),
        run["claims"].texts() if "claims" in run else ("run_id",),
        run["longest"].seconds(30 * _DAY_S) if "longest" in run else _DAY_S,
    )
    suspends = any(each.suspend_at for each in (found.settings, *(c.settings for c in found.classes)))
    if suspends and groups and groups.isdisjoint(found.resume):
        raise place.invalid(f"nobody could lift a suspension: name in `resume` one of {', '.join(sorted(groups))}")
    return found


def _settings(parts: Mapping[str, Value], base: Settings) -> Settings:
    found = base
    if "alert_at" in parts:
        found = replace(found, alert_at=_points(parts["alert_at"], least=1))
    if "suspend_at" in parts:
        found = replace(found, suspend_at=_points(parts["suspend_at"], least=1))
    if "suspend" in parts:
        found = replace(found, suspend=Scope(parts["suspend"].one_of(Scope)))
    for name, longest in _SPANS.items():
        if name in parts:
            found = replace(found, **{name: parts[name].seconds(longest)})  # type: ignore[arg-type]
    if "volume" in parts:
        given = parts["volume"].fields(_VOLUME)
        numbers = {name: value.number() for name, value in given.items()}
        if "factor" in given and not 2 <= numbers["factor"] <= 1000:
            raise given["factor"].invalid("must be from 2 to 1000: below that the usual itself would be told of")
        found = replace(found, volume=replace(found.volume, **numbers))
    if "points" in parts:
        known = [mark.value for mark in Mark]
        points = {Mark(name): _points(value) for name, value in parts["points"].fields(known).items()}
        found = replace(found, points={**found.points, **points})
    if found.suspend_at and found.suspend_at < found.alert_at:
        at = parts.get("suspend_at") or parts["alert_at"]
        raise at.invalid("a suspension needs at least as many points as an alert (alert_at)")
    if found.sleep > found.forget and ("sleep" in parts or "forget" in parts):
        at = parts.get("sleep") or parts["forget"]
        raise at.invalid("an identity must sleep before what it does is forgotten: sleep is at most forget")
    return found


def _points(place: Value, least: int = 0) -> int:
    if not least <= (number := place.number()) <= MOST_POINTS:
        raise place.invalid(f"must be from {least} to {MOST_POINTS} points")
    return number


def _classes(place: Value, base: Settings) -> tuple[IdentityClass, ...]:
    found: list[IdentityClass] = []
    for item in place.items():
        if len(found) == MOST_CLASSES:
            raise item.invalid(f"there are at most {MOST_CLASSES} classes")
        parts = item.fields(("name", "identities", *_FIELDS), ("name", "identities"))
        name, identities = parts["name"].text(), parts["identities"].texts()
        if not name or any(name == each.name for each in found):
            raise parts["name"].invalid(f"{name!r} is taken, or no name")
        if not identities:
            raise parts["identities"].invalid("names no identity, so it is the class of nobody")
        for each in parts["identities"].items():
            if "*" in each.text()[:-1] or each.text() in ("", "*"):
                raise each.invalid("an identity is a subject; `*` only ends one, behind at least one character")
        found.append(IdentityClass(name, identities, _settings(parts, base)))
    return tuple(found)
