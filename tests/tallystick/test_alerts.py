"""docs/alerts.yml and docs/operations.md speak of metrics that there are, and of places that can be found."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tallystick.metrics import METRICS

DOCS = Path(__file__).parents[2] / "docs"
GROUPS = yaml.safe_load((DOCS / "alerts.yml").read_text())["groups"]
RULES: list[dict[str, Any]] = [rule for group in GROUPS for rule in group["rules"]]
OPERATIONS = (DOCS / "operations.md").read_text()


def anchors(text: str) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_file_has_the_shape_of_a_file_of_rules() -> None:
    assert [set(group) for group in GROUPS] == [{"name", "rules"}]
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert (
            {"alert", "expr", "labels", "annotations"} <= set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        )
        assert re.fullmatch(r"Tallystick[A-Z][A-Za-z]+", rule["alert"])
        assert re.fullmatch(r"\d+[smh]", rule.get("for", "0s"))
        assert set(rule["annotations"]) == {"summary", "runbook"}
        assert set(rule["labels"]) == {"severity"}
        assert isinstance(rule["expr"], str)
        assert rule["expr"].count("(") == rule["expr"].count(")")
        for label in re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]):
            assert label in ("role", "instance", "alarm")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_is_on_metrics_that_a_role_says_and_its_runbook_is_there(rule: dict[str, Any]) -> None:
    """That roles say every one of METRICS is seen in tests/scenarios/test_ops.py."""
    used = set(re.findall(r"tallystick_\w+", rule["expr"]))
    assert used
    assert used <= METRICS.keys()
    for name in used:
        counted = re.search(rf"(rate|increase)\({name}\b", rule["expr"]) is not None
        assert counted == (METRICS[name].kind == "counter"), "a counter is looked at by its increase, a gauge never is"
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    assert page == "docs/operations.md"
    assert anchor in anchors(OPERATIONS)


def test_every_metric_is_in_the_manual_with_its_type_and_words() -> None:
    rows = re.findall(r"^\| `(tallystick_\w+)(?:\{(\w+)\})?` \| (\w+) \| (.*) \|$", OPERATIONS, re.MULTILINE)
    assert {name: (label, kind, text) for name, label, kind, text in rows} == {
        name: (metric.label, metric.kind.value, metric.text) for name, metric in METRICS.items()
    }
