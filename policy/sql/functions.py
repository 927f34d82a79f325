"""The tables of known functions, operators and catalog relations, read once from the package's YAML."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from policy.sql.marks import Mark


@dataclass(frozen=True, slots=True)
class Known:
    """What calling a function does beyond giving a value."""

    effect: str
    relation: str
    mark: Mark | None = None
    complete: bool = True
    barrier: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    effects: dict[str, Known]
    harmless: frozenset[str]
    operators: frozenset[str]
    relations: dict[str, Mark]


@cache
def table() -> Table:
    by_hand = _yaml("functions.yaml")
    generated = _yaml("functions_pg18.yaml")
    effects = {
        name: Known(
            row["effect"],
            row.get("relation", name),
            Mark(row["mark"]) if "mark" in row else None,
            row.get("complete", True),
            row.get("barrier", False),
        )
        for row in by_hand["effects"]
        for name in row["functions"]
    }
    harmless = frozenset((by_hand["harmless"] + generated["functions"]).split()) - effects.keys()
    relations = {name: Mark(row["mark"]) for row in by_hand["relations"] for name in row["relations"]}
    return Table(effects, harmless, frozenset(generated["operators"].split()), relations)


def _yaml(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(files("policy.sql").joinpath(name).read_text("utf-8"))
    return found
