"""The table of actions whose name alone says too little, read once from the package's YAML."""

from __future__ import annotations

from functools import cache
from typing import Any

from policy import package_yaml
from policy.aws import levels
from policy.aws.levels import Level
from policy.aws.marks import Mark


@cache
def _rows() -> dict[str, list[dict[str, Any]]]:
    return package_yaml.load("policy.aws", "actions.yaml")


@cache
def _levels() -> dict[str, Level]:
    return {action: Level(row["level"]) for row in _rows()["levels"] for action in row["actions"]}


@cache
def _marks() -> dict[str, Mark]:
    """The first row that has an action counts."""
    return {action: Mark(row["mark"]) for row in reversed(_rows()["marks"]) for action in row["actions"]}


def level(action: str) -> Level:
    """Of `service:Action`."""
    return _levels().get(action) or levels.by_name(action.partition(":")[2])


def mark(action: str) -> Mark | None:
    found = _marks().get(action)
    if found is not None:
        return found
    return next((each for key, each in _marks().items() if key[-1] == "*" and action.startswith(key[:-1])), None)
