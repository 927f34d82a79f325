"""One command, judged: the parts put together, and the line that `explain` prints."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy import rules
from policy.judge import explain_json, judge
from schemas.judging import Judgement, SessionFacts
from schemas.records import Band, Decision

Judge = Callable[..., Judgement]

RULES = rules.parse(rules.default_text())
FACTS = SessionFacts("ci", (), "db", "postgres", "production", "d", "u")


def test_a_delete_without_where_is_held_and_says_why(judged: Judge) -> None:
    found = judged("DELETE FROM public.job_log")
    assert (found.decision, found.rule, found.band) == (Decision.HOLD, "high-risk", Band.HIGH)
    assert found.signals == ("Impact:Postgres/DeleteAll",)
    assert found.names == ("public.job_log",)
    assert found.approvers is not None
    assert found.approvers.quorum == 1


def test_unknown_is_held_by_its_own_rule_and_never_low(judged: Judge) -> None:
    found = judged("SELECT purge()")
    assert (found.decision, found.rule, found.complete) == (Decision.HOLD, "not-complete", False)
    assert found.band is not Band.LOW
    assert "purge" in found.reason


def test_explain_prints_the_promised_line(judged: Judge) -> None:
    line = explain_json(judged("INSERT INTO a SELECT * FROM s.b WHERE c = 1"), "production", RULES)
    assert json.loads(json.dumps(line)) == {
        "effects": [{"effect": "insert", "relation": "a"}, {"effect": "select", "relation": "s.b"}],
        "relations": {"read": ["s.b"], "write": ["a"]},
        "complete": True,
        "reason": "",
        "signals": ["Impact:Postgres/Insert"],
        "score": 5,
        "sum": {"points": {"data-loss": 5}, "percent": {}},
        "context": [],
        "band": "low",
        "decision": "allow",
        "rule": "otherwise",
        "alerts": [],
        "masks": [],
    }


def test_the_environment_counts(default_rules: rules.Rules, facts: SessionFacts) -> None:
    test = dataclasses.replace(facts, environment="test")
    sql = "COPY support_cases TO STDOUT"
    assert judge(sql, facts, default_rules).decision is Decision.HOLD
    assert judge(sql, test, default_rules).decision is Decision.ALLOW


def test_the_policy_may_name_functions(facts: SessionFacts) -> None:
    own = rules.default_text().replace("  allow:\n", "  allow:\n    - app.total\n")
    assert judge("SELECT app.total(1)", facts, rules.parse(own)).decision is Decision.ALLOW


def test_a_policy_may_deny(facts: SessionFacts) -> None:
    when = 'command.effects.exists(e, e.effect == "drop")'
    text = f"rules: [{{name: no-drops, when: '{when}', then: deny}}]\notherwise: allow"
    found = judge("DROP TABLE a", facts, rules.parse(text))
    assert (found.decision, found.rule, found.approvers) == (Decision.DENY, "no-drops", None)


@pytest.mark.parametrize("sql", ["SELECT 'x'", "\0", "\ud800", "x" * (1 << 20) + "x", "SELECT 1" + "+1" * 100_000])
def test_no_command_makes_it_raise(sql: str) -> None:
    judge(sql, FACTS, RULES)


@settings(deadline=None)  # reading a policy takes what the machine has left
@given(st.text(max_size=60))
def test_the_same_command_always_gives_the_same_judgement(sql: str) -> None:
    fresh = rules.parse(rules.default_text())
    assert judge(sql, FACTS, RULES) == judge(sql, FACTS, fresh)


@given(st.text(alphabet="abc'\\;-/*$", max_size=30))
def test_reasons_hold_no_text_of_unreadable_commands(sql: str) -> None:
    found = judge("SELECT secret_word FROM " + sql, FACTS, RULES)
    assert "secret_word" not in found.reason
