"""The policy: rules in YAML, checked whole when they are read. Reading the file is the caller's.

    rules = parse(text)            # RulesInvalid names the line and what to do
    rules.decide(context)          # rules in order, the first that is true decides; alerts and masks do not

A condition that fails at run time holds the command, or alerts, or masks: unknown is never allowed. Format: the
comments of `library/default.yaml`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.resources import files
from typing import Any

from policy import behaviour, circumstances, document
from policy.approvers import DEFAULT_APPROVERS, check_people, read_approvers, read_reviewers
from policy.behaviour import Behaviour
from policy.circumstances import Circumstance, Moment
from policy.conditions import Condition, compile_
from policy.context import OF_COMMAND, Context, Needs
from policy.document import RulesInvalid, Value
from schemas.judging import Detect, FieldAction, FieldRule, Reviewer
from schemas.records import ApproverRule, Decision

__all__ = ["Decided", "Rule", "Rules", "RulesInvalid", "default_text", "parse"]

OTHERWISE = "otherwise"
"""The rule named in a judgement that no rule decided."""

_PARTS = (
    "rules",
    "otherwise",
    "context",
    "approvers",
    "reviewers",
    "mask",
    "detect",
    "functions",
    "behaviour",
    "tests",
)
MOST_RULES = 1000
_REMEMBERED = 4096


class Then(StrEnum):
    """What a rule asks for. An alert decides nothing: the rules after it do. Neither does a mask, which is tried
    wherever it stands: a rule that was never reached must not be why a value is on record."""

    ALLOW = "allow"
    HOLD = "hold"
    DENY = "deny"
    ALERT = "alert"
    MASK = "mask"


@dataclass(frozen=True, slots=True)
class Rule:
    name: str
    condition: Condition
    then: Then
    approvers: ApproverRule


@dataclass(frozen=True, slots=True)
class Decided:
    decision: Decision
    rule: str
    approvers: ApproverRule | None  # where decision is HOLD
    alerts: tuple[str, ...] = ()  # names of the rules that want people told
    masks: tuple[str, ...] = ()  # names of the rules that want no value on record


@dataclass(frozen=True, slots=True)
class Rules:
    """One version of the policy. Compare by `version`: the first 16 hex digits of the text's SHA-256."""

    version: str
    rules: tuple[Rule, ...]
    otherwise: Decision
    approvers: tuple[ApproverRule, ...]
    reviewers: tuple[Reviewer, ...]
    field_rules: tuple[FieldRule, ...]
    detect: tuple[Detect, ...]
    functions_allowed: frozenset[str]
    circumstances: tuple[Circumstance, ...]
    needs: Needs  # of all conditions
    behaviour: Behaviour = field(default_factory=Behaviour)
    _decided: dict[tuple[Any, ...], Decided] = field(default_factory=dict, repr=False, compare=False)

    def decide(self, context: Context) -> Decided:
        """Remembers what was decided of a command that is alike in all that the rules ask."""
        key = self.needs.key(context)
        known = self._decided.get(key)
        if known is None:
            if len(self._decided) >= _REMEMBERED:
                self._decided.clear()
            known = self._decided[key] = self._try(key, {each.effect for each in context.effects}, context.complete)
        return known

    def moment(self, at_us: int) -> Moment:
        """What `judge` is given of the time: what it says of a command changes only where this does."""
        return circumstances.moment(self.circumstances, at_us)

    @property
    def masks(self) -> bool:
        """Whether there is a rule that says so."""
        return any(each.then is Then.MASK for each in self.rules)

    @property
    def timed(self) -> bool:
        """Whether anything depends on the time."""
        return any(each.timed for each in self.circumstances)

    def forget(self) -> None:
        """For measuring: what was decided is decided anew."""
        self._decided.clear()

    def _try(self, key: tuple[Any, ...], effects: set[str], complete: bool) -> Decided:
        known = self.needs.variables(key)
        decision, name, approvers, alerts = self.otherwise, OTHERWISE, _default(self.approvers), list[str]()
        for rule in self.rules:
            if rule.then is Then.MASK:
                continue
            if rule.condition.effects is not None and rule.condition.effects.isdisjoint(effects):
                continue
            held = rule.condition.holds(known)  # None: nobody knows
            if held is False:
                continue
            if rule.then is Then.ALERT:
                alerts.append(rule.name)
                continue
            decision = Decision.HOLD if held is None else Decision(rule.then)
            name, approvers = rule.name, rule.approvers
            break
        masks = tuple([each.name for each in self.rules if each.then is Then.MASK and _masks(each, known, complete)])
        return Decided(decision, name, approvers if decision is Decision.HOLD else None, tuple(alerts), masks)


def _masks(rule: Rule, known: Any, complete: bool) -> bool:
    """Of a command that is not known whole, what a rule asks of it may be true all the same."""
    return rule.condition.holds(known) is not False or not (complete or rule.condition.needs.isdisjoint(OF_COMMAND))


def default_text() -> str:
    return files("policy.library").joinpath("default.yaml").read_text("utf-8")


def parse(text: str) -> Rules:
    """Raises RulesInvalid."""
    place = document.read(text)
    parts = place.fields(_PARTS, ("rules",))
    approvers = read_approvers(parts["approvers"]) if "approvers" in parts else (DEFAULT_APPROVERS,)
    reviewers = read_reviewers(parts["reviewers"]) if "reviewers" in parts else ()
    if reviewers:
        check_people(approvers, reviewers, parts.get("approvers", place))
    groups = frozenset(group for each in reviewers for group in each.groups)
    known = circumstances.read(parts["context"]) if "context" in parts else ()
    rules = _rules(parts["rules"], approvers, frozenset(each.name for each in known))
    return Rules(
        version=hashlib.sha256(text.encode()).hexdigest()[:16],
        rules=rules,
        otherwise=_decision(parts["otherwise"]) if "otherwise" in parts else Decision.HOLD,
        approvers=approvers,
        reviewers=reviewers,
        field_rules=_field_rules(parts["mask"]) if "mask" in parts else (),
        detect=tuple(Detect(item.one_of(Detect)) for item in parts["detect"].items()) if "detect" in parts else (),
        functions_allowed=_functions(parts["functions"]) if "functions" in parts else frozenset(),
        circumstances=known,
        needs=Needs(frozenset[str]().union(*(_needs(rule) for rule in rules))),
        behaviour=behaviour.read(parts["behaviour"], groups) if "behaviour" in parts else Behaviour(),
    )


def _needs(rule: Rule) -> frozenset[str]:
    return rule.condition.needs | ({"command.complete"} if rule.then is Then.MASK else frozenset())


def _default(approvers: tuple[ApproverRule, ...]) -> ApproverRule:
    return next((each for each in approvers if each.name == "default"), DEFAULT_APPROVERS)


def _decision(place: Value) -> Decision:
    return Decision(place.one_of(Decision))


def _rules(place: Value, approvers: tuple[ApproverRule, ...], named: frozenset[str]) -> tuple[Rule, ...]:
    found: list[Rule] = []
    by_name = {each.name: each for each in approvers}
    for item in place.items():
        if len(found) == MOST_RULES:
            raise item.invalid(f"there are at most {MOST_RULES} rules")
        parts = item.fields(("name", "when", "then", "approvers"), ("name", "when", "then"))
        name = parts["name"].text()
        if name == OTHERWISE or any(name == rule.name for rule in found):
            raise parts["name"].invalid(f"{name!r} is taken")
        then = Then(parts["then"].one_of(Then))
        chosen = _default(approvers)
        if "approvers" in parts:
            if then is not Then.HOLD:
                raise parts["approvers"].invalid("only a rule that holds has approvers")
            word = parts["approvers"].text()
            if word not in by_name:
                raise parts["approvers"].invalid(f"unknown approvers{document.nearest(word, by_name)}")
            chosen = by_name[word]
        found.append(Rule(name, compile_(parts["when"], named), then, chosen))
    return tuple(found)


_PATH_STEP = re.compile(r"\[(?:\*|[0-9]+)\]")


def _field_rules(place: Value) -> tuple[FieldRule, ...]:
    """`name: action`, and the same under what it is a name of: `tables: {people: withhold}`."""
    found: list[FieldRule] = []
    for key, item in place.pairs().items():
        if not item.is_mapping():
            found.append(_field_rule(key, item))
        elif key in _MASKED:
            found += (_field_rule(_MASKED[key](name, each), each) for name, each in item.pairs().items())
        else:
            raise item.invalid(f"a group of names is one of {', '.join(_MASKED)}{document.nearest(key, _MASKED)}")
    by_pattern = {rule.pattern.lower(): rule for rule in found}
    for rule in found:
        if by_pattern[rule.pattern.lower()].action is not rule.action:
            raise place.invalid(f"{rule.pattern!r} stands twice, and not for the same")
    return tuple(found)


def _field_rule(pattern: str, item: Value) -> FieldRule:
    parts = pattern.split(".")
    if not all(parts) or "*" in pattern[:-1] or pattern == "*":
        raise item.invalid("a pattern is a name or table.column; `*` only ends it")
    return FieldRule(pattern, FieldAction(item.one_of(FieldAction)))


def _column(name: str, _: Value) -> str:
    return name


def _table(name: str, item: Value) -> str:
    if "*" in name or name.count(".") > 1:
        raise item.invalid("a table is a name, or schema.table")
    return f"{name}.*"


def _path(path: str, item: Value) -> str:
    """`$.user.ssn`, `user.ssn`; `[*]` and `[0]` are places in an array, which have no names."""
    name = _PATH_STEP.sub("", path).removeprefix("$").removeprefix(".")
    if "[" in name or "$" in name:
        raise item.invalid("a path is names with dots between, such as $.user.ssn or $.users[*].ssn")
    return name


def _header(name: str, item: Value) -> str:
    if not name.isascii() or not name.replace("-", "").replace("_", "").rstrip("*").isalnum():
        raise item.invalid("a header is letters, digits and hyphens")
    return name


_MASKED: dict[str, Callable[[str, Value], str]] = {
    "columns": _column,
    "tables": _table,
    "paths": _path,
    "headers": _header,
}


def _functions(place: Value) -> frozenset[str]:
    parts = place.fields(("allow",))
    return frozenset(parts["allow"].texts()) if "allow" in parts else frozenset()
