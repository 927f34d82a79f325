"""The names that a statement gives its constants and parameters: columns, settings, options, labels.

`INSERT INTO t (ssn) VALUES ('x')`, `SET ssn = 'x'`, `ssn IN ('x', $1)`, `'x' AS ssn`, `ssn => 'x'`,
`ALTER ROLE r PASSWORD 'x'`, `set_config('app.token', 'x', true)`, `jsonb_build_object('ssn', 'x')`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from wire.postgres.grammar import LiteralKind, Node, Tree, Unparsable, constant, literals, strings, walk


@dataclass(slots=True)
class Named:
    """`constants` by the character where the constant begins; `parameters` by their number."""

    constants: dict[int, str] = field(default_factory=dict)
    parameters: dict[int, str] = field(default_factory=dict)


def named(tree: Tree) -> Named:
    """Names of what has one. Where two names are given the innermost counts."""
    result = Named()
    places: dict[int, str] = {}  # bytes of UTF-8
    behind: dict[int, str] = {}  # of options: the constant is the first behind this place
    for statement in tree.statements:
        for kind, body in walk({statement.kind: statement.body}):
            if kind == "DefElem" and "location" in body and "String" in body.get("arg", {}):
                behind[body["location"]] = body.get("defname", "")
            for name, node in _pairs(kind, body):
                _spread(name, node, places, result.parameters)
    result.constants = _in_characters(places, tree.text)
    if behind:
        _behind(_in_characters(behind, tree.text), tree.text, result.constants)
    return result


def _pairs(kind: str, body: Node) -> Iterator[tuple[str, Any]]:
    """Each name that this node gives, and the tree of what bears it."""
    match kind:
        case "InsertStmt":
            yield from _inserted(body)
        case "ResTarget" | "NamedArgExpr" if body.get("name"):
            yield body["name"], body.get("val") or body.get("arg")
        case "A_Expr" if "lexpr" in body and "rexpr" in body:
            yield _column(body["lexpr"]), body["rexpr"]
            yield _column(body["rexpr"]), body["lexpr"]
        case "VariableSetStmt":
            yield body.get("name", ""), body.get("args")
        case "FuncCall":
            for name, value in pairwise(body.get("args", [])):
                yield constant(name) or "", value
        case _:
            pass


def _inserted(body: Node) -> Iterator[tuple[str, Any]]:
    columns = [each.get("ResTarget", {}).get("name", "") for each in body.get("cols", [])]
    select = body.get("selectStmt", {}).get("SelectStmt", {})
    for row in select.get("valuesLists", []):
        yield from zip(columns, row.get("List", {}).get("items", []), strict=False)
    yield from zip(columns, (t.get("ResTarget", {}).get("val") for t in select.get("targetList", [])), strict=False)


def _column(node: Node) -> str:
    while "TypeCast" in node:
        node = node["TypeCast"].get("arg", {})
    if "FuncCall" in node:  # lower(email) = 'x'
        args = node["FuncCall"].get("args", [])
        return _column(args[0]) if len(args) == 1 else ""
    if "A_Expr" in node:  # body ->> 'ssn' = 'x'
        operator = strings(node["A_Expr"].get("name", []))
        return (constant(node["A_Expr"].get("rexpr", {})) or "") if operator in (("->>",), ("->",)) else ""
    return ".".join(strings(node.get("ColumnRef", {}).get("fields", [])))


def _spread(name: str, node: Any, places: dict[int, str], parameters: dict[int, str]) -> None:
    """Names the constants below a node. Operands of a function or of an operator bear the name too: the
    column holds what is made of them."""
    if not name or node is None:
        return
    for kind, body in walk(node):
        if kind == "A_Const" and "location" in body:
            places[body["location"]] = name
        elif kind == "ParamRef":
            parameters[body.get("number", 0)] = name


def _behind(options: dict[int, str], sql: str, constants: dict[int, str]) -> None:
    """Strings of options have no place of their own in the tree."""
    try:
        starts = [span.start for span in literals(sql) if span.kind is LiteralKind.STRING]
    except Unparsable:
        return
    at = 0
    for place, name in sorted(options.items()):
        while at < len(starts) and starts[at] < place:
            at += 1
        if at < len(starts):
            constants.setdefault(starts[at], name)


def _in_characters(places: dict[int, str], sql: str) -> dict[int, str]:
    if sql.isascii():
        return places
    raw, at, characters = sql.encode(), 0, 0
    moved: dict[int, str] = {}
    for place in sorted(places):
        characters += len(raw[at:place].decode())
        at = place
        moved[characters] = places[place]
    return moved
