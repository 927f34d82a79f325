"""The judgement of one command: what it does, how risky that is, and what the rules say.

    judge(text, facts, rules, lookup=texts_by_name, moment=rules.moment(now_us)) -> Judgement

A pure function: the same (text, facts, rules.version, moment, texts under the names it executes) gives the same
judgement, in the gateway and in the pipeline. It never raises on a command; what cannot be read is unknown.
"""

from __future__ import annotations

from typing import Any

from policy import circumstances, signals
from policy.circumstances import Moment
from policy.context import Context
from policy.found import MAX_EFFECTS, Effects
from policy.rules import Rules
from policy.sql import effects as sql
from policy.sql.reading import Lookup
from schemas.judging import Judgement, SessionFacts

ENGINE = "sql3"
"""The version of this judging, for `Exchange.engine`: raised when equal commands may be judged otherwise."""


def judge(
    text: str, facts: SessionFacts, rules: Rules, *, lookup: Lookup = sql.nothing_known, moment: Moment = ()
) -> Judgement:
    """`lookup(name)` gives every text the session may have under a prepared statement's, cursor's or portal's
    name; () where there is none, which makes EXECUTE and FETCH of it unknown."""
    return judged(sql.read(text, rules.functions_allowed, lookup), facts, rules, moment)


def judged(found: Effects | sql.Effects, facts: SessionFacts, rules: Rules, moment: Moment) -> Judgement:
    """What was found, with its surroundings: one scale and one policy for all protocols."""
    ids, score = signals.weigh(found.marks, facts.environment)
    around: tuple[str, ...] = ()
    if rules.circumstances:
        holding = [each for each in rules.circumstances if each.holds(facts, found.effects, moment)]
        score = circumstances.score(score, holding, found.complete)
        around = tuple([each.name for each in holding])
    band = signals.band(score)
    decided = rules.decide(
        Context(
            facts,
            found.effects[:MAX_EFFECTS],
            found.reads[:MAX_EFFECTS],
            found.writes[:MAX_EFFECTS],
            found.complete,
            found.statements,
            score,
            band,
            ids,
            around,
        )
    )
    return Judgement(
        effects=found.effects,
        reads=found.reads,
        writes=found.writes,
        complete=found.complete,
        reason=found.reason,
        signals=ids,
        score=score,
        band=band,
        decision=decided.decision,
        rule=decided.rule,
        approvers=decided.approvers,
        read_only=found.read_only,
        barrier=found.barrier,
        settings_only=found.settings_only,
        transaction=found.transaction,
        literal_blind=found.literal_blind,
        undoable=found.undoable,
        context=around,
        alerts=decided.alerts,
        masks=decided.masks,
        prepares=found.prepares,
        executes=found.executes,
        deallocates=found.deallocates,
        names=found.names,
    )


def explain_json(judgement: Judgement, environment: str, rules: Rules) -> dict[str, Any]:
    """The line that `tallystick explain --json` prints. `sum`: points by axis, and what they are multiplied with."""
    weighs = [each for each in rules.circumstances if each.name in judgement.context and each.percent != 100]
    return {
        "effects": [{"effect": each.effect, "relation": each.relation} for each in judgement.effects],
        "relations": {"read": list(judgement.reads), "write": list(judgement.writes)},
        "complete": judgement.complete,
        "reason": judgement.reason,
        "signals": list(judgement.signals),
        "score": judgement.score,
        "sum": {
            "points": {axis.value: points for axis, points in signals.by_axis(judgement.signals, environment).items()},
            "percent": {each.name: each.percent for each in weighs},
        },
        "context": list(judgement.context),
        "band": judgement.band.value,
        "decision": judgement.decision.value,
        "rule": judgement.rule,
        "alerts": list(judgement.alerts),
        "masks": list(judgement.masks),
    }
