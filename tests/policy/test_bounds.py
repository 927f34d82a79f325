"""What comes from outside cannot run code, read files, or take long: commands, YAML, CEL, patterns, the directory."""

from __future__ import annotations

import base64
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy import document, examples, rules
from policy.conditions import compile_
from policy.document import RulesInvalid
from policy.found import MAX_EFFECTS
from policy.judge import judge
from policy.rules import MOST_RULES, parse
from policy.sql.bodies import hides_a_default
from policy.sql.effects import read
from schemas.judging import SessionFacts
from schemas.records import Band, Decision

FACTS = SessionFacts("ci", (), "db", "postgres", "production", "d", "u")
OPEN = parse("rules: [{name: r, when: 'command.reads.exists(r, r == \"x\")', then: allow}]\notherwise: allow")
SECONDS = 5
"""Far above what any of these takes, far below what it would without its bound."""


def condition(text: str) -> None:
    compile_(document.read("when: |-\n  " + text).fields(["when"])["when"])


def within(began: float) -> bool:
    return time.perf_counter() - began < SECONDS


RUNS = [
    "!!python/object/apply:os.system ['touch {}']",
    "!!python/object/new:subprocess.Popen [['touch', '{}']]",
    "!!python/name:os.system",
    "!!python/module:os",
    "!include {}",
    "!!binary aGVsbG8=",
    "!<tag:yaml.org,2002:python/object/apply:builtins.open> ['{}', 'w']",
]


@pytest.mark.parametrize("tagged", RUNS)
@pytest.mark.parametrize("place", ["rules: {}", "rules: []\nreviewers: {}", "rules: []\nmask: {}", "{}"])
def test_no_yaml_runs_or_opens_anything(tmp_path: Path, tagged: str, place: str) -> None:
    made = tmp_path / "made"
    with pytest.raises(RulesInvalid):
        parse(place.format(tagged.format(made)))
    assert not made.exists()


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [*a]",
        "a: &a {b: *a}",
        "a: &x [1]\nb: [*x, *x]",
        "[" * 100_000,
        "{a: " * 100_000,
        "- " * 100_000,
        "? " * 50_000,
        "a: |\n" + " x\n" * 100_000,
        "a: " + "'" * 200_001,
        "%YAML 9.9\n---\na: 1",
        "a: 1\n---\nb: 2",
        "rules: []\n" * 20_000,
        "rules: [" + "{name: a, when: 'true', then: allow}, " * 6000 + "]",
    ],
    ids=lambda text: text[:12],
)
def test_no_yaml_takes_long(text: str) -> None:
    began = time.perf_counter()
    with pytest.raises(RulesInvalid):
        parse(text)
    assert within(began)


@given(st.text(alphabet="a:-[]{}&*!|>'\"%@`#,? \n\t0", max_size=200))
def test_any_text_is_a_policy_or_is_told_what_is_wrong(text: str) -> None:
    try:
        parse(text)
    except RulesInvalid:
        pass


@pytest.mark.parametrize("number", ["9" * 10, "9" * 5000, "1_000", "0x10", "0b1", "010:30", "-1", "1e3"])
def test_numbers_are_short_and_plain(number: str) -> None:
    text = f"rules: []\napprovers: {{default: {{groups: [a], quorum: {number}, expires: 1h}}}}"
    with pytest.raises(RulesInvalid):
        parse(text)


def test_rules_are_bounded() -> None:
    one = "  - {{name: a{}, when: 'true', then: allow}}\n"
    with pytest.raises(RulesInvalid, match=f"at most {MOST_RULES} rules"):
        parse("rules:\n" + "".join(one.format(n) for n in range(MOST_RULES + 1)))


def test_tests_are_bounded() -> None:
    with pytest.raises(RulesInvalid, match="at most"):
        examples.read("rules: []\ntests: [" + "{command: x, decision: hold}, " * (examples.MOST + 1) + "]")


CHAINS = [
    "!" * 1990 + "true", "-" * 1900 + "1 < 2", "1" + "+1" * 900 + " == 1", "identity.claims" + ".a" * 900 + " == 1",
    "[" + "1," * 900 + "1] == []", "signals" + "[0]" * 600 + " == ''", "true" + " && true" * 240, "(" * 2000,
    "true ? " * 23 + "true", "'a'" + "+'a'" * 450 + " == 'a'", "{1:" * 23 + "1" + "}" * 23 + " == 1",
    "9" * 400 + " > 1",
    "1e999999 > 1.0", "'aaaa'.matches('((a{100}){100}){100}')", "'a'.matches('" + "(" * 900 + "')",
    "command.reads.map(a, a + a).map(a, a + a).map(a, a + a).map(a, a + a).size() == 0",
]  # fmt: skip


@pytest.mark.parametrize("text", CHAINS, ids=[text[:20] for text in CHAINS])
def test_no_condition_takes_long_to_read(text: str) -> None:
    began = time.perf_counter()
    try:
        condition(text)
    except RulesInvalid:
        pass
    assert within(began)


WORK = [
    ("command.reads.all(a, command.reads.all(b, command.reads.all(c, a == b || b == c)))", "at most 2 deep"),
    ("command.reads.exists(r, 'x'.matches(r))", "written as one string"),
    ("identity.subject.matches(target.name)", "written as one string"),
    ("identity.subject.matches('a' + 'b')", "written as one string"),
    ("r'a' == 'a'", "r''"),
    ("b'a' == b'a'", "r''"),
    ('identity.subject == R"x"', "r''"),
]


@pytest.mark.parametrize(("text", "why"), WORK, ids=[text for text, _ in WORK])
def test_what_would_cost_too_much_is_refused(text: str, why: str) -> None:
    with pytest.raises(RulesInvalid) as caught:
        condition(text)
    assert why in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "command.reads.all(a, command.writes.exists(b, a == b))",
        "command.reads.exists(a, a == 'x') && command.reads.exists(a, a == 'y') && signals.exists(s, s == 'z')",
        "identity.subject.matches('^ci-[0-9]+$') && target.name.matches(\"a|b\")",
        "identity.subject == 'matches(x)'",
    ],
)
def test_what_does_not_is_taken(text: str) -> None:
    condition(text)


TOKENS = """
    true score command.reads .exists(e, ==e 'a' " ' ( ) [ ] { } ? : ! && || + - 1 . , in signals .matches( r' \\ size(
    // identity.claims .x
"""


@settings(deadline=None)
@given(st.lists(st.sampled_from(TOKENS.split()), max_size=60).map(" ".join))
def test_any_condition_is_compiled_or_is_told_what_is_wrong(text: str) -> None:
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    try:
        compile_(document.read(f'when: "{quoted}"').fields(["when"])["when"])
    except RulesInvalid:
        pass


MANY = [
    "SELECT * FROM " + ", ".join(f"t{n}" for n in range(20_000)),
    "SELECT 1; " * 20_000,
    "DELETE FROM t WHERE " + " OR ".join(f"a{n} = {n}" for n in range(300)),
    "SELECT " + "(" * 20_000,
    "SELECT '" + "x" * 1_000_000 + "'",
    "SELECT * FROM " + ", ".join(f"t{n}" for n in range(300)) + " WHERE t0.a = t1.a" + " AND t1.a = t2.a" * 299,
    "WITH " + ", ".join(f"c{n} AS (SELECT 1)" for n in range(3000)) + " SELECT 1",
    "WITH RECURSIVE " + ", ".join(f"c{n} AS (SELECT 1)" for n in range(20_000)) + " SELECT 1",
    "SELECT * FROM t WHERE EXISTS (" * 300 + "SELECT 1 WHERE " + "1 = 1 AND " * 30_000 + "true" + ")" * 300,
    "SELECT * FROM " + ", ".join(f"t{n}" for n in range(9000)) + " WHERE " + " AND ".join(
        f"t{n}.a = t{n + 1}.a" for n in range(9000, 0, -1)),
    "TRUNCATE " + ", ".join(f"t{n}" for n in range(10_000)),
]  # fmt: skip


@pytest.mark.parametrize("text", MANY, ids=[text[:20] for text in MANY])
def test_no_command_takes_long(text: str) -> None:
    began = time.perf_counter()
    judge(text, FACTS, OPEN)
    assert within(began)


def test_a_command_with_more_relations_than_rules_are_given_is_not_complete() -> None:
    held = rules.parse(rules.default_text())
    for count, complete in ((MAX_EFFECTS, True), (MAX_EFFECTS + 1, False)):
        found = judge("SELECT * FROM " + ", ".join(f"t{n}" for n in range(count)) + " LIMIT 1", FACTS, held)
        assert found.complete is complete
        assert len(found.effects) == count
    assert (found.decision, found.band) == (Decision.HOLD, Band.MEDIUM)
    assert not found.read_only


def test_the_directory_of_reviewers_is_plain_data() -> None:
    key = "ed25519:" + base64.b64encode(bytes(32)).decode()
    good = f"rules: []\nreviewers: [{{name: a, key: {key!r}, groups: [reviewers]}}]"
    assert parse(good).reviewers[0].name == "a"
    for bad in (key + "=" * 100, "ed25519:" + "A" * 200_000, "file:/etc/passwd", "ed25519:\u0661" * 30):
        with pytest.raises(RulesInvalid):
            parse(good.replace(repr(key), repr(bad)))


@pytest.mark.parametrize("some", ["r r; ", "declare r x ", "declare r r; "])
def test_a_body_of_many_declarations_is_read_in_time(some: str) -> None:
    body = [{"PLpgSQL_function": {"datums": [{"PLpgSQL_rec": {"refname": "r", "lineno": 1}}]}}]
    words = some.replace(";", " ;").split() * 200_000
    began = time.perf_counter()
    assert not hides_a_default(body, words)
    assert hides_a_default(body, [*words, ";", "r", "t", ":=", "x", ";"])
    assert within(began)


@pytest.mark.parametrize("command", ["SELECT " + "/*" * 200_000, "DO E'begin " + r"\x2f*" * 100_000 + " end'"])
def test_comments_in_comments_do_not_keep_the_judge(command: str) -> None:
    """PostgreSQL's scanner reads each of them to the end of all: minutes, without the bound."""
    began = time.perf_counter()
    assert not read(command).complete
    assert within(began)
