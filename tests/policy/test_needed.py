"""Which effects a condition needs: exact where said, and never said where it is not so."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy.conditions import compile_
from policy.context import Context, Needs
from policy.document import read
from policy.needed import needed
from schemas.judging import SessionFacts
from schemas.records import Band, Effect

FACTS = SessionFacts("ci", (), "db", "postgres", "test", "d", "u")

SAID = [
    ('command.effects.exists(e, e.effect == "drop")', {"drop"}),
    ("command.effects.exists(e, e.effect == 'drop' && e.relation == 'a && b')", {"drop"}),
    ('score > 3 && command . effects.exists(x, x.relation != "(" && x.effect in ["drop", "alter"])', {"drop", "alter"}),
    ('(score > 3 || command.complete) && command.effects.exists(e, e.effect == "drop")', {"drop"}),
    ('identity.claims.ref == "x" && command.effects.exists(e, e.effect == "drop")', {"drop"}),
]
NOT_SAID = [
    'score > 3 || command.effects.exists(e, e.effect == "drop")',
    'score > 3 && command.complete || command.effects.exists(e, e.effect == "drop")',
    'command.effects.exists(e, e.effect == "drop") || score > 3',
    'command.complete ? command.effects.exists(e, e.effect == "drop") : true',
    '!command.effects.exists(e, e.effect == "drop")',
    'command.effects.exists(e, e.effect == "drop" || e.relation == "a")',
    'command.effects.exists(e, e.effect != "drop")',
    'command.effects.exists(e, !(e.effect == "drop"))',
    'command.effects.all(e, e.effect == "drop")',
    'command.effects.exists(e, e.effect == "drop") == command.effects.exists(e, e.effect == "alter")',
    'command.effects.exists(e, e.effect == "drop") != (score > 3)',
    'command.effects.exists(e, (e.effect == "drop") == false)',
    'command.effects.exists(e, e.effect == "drop" ? false : true)',
    'command.effects.exists(e, e.effect in ["drop"] + ["alter"])',
    "score > 3",
]


@pytest.mark.parametrize(("text", "effects"), SAID, ids=[row[0] for row in SAID])
def test_what_is_needed(text: str, effects: set[str]) -> None:
    assert needed(text) == effects


@pytest.mark.parametrize("text", NOT_SAID)
def test_what_may_be_true_without(text: str) -> None:
    assert needed(text) is None


words = st.sampled_from(["drop", "alter", "select"])
tests = st.one_of(
    words.map(lambda w: f'e.effect == "{w}"'),
    words.map(lambda w: f'e.effect != "{w}"'),
    st.lists(words, max_size=2).map(lambda ws: f"e.effect in {ws}"),
    st.just("e.relation == 'a'"),
)


def joined(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(parts, st.sampled_from(["&&", "||", "=="]), parts).map(lambda p: f"({p[0]}) {p[1]} ({p[2]})"),
        st.tuples(parts, st.sampled_from(["&&", "||"]), parts).map(" ".join),
        parts.map(lambda p: f"!({p})"),
    )


inner = st.recursive(tests, joined, max_leaves=3)
calls = st.tuples(st.sampled_from(["exists", "all"]), inner).map(lambda p: f"command.effects.{p[0]}(e, {p[1]})")
plain = st.sampled_from(["score > 3", "command.complete", 'identity.claims.ref == "x"'])
conditions = st.recursive(st.one_of(calls, plain), joined, max_leaves=3)
effects = st.lists(st.builds(Effect, words, st.sampled_from(["a", "b"])), max_size=3).map(tuple)


@settings(deadline=None)
@given(conditions, effects, st.integers(0, 6), st.booleans())
def test_without_what_is_needed_no_condition_is_true_or_fails(
    text: str, found: tuple[Effect, ...], score: int, complete: bool
) -> None:
    condition = compile_(read("when: |-\n  " + text).fields(["when"])["when"])
    asked = Needs(condition.needs)
    context = Context(FACTS, found, (), (), complete, 1, score, Band.LOW, ())
    if condition.effects is not None and condition.effects.isdisjoint(each.effect for each in found):
        assert condition.holds(asked.variables(asked.key(context))) is False
