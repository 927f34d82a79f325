"""The names that a statement gives its constants and parameters: columns, settings, options, labels.

`INSERT INTO t (ssn) VALUES ('x')`, `SET ssn = 'x'`, `ssn IN ('x', $1)`, `(a, ssn) = ('y', 'x')`, `'x' AS ssn`,
`ssn => 'x'`, `ALTER ROLE r PASSWORD 'x'`, `set_config('app.token', 'x', true)`, `jsonb_build_object('ssn', 'x')`.

A value bears every name that is given to what is made of it, by functions and operators too; what it is only
compared with names it alone: `UPDATE t SET ssn = (SELECT ssn FROM u WHERE id = $1)` says `u.id` of `$1`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, zip_longest
from typing import Any, TypeAlias

from mask.fields import UNNAMED, Names
from mask.search import TooMuch
from mask.sql_calls import labels, last_word
from mask.sql_origins import (
    MOST,
    Origins,
    column,
    function,
    indirection,
    is_comparison,
    is_query,
    is_star,
    json_path,
    outputs,
    relation,
    words,
)
from wire.postgres.grammar import LiteralKind, Node, Tree, Unparsable, constant, literals, strings, unwrap

_COMPARING = words(
    "starts_with strpos position texteq textne text_lt text_gt bpchareq bpcharne textlike textnlike texticlike like "
    "ilike notlike regexp_match regexp_matches regexp_like regexp_count regexp_instr regexp_replace replace "
    "levenshtein levenshtein_less_equal similarity word_similarity strict_word_similarity"
)
"""Functions that ask how one argument is like another."""
_SIGN = re.compile(r"-\s*")  # a number's place in the tree is its sign's
_MOST_FOLLOWED = 10_000
"""Steps through what a statement calls its columns, of one statement."""


@dataclass(slots=True)
class Named:
    """`constants` by the character where the constant begins; `parameters` by their number."""

    constants: dict[int, Names] = field(default_factory=dict)
    parameters: dict[int, Names] = field(default_factory=dict)


def named(tree: Tree) -> Named:
    """Names of what has any."""
    result = Named()
    places: dict[int, Names] = {}  # bytes of UTF-8
    behind: dict[int, Names] = {}  # of options: the constant is the first behind this place
    for statement in tree.statements:
        naming = _Naming(Origins(statement), places, result.parameters, behind)
        naming.through({statement.kind: statement.body})
    result.constants = {_unsigned(tree.text, at): names for at, names in _in_characters(places, tree.text).items()}
    if behind:
        _behind(_in_characters(behind, tree.text), tree.text, result.constants)
    return result


def _unsigned(sql: str, at: int) -> int:
    sign = _SIGN.match(sql, at)
    return sign.end() if sign else at


_Outs: TypeAlias = Sequence[Names] | None
"""Names of a query's columns, where they differ."""
_TREES = (dict, list)
_Step: TypeAlias = tuple[Any, Names, _Outs]


class _Naming:
    """One statement, from its root to its constants: each node is met once, with the names it bears."""

    def __init__(
        self, origins: Origins, places: dict[int, Names], parameters: dict[int, Names], behind: dict[int, Names]
    ) -> None:
        self._origins, self._places, self._parameters, self._behind = origins, places, parameters, behind
        self._followed: set[tuple[int, Names]] = set()
        self._into: set[tuple[int, tuple[Names, ...]]] = set()
        self._how: dict[str, Callable[[Node, Names, _Outs], Iterable[_Step]]] = {
            "A_Const": self._constant,
            "ParamRef": self._parameter,
            "ColumnRef": self._follow,
            "InsertStmt": self._insert,
            "UpdateStmt": self._change,
            "MergeStmt": self._change,
            "A_Expr": self._operator,
            "SubLink": self._sublink,
            "CaseExpr": self._case,
            "CoalesceExpr": self._alike,
            "MinMaxExpr": self._alike,
            "RangeFunction": self._function,
            "FuncCall": self._call,
            "DefElem": self._option,
            "AlterTableStmt": self._alter,
            **_PLAIN,
        }

    def through(self, root: Node) -> None:
        how = self._how
        stack: list[_Step] = [(root, (), None)]
        while stack:
            node, names, outs = stack.pop()
            if node.__class__ is list:
                stack.extend([(each, names, outs) for each in reversed(node)])
            elif node.__class__ is dict:
                kind, body = unwrap(node)
                below = how.get(kind) or (self._query if is_query(body) else None)
                if below is not None:
                    stack.extend(reversed(list(below(body, names, outs))))
                else:
                    stack.extend([(v, names, outs) for v in body.values() if v.__class__ in _TREES][::-1])

    def _constant(self, body: Node, names: Names, _: _Outs) -> tuple[_Step, ...]:
        if names and "location" in body:
            self._places[body["location"]] = _joined(self._places.get(body["location"], ()), names)
        return ()

    def _parameter(self, body: Node, names: Names, _: _Outs) -> tuple[_Step, ...]:
        if names:
            number = body.get("number", 0)
            self._parameters[number] = _joined(self._parameters.get(number, ()), names)
        return ()

    def _option(self, body: Node, _: Names, __: _Outs) -> Iterator[_Step]:
        if "location" in body and "String" in body.get("arg", {}):
            self._behind[body["location"]] = (body.get("defname", ""),)
        else:
            yield from _rest(body)

    def _follow(self, body: Node, names: Names, _: _Outs) -> Iterator[_Step]:
        """What bears a column's names bears those of what the statement makes it of. Raises TooMuch."""
        if names and (fields := column({"ColumnRef": body})):
            for value in self._origins.called.get(fields[-1], ()):
                if (id(value), names) not in self._followed:  # a column may be made of one that is made of it
                    self._followed.add((id(value), names))
                    yield value, names, None
            if len(self._followed) > _MOST_FOLLOWED:
                raise TooMuch

    def _insert(self, body: Node, _: Names, __: _Outs) -> Iterator[_Step]:
        table = relation(body.get("relation", {}))
        targets = [each.get("ResTarget", {}) for each in body.get("cols", ())]
        unnamed = () if targets else (f"{table}.{UNNAMED}",)
        yield body.get("selectStmt"), unnamed, [_target(each, table) for each in targets] or None
        conflict = body.get("onConflictClause", {})
        yield from self._set(conflict.get("targetList", ()), table)
        yield from _rest(conflict, "targetList")
        yield from _rest(body, "selectStmt", "cols", "onConflictClause", "relation")

    def _change(self, body: Node, _: Names, __: _Outs) -> Iterator[_Step]:
        table = relation(body.get("relation", {}))
        yield from self._set(body.get("targetList", ()), table)
        for each in body.get("mergeWhenClauses", ()):
            yield from self._merge(each.get("MergeWhenClause", {}), table)
        yield from _rest(body, "targetList", "mergeWhenClauses", "relation")

    def _alter(self, body: Node, _: Names, __: _Outs) -> Iterator[_Step]:
        table = relation(body.get("relation", {}))
        for each in body.get("cmds", ()):
            command = each.get("AlterTableCmd", {})
            yield command.get("def"), _target(command, table), None

    def _set(self, targets: Iterable[Node], table: str) -> Iterator[_Step]:
        for each in targets:
            target = each.get("ResTarget", {})
            value, names = target.get("val", {}), _target(target, table)
            if (many := value.get("MultiAssignRef")) is not None:
                nth, source = many.get("colno", 1) - 1, many.get("source", {})
                row = source.get("RowExpr", {}).get("args")
                if row is not None:
                    yield (row[nth] if nth < len(row) else None), names, None
                else:  # a subquery: once for each column, with one name in its place
                    only = [names if n == nth else () for n in range(many.get("ncolumns", 0))]
                    yield source.get("SubLink", {}).get("subselect"), (), only
            else:
                yield value, names, None

    def _merge(self, body: Node, table: str) -> Iterator[_Step]:
        targets = [each.get("ResTarget", {}) for each in body.get("targetList", ())]
        if values := body.get("values"):
            yield from ((v, _target(t, table), None) for t, v in zip(targets, values, strict=False))
        else:
            yield from self._set(body.get("targetList", ()), table)
        yield from _rest(body, "targetList", "values")

    def _operator(self, body: Node, names: Names, _: _Outs) -> Iterator[_Step]:
        left, right = body.get("lexpr"), body.get("rexpr")
        if json_path({"A_Expr": body}):
            yield left, names, None  # the other side is the path
            return
        if left is None or right is None:
            yield left or right, names, None
            return
        if not is_comparison(body):
            operands = _operands(body)
            all_of = _joined(names, self._origins.names(operands))
            for before, value in pairwise([{}, *operands]):
                yield value, _joined(all_of, (last_word(constant(before) or ""),)), None
            return
        for one, other in _paired(left, right):
            yield other, self._origins.names(one), None
            yield one, self._origins.names(other), None

    def _call(self, body: Node, names: Names, _: _Outs) -> Iterator[_Step]:
        called, args = function(body), body.get("args", [])
        if called in _COMPARING:
            names = _joined(names, self._origins.names(args))
        for name, value in labels(called, args):
            yield value, _joined(names, (name,)), None
        yield from _rest(body, "args")

    def _sublink(self, body: Node, names: Names, _: _Outs) -> Iterator[_Step]:
        test, query = body.get("testexpr"), body.get("subselect")
        if test is None:
            yield query, (() if body.get("subLinkType") == "EXISTS_SUBLINK" else names), None
            return
        tested = _row(test)
        yield query, (), [self._origins.names(each) for each in tested]
        for each, values in zip(tested, outputs(query or {}) or (), strict=False):
            yield each, self._origins.names(values), None

    def _alike(self, body: Node, names: Names, _: _Outs) -> Iterator[_Step]:
        """One of them is as another."""
        yield body.get("args"), _joined(names, self._origins.names(body.get("args"))), None

    def _case(self, body: Node, names: Names, _: _Outs) -> Iterator[_Step]:
        against = self._origins.names(body.get("arg"))
        for each in body.get("args", ()):
            yield each.get("CaseWhen", {}).get("expr"), against, None
            yield each.get("CaseWhen", {}).get("result"), names, None
        yield body.get("defresult"), names, None
        yield body.get("arg"), (), None

    def _query(self, body: Node, names: Names, outs: _Outs) -> Iterator[_Step]:
        if "larg" in body:
            yield {"SelectStmt": body["larg"]}, names, outs
            yield {"SelectStmt": body["rarg"]}, names, outs
        for row in body.get("valuesLists", ()):
            yield from _columns(row["List"].get("items", []), names, outs)
        targets = body.get("targetList", [])
        if any(is_star(each.get("ResTarget", {}).get("val", {})) for each in targets):
            only = body.get("fromClause", [])
            if len(targets) == len(only) == 1 and outs is not None:
                yield from self._of_cte(only[0].get("RangeVar", {}).get("relname", ""), outs)
                yield only[0].get("RangeSubselect", {}).get("subquery"), (), outs
                for call in only[0].get("RangeFunction", {}).get("functions", ()):
                    args = (call.get("List", {}).get("items") or [{}])[0].get("FuncCall", {}).get("args", [])
                    yield from _columns(args, (), outs)
        yield from _columns(targets, names, outs)
        yield from _rest(body, "larg", "rarg", "valuesLists", "targetList")

    def _of_cte(self, name: str, outs: Sequence[Names]) -> Iterator[_Step]:
        """Raises TooMuch."""
        query = self._origins.ctes.get(name)
        if query is not None and (id(query), names := tuple(map(tuple, outs))) not in self._into:
            self._into.add((id(query), names))  # a CTE may be of itself
            if len(self._into) > _MOST_FOLLOWED:
                raise TooMuch
            yield query, (), outs

    def _function(self, body: Node, _: Names, __: _Outs) -> Iterator[_Step]:
        names = strings(body.get("alias", {}).get("colnames", ()))
        calls = [each.get("List", {}).get("items") or [{}] for each in body.get("functions", ())]
        at = 0
        for call in calls:
            args = call[0].get("FuncCall", {}).get("args", [])
            if function(call[0].get("FuncCall", {})) == "unnest":
                yield from _columns(args, (), _each(names[at:]))
                at += len(args)
            else:
                yield call[0], names[at : at + 1], None
                at += 1


def _joined(names: Names, more: Names) -> Names:
    """The innermost last; of too many, these."""
    if not more or more == ("",):
        return names
    if not names and "" not in more:
        return more
    return tuple(dict.fromkeys(filter(None, (*names, *more))))[-MOST:]


def _each(names: Sequence[str]) -> list[Names] | None:
    return [(name,) for name in names] or None


def _columns(values: Iterable[Node], names: Names, outs: _Outs) -> Iterator[_Step]:
    if outs is None:
        yield from ((value, names, None) for value in values)
    else:
        yield from ((value, own, None) for value, own in zip(values, _padded(outs), strict=False))


def _padded(outs: Sequence[Names]) -> Iterator[Names]:
    yield from outs
    while True:
        yield ()


def _target(target: Node, table: str) -> Names:
    """`t.body.ssn` of `UPDATE t SET body['ssn'] = …`."""
    inner = indirection(target.get("indirection", ()))
    return (".".join(filter(None, (table, target.get("name", ""), *inner))),)


def _row(node: Node) -> list[Node]:
    row = node.get("RowExpr")
    return [node] if row is None else row.get("args", [])


def _operands(body: Node) -> list[Node]:
    """Of a chain, `a || b || c`: it leans to the left."""
    found: list[Node] = []
    while True:
        found.append(body.get("rexpr", {}))
        left = body.get("lexpr", {})
        inner = left.get("A_Expr")
        if inner is None or is_comparison(inner) or json_path(left):
            return [*found, left][::-1]
        body = inner


def _paired(left: Node, right: Node) -> Iterator[tuple[Node, Node]]:
    """Rows are compared column by column, with each row of a list."""
    listed = right.get("List", {}).get("items", []) if "List" in right else [right]
    if "RowExpr" not in left or not all("RowExpr" in each for each in listed):
        yield left, right
        return
    for each in listed:
        yield from zip_longest(_row(left), _row(each), fillvalue={})


def _labelled(body: Node, names: Names, _: _Outs) -> Iterator[_Step]:
    """ResTarget, NamedArgExpr, SET, XMLELEMENT; a column or a parameter and its default."""
    name = body.get("name") or body.get("colname", "")
    name = "" if name == "session_authorization" else name  # it is a role's name
    for key in _BEARING:
        if key in body:
            yield body[key], _joined(names, (name,)), None
    yield from _rest(body, *_BEARING)


_BEARING = ("val", "arg", "args", "constraints", "defexpr", "raw_default")


def _setting(body: Node, _: Names, __: _Outs) -> Iterator[_Step]:
    """ALTER ROLE, DATABASE or SYSTEM SET."""
    yield {"VariableSetStmt": body.get("setstmt", {})}, (), None


def _member(body: Node, names: Names, _: _Outs) -> Iterator[_Step]:
    yield body.get("value"), _joined(names, (constant(body.get("key", {})) or "",)), None
    yield body.get("key"), names, None


def _source(body: Node, _: Names, __: _Outs) -> Iterator[_Step]:
    """A CTE, or a subquery in FROM."""
    called = body.get("aliascolnames") or body.get("alias", {}).get("colnames", ())
    yield body.get("ctequery") or body.get("subquery"), (), _each(strings(called))


def _condition(body: Node, _: Names, __: _Outs) -> Iterator[_Step]:
    return _rest(body)


def _execute(body: Node, _: Names, __: _Outs) -> Iterator[_Step]:
    """What its parameters are called stands in another text."""
    yield body.get("params"), (UNNAMED,), None


def _rest(body: Node, *done: str) -> Iterator[_Step]:
    yield from ((v, (), None) for key, v in body.items() if key not in done and v.__class__ in _TREES)


_PLAIN: dict[str, Callable[[Node, Names, _Outs], Iterable[_Step]]] = {
    "ResTarget": _labelled,
    "NamedArgExpr": _labelled,
    "VariableSetStmt": _labelled,
    "ColumnDef": _labelled,
    "FunctionParameter": _labelled,
    "AlterRoleSetStmt": _setting,
    "AlterDatabaseSetStmt": _setting,
    "AlterSystemStmt": _setting,
    "XmlExpr": _labelled,
    "JsonKeyValue": _member,
    "CommonTableExpr": _source,
    "RangeSubselect": _source,
    "BoolExpr": _condition,
    "NullTest": _condition,
    "BooleanTest": _condition,
    "ExecuteStmt": _execute,
}


def _behind(options: dict[int, Names], sql: str, constants: dict[int, Names]) -> None:
    """Strings of options have no place of their own in the tree."""
    try:
        starts = [span.start for span in literals(sql) if span.kind is LiteralKind.STRING]
    except Unparsable:
        return
    at = 0
    for place, names in sorted(options.items()):
        while at < len(starts) and starts[at] < place:
            at += 1
        if at < len(starts):
            constants.setdefault(starts[at], names)


def _in_characters(places: dict[int, Names], sql: str) -> dict[int, Names]:
    if sql.isascii():
        return places
    raw, at, characters = sql.encode(), 0, 0
    moved: dict[int, Names] = {}
    for place in sorted(places):
        characters += len(raw[at:place].decode())
        at = place
        moved[characters] = places[place]
    return moved
