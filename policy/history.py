"""A recorded command, scored and decided again: from its facts in the ledger alone, whose texts may be erased.

    again(facts, exchange, rules) -> Again(score, decision, rule)
    agreement(facts, exchange, rules) -> Agreement

The score is a function of what is recorded (signals, effects, whether complete, whose and when) and of the policy's
`context`, so under the same policy and the same engine it comes out bit for bit. Rules see the recorded effects: the
names in these were masked where they hold personal data, `command.reads` and `command.writes` are taken from them, and
`command.statements` is 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from policy import circumstances, signals
from policy.context import Context
from policy.judge import ENGINE
from policy.rules import Rules
from schemas.judging import SessionFacts
from schemas.records import Decision, Exchange, SessionOpened

_ROWS = frozenset(("insert", "update", "delete", "truncate", "copy-in"))


@dataclass(frozen=True, slots=True)
class Again:
    score: int
    decision: Decision
    rule: str


class Agreement(StrEnum):
    SAME = "same"
    OTHER_SCORE = "other score"  # under the same policy and engine: the record or this program is wrong
    OTHER_POLICY = "other policy"
    OTHER_ENGINE = "other engine"


def facts(opened: SessionOpened) -> SessionFacts:
    return SessionFacts(
        opened.subject, opened.claims, opened.target, opened.protocol, opened.environment, opened.database, opened.user
    )


def again(of: SessionFacts, exchange: Exchange, rules: Rules) -> Again:
    score = min(100, sum(signals.by_axis(exchange.signals, of.environment).values()))
    moment = rules.moment(exchange.started_us)
    holding = [each for each in rules.circumstances if each.holds(of, exchange.effects, moment)]
    if rules.circumstances:
        score = circumstances.score(score, holding, exchange.effects_complete)
    context = Context(
        facts=of,
        effects=exchange.effects,
        reads=tuple(each.relation for each in exchange.effects if each.effect == "select" and each.relation),
        writes=tuple(each.relation for each in exchange.effects if each.effect in _ROWS),
        complete=exchange.effects_complete,
        statements=1,
        score=score,
        band=signals.band(score),
        signals=exchange.signals,
        circumstances=tuple(each.name for each in holding),
    )
    decided = rules.decide(context)
    return Again(score, decided.decision, decided.rule)


def agreement(of: SessionFacts, exchange: Exchange, rules: Rules) -> Agreement:
    """Whether the recorded score comes out again; where it need not, because of what."""
    if exchange.policy_version != rules.version:
        return Agreement.OTHER_POLICY
    if ENGINE not in exchange.engine.split():
        return Agreement.OTHER_ENGINE
    return Agreement.SAME if again(of, exchange, rules).score == exchange.score else Agreement.OTHER_SCORE
