"""Where the values of a statement come from: columns as `table.column`, through aliases, subqueries, functions.

A client chooses what its results are called, so the names in an answer are not enough: in
`SELECT s AS x FROM (SELECT lower(ssn) FROM people p) q(s)` the one column is called `x`, and is `people.ssn`.
No catalog is asked: a bare column may be of any relation in the statement, and has a name of each. What stands
for some column of a `*`, of a table whose columns are renamed by place, is called `people.?` (UNNAMED). What only
says something *about* a column (`count(ssn)`, `ssn = $1`, `ssn IS NULL`) is not made of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

from mask.fields import UNNAMED, Names
from mask.search import TooMuch
from wire.postgres.grammar import Node, Statement, constant, strings, unwrap

MOST = 8  # names of one value; above that it has its bare name alone
_STEPS, _STEPS_A_CHARACTER = 10_000, 20


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_JSON = words("-> ->> #> #>>")
_COMPARING = words("= <> < > <= >= ~ ~* !~ !~* ~~ ~~* !~~ !~~* @> <@ @@ && ? ?| ?& @? << >> -|- % %> <% ^@")
_MAKING = words("AEXPR_OP AEXPR_NULLIF")
_ABOUT = words(
    "count length char_length character_length octet_length bit_length position strpos pg_typeof pg_column_size "
    "num_nulls num_nonnulls cardinality array_length row_number rank dense_rank ntile percent_rank cume_dist"
)
_SETTINGS = frozenset(("current_setting", "set_config"))
_BY_PATH = frozenset(f"jsonb_path_query{kind}{tz}" for kind in ("", "_array", "_first") for tz in ("", "_tz"))
_MEMBER = re.compile(r'\.\s*+(?:"((?:[^"\\]|\\.)*+)"|([^\W\d][\w$]*+))')
_EXTRACT = frozenset(f"{kind}_extract_path{text}" for kind in ("json", "jsonb") for text in ("", "_text"))
_CONDITIONS = frozenset(("BoolExpr", "NullTest", "BooleanTest"))
_CALLED = {"CaseExpr": "case", "CoalesceExpr": "coalesce", "A_ArrayExpr": "array", "RowExpr": "row"}
_ASIDE = frozenset(("agg_filter", "agg_order", "over", "funcname", "typeName"))


class Origins:
    """Of one statement. Built in one walk of its tree."""

    def __init__(self, statement: Statement) -> None:
        self._root: Node = {statement.kind: statement.body}
        self._steps = _STEPS + _STEPS_A_CHARACTER * (statement.end - statement.start)
        self._listed: list[list[list[Node]] | None] = []  # what the root returns, once it is asked for
        self._aliases: dict[str, set[str]] = {}
        self.called: dict[str, list[Node]] = {}
        """What the statement's queries call `x`, at any level: the trees that make it."""
        self._ctes: set[str] = set()
        self.ctes: dict[str, Node] = {}
        met = {
            "RangeVar": self._relation,
            "relation": self._relation,
            "SelectStmt": self._query,
            "larg": self._query,
            "rarg": self._query,
            "CommonTableExpr": self._cte,
            "RangeSubselect": self._subquery,
            "RangeFunction": self._function,
            "JoinExpr": self._join,
            "returningClause": self._returning,
            "JsonTable": self._json_table,
        }
        stack: list[Node] = [self._root]
        while stack:
            for key, value in stack.pop().items():
                if value.__class__ is dict:
                    stack.append(value)
                    if key in met:
                        met[key](value)
                elif value.__class__ is list:
                    stack += value
        for alias, named in list(self._aliases.items()):
            named -= self._ctes
            if not named:
                del self._aliases[alias]
        self.relations: tuple[str, ...] = tuple(sorted(set().union(*self._aliases.values())))

    def _relation(self, body: Node) -> None:
        if "relname" in body:
            alias = body.get("alias", {}).get("aliasname") or body["relname"]
            self._aliases.setdefault(alias, set()).add(relation(body))
            self._call_all(_column_names(body), None, _some(alias))

    def _join(self, body: Node) -> None:
        self._call_all(_column_names(body), None)

    def _returning(self, body: Node) -> None:
        for name, value in _targets({"targetList": body.get("exprs", [])}):
            self._call(name, [value])

    def _json_table(self, body: Node) -> None:
        columns = list(body.get("columns", ()))
        while columns:
            each = columns.pop().get("JsonTableColumn", {})
            columns += each.get("columns", ())
            said = path_members(each.get("pathspec", {}).get("string", {}))
            self._call(each.get("name", ""), [*map(_column_called, said), body.get("context_item", {})])

    def _query(self, body: Node) -> None:
        for name, value in _targets(body) if is_query(body) else ():
            self._call(name, [value])

    def _cte(self, body: Node) -> None:
        self._ctes.add(body.get("ctename", ""))
        self.ctes[body.get("ctename", "")] = body.get("ctequery", {})
        self._call_all(body.get("aliascolnames", ()), outputs(body.get("ctequery", {})))
        search, cycle = body.get("search_clause", {}), body.get("cycle_clause", {})
        for name, of in (
            (search.get("search_seq_column", ""), search.get("search_col_list", ())),
            (cycle.get("cycle_path_column", ""), cycle.get("cycle_col_list", ())),
        ):
            self._call(name, list(map(_column_called, strings(of))))

    def _subquery(self, body: Node) -> None:
        self._call_all(_column_names(body), outputs(body.get("subquery", {})))

    def _function(self, body: Node) -> None:
        found, names = _function_outputs(body), _column_names(body)
        self._call_all(names, found)
        if not names and len(found) == 1:  # the one column of a function that gives no rows of several
            alias = body.get("alias", {}).get("aliasname")
            self._call(alias or function(_call_of(body.get("functions", [{}])[0])), found[0])

    def _call(self, name: str, values: list[Node]) -> None:
        if name:
            self.called.setdefault(name, []).extend(v for v in values if column(v)[-1:] != (name,))

    def _call_all(self, names: Sequence[Node], values: list[list[Node]] | None, some: Node | None = None) -> None:
        """`some`: what each of them may be where nobody says which."""
        for n, name in enumerate(strings(names)):
            self._call(name, values[n] if values is not None and n < len(values) else [some or _some()])

    def names(self, node: Any) -> Names:
        """Of the columns that a value is made of; () where there is none, or too many. Raises TooMuch: of what is
        nested deep each level is asked for."""
        found: dict[str, None] = {}
        stack, seen = [node], set[int]()
        while stack and len(found) <= MOST:
            here = stack.pop()
            self._steps -= 1
            if here.__class__ is list:
                stack.extend(reversed(here))
            elif here.__class__ is dict and id(here) not in seen:
                seen.add(id(here))
                kind, body = unwrap(here)
                if fields := column(here):
                    found |= dict.fromkeys(self._qualified(fields))
                    stack += self.called.get(fields[-1], ())
                elif path := json_path(here):
                    of, parts = path
                    inner = ".".join(parts)
                    bases = self._rows(column(of)) or self._qualified(column(of)) or ("",)
                    found |= dict.fromkeys(f"{base}.{inner}".strip(".") for base in bases if inner)
                    stack += (of, *self.called.get(parts[0], ()))
                else:
                    if said := self._said(kind, body):
                        found |= dict.fromkeys(said)
                        stack += self.called.get(said[0].rpartition(".")[2], ())
                    stack += reversed(list(made_of(kind, body)))
        if self._steps < 0:
            raise TooMuch
        return tuple(found) if len(found) <= MOST else ()

    def result(self, nth: int, called: str) -> Names:
        """Of the column that the answer calls so; "" where nobody asked what it is called."""
        if not self._listed:
            self._listed.append(outputs(self._root))
        listed = self._listed[0]
        if listed is None or nth >= len(listed):
            said = self.names(_column_called(called)) if called else ()
            stars = not called or (listed is None and "larg" in unwrap(self._root)[1])
            return tuple(dict.fromkeys((*said, *(self.names(_some()) if stars else ()))))
        made = [name for value in listed[nth] for name in self.names(value)]
        own = any(column(value)[-1:] == (called,) for value in listed[nth])
        return tuple(dict.fromkeys(made if (own and made) or not called else (called, *made)))

    def _rows(self, fields: tuple[str, ...]) -> Names:
        """The relations whose whole row this is, if it is one."""
        return tuple(sorted(self._aliases.get(fields[0], ()))) if len(fields) == 1 else ()

    def _said(self, kind: str, body: Node) -> Names:
        """What a call says of its value by its own name or by a constant: `ssn(p)` is `p.ssn`, `current_setting('s')`
        is `s`, JSON_VALUE(doc, '$.ssn') is `doc.ssn`."""
        if kind == "JsonFuncExpr":
            of = column(body.get("context_item", {}).get("raw_expr", {}))
            return self._inner(of, path_members(body.get("pathspec", {})))
        args = body.get("args", ()) if kind == "FuncCall" else ()
        if not args:
            return ()
        called = function(body)
        if called in _SETTINGS:
            return tuple(filter(None, (constant(args[0]),)))
        if called in _BY_PATH and len(args) > 1:
            return self._inner(column(args[0]), path_members(args[1]))
        if len(args) == 1 and len(of := column(args[0])) == 1:
            return tuple(f"{each}.{called}" for each in self._rows(of))
        return ()

    def _inner(self, of: tuple[str, ...], members: Names) -> Names:
        return tuple(f"{base}.{each}".strip(".") for base in self._qualified(of) or ("",) for each in members)

    def _qualified(self, fields: tuple[str, ...]) -> Names:
        if not fields:
            return ()
        last = fields[-1]
        relations = self._aliases.get(fields[-2], ()) if len(fields) > 1 else self.relations
        if not 0 < len(relations) <= MOST:
            return (last,)
        return tuple(f"{each}.{last}" for each in sorted(relations))


def relation(body: Node) -> str:
    """`table` or `schema.table`, as written."""
    return ".".join(filter(None, (body.get("schemaname", ""), body.get("relname", ""))))


def is_query(body: Node) -> bool:
    """A SelectStmt, which also stands bare in its own `larg` and `rarg`."""
    return "op" in body and ("targetList" in body or "valuesLists" in body or "larg" in body)


def _column_called(*fields: str) -> Node:
    return {"ColumnRef": {"fields": [{"String": {"sval": each}} for each in fields]}}


def _some(alias: str = "") -> Node:
    """Any column of this relation, or of any."""
    return _column_called(*filter(None, (alias, UNNAMED)))


def path_members(path: Node) -> Names:
    """`user` and `ssn` of the jsonpath '$.user."ssn"'."""
    return tuple(quoted or plain for quoted, plain in _MEMBER.findall(constant(path) or ""))


def column(node: Node) -> tuple[str, ...]:
    """The parts of a column's name, casts passed over; () for all else."""
    while "TypeCast" in node or "CollateClause" in node:
        node = (node.get("TypeCast") or node["CollateClause"]).get("arg", {})
    fields = node.get("ColumnRef", {}).get("fields", ())
    return strings(fields) if fields and "A_Star" not in fields[-1] else ()


def json_path(node: Node) -> tuple[Node, tuple[str, ...]] | None:
    """`body -> 'user' ->> 'ssn'`, `body #>> '{user,ssn}'`, `body['ssn']`, `(address).zip`: what is looked into, and the
    members; numbers, which are places in arrays, are left out."""
    parts: list[str] = []
    while True:
        kind, body = unwrap(node)
        if kind == "TypeCast":
            node = body.get("arg", {})
        elif kind == "A_Expr" and _operator(body) in _JSON:
            parts[:0] = members(constant(body.get("rexpr", {})) or "")
            node = body.get("lexpr", {})
        elif kind == "A_Indirection":
            parts[:0] = indirection(body.get("indirection", ()))
            node = body.get("arg", {})
        elif kind == "FuncCall" and function(body) in _EXTRACT:
            args = body.get("args") or [{}]
            parts[:0] = [part for each in args[1:] for part in members(constant(each) or "")]
            node = args[0]
        else:
            return (node, tuple(parts)) if parts else None


def members(path: str) -> list[str]:
    """`ssn`, or `{user,ssn}` as PostgreSQL writes a path."""
    return [part for part in path.strip("{}").split(",") if part and not part.lstrip("-").isdigit()]


def indirection(steps: Sequence[Node]) -> list[str]:
    found: list[str] = []
    for step in steps:
        said = step.get("String", {}).get("sval") or constant(step.get("A_Indices", {}).get("uidx", {})) or ""
        found += members(said)
    return found


def function(body: Node) -> str:
    return (strings(body.get("funcname", ())) or ("",))[-1]


def is_comparison(body: Node) -> bool:
    """Whether an A_Expr says something about its operands and is not made of them."""
    if body.get("kind") not in _MAKING:
        return True
    return body["kind"] == "AEXPR_OP" and _operator(body) in _COMPARING


def _operator(body: Node) -> str:
    return (strings(body.get("name", ())) or ("",))[-1]


def made_of(kind: str, body: Node) -> Iterator[Any]:
    """The trees below a node that its value is made of."""
    if kind in _CONDITIONS or (kind == "A_Expr" and is_comparison(body)):
        return
    if kind == "FuncCall":
        if function(body) not in _ABOUT:
            yield body.get("args", [])
            if body.get("agg_within_group"):  # what is ordered is what it chooses from
                yield body.get("agg_order", [])
    elif kind == "SubLink":
        if body.get("subLinkType") in ("EXPR_SUBLINK", "ARRAY_SUBLINK"):
            yield body.get("subselect", {})
    elif kind == "CaseExpr":
        yield [each.get("CaseWhen", {}).get("result", {}) for each in body.get("args", ())]
        yield body.get("defresult", {})
    elif is_query(body):
        found = outputs({"SelectStmt": body})
        yield from ([[_some()]] if found is None else found)
    else:
        yield from (v for key, v in body.items() if key not in _ASIDE and v.__class__ in (dict, list))


def outputs(query: Node) -> list[list[Node]] | None:
    """The trees that make each column of a query, or of what a command returns; None where a `*` stands for some."""
    kind, body = unwrap(query)
    if "query" in body and kind in ("CopyStmt", "DeclareCursorStmt", "CreateTableAsStmt", "PrepareStmt"):
        return outputs(body["query"])
    if kind == "VariableShowStmt" and body.get("name") != "all":
        return [[_column_called(body.get("name", ""))]]
    if "larg" in body and "op" in body:
        one, two = outputs({"SelectStmt": body["larg"]}), outputs({"SelectStmt": body["rarg"]})
        if one is None and two is None:
            return None
        one = [[_some()] for _ in two or ()] if one is None else one
        two = [[_some()] for _ in one] if two is None else two
        return [[*left, *right] for left, right in zip_longest(one, two, fillvalue=())]
    if "valuesLists" in body:
        rows = [row["List"].get("items", []) for row in body["valuesLists"]]
        return [list(values) for values in zip_longest(*rows, fillvalue={})]
    listed = body.get("targetList", []) if is_query(body) else body.get("returningClause", {}).get("exprs", [])
    values = [each.get("ResTarget", {}).get("val", {}) for each in listed]
    return None if any(map(is_star, values)) else [[value] for value in values]


def is_star(value: Node) -> bool:
    last = value.get("ColumnRef", {}).get("fields") or value.get("A_Indirection", {}).get("indirection") or [{}]
    return "A_Star" in last[-1]


def output_names(query: Node) -> tuple[str, ...]:
    """What PostgreSQL calls the columns of a query (FigureColname), near enough; () where a `*` stands for some."""
    kind, body = unwrap(query)
    if "query" in body and kind == "CopyStmt":
        return output_names(body["query"])
    while "larg" in body:  # UNION: the first names them
        body = body["larg"]
    if "valuesLists" in body:
        return tuple(f"column{n}" for n, _ in enumerate(body["valuesLists"][0]["List"].get("items", ()), 1))
    listed = body.get("targetList", []) if is_query(body) else body.get("returningClause", {}).get("exprs", [])
    targets = [each.get("ResTarget", {}) for each in listed]
    if any(is_star(target.get("val", {})) for target in targets):
        return ()
    return tuple(target.get("name") or _figured(target.get("val", {})) for target in targets)


def _targets(body: Node) -> Iterator[tuple[str, Node]]:
    if "valuesLists" in body:
        for n, values in enumerate(outputs({"SelectStmt": body}) or (), 1):
            yield from ((f"column{n}", value) for value in values)
    for each in body.get("targetList", ()):
        target = each.get("ResTarget", {})
        value = target.get("val", {})
        if not is_star(value):
            yield target.get("name") or _figured(value), value


def _figured(value: Node) -> str:
    while "TypeCast" in value or "CollateClause" in value:
        value = (value.get("TypeCast") or value["CollateClause"]).get("arg", {})
    kind, body = unwrap(value)
    match kind:
        case "ColumnRef":
            return (column(value) or ("?column?",))[-1]
        case "FuncCall":
            return function(body)
        case "A_Indirection":
            return (strings(body.get("indirection", ())) or (_figured(body.get("arg", {})),))[-1]
        case "SubLink" if body.get("subLinkType") == "EXPR_SUBLINK":
            return (output_names(body.get("subselect", {})) or ("?column?",))[0]
        case "SubLink":
            return "array" if body.get("subLinkType") == "ARRAY_SUBLINK" else "exists"
        case _:
            return _CALLED.get(kind, "?column?")


def _column_names(body: Node) -> list[Node]:
    listed: list[Node] = body.get("alias", {}).get("colnames", [])
    return listed


def _function_outputs(body: Node) -> list[list[Node]]:
    """Of `unnest($1, $2)` a column an argument; of any other function one, made of all its arguments."""
    found: list[list[Node]] = []
    for each in body.get("functions", ()):
        call = _call_of(each)
        args = call.get("args", [])
        found += [[arg] for arg in args] if function(call) == "unnest" else [args]
    return found


def _call_of(listed: Node) -> Node:
    """The call in one item of a function in FROM."""
    call: Node = (listed.get("List", {}).get("items") or [{}])[0].get("FuncCall", {})
    return call
