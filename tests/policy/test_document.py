"""Strict YAML: the line is told, nothing is guessed, nothing grows."""

from __future__ import annotations

import pytest

from policy.document import RulesInvalid, nearest, read


def test_values_are_read_as_what_they_must_be() -> None:
    parts = read('a: text\nb: 3\nc: true\nd: [x, "y"]\ne: {k: v}').fields("abcde")
    assert parts["a"].text() == "text"
    assert parts["b"].number() == 3
    assert parts["c"].truth() is True
    assert parts["d"].texts() == ("x", "y")
    assert parts["e"].pairs()["k"].text() == "v"


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("", 1, "empty"),
        ("a: 1\nbb: 2\n", 2, "unknown key; did you mean 'b'?"),
        ("a: 1\na: 2", 2, "stands twice"),
        ("a: &x [1]\nb: *x", 1, "anchors"),
        ("a: [1, 2", 1, "not YAML"),
        ("a: 1\n\tb: 2", 2, "not YAML"),
        ("a: " + "[" * 30 + "]" * 30, 1, "nested"),
        ("a: \x00", 1, "not YAML"),
        ("# " + "x" * (1 << 18), 1, "longer"),
        ("- 1", 1, "must be a mapping"),
        ("1: 2", 1, "must be text"),
        ("a: !!python/object/apply:os.system [x]", 1, "must be text"),
        ("a: !!python/name:os.system x", 1, "must be text"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, line: int, why: str) -> None:
    with pytest.raises(RulesInvalid) as caught:
        read(text).fields(("a", "b"))["a"].text()
    assert caught.value.line == line
    assert why in str(caught.value)


@pytest.mark.parametrize("text", ["a: yes", "a: 1", "a: [x]", "a: null", "a: 1.5", "a: 2020-01-01"])
def test_only_text_is_text(text: str) -> None:
    with pytest.raises(RulesInvalid, match="must be text"):
        read(text).fields("a")["a"].text()


def test_a_laugh_is_not_told_on() -> None:
    laugh = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))
    with pytest.raises(RulesInvalid, match="anchors"):
        read(laugh)


def test_the_nearest_word_is_offered() -> None:
    assert nearest("aproovers", ["approvers", "rules"]) == "; did you mean 'approvers'?"
    assert nearest("zzz", ["approvers"]) == ""
