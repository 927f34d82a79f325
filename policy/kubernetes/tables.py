"""The table of known resources, read once from the package's YAML."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from policy import package_yaml
from policy.kubernetes.marks import Mark

READS = frozenset(("get", "list", "watch"))
MAKES = frozenset(("create", "update", "patch"))
REMOVES = frozenset(("delete", "deletecollection"))
VERBS = READS | MAKES | REMOVES
_GROUPS = {"read": READS, "make": MAKES, "remove": REMOVES}


@dataclass(frozen=True, slots=True)
class Table:
    namespaced: frozenset[str]
    cluster: frozenset[str]
    subresources: frozenset[str]
    paths: frozenset[str]
    pods: frozenset[str]  # kinds whose bodies hold pods
    _marks: tuple[tuple[frozenset[str], frozenset[str], Mark], ...]

    def mark(self, verb: str, kind: str) -> Mark | None:
        for verbs, kinds, mark in self._marks:
            if verb in verbs and (not kinds or kind in kinds):
                return mark
        return None


@cache
def table() -> Table:
    rows = package_yaml.load("policy.kubernetes", "resources.yaml")
    return Table(
        frozenset(_kinds(rows["namespaced"])),
        frozenset(_kinds(rows["cluster"])),
        frozenset(rows["subresources"].split()),
        frozenset(rows["paths"].split()),
        frozenset(rows["pods"].split()),
        tuple((_verbs(row["verbs"]), frozenset(row.get("resources", ())), Mark(row["mark"])) for row in rows["marks"]),
    )


def _kinds(groups: dict[str, str]) -> Iterable[str]:
    for group, names in groups.items():
        for name in names.split():
            yield f"{name}.{group}" if group else name


def _verbs(words: list[str]) -> frozenset[str]:
    return frozenset[str]().union(*(_GROUPS.get(word, frozenset((word,))) for word in words))
