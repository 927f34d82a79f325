"""Recorded commands judged again: the score bit for bit, and what another policy would have said."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from policy import history
from policy.history import Agreement, again, agreement
from policy.judge import ENGINE, judge
from policy.rules import Rules, default_text, parse
from schemas.ids import SessionId
from schemas.judging import Judgement, SessionFacts
from schemas.records import Band, CommandKind, Decision, Effect, Exchange, Result
from tests.policy.regression import Statement
from tests.policy.test_bypass import ALLOWED, HELD
from tests.policy.test_real_programs import PROGRAMS

Judge = Callable[..., Judgement]

FACTS = SessionFacts("ci-deploy", (), "orders-db", "postgres", "production", "orders", "app")
NIGHT_US = 1_764_111_600_000_000  # 2025-11-25T23:00Z
WEIGHED = parse(
    default_text().replace(
        "context: []",
        "context:\n"
        '  - {name: production, environments: ["prod*"], percent: 130}\n'
        "  - {name: jobs, tables: [public.job_log, t], percent: 90}\n"
        '  - {name: night, hours: "22:00-05:00", percent: 115}',
    )
)


def recorded(found: Judgement, rules: Rules, at_us: int = NIGHT_US) -> Exchange:
    said = (found.effects, found.complete, found.score, found.band, found.signals, found.decision, found.rule)
    session, engine = SessionId("db.0.aaaaaaaa/0/1"), f"pg1 mask1 {ENGINE}"
    return Exchange(
        session, 1, CommandKind.SIMPLE, at_us, at_us, Result.EXECUTED, "", "", b"", *said, None, 0, 0, False, (), 0,
        rules.version, engine, b"",
    )  # fmt: skip


TEXTS = [row[1] for row in HELD + ALLOWED] + [text for texts in PROGRAMS.values() for text in texts]


@pytest.mark.parametrize("rules", [parse(default_text()), WEIGHED], ids=["default", "weighed"])
def test_a_score_comes_out_again_bit_for_bit(rules: Rules) -> None:
    for text in TEXTS:
        found = judge(text, FACTS, rules, moment=rules.moment(NIGHT_US))
        exchange = recorded(found, rules)
        assert agreement(FACTS, exchange, rules) is Agreement.SAME, text
        assert again(FACTS, exchange, rules) == history.Again(found.score, found.decision, found.rule), text


@pytest.mark.slow
def test_all_of_postgresqls_own_do(regression: list[Statement]) -> None:
    for _, text in regression:
        found = judge(text, FACTS, WEIGHED, moment=WEIGHED.moment(NIGHT_US))
        assert agreement(FACTS, recorded(found, WEIGHED), WEIGHED) is Agreement.SAME, text


def test_another_score_is_found_and_another_policy_or_engine_is_named() -> None:
    rules = parse(default_text())
    exchange = recorded(judge("DELETE FROM t", FACTS, rules), rules)
    assert agreement(FACTS, dataclasses.replace(exchange, score=84), rules) is Agreement.OTHER_SCORE
    assert agreement(FACTS, dataclasses.replace(exchange, policy_version="x"), rules) is Agreement.OTHER_POLICY
    assert agreement(FACTS, dataclasses.replace(exchange, engine="pg1 mask1 sql0"), rules) is Agreement.OTHER_ENGINE


def test_another_policy_decides_by_what_is_recorded() -> None:
    rules = parse(default_text())
    stricter = parse(
        "rules: [{name: jobs, when: 'command.writes.exists(w, w == \"job_log\")', then: deny}]\notherwise: allow"
    )
    exchange = recorded(judge("DELETE FROM job_log WHERE id = 1", FACTS, rules), rules)
    assert again(FACTS, exchange, rules).decision is Decision.ALLOW
    assert again(FACTS, exchange, stricter) == history.Again(20, Decision.DENY, "jobs")
    read = dataclasses.replace(exchange, effects=(Effect("select", "job_log"),), band=Band.LOW)
    assert again(FACTS, read, stricter).decision is Decision.ALLOW
