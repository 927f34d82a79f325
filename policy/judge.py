"""The judgement of one command: what it does, how risky that is, and what the rules say.

    judge(text, facts, rules, lookup=texts_by_name) -> Judgement

A pure function: the same (text, facts, rules.version, texts under the names it executes) gives the same
judgement, in the gateway and in the pipeline. It never raises on a command; what cannot be read is unknown.
"""

from __future__ import annotations

from policy import signals
from policy.context import Context
from policy.rules import Rules
from policy.sql import effects as sql
from policy.sql.reading import Lookup
from schemas.judging import Judgement, SessionFacts

ENGINE = "sql2"
"""The version of this judging, for `Exchange.engine`: raised when equal commands may be judged otherwise."""


def judge(text: str, facts: SessionFacts, rules: Rules, *, lookup: Lookup = sql.nothing_known) -> Judgement:
    """`lookup(name)` gives every text the session may have under a prepared statement's, cursor's or portal's
    name; () where there is none, which makes EXECUTE and FETCH of it unknown."""
    found = sql.read(text, rules.functions_allowed, lookup)
    ids, score = signals.weigh(found.marks, facts.environment)
    band = signals.band(score)
    decided = rules.decide(
        Context(
            facts,
            found.effects,
            found.reads,
            found.writes,
            found.complete,
            found.statements,
            score,
            band,
            ids,
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
        prepares=found.prepares,
        executes=found.executes,
        deallocates=found.deallocates,
        names=found.names,
    )


def explain_json(judgement: Judgement) -> dict[str, object]:
    """The line that `tallystick explain --json` prints."""
    return {
        "effects": [{"effect": each.effect, "relation": each.relation} for each in judgement.effects],
        "relations": {"read": list(judgement.reads), "write": list(judgement.writes)},
        "complete": judgement.complete,
        "reason": judgement.reason,
        "signals": list(judgement.signals),
        "score": judgement.score,
        "band": judgement.band.value,
        "decision": judgement.decision.value,
        "rule": judgement.rule,
    }
