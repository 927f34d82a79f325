"""What is collected while a tree is read, and the stack that reading goes by.

No recursion: a tree may be hundreds of levels deep. Each node on the stack has its scope: which CTE
names hide relations there, and whether it runs now, is only planned (EXPLAIN), or is kept for later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import Any, NamedTuple

from policy.sql.functions import table
from policy.sql.marks import Mark
from schemas.judging import Prepares
from wire.postgres.grammar import Node, quoted

LEAVES = frozenset(("A_Const", "ColumnRef", "ParamRef", "String", "Integer", "A_Star"))
"""Kinds below which nothing can run: constants, names, parameters."""

Lookup = Callable[[str], tuple[str, ...]]
"""Every text known to be prepared, declared or bound under a name; () where none is."""


class When(IntEnum):
    NOW = 0
    PLANNED = 1  # EXPLAIN without ANALYZE: nothing changes, but planning runs immutable functions
    DEFERRED = 2  # the text of a rule, policy or function, whose making is a signal by itself
    READ_LATER = 3  # the text of a view: not done yet, but marked as if it were


class Scope(NamedTuple):
    ctes: frozenset[str]
    when: When
    top: str  # the kind of statement that a reader of the text sees first
    text: str  # of the statement: a body in plpgsql is parsed from it
    depth: int = 0  # of texts within texts

    def deferred(self) -> Scope:
        return self._replace(when=When.DEFERRED)


class Reading:
    """Mutable; one for each judgement. `effects.py` makes the answer of it."""

    __slots__ = (
        *("allowed", "lookup", "table", "stack", "effects", "later", "reads", "writes", "names", "marks", "reason"),
        *("barrier", "blind", "texts", "prepares", "executes", "deallocates"),
    )

    def __init__(self, allowed: frozenset[str], lookup: Lookup) -> None:
        self.allowed = allowed
        self.lookup = lookup
        self.table = table()
        self.stack: list[tuple[Any, Scope]] = []
        self.effects: dict[tuple[str, str], None] = {}  # of (effect, relation)
        self.later: dict[tuple[str, str], None] = {}
        self.reads: dict[str, None] = {}
        self.writes: dict[str, None] = {}
        self.names: dict[str, None] = {}
        self.marks: set[Mark] = set()
        self.reason = ""
        self.barrier = False
        self.blind = True
        self.texts = 0
        self.prepares: list[Prepares] = []
        self.executes: dict[str, None] = {}
        self.deallocates: dict[str, None] = {}

    def push(self, node: Any, scope: Scope) -> None:
        if node:
            self.stack.append((node, scope))

    def push_all(self, body: Node, scope: Scope, but: Iterable[str] = ()) -> None:
        """Every field of a body except some, first field first."""
        stack = self.stack
        for key in reversed(body):
            value = body[key]
            if value.__class__ is dict:
                if key not in but and LEAVES.isdisjoint(value):
                    stack.append((value, scope))
            elif value.__class__ is list and key not in but:
                stack.extend([(each, scope) for each in reversed(value) if LEAVES.isdisjoint(each)])

    def effect(self, effect: str, relation: str, scope: Scope, *marks: Mark) -> None:
        if scope.when is When.NOW:
            self.effects[effect, relation] = None
            self.marks.update(marks)
        elif scope.when is When.PLANNED:
            self.effects["select", relation] = None
        else:
            self.later[effect, relation] = None
            if scope.when is When.READ_LATER:
                self.marks.update(marks)

    def unknown(self, reason: str) -> None:
        """What is done cannot be known from the text. The first reason is told."""
        self.reason = self.reason or reason
        self.marks.add(Mark.UNKNOWN)

    def relation(self, var: Node) -> str:
        """The name as written, which also is to be resolved before an approval."""
        name = quoted(var.get("schemaname", ""), var.get("relname", ""))
        self.names[name] = None
        return name

    def read(self, var: Node, scope: Scope) -> None:
        """A relation in FROM, unless it is a CTE."""
        schema, bare = var.get("schemaname", ""), var.get("relname", "")
        if not schema and bare in scope.ctes:
            return
        name = self.relation(var)
        if scope.when not in (When.DEFERRED, When.READ_LATER):
            self.reads[name] = None
        self.effect("select", name, scope)
        if is_catalog(schema, bare) and scope.when in (When.NOW, When.READ_LATER):
            self.marks.add(self.table.relations.get(bare, Mark.READS_CATALOG))

    def write(self, effect: str, var: Node, scope: Scope, *marks: Mark) -> str:
        """A relation that is changed: never a CTE."""
        name = self.relation(var)
        if scope.when is When.NOW:
            self.writes[name] = None
        self.effect(effect, name, scope, *marks)
        if is_catalog(var.get("schemaname", ""), var.get("relname", "")) and scope.when is When.NOW:
            # UPDATE pg_settings is SET by a rule; any other change to a catalog can be anything.
            self.marks.add(Mark.CATALOG_WRITE)
            self.barrier = True
            self.unknown(f"a change to the catalog {name}")
        return name


Handler = Callable[[Reading, Node, Scope], None]


def is_catalog(schema: str, name: str) -> bool:
    """pg_catalog comes first in every search path, so a bare pg_ name means it."""
    return schema in ("pg_catalog", "information_schema", "pg_toast") or (not schema and name.startswith("pg_"))
