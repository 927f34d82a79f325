"""Reads SELECT, INSERT, UPDATE, DELETE, MERGE and every expression: whatever can call a function."""

from __future__ import annotations

from typing import Any

from policy.found import MAX_EFFECTS
from policy.sql import settings
from policy.sql.marks import Mark
from policy.sql.reading import Handler, Reading, Scope, When, is_catalog
from policy.sql.shape import crosses, depends_on_constants, narrows
from wire.postgres.grammar import Node, quoted, strings, uncast, walk

_READERS = frozenset(("SelectStmt", "ExplainStmt", "CopyStmt", "DoStmt", "several"))
_NAMED_OPERATORS = frozenset(("AEXPR_OP", "AEXPR_OP_ANY", "AEXPR_OP_ALL"))


def with_ctes(r: Reading, body: Node, scope: Scope) -> Scope:
    """Pushes the CTEs of a statement; gives the scope of its main part. A CTE sees those before it,
    and itself and all only where it is RECURSIVE: `WITH users AS (SELECT * FROM users)` reads users."""
    clause = body.get("withClause")
    if not clause:
        return scope
    tables = [each["CommonTableExpr"] for each in clause.get("ctes", ())]
    names = [each.get("ctename", "") for each in tables]
    everything = scope._replace(ctes=scope.ctes.union(names))
    if len(tables) > MAX_EFFECTS:  # each would see all before it: work that grows by the square
        r.unknown(f"more than {MAX_EFFECTS} parts of a WITH")
    for at, each in enumerate(tables):
        seen_all = clause.get("recursive") or at > MAX_EFFECTS
        seen = everything if seen_all else scope._replace(ctes=scope.ctes.union(names[:at]))
        r.push_all(each, seen)
    return everything


def select(r: Reading, body: Node, scope: Scope) -> None:
    inner = with_ctes(r, body, scope)
    sources = body.get("fromClause", ())
    if not sources:
        if "larg" not in body:
            r.effect("select", "", scope)
    elif scope.when is When.NOW:
        _shape(r, body, sources, inner)
    if "intoClause" in body:
        r.blind = False
        into = body["intoClause"].get("rel", {})
        r.write("create", into, inner, Mark.CREATE)
    if "lockingClause" in body:
        tables = [s["RangeVar"] for s in sources if "RangeVar" in s and not _hidden(s["RangeVar"], inner)]
        for name in [r.relation(each) for each in tables] or [""]:
            r.effect("lock", name, inner, Mark.LOCKS_ROWS)
    for side in ("rarg", "larg"):
        if side in body:
            r.push({"SelectStmt": body[side]}, inner)
    r.push_all(body, inner, ("withClause", "intoClause", "lockingClause", "larg", "rarg"))


def _shape(r: Reading, body: Node, sources: list[Node], scope: Scope) -> None:
    where = body.get("whereClause")
    if not narrows(where, {}) and not _limited(body) and any(_tables(source, scope) for source in sources):
        r.marks.add(Mark.READS_ALL)
    if (len(sources) > 1 or "JoinExpr" in sources[0]) and crosses(sources, where):
        r.marks.add(Mark.CROSS_JOIN)


def _tables(source: Node, scope: Scope) -> bool:
    """Whether there is an ordinary table in an item of FROM, joins included."""
    join = source.get("JoinExpr")
    if join:
        return _tables(join["larg"], scope) or _tables(join["rarg"], scope)
    return "RangeVar" in source and not _hidden(source["RangeVar"], scope)


def _limited(body: Node) -> bool:
    limit = body.get("limitCount", {})
    return bool(limit) and "isnull" not in limit.get("A_Const", {})


def _hidden(var: Node, scope: Scope) -> bool:
    """A CTE, or a catalog."""
    schema, name = var.get("schemaname", ""), var.get("relname", "")
    return (not schema and name in scope.ctes) or is_catalog(schema, name)


def insert(r: Reading, body: Node, scope: Scope) -> None:
    inner = with_ctes(r, body, scope)
    r.write("insert", body["relation"], inner, Mark.INSERT)
    _hidden_write(r, scope)
    conflict = body.get("onConflictClause", {})
    if conflict.get("action") == "ONCONFLICT_UPDATE":
        # Its rows are those that the source gives: all of them, perhaps its own.
        query = body.get("selectStmt", {}).get("SelectStmt", {})
        some = narrows(query.get("whereClause"), {}) or _limited(query) or not _reads_tables(query, inner)
        r.write("update", body["relation"], inner, Mark.UPDATE if some else Mark.UPDATE_ALL)
    r.push_all(body, inner, ("withClause", "relation"))


def _reads_tables(query: Node, scope: Scope) -> bool:
    if "larg" in query:
        return _reads_tables(query["larg"], scope) or _reads_tables(query["rarg"], scope)
    return any(_tables(source, scope) for source in query.get("fromClause", ()))


def update(r: Reading, body: Node, scope: Scope) -> None:
    inner = with_ctes(r, body, scope)
    narrow = narrows(body.get("whereClause"), body["relation"], "fromClause" not in body)
    r.write("update", body["relation"], inner, Mark.UPDATE if narrow else Mark.UPDATE_ALL)
    _hidden_write(r, scope)
    r.push_all(body, inner, ("withClause", "relation"))


def delete(r: Reading, body: Node, scope: Scope) -> None:
    inner = with_ctes(r, body, scope)
    narrow = narrows(body.get("whereClause"), body["relation"], "usingClause" not in body)
    r.write("delete", body["relation"], inner, Mark.DELETE if narrow else Mark.DELETE_ALL)
    if scope.when is When.NOW and scope.top != "DeleteStmt":
        r.marks.add(Mark.HIDDEN_DELETE)
    r.push_all(body, inner, ("withClause", "relation"))


def merge(r: Reading, body: Node, scope: Scope) -> None:
    r.blind = False
    inner = with_ctes(r, body, scope)
    narrow = narrows(body.get("joinCondition"), body["relation"], alone=False)
    for each in body.get("mergeWhenClauses", ()):
        action = each["MergeWhenClause"].get("commandType")
        missing = each["MergeWhenClause"].get("matchKind") == "MERGE_WHEN_NOT_MATCHED_BY_SOURCE"
        if action == "CMD_INSERT":
            r.write("insert", body["relation"], inner, Mark.INSERT)
        elif action == "CMD_UPDATE":
            # What the source lacks is all but what ON takes: only a condition of its own makes it less.
            some = narrows(each["MergeWhenClause"].get("condition"), body["relation"]) if missing else narrow
            r.write("update", body["relation"], inner, Mark.UPDATE if some else Mark.UPDATE_ALL)
        elif action == "CMD_DELETE":
            r.write("delete", body["relation"], inner, Mark.MERGE_DELETE)
        elif action != "CMD_NOTHING":
            r.write("unknown", body["relation"], inner)
            r.unknown("an action of MERGE that is not known")
    _hidden_write(r, scope)
    r.push_all(body, inner, ("withClause", "relation"))


def _hidden_write(r: Reading, scope: Scope) -> None:
    if scope.when is When.NOW and scope.top in _READERS:
        r.marks.add(Mark.HIDDEN_WRITE)


def range_var(r: Reading, body: Node, scope: Scope) -> None:
    r.read(body, scope)


def function(r: Reading, body: Node, scope: Scope) -> None:
    calls(r, strings(body.get("funcname", ())), body.get("args", []), scope)
    r.push_all(body, scope, ("funcname",))


def calls(r: Reading, name: tuple[str, ...], arguments: list[Node], scope: Scope) -> None:
    """A function by its name as written. Only pg_catalog's are known; a bare name is taken for one of
    them, since pg_catalog is searched first (what changes that is marked SHADOWS or CODE)."""
    bare = name[-1] if name else ""
    built_in = len(name) == 1 or name[:-1] == ("pg_catalog",)
    if built_in and bare in r.table.harmless:
        return
    r.blind = False
    dotted = quoted(*name)
    if built_in and bare == "set_config":
        _set_config(r, arguments, scope)
        return
    if dotted in r.allowed:
        return
    run = scope._replace(when=When.NOW) if scope.when is When.PLANNED else scope
    known = r.table.effects.get(bare) if built_in else None
    if known is None:
        r.effect("unknown", dotted, run)
        r.barrier = True
        r.unknown(f"function {dotted} is not a known one of PostgreSQL")
        return
    marks: tuple[Mark, ...] = (known.mark,) if known.mark else ()
    if known.relation == "pg_largeobject" and known.effect in _OF_ROWS:
        marks += (_OF_ROWS[known.effect],) if _of_columns(arguments) else ()
    r.effect(known.effect, known.relation, run, *marks)
    r.barrier |= known.barrier
    if not known.complete:
        r.unknown(f"function {dotted} runs what its arguments say")


def field(r: Reading, body: Node, scope: Scope) -> None:
    """`(x).f` is a field of x, or f(x) where x has none: PostgreSQL looks for a function of one argument. Nobody
    sees from the text which, so it is the function, but for the columns of those that the policy allows."""
    argument = body.get("arg", {})
    called = strings(argument.get("FuncCall", {}).get("funcname", ()))
    for name in strings(body.get("indirection", ())):
        if name in r.table.effects or quoted(*called) not in r.allowed:
            calls(r, (name,), [argument], scope)
    r.push_all(body, scope)


_OF_ROWS = {"delete": Mark.DELETE_ALL, "update": Mark.UPDATE_ALL}


def _of_columns(arguments: list[Node]) -> bool:
    """Whether a call is made for each row: `lo_unlink(oid) FROM pg_largeobject_metadata` deletes them all."""
    return any(kind == "ColumnRef" for kind, _ in walk(arguments))


def _set_config(r: Reading, arguments: list[Node], scope: Scope) -> None:
    r.barrier = True
    run = scope._replace(when=When.NOW) if scope.when is When.PLANNED else scope
    setting = uncast(arguments[0]) if arguments else None
    if setting is None:
        r.effect("set", "", run)
        r.unknown("set_config of a setting that is not in the text")
        return
    value = uncast(arguments[1]) if len(arguments) > 1 else None
    mark = settings.mark_of(setting, None if value is None else (value,))
    role = mark in (Mark.ROLE_CHANGE, Mark.ROLE_BACK)
    r.effect("role-change" if role else "set", setting.lower(), run, mark)


def expression(r: Reading, body: Node, scope: Scope) -> None:
    if body.get("kind") in _NAMED_OPERATORS:
        operator(r, body.get("name", ()))
    if r.blind and depends_on_constants(body):
        r.blind = False
    r.push_all(body, scope, ("name",))


def operator(r: Reading, name: Any) -> None:
    """An operator is a function call by another name."""
    if not name:
        return
    parts = strings(name)
    if parts[-1] in r.table.operators and (len(parts) == 1 or parts[:-1] == ("pg_catalog",)):
        return
    r.blind = False
    if ".".join(parts) not in r.allowed:
        r.barrier = True
        r.unknown(f"operator {'.'.join(parts)} is not a known one of PostgreSQL")


def sub_link(r: Reading, body: Node, scope: Scope) -> None:
    operator(r, body.get("operName"))
    r.push_all(body, scope, ("operName",))


def sort_by(r: Reading, body: Node, scope: Scope) -> None:
    operator(r, body.get("useOp"))
    r.push_all(body, scope, ("useOp",))


def sample(r: Reading, body: Node, scope: Scope) -> None:
    calls(r, strings(body.get("method", ())), [], scope)
    r.push_all(body, scope, ("method",))


def assignment(r: Reading, body: Node, scope: Scope) -> None:
    """`x := expression` of plpgsql; its value is the body of a SELECT."""
    r.push(body.get("indirection"), scope)
    r.push({"SelectStmt": body.get("val", {})}, scope)


HANDLERS: dict[str, Handler] = {
    "SelectStmt": select,
    "InsertStmt": insert,
    "UpdateStmt": update,
    "DeleteStmt": delete,
    "MergeStmt": merge,
    "PLAssignStmt": assignment,
    "RangeVar": range_var,
    "FuncCall": function,
    "A_Indirection": field,
    "A_Expr": expression,
    "SubLink": sub_link,
    "SortBy": sort_by,
    "RangeTableSample": sample,
}
LITERAL_BLIND = frozenset(("SelectStmt", "InsertStmt", "UpdateStmt", "DeleteStmt"))
