"""Shape facts of one statement: does its WHERE narrow anything?"""

from __future__ import annotations

from itertools import islice
from typing import Any

from wire.postgres.grammar import Node, constant, strings, walk

MAX_LOOKED_AT = 5000  # nodes of one condition
MAX_TABLES = 64  # in one FROM, whose relations to each other are looked at
_SAME_OR = frozenset(("=", "<=", ">=", "~~", "~~*"))
_LIKE = frozenset(("AEXPR_LIKE", "AEXPR_ILIKE"))


def narrows(where: Node | None, target: Node, alone: bool = True) -> bool:
    """False where the condition takes every row of `target` (a RangeVar; {} for any), as far as its form says:
    none, one without a column (`true`, `1=1`, `now() > '2000-01-01'`, `$1`), a column compared with itself,
    LIKE '%', membership in the same table, EXISTS of something else, and AND/OR of these. Not `alone`: beside
    other relations (USING, FROM, ON), where a condition about these takes every row. `id > 0` is beyond it."""
    if not where:
        return False
    name = "" if alone else called(target)
    if "BoolExpr" in where:
        parts = [narrows(part, target, alone) for part in where["BoolExpr"].get("args", ())]
        return {"OR_EXPR": all(parts), "AND_EXPR": any(parts)}.get(where["BoolExpr"].get("boolop", ""), any(parts))
    if "A_Expr" in where:
        expression = where["A_Expr"]
        usual = not name and "ColumnRef" in expression.get("lexpr", ())  # `column = ...`: seen without a walk
        return not _always(expression) and (usual or _has_column(where, name))
    if "SubLink" in where:
        exists = where["SubLink"].get("subLinkType") == "EXISTS_SUBLINK"
        return not _of_itself(where["SubLink"], target) and _has_column(where, called(target) if exists else name)
    return _has_column(where, name)


def depends_on_constants(expression: Node) -> bool:
    """Whether `narrows`, or a reader, may answer otherwise for other constants: both sides constant, or LIKE."""
    left, right = expression.get("lexpr", {}), expression.get("rexpr", {})
    if "ColumnRef" in left and expression.get("kind") == "AEXPR_OP":  # the most usual, quickly
        return False
    if expression.get("kind") in _LIKE:
        return right.__class__ is dict and constant(right) is not None
    return _all_constant(left) and _all_constant(right)


def _all_constant(node: Any) -> bool:
    if node.__class__ is list:
        return all(_all_constant(one) for one in node)
    if "List" in node:
        return _all_constant(node["List"].get("items", []))
    return constant(node) is not None


def _always(expression: Node) -> bool:
    name = expression.get("name", [{}])[-1].get("String", {}).get("sval", "")
    left, right = expression.get("lexpr", {}), expression.get("rexpr", {})
    if expression.get("kind") in _LIKE and right.__class__ is dict:
        pattern = constant(right)
        return name in _SAME_OR and pattern is not None and pattern != "" and not pattern.strip("%")
    if name in _SAME_OR and right.__class__ is dict and "ColumnRef" in left and "ColumnRef" in right:
        return _same_column(left["ColumnRef"], right["ColumnRef"])
    return False


def _same_column(one: Node, other: Node) -> bool:
    """Equal, or one is written without its table (were there two such columns, PostgreSQL would not take it)."""
    longer, shorter = sorted((one.get("fields", []), other.get("fields", [])), key=len, reverse=True)
    return bool(longer[-len(shorter) :] == shorter)


def _has_column(node: Any, target: str) -> bool:
    """A column that may be the target's: unqualified, or by its name. Any, where `target` is "". What is so large
    that none is found soon is taken to have none: subqueries within subqueries would be walked again at each level."""
    for kind, body in islice(walk(node), MAX_LOOKED_AT):
        if kind == "CurrentOfExpr":
            return True
        if kind == "ColumnRef":
            if not target:
                return True
            names = strings(body.get("fields", ()))
            if len(names) < 2 or target in names[:-1]:
                return True
    return False


def _of_itself(link: Node, target: Node) -> bool:
    """`id IN (SELECT id FROM <target>)` without a condition."""
    select = link.get("subselect", {}).get("SelectStmt", {})
    if "whereClause" in select or "limitCount" in select or "havingClause" in select:
        return False
    sources = select.get("fromClause", [])
    return len(sources) == 1 and sources[0].get("RangeVar", {}).get("relname") == target.get("relname", "")


def called(var: Node) -> str:
    """The name that columns of a relation are qualified with."""
    return str(var.get("alias", {}).get("aliasname") or var.get("relname", ""))


def crosses(sources: list[Node], where: Node | None) -> bool:
    """Whether tables stand side by side in FROM with nothing that relates them: every row of one with every row
    of the other. Only where all sources are plain tables, and what columns a condition is about is written."""
    names: list[str] = []
    together: list[set[str]] = []
    conditions = [where] if where else []
    stack = list(sources)
    while stack:
        source = stack.pop()
        if "RangeVar" in source:
            names.append(called(source["RangeVar"]))
            continue
        join = source.get("JoinExpr")
        if join is None or join.get("isNatural") or join.get("usingClause"):
            return False
        stack += [join["larg"], join["rarg"]]
        if "quals" in join:
            conditions.append(join["quals"])
    if not 2 <= len(names) <= MAX_TABLES:
        return False
    for condition in conditions:
        for part in _parts(condition):
            found = set()
            for kind, body in walk(part):
                if kind == "ColumnRef":
                    qualified = strings(body.get("fields", ()))
                    if len(qualified) < 2:
                        return False
                    found.add(qualified[-2])
            together.append(found)
    return len(_related(names[0], together) & set(names)) < len(set(names))


def _parts(condition: Node) -> list[Node]:
    """Of AND, each; of anything else the whole."""
    expression = condition.get("BoolExpr")
    if expression is None or expression.get("boolop") != "AND_EXPR":
        return [condition]
    return [part for each in expression.get("args", ()) for part in _parts(each)]


def _related(first: str, together: list[set[str]]) -> set[str]:
    reached, before = {first}, 0
    while len(reached) > before:
        before = len(reached)
        for some in together:
            if reached & some:
                reached |= some
    return reached
