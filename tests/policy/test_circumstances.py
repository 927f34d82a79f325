"""Circumstances: when they hold, what they weigh, and that a score depends on nothing else."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy import circumstances, document
from policy.circumstances import Circumstance
from policy.document import RulesInvalid
from policy.judge import explain_json, judge
from policy.rules import Rules, parse
from schemas.judging import SessionFacts
from schemas.records import Band, Decision, Effect

FACTS = SessionFacts("ci-deploy", (), "orders-db", "postgres", "production", "orders", "app")
POLICY = """
rules:
  - {name: frozen, when: '"freeze" in context && size(command.writes) > 0', then: deny}
  - {name: high, when: "score >= 70", then: hold}
otherwise: allow
context:
  - {name: production, environments: ["prod*"], percent: 120}
  - {name: CI, subjects: ["ci-*"], percent: 90}
  - {name: personal data, tables: [public.users, "hr.*"], percent: 150}
  - {name: night, hours: "20:00-06:00", percent: 110}
  - {name: weekend, days: [sat, sun], percent: 110}
  - {name: freeze, from: "2026-12-20", until: "2027-01-03", percent: 200}
"""


def us(text: str) -> int:
    return int(datetime.datetime.fromisoformat(text + "+00:00").timestamp()) * 1_000_000


def one(**parts: str) -> Circumstance:
    text = ", ".join(f"{key.rstrip('_')}: {value}" for key, value in {"name": "x", **parts}.items())
    (found,) = circumstances.read(document.read(f"[{{{text}}}]"))
    return found


@pytest.fixture(scope="module")
def rules() -> Rules:
    return parse(POLICY)


TIMES = [
    ({"hours": '"20:00-06:00"'}, "2026-11-25T21:00", True),
    ({"hours": '"20:00-06:00"'}, "2026-11-25T05:59", True),
    ({"hours": '"20:00-06:00"'}, "2026-11-25T06:00", False),
    ({"hours": '"20:00-06:00"'}, "2026-11-25T12:00", False),
    ({"hours": '"09:00-17:30"'}, "2026-11-25T17:29", True),
    ({"hours": '"09:00-17:30"'}, "2026-11-25T17:30", False),
    ({"hours": '"18:00-24:00"'}, "2026-11-25T23:59", True),
    ({"days": "[wed]"}, "2026-11-25T00:00", True),
    ({"days": "[thu, fri]"}, "2026-11-25T23:59", False),
    ({"days": "[fri]", "hours": '"20:00-06:00"'}, "2026-11-28T03:00", True),  # Saturday morning is Friday's night
    ({"days": "[sat]", "hours": '"20:00-06:00"'}, "2026-11-28T03:00", False),
    ({"days": "[sat]", "hours": '"20:00-06:00"'}, "2026-11-28T20:00", True),
    ({"from_": '"2026-12-20"'}, "2026-12-19T23:59", False),
    ({"from_": '"2026-12-20"'}, "2026-12-20T00:00", True),
    ({"until": '"2027-01-03T18:00Z"'}, "2027-01-03T17:59", True),
    ({"until": '"2027-01-03T18:00+01:00"'}, "2027-01-03T17:00", False),
]


@pytest.mark.parametrize(("parts", "when", "holds"), TIMES, ids=[f"{p} {w}" for p, w, _ in TIMES])
def test_times_in_utc(parts: dict[str, str], when: str, holds: bool) -> None:
    found = one(**parts)
    assert found.timed
    assert found.at(us(when)) is holds


@given(st.integers(0, 4_102_444_800), st.sets(st.sampled_from(circumstances._DAYS), min_size=1))
def test_days_are_those_of_the_calendar(second: int, days: set[str]) -> None:
    when = datetime.datetime.fromtimestamp(second, datetime.UTC)
    assert one(days="[" + ", ".join(sorted(days)) + "]").at(second * 1_000_000) is (when.strftime("%a").lower() in days)


@pytest.mark.parametrize(
    ("relation", "holds"),
    [
        ("public.users", True), ("users", True), ("hr.pay", True), ("pay", False), ("other.users", False),
        ("public.users2", False), ("", False), ("hrx.pay", False),
    ],
)  # fmt: skip
def test_tables_by_name_where_one_without_a_schema_may_be_of_any(relation: str, holds: bool) -> None:
    found = one(tables='[public.users, "hr.*"]')
    assert found.holds(FACTS, [Effect("select", relation)], ()) is holds


def test_all_that_is_named_must_hold() -> None:
    found = one(environments="[production]", subjects='["ci-*"]', targets="[orders-db]", hours='"20:00-06:00"')
    assert found.holds(FACTS, [], ("x",))
    assert not found.holds(FACTS, [], ())
    assert not one(environments="[production]", subjects="[dba]").holds(FACTS, [], ())
    assert not one(targets="[db]").holds(FACTS, [], ())


def test_the_score_is_the_sum_times_what_holds_and_explain_shows_it(rules: Rules) -> None:
    moment = rules.moment(us("2026-11-25T21:00"))
    found = judge("DELETE FROM users WHERE id = 1", FACTS, rules, moment=moment)
    assert moment == ("night",)
    assert found.context == ("production", "CI", "personal data", "night")
    assert found.score == 20 * 120 * 90 * 150 * 110 // 100**4 == 35
    explained = explain_json(found, FACTS.environment, rules)
    assert explained["sum"] == {
        "points": {"data-loss": 20},
        "percent": {"production": 120, "CI": 90, "personal data": 150, "night": 110},
    }
    assert explained["context"] == list(found.context)


def test_rules_ask_for_it(rules: Rules) -> None:
    frozen = rules.moment(us("2026-12-24T12:00"))
    assert judge("UPDATE t SET a = 1 WHERE id = 1", FACTS, rules, moment=frozen).decision is Decision.DENY
    assert judge("SELECT a FROM t WHERE id = 1", FACTS, rules, moment=frozen).decision is Decision.ALLOW
    assert judge("UPDATE t SET a = 1 WHERE id = 1", FACTS, rules, moment=()).decision is Decision.ALLOW


def test_unknown_is_never_low_and_no_score_is_above_100(rules: Rules) -> None:
    half = parse("rules: []\ncontext: [{name: trusted, subjects: [ci-deploy], percent: 50}]")
    found = judge("SELECT purge()", FACTS, half)
    assert (found.score, found.band) == (40, Band.MEDIUM)
    assert judge("DELETE FROM users", FACTS, rules, moment=rules.moment(us("2026-12-24T12:00"))).score == 100


@given(st.integers(0, 100), st.lists(st.integers(50, 400), max_size=8), st.permutations(range(8)))
def test_order_does_not_matter(base: int, percents: list[int], order: list[int]) -> None:
    found = [Circumstance(str(n), p, (), (), (), (), frozenset(), None, None, None) for n, p in enumerate(percents)]
    other = [found[n] for n in order if n < len(found)]
    assert circumstances.score(base, found, True) == circumstances.score(base, other, True)


def test_without_times_nothing_depends_on_the_time() -> None:
    plain = parse("rules: []\ncontext: [{name: a, environments: [test]}]")
    assert not plain.timed
    assert plain.moment(us("2026-12-24T12:00")) == ()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[{name: a}]", "names nothing that must hold"),
        ("[{name: a, percent: 120}]", "names nothing that must hold"),
        ("[{name: a, subjects: [x]}, {name: a, subjects: [y]}]", "'a' is taken"),
        ("[{name: a, subjects: []}]", "is empty"),
        ('[{name: a, subjects: ["x*y"]}]', "only ends it"),
        ('[{name: a, subjects: ["*"]}]', "only ends it"),
        ("[{name: a, subjects: [x], percent: 0}]", "from 50 to 400"),
        ("[{name: a, subjects: [x], percent: 401}]", "from 50 to 400"),
        ("[{name: a, hours: 9-17}]", "must be hours"),
        ('[{name: a, hours: "09:00-09:00"}]', "must be hours"),
        ('[{name: a, hours: "09:00-24:30"}]', "must be hours"),
        ("[{name: a, days: [monday]}]", "must be one of mon, tue"),
        ('[{name: a, from: "20.12.2026"}]', "must be a day or a time"),
        ('[{name: a, from: "2026-12-20", until: "2026-12-20"}]', "not after"),
        ("[{name: a, zone: UTC, subjects: [x]}]", "unknown key"),
        ("[" + ", ".join(f"{{name: a{n}, subjects: [x]}}" for n in range(65)) + "]", "at most 64"),
    ],
    ids=lambda each: each[:40],
)
def test_what_is_wrong_is_told(text: str, why: str) -> None:
    with pytest.raises(RulesInvalid) as caught:
        circumstances.read(document.read(text))
    assert why in str(caught.value)


def test_a_rule_may_ask_only_for_what_the_policy_names() -> None:
    with pytest.raises(RulesInvalid, match="no context is named 'freze'; did you mean 'freeze'"):
        parse(POLICY.replace('\'"freeze" in', "'''freze'' in"))
