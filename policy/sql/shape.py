"""Shape facts of one statement: does its WHERE narrow anything?"""

from __future__ import annotations

from typing import Any

from wire.postgres.grammar import Node, constant, walk

_SAME_OR = frozenset(("=", "<=", ">=", "~~", "~~*"))
_LIKE = frozenset(("AEXPR_LIKE", "AEXPR_ILIKE"))


def narrows(where: Node | None, target: str) -> bool:
    """False where the condition takes every row, as far as its form says: none, one without a column
    (`true`, `1=1`, `now() > '2000-01-01'`, `$1`), a column compared with itself, LIKE '%',
    membership in the same table, and AND/OR of these. `id > 0` is beyond it."""
    if not where:
        return False
    if "BoolExpr" in where:
        parts = [narrows(part, target) for part in where["BoolExpr"].get("args", ())]
        return {"OR_EXPR": all(parts), "AND_EXPR": any(parts)}.get(where["BoolExpr"].get("boolop", ""), any(parts))
    if "A_Expr" in where:
        return not _always(where["A_Expr"]) and _has_column(where)
    if "SubLink" in where:
        return not _of_itself(where["SubLink"], target) and _has_column(where)
    return "CurrentOfExpr" in where or _has_column(where)


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
    a, b = one.get("fields", []), other.get("fields", [])
    return bool(a == b or (len(a) != len(b) and a[-1:] == b[-1:]))


def _has_column(node: Any) -> bool:
    return any(kind in ("ColumnRef", "CurrentOfExpr") for kind, _ in walk(node))


def _of_itself(link: Node, target: str) -> bool:
    """`id IN (SELECT id FROM <target>)` without a condition."""
    select = link.get("subselect", {}).get("SelectStmt", {})
    if "whereClause" in select or "limitCount" in select or "havingClause" in select:
        return False
    sources = select.get("fromClause", [])
    return len(sources) == 1 and sources[0].get("RangeVar", {}).get("relname") == target
