"""What a policy may say of behaviour, checked whole when it is read; none of it is in a rule."""

import pytest

from policy import rules
from policy.behaviour import Behaviour, Mark, Settings, table
from policy.rules import RulesInvalid
from schemas.records import Scope

HEAD = "rules: []\nbehaviour:\n"


def parsed(text: str) -> Behaviour:
    return rules.parse(HEAD + text).behaviour


def test_every_mark_has_its_row_and_its_words() -> None:
    assert set(table()) == set(Mark)
    assert len({signal.id for signal in table().values()}) == len(Mark)
    assert all(signal.reason and signal.false_positives and signal.points > 0 for signal in table().values())


def test_without_a_word_it_alerts_and_never_suspends() -> None:
    found = rules.parse("rules: []").behaviour
    assert (found.settings.alert_at, found.settings.suspend_at) == (60, 0)
    assert found.of("anybody") == ("", Settings())


def test_a_class_takes_what_it_does_not_say_from_above() -> None:
    found = parsed(
        "  alert_at: 50\n  suspend_at: 100\n  suspend: identity\n  warm_up: 7d\n  points: {statement: 0}\n"
        "  volume: {factor: 3}\n"
        "  classes:\n    - {name: ci, identities: ['ci-*', deploy], alert_at: 70, points: {network: 5}}\n"
    )
    name, ci = found.of("ci-42")
    assert (name, found.of("deploy")[0], found.of("cix")[0], found.of("deploy2")[0]) == ("ci", "ci", "", "")
    assert (ci.alert_at, ci.suspend_at, ci.suspend, ci.warm_up) == (70, 100, Scope.IDENTITY, 7 * 86400)
    assert (ci.points[Mark.STATEMENT], ci.points[Mark.NETWORK], ci.points[Mark.ROWS]) == (0, 5, 50)
    assert found.settings.points[Mark.NETWORK] == 30
    assert (ci.volume.factor, ci.volume.rows) == (3, 1000)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("  alert_att: 5\n", 3, "did you mean 'alert_at'"),
        ("  alert_at: 0\n", 3, "from 1 to 1000"),
        ("  alert_at: 80\n  suspend_at: 70\n", 4, "at least as many points"),
        ("  suspend: everyone\n", 3, "must be one of session, identity"),
        ("  suspend_for: 13h\n", 3, "a time up to 12h"),
        ("  points: {netwerk: 5}\n", 3, "did you mean 'network'"),
        ("  volume: {factor: 1}\n", 3, "from 2 to 1000"),
        ("  sleep: 100d\n", 3, "must sleep before"),
        ("  classes:\n    - {name: a, identities: ['*']}\n", 4, "at least one character"),
        ("  classes:\n    - {name: a, identities: []}\n", 4, "the class of nobody"),
        ("  classes:\n    - {name: a, identities: [x]}\n    - {name: a, identities: [y]}\n", 5, "is taken"),
        ("  classes:\n    - {name: a, identities: [x], alert_at: 90}\n  suspend_at: 80\n", 4, "at least as many"),
        ("  run: {claim: [x]}\n", 3, "did you mean 'claims'"),
    ],
    ids=lambda value: str(value).strip()[:40],
)
def test_a_mistake_is_told_with_its_line_and_what_is_meant(text: str, line: int, words: str) -> None:
    with pytest.raises(RulesInvalid, match=words) as told:
        parsed(text)
    assert told.value.line == line


def test_who_may_resume_must_be_somebody() -> None:
    key = "ed25519:" + "A" * 43 + "="
    text = f"reviewers:\n  - {{name: ann, key: '{key}', groups: [security]}}\n"
    text += "approvers:\n  default: {groups: [security], quorum: 1, expires: 1h}\n"
    assert rules.parse(text + HEAD + "  resume: [security]\n").behaviour.resume == ("security",)
    with pytest.raises(RulesInvalid, match="did you mean 'security'"):
        rules.parse(text + HEAD + "  resume: [securty]\n")


def test_who_may_resume_is_somebody_where_anybody_can_be_suspended() -> None:
    key = "ed25519:" + "A" * 43 + "="
    text = f"reviewers:\n  - {{name: ann, key: '{key}', groups: [security]}}\n"
    text += "approvers:\n  default: {groups: [security], quorum: 1, expires: 1h}\n"
    rules.parse(text + HEAD + "  alert_at: 50\n")
    for suspends in ("  suspend_at: 90\n", "  classes: [{name: a, identities: [x], suspend_at: 90}]\n"):
        with pytest.raises(RulesInvalid, match="nobody could lift a suspension: name in `resume` one of security"):
            rules.parse(text + HEAD + suspends)
        rules.parse(text + HEAD + suspends + "  resume: [security]\n")


@pytest.mark.parametrize("mark", list(Mark), ids=str)
@pytest.mark.parametrize("then", ["hold", "deny", "allow"])
def test_no_rule_can_ask_for_what_is_found_after_the_command(mark: Mark, then: str) -> None:
    text = f"rules:\n  - {{name: r, when: '\"{table()[mark].id}\" in signals', then: {then}}}\n"
    with pytest.raises(RulesInvalid, match="found after the command has run"):
        rules.parse(text)
