"""What a condition may ask about one command: names, the values behind them, and how CEL gets them.

Handing values over to CEL costs more than judging a command, so only the fields that some rule reads are
handed over, and commands that are alike in these are decided once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import cel

from schemas.judging import SessionFacts
from schemas.records import Band, Claim, Effect


@dataclass(frozen=True, slots=True)
class Context:
    """Everything a condition may ask about one command."""

    facts: SessionFacts
    effects: tuple[Effect, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    complete: bool
    statements: int
    score: int
    band: Band
    signals: tuple[str, ...]
    circumstances: tuple[str, ...] = ()


def _as_is(value: Any) -> object:
    return value


def _effects(value: tuple[Effect, ...]) -> object:
    return [{"effect": each.effect, "relation": each.relation} for each in value]


def _claims(value: tuple[Claim, ...]) -> object:
    return {claim.name: claim.value for claim in value}


def _word(value: Band) -> object:
    return value.value


_ASKED: Mapping[str, tuple[str, Callable[[Any], object]]] = {
    "identity.subject": ("facts.subject", _as_is),
    "identity.claims": ("facts.claims", _claims),
    "target.name": ("facts.target", _as_is),
    "target.environment": ("facts.environment", _as_is),
    "target.database": ("facts.database", _as_is),
    "target.user": ("facts.user", _as_is),
    "target.protocol": ("facts.protocol", _as_is),
    "command.effects": ("effects", _effects),
    "command.reads": ("reads", list),
    "command.writes": ("writes", list),
    "command.complete": ("complete", _as_is),
    "command.statements": ("statements", _as_is),
    "score": ("score", _as_is),
    "band": ("band", _word),
    "signals": ("signals", list),
    "context": ("circumstances", list),
}
"""By the name in a condition: where a Context has it, and what CEL is given."""

NAMES = frozenset(_ASKED)
FIELDS: Mapping[str, frozenset[str]] = {
    root: frozenset(name.partition(".")[2] for name in NAMES if name.startswith(root + "."))
    for root in ("identity", "target", "command")
}
OF_COMMAND = frozenset(name for name in NAMES if name.startswith("command.")) | {"score", "band", "signals", "context"}
"""What is read off the command, so not known where that is not known whole."""
PLAIN = frozenset(name for name in NAMES if "." not in name)


class Needs:
    """Takes from a Context the fields of some names."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = sorted(names)
        paths = [_ASKED[name][0] for name in self._names]
        self._get: Callable[[Context], Any]
        if len(paths) > 1:
            self._get = attrgetter(*paths)
        else:
            self._get = lambda context: tuple(attrgetter(path)(context) for path in paths)

    def key(self, context: Context) -> tuple[Any, ...]:
        """Commands with equal keys are alike in all that is asked."""
        found: tuple[Any, ...] = self._get(context)
        return found

    def variables(self, key: tuple[Any, ...]) -> Any:
        """What CEL is given, from a key."""
        given: dict[str, Any] = {}
        for name, value in zip(self._names, key, strict=True):
            root, _, field = name.partition(".")
            handed = _ASKED[name][1](value)
            if field:
                given.setdefault(root, {})[field] = handed
            else:
                given[root] = handed
        return cel.Context(variables=given)
