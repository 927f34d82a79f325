"""Every ready policy loads, and does what its own tests say; a test that is wrong is told with its line."""

from __future__ import annotations

from importlib.resources import files

import pytest

from policy import examples, rules
from policy.document import RulesInvalid

LIBRARY = {
    path.name: path.read_text("utf-8") for path in files("policy.library").iterdir() if path.name[-5:] == ".yaml"
}


@pytest.mark.parametrize("name", sorted(LIBRARY))
def test_it_does_what_its_tests_say(name: str) -> None:
    tests = examples.read(LIBRARY[name])
    assert list(examples.failures(rules.parse(LIBRARY[name]), tests)) == []
    assert len(tests) >= 8 or name == "default.yaml"


@pytest.mark.parametrize("name", sorted(set(LIBRARY) - {"default.yaml"}))
def test_every_rule_of_it_is_tried(name: str) -> None:
    tried = {each.rule for each in examples.read(LIBRARY[name])}
    assert {rule.name for rule in rules.parse(LIBRARY[name]).rules} - tried <= {"high-risk", "not-complete"}


@pytest.mark.parametrize("name", sorted(LIBRARY))
def test_the_first_line_says_what_it_is_for(name: str) -> None:
    first = LIBRARY[name].splitlines()[0]
    assert first.startswith("# ")
    assert first.endswith(".")


POLICY = """\
rules:
  - {name: structure, when: 'command.effects.exists(e, e.effect == "drop")', then: alert}
  - {name: drops, when: 'command.effects.exists(e, e.effect == "drop")', then: deny}
  - {name: payroll, when: '"payroll" in command.reads', then: mask}
otherwise: allow
context: [{name: night, hours: "22:00-05:00", percent: 200}]
tests:
  - {command: DROP TABLE a, decision: deny, rule: drops, band: high}
  - {command: DROP TABLE a, decision: hold}
  - {command: DROP TABLE a, decision: deny, rule: other}
  - {command: DROP TABLE a, decision: deny, band: low}
  - {command: DROP TABLE a, decision: deny, band: critical, at: "2026-11-25T23:00"}
  - {command: DROP TABLE a, decision: deny, alerts: [structure]}
  - {command: DROP TABLE a, decision: deny, alerts: []}
  - {command: SELECT 1 FROM payroll, decision: allow, masks: [payroll]}
  - {command: SELECT 1 FROM payroll, decision: allow, masks: []}
"""


def test_what_is_not_as_it_must_be_is_told_with_its_line() -> None:
    found = list(examples.failures(rules.parse(POLICY), examples.read(POLICY)))
    assert [each.line for each in found] == [9, 10, 11, 14, 16]
    assert found[0].why == "must be hold, and is deny by drops, high 85, alerts of ['structure']"
    assert found[4].why == "must be allow masked by [], and is allow by otherwise, low 10, masked by ['payroll']"
    assert found[1].why == "must be deny by other, and is deny by drops, high 85, alerts of ['structure']"


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("decision: hold", "decison: hold", "did you mean 'decision'?"),
        ("decision: hold", "decision: block", "one of allow, hold, deny"),
        ("  - {command: DROP TABLE a, decision: hold}", "  - {decision: hold}", "'command' is missing"),
        ("23:00\"", "25:00\"", "a day or a time"),
        ("band: low", "band: lowest", "must be one of"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_test_is_told(old: str, new: str, why: str) -> None:
    assert old in POLICY
    with pytest.raises(RulesInvalid, match=why):
        examples.read(POLICY.replace(old, new))
