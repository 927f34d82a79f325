"""Conditions: what they may say, what is refused at load, and what failing means."""

from __future__ import annotations

import pytest

from policy.conditions import Condition, compile_
from policy.context import Context, Needs
from policy.document import RulesInvalid, read
from schemas.judging import SessionFacts
from schemas.records import Band, Claim, Effect

FACTS = SessionFacts("ci", (Claim("ref", "main"),), "orders-db", "postgres", "production", "orders", "app")
CONTEXT = Context(
    FACTS,
    (Effect("delete", "public.log"), Effect("select", "")),
    ("a",),
    ("public.log",),
    True,
    1,
    85,
    Band.HIGH,
    ("Impact:Postgres/DeleteAll",),
)


def condition(text: str) -> Condition:
    return compile_(read("when: " + repr_yaml(text)).fields(["when"])["when"])


def repr_yaml(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def holds(text: str) -> bool | None:
    found = condition(text)
    handed = Needs(found.needs)
    return found.holds(handed.variables(handed.key(CONTEXT)))


@pytest.mark.parametrize(
    "text",
    [
        "command.complete",
        "score >= 70",
        'band == "high"',
        'band in ["high", "critical"]',
        '"Impact:Postgres/DeleteAll" in signals',
        'signals.exists(s, s.startsWith("Impact:"))',
        'command.effects.exists(e, e.effect == "delete" && e.relation.startsWith("public."))',
        'command.effects.all(e, e.effect in ["delete", "select"])',
        'command.writes.exists(w, w.endsWith(".log"))',
        "size(command.reads) == 1 && command.statements == 1",
        'identity.subject == "ci" && identity.claims.ref == "main"',
        'has(identity.claims.ref) && identity.claims["ref"] == "main"',
        '!("team" in identity.claims)',
        'target.environment.startsWith("prod") && target.name == "orders-db" && target.database == "orders"',
        'target.user == "app" && target.protocol == "postgres"',
        'identity.subject.matches("^c.$")',
    ],
)
def test_what_can_be_asked(text: str) -> None:
    assert holds(text) is True


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("scor >= 70", "unknown name 'scor'; did you mean 'score'?"),
        ("command.complet", "unknown field 'command.complet'; did you mean 'command.complete'?"),
        ("has(command.complet)", "unknown field"),
        ("score > 1000 && command.nothing", "unknown field"),
        ("score > 1000 && target.env == 'x'", "unknown field 'target.env'"),
        ("target . nme == 'x'", "did you mean 'target.name'?"),
        ("command == command", "unknown field 'command'"),
        ('command["complete"]', "unknown field 'command'"),
        ("command.effects.exists(e, e.relaton == 'x')", "unknown field e.relaton; did you mean 'relation'?"),
        ("score > 1000 && nosuch(score)", "unknown function 'nosuch'"),
        ("score", "not true or false"),
        ("score + 'a' == 'b'", "fails on a sample"),
        ("score >=", "not CEL"),
        ("command.effects.exists(e, e.effect == 'delet')", "nothing is ever 'delet'; did you mean 'delete'?"),
        ("command.effects.exists(e, e.effect in ['delete', 'trunc'])", "nothing is ever 'trunc'"),
        ("band == 'hgih'", "did you mean 'high'?"),
        ("'Impact:Postgres/DeletAll' in signals", "did you mean 'Impact:Postgres/DeleteAll'?"),
        ("signals.exists(score, score == 'x')", "is taken"),
        ("(" * 30 + "true" + ")" * 30, "nested"),
        ("true && " * 300 + "true", "at most"),
        ("true // && false", "comments"),
    ],
)
def test_what_is_refused_when_the_policy_is_read(text: str, why: str) -> None:
    with pytest.raises(RulesInvalid) as caught:
        condition(text)
    assert why in str(caught.value)
    assert caught.value.line == 1


def test_words_in_strings_are_no_names() -> None:
    assert holds('identity.subject != "command.nothing"') is True


def test_what_fails_at_run_time_is_neither_true_nor_false() -> None:
    assert holds('identity.claims.team == "x"') is None


def test_only_what_is_needed_is_handed_over() -> None:
    assert condition("score >= 70 && command.complete").needs == {"score", "command.complete"}
    assert condition("signals.exists(s, s == 'a')").needs == {"signals"}
