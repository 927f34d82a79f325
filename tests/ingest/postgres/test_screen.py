"""The screen's cache: two texts share a verdict only where the judge, asked about each, says the same."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.postgres.screen import Screen, made, worst
from policy import rules
from policy.judge import judge
from schemas.judging import Judgement, SessionFacts
from schemas.records import Decision

FACTS = SessionFacts("s", (), "t", "postgres", "production", "d", "u")
RULES = rules.parse(rules.default_text())


def fresh() -> Screen:
    return Screen(lambda text, facts, lookup: judge(text, facts, RULES, lookup=lookup), FACTS)


def known(name: str) -> tuple[str, ...]:
    return ()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("select a ? 1 from t", "select a 1 1 from t"),  # `?` is jsonb's operator
        ("select 1", "select ?"),
        ("delete from t where a = 1", "delete from t where a = ?"),
        ("select $1", "select $2"),
        ("select '1'::text", "select '1\\'::text"),
        ("delete from t where a = 1", "delete from t where 1 = 1"),
        ("select f1(1)", "select f2(1)"),
        ('select "1" from t', 'select "2" from t'),
        ("do $$begin null; end$$", "do $$begin delete from t; end$$"),
        ("do $$begin perform 1; end$$", "do $$begin perform 2; end$$"),
        ("select query_to_xml('delete from t1 returning 1', true, true, '')", "select query_to_xml('2',true,true,'')"),
        ("set statement_timeout = 1", "set statement_timeout = 2"),
        ("select 1e5", "select 1e6"),
        ("select 1.5", "select 1.6"),
        ("select 0x1F", "select 0x2F"),
        ("select \u00e91 from t", "select \u00e92 from t"),
    ],
)
def test_what_is_no_whole_number_alone_is_asked_about_again(first: str, second: str) -> None:
    screen = fresh()
    screen.verdict(first.encode(), known)
    screen.verdict(second.encode(), known)
    assert (screen.hits, screen.misses) == (0, 2)


def test_whole_numbers_share_a_verdict_where_the_judge_is_blind_to_them() -> None:
    screen = fresh()
    for n in range(5):
        assert screen.verdict(f"select a from t where a = {n} limit {n}".encode(), known).plain
    assert (screen.hits, screen.misses) == (4, 1)


TEXTS = [
    "select # from t where a = # and b > -#",
    "select # limit # offset #",
    "delete from t where a = #",
    "delete from t where # = #",
    "delete from t where a = # or # = #",
    "delete from t where a in (#, #)",
    "delete from t where # in (#)",
    "delete from t where a = # or # between # and #",
    "delete from t where a = '#'",
    "delete from t where '#'::bool",
    "delete from t where a like '#%'",
    "update t set a = # where b = #",
    "update t set a = # where (select #) = #",
    "insert into t values (#, 'x#', E'#\\t#')",
    "select a ? '#', b ->> #, c[#:#] from t order by # --#",
    "select /* # */ count(*) from generate_series(#, #)",
    "select set_config('a.b', '#', false)",
    "select pg_sleep(#)",
    "select lo_unlink(#)",
    "copy t to '/tmp/#'",
    "select case when # then # else # end",
    "select U&'!0# x' uescape '!'",
    "select interval '#' day(#), '#'::char(#), '#'::bit(#)",
    "select $#$ # $#$",
    "select # group by # having # > #",
    "with d as (delete from t where a = # returning #) select #",
    "values (#), (#)",
]


@given(st.sampled_from(TEXTS), st.data())
def test_a_shared_verdict_is_the_one_that_the_judge_gives(template: str, data: st.DataObject) -> None:
    number = st.one_of(st.integers(0, 9), st.sampled_from([10, 2**31, 2**63, 10**40])).map(str)
    screen = fresh()
    for _ in range(4):
        text = re.sub("#", lambda _: data.draw(number), template)
        cached, asked = screen.verdict(text.encode(), known).judgement, judge(text, FACTS, RULES, lookup=known)
        assert cached == asked, text


def allowed() -> Judgement:
    return judge("select 1", FACTS, RULES)


def test_the_worst_of_two_texts_has_the_worst_of_each() -> None:
    held = judge("delete from t", FACTS, RULES)
    barrier = judge("set a.b = 1", FACTS, RULES)
    prepares = judge("prepare n as select 1", FACTS, RULES)
    at, verdict = worst([made(j) for j in (allowed(), held, barrier, prepares)])
    assert at == 1
    assert verdict.judgement.decision is Decision.HOLD
    assert verdict.judgement.barrier
    assert verdict.judgement.prepares == prepares.prepares
    assert not verdict.plain
    assert not verdict.read_only
    assert verdict.uses
    removes = allowed()._replace(deallocates=("n",))
    assert worst([made(removes), made(allowed())])[1].judgement.deallocates == ()


def test_what_is_remembered_goes_when_a_circumstance_of_the_policy_turns() -> None:
    frozen = rules.parse(
        "rules: [{name: f, when: '\"freeze\" in context', then: deny}]\notherwise: allow\n"
        "context: [{name: freeze, from: '2026-12-20'}]"
    )
    now = [0]

    def moment() -> tuple[str, ...]:
        return frozen.moment(now[0])

    screen = Screen(lambda text, facts, _: judge(text, facts, frozen, moment=moment()), FACTS, moment)
    text = b"select a from t where a = 1"
    assert [screen.verdict(text, known).judgement.decision for _ in range(2)] == [Decision.ALLOW] * 2
    now[0] = 1_798_000_000_000_000
    assert [screen.verdict(text, known).judgement.decision for _ in range(2)] == [Decision.DENY] * 2
    assert screen.nothing.judgement.decision is Decision.DENY
    assert (screen.hits, screen.misses) == (2, 2)
