"""docs/policy.md: its example is a policy that passes its tests, and its lists are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

from policy import conditions, examples, rules
from policy.context import NAMES
from policy.found import MAX_EFFECTS

PAGE = (Path(__file__).parents[2] / "docs" / "policy.md").read_text("utf-8")
APPROVERS = "approvers: {dba: {groups: [dba], quorum: 1, expires: 1h}}\n"


def test_the_example_is_a_policy_that_passes_its_tests() -> None:
    blocks = re.findall(r"(?m)^    (?:rules|context|tests):\n(?:    .*\n)+", PAGE)
    text = APPROVERS + "".join(re.sub(r"(?m)^    ", "", block) for block in blocks)
    assert len(blocks) == 3
    assert list(examples.failures(rules.parse(text), examples.read(text))) == []


def test_its_names_and_functions_are_those_that_conditions_have() -> None:
    table = PAGE[PAGE.index("| in `when`") : PAGE.index("\n\nFunctions:")]
    said, root = set(), ""
    for name in re.findall(r"`([a-z.]+)`", re.sub(r"\([^)]*\)", "", table)):
        root = name.partition(".")[0] or root
        said.add(f"{root}{name}" if name.startswith(".") else name)
    assert said >= NAMES
    functions = PAGE[PAGE.index("Functions: `") :].split("`")[1].split()
    assert set(functions) == conditions._FUNCTIONS
    assert f"at most {MAX_EFFECTS} of each" in PAGE
