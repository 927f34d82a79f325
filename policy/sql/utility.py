"""Reads the utility statements that need a look inside: EXPLAIN, COPY, SET, DO, PREPARE, ALTER TABLE..."""

from __future__ import annotations

from typing import Any

from policy.sql import bodies, settings, tables
from policy.sql.marks import Mark
from policy.sql.queries import calls
from policy.sql.reading import Handler, Reading, Scope, When
from policy.sql.shape import narrows
from policy.sql.statements import named
from schemas.judging import Prepares
from wire.postgres import grammar
from wire.postgres.grammar import Node, constant, quoted, strings, unwrap

MAX_TEXTS = 256  # texts within texts (bodies, EXECUTE): above it a command is not worth following
MAX_NESTED = 4
_OFF = frozenset(("off", "false", "0"))
_TRUSTED = frozenset(("sql", "plpgsql"))
_HEAVY_LOCK = 5  # ShareLock and above keep writers out
_RELATIONS = frozenset(("TABLE", "VIEW", "MATVIEW", "INDEX", "SEQUENCE", "FOREIGN_TABLE"))
_GUARDS = frozenset(("TRIGGER", "RULE", "POLICY", "EVENT_TRIGGER"))
_DROPS = {
    "TABLE": Mark.DROP_TABLE,
    "FOREIGN_TABLE": Mark.DROP_TABLE,
    "MATVIEW": Mark.DROP_OTHER,
    "SCHEMA": Mark.DROP_SCHEMA,
    "EXTENSION": Mark.DROP_TABLE,
    "FOREIGN_SERVER": Mark.FOREIGN,
    "FDW": Mark.FOREIGN,
    "PUBLICATION": Mark.REPLICATION,
}


def explain(r: Reading, body: Node, scope: Scope) -> None:
    analyse = any(_is_on(each["DefElem"], "analyze") for each in body.get("options", ()))
    r.push(body.get("query"), scope if analyse or scope.when is not When.NOW else scope._replace(when=When.PLANNED))


def _is_on(option: Node, name: str) -> bool:
    if option.get("defname", "").lower() != name:
        return False
    argument = option.get("arg")
    return argument is None or _text(argument).lower() not in _OFF


def _text(node: Node) -> str:
    """The text of an option's argument: String, Integer, Boolean, or a constant."""
    kind, body = unwrap(node)
    if kind == "String":
        return str(body.get("sval", ""))
    if kind == "Integer":
        return str(body.get("ival", 0))
    if kind == "Boolean":
        return "true" if body.get("boolval") else "false"
    return constant(node) or ""


def copy(r: Reading, body: Node, scope: Scope) -> None:
    into = bool(body.get("is_from"))
    if body.get("is_program"):
        r.effect("copy-program", "", scope, Mark.COPY_PROGRAM)
    elif "filename" in body:
        r.effect("file-access", "", scope, Mark.FILE_ACCESS)
    if "relation" in body:
        if into:
            r.write("copy-in", body["relation"], scope, Mark.COPY_IN)
        else:
            r.read(body["relation"], scope._replace(ctes=frozenset()))
            r.effect("copy-out", r.relation(body["relation"]), scope, Mark.COPY_OUT_TABLE)
    else:
        query = body.get("query", {}).get("SelectStmt")
        whole = query is not None and "valuesLists" not in query and not narrows(query.get("whereClause"), {})
        r.effect("copy-out", "", scope, Mark.COPY_OUT_TABLE if whole else Mark.COPY_OUT_QUERY)
    r.push_all(body, scope, ("relation",))


def create_table_as(r: Reading, body: Node, scope: Scope) -> None:
    into = body.get("into", {})
    r.write("create", into.get("rel", {}), scope, Mark.CREATE)
    r.push(body.get("query"), scope)


def view(r: Reading, body: Node, scope: Scope) -> None:
    r.effect("create", r.relation(body.get("view", {})), scope, Mark.CREATE)
    # Whoever reads it later runs it, and nothing in their text says so: it is marked for all that it does.
    r.push(body.get("query"), scope._replace(when=When.READ_LATER) if scope.when is When.NOW else scope.deferred())


def rule(r: Reading, body: Node, scope: Scope) -> None:
    r.effect("create", r.relation(body.get("relation", {})), scope, Mark.CODE)
    r.push_all(body, scope.deferred(), ("relation",))


def define(r: Reading, body: Node, scope: Scope) -> None:
    """CREATE AGGREGATE, OPERATOR, TYPE (with C functions) are code; collations and text search are not."""
    kind = body.get("kind", "")
    harmless = kind in ("OBJECT_COLLATION", "OBJECT_TSCONFIGURATION", "OBJECT_TSDICTIONARY")
    r.effect("create", quoted(*strings(body.get("defnames", ()))), scope, Mark.CREATE if harmless else Mark.CODE)


def create_function(r: Reading, body: Node, scope: Scope) -> None:
    name = strings(body.get("funcname", ()))
    r.effect("create", quoted(*name), scope, Mark.CODE)
    bare = name[-1] if name else ""
    if bare in r.table.harmless or bare in r.table.effects or quoted(*name) in r.allowed:
        r.marks.add(Mark.SHADOWS)
    options = _options(body.get("options", ()))
    language = _text(options.get("language", {"String": {"sval": "sql"}})).lower()
    if language not in _TRUSTED:
        r.marks.add(Mark.LOADS_LIBRARY)
        r.unknown("a function in a language that is not read")
    if "sql_body" in body:
        r.push(body["sql_body"], scope.deferred())
    elif "as" in options:
        _body(r, language, options["as"], scope.deferred())
    r.push(body.get("parameters"), scope.deferred())


def do(r: Reading, body: Node, scope: Scope) -> None:
    r.barrier = True
    options = _options(body.get("args", ()))
    language = _text(options.get("language", {"String": {"sval": "plpgsql"}})).lower()
    if language != "plpgsql":
        r.effect("unknown", "", scope, Mark.RUNS_TEXT)
        r.unknown("a DO block in a language that is not read")
        return
    r.effect("execute", "", scope)
    _body(r, language, options.get("as", {}), scope)


def _options(nodes: Any) -> dict[str, Node]:
    return {each["DefElem"].get("defname", ""): each["DefElem"].get("arg", {}) for each in nodes if "DefElem" in each}


def _body(r: Reading, language: str, source: Node, scope: Scope) -> None:
    """Pushes the statements of a function's text; what cannot be read makes the judgement incomplete."""
    kind, inner = unwrap(source)
    text = _text(inner["items"][0]) if kind == "List" and len(inner.get("items", ())) == 1 else _text(source)
    if language == "sql":
        embedded(r, text, grammar.MODE_SQL, scope)
    elif language == "plpgsql":
        try:
            words = grammar.words(text)  # first, because it says what would take the parser too long
            body = grammar.parse_plpgsql(scope.text)
            hidden = bodies.hides_a_default(body, words)
        except grammar.Unparsable:
            r.unknown("a body that cannot be read")
            return
        if hidden:
            r.unknown("a default of a record, which cannot be read")
        for piece in bodies.pieces(body):
            if piece.text:
                embedded(r, piece.text, piece.mode, scope)
            else:
                r.effect("unknown", "", scope, Mark.RUNS_TEXT)
                r.unknown("dynamic SQL in a body")


def embedded(r: Reading, text: str, mode: int, scope: Scope, prepared: bool = False) -> None:
    """Pushes the statements of a text within the text. `prepared`: it comes from a name, so that PREPARE
    and DECLARE in it stand for their inner statement."""
    r.texts += 1
    if r.texts > MAX_TEXTS or scope.depth >= MAX_NESTED:
        r.barrier = True
        r.unknown("too many texts within texts")
        return
    try:
        tree = grammar.parse(text, mode)
    except grammar.Unparsable:
        r.barrier = True
        r.unknown("a text within the text that cannot be read")
        return
    for statement, slice_ in reversed(list(zip(tree.statements, tree.texts(), strict=True))):
        node: Node = {statement.kind: statement.body}
        if prepared and statement.kind in ("PrepareStmt", "DeclareCursorStmt"):
            node = statement.body.get("query", {})
        top = next(iter(node), "") if prepared else scope.top
        r.push(node, scope._replace(text=slice_, depth=scope.depth + 1, top=top, ctes=frozenset()))


def call(r: Reading, body: Node, scope: Scope) -> None:
    r.barrier = True
    invoked = body.get("funccall", {})
    name = strings(invoked.get("funcname", ()))
    r.effect("call", quoted(*name), scope)
    calls(r, name, invoked.get("args", []), scope)
    r.push(invoked.get("args"), scope)


def prepare(r: Reading, body: Node, scope: Scope) -> None:
    """Judged as if executed, so that EXECUTE later can do nothing that was not judged here."""
    _remember(r, body.get("name", ""), body, scope)


def declare(r: Reading, body: Node, scope: Scope) -> None:
    _remember(r, body.get("portalname", ""), body, scope)


def _remember(r: Reading, name: str, body: Node, scope: Scope) -> None:
    r.prepares.append(Prepares(name, scope.text))
    query = body.get("query", {})
    r.push(query, scope._replace(top=next(iter(query), "")))


def execute(r: Reading, body: Node, scope: Scope) -> None:
    _run_named(r, body.get("name", ""), scope)
    r.push(body.get("params"), scope)


def fetch(r: Reading, body: Node, scope: Scope) -> None:
    _run_named(r, body.get("portalname", ""), scope)


def _run_named(r: Reading, name: str, scope: Scope) -> None:
    r.executes[name] = None
    r.effect("execute", quoted(name), scope)
    texts = r.lookup(name)
    if not texts:
        r.barrier = True
        r.unknown("nobody knows what is prepared under the name that is executed")
    for text in texts:
        embedded(r, text, grammar.MODE_SQL, scope, prepared=True)


def deallocate(r: Reading, body: Node, scope: Scope) -> None:
    r.deallocates["" if body.get("isall") else body.get("name", "")] = None


def drop(r: Reading, body: Node, scope: Scope) -> None:
    what = body.get("removeType", "").removeprefix("OBJECT_")
    mark = Mark.GUARD_OFF if what in _GUARDS else _DROPS.get(what, Mark.DROP_OTHER)
    if mark is Mark.DROP_OTHER and body.get("behavior") == "DROP_CASCADE":
        mark = Mark.DROP_TABLE
    for each in body.get("objects", ()):
        for name in named(r, {"object": each}, "object"):
            r.effect("drop", name, scope, mark)
            if what in _RELATIONS:
                r.names[name] = None
    if body.get("behavior") == "DROP_CASCADE":
        r.effect("drop", "", scope)  # what depends on it is not in the text


def truncate(r: Reading, body: Node, scope: Scope) -> None:
    for each in body.get("relations", ()):
        r.write("truncate", each.get("RangeVar", {}), scope, Mark.TRUNCATE)
    if body.get("behavior") == "DROP_CASCADE":
        r.effect("truncate", "", scope)  # tables that refer to it


def grant(r: Reading, body: Node, scope: Scope) -> None:
    effect, mark = ("grant", Mark.GRANT) if body.get("is_grant") else ("revoke", Mark.REVOKE)
    for name in named(r, body, "objects") or ("",):
        r.effect(effect, name, scope, mark)


def grant_role(r: Reading, body: Node, scope: Scope) -> None:
    effect, mark = ("grant", Mark.GRANT) if body.get("is_grant") else ("revoke", Mark.REVOKE)
    for each in body.get("granted_roles", ()):
        r.effect(effect, quoted(each.get("AccessPriv", {}).get("priv_name", "")), scope, mark)


def lock(r: Reading, body: Node, scope: Scope) -> None:
    mark = Mark.LOCKS_TABLE if body.get("mode", 0) >= _HEAVY_LOCK else Mark.LOCKS_ROWS
    for each in body.get("relations", ()):
        r.effect("lock", r.relation(each.get("RangeVar", {})), scope, mark)


def vacuum(r: Reading, body: Node, scope: Scope) -> None:
    full = any(_is_on(each["DefElem"], "full") for each in body.get("options", ()))
    mark = Mark.REWRITES if full else Mark.MAINTENANCE
    relations = [each.get("VacuumRelation", {}).get("relation", {}) for each in body.get("rels", ())]
    for relation in relations:
        r.effect("lock", r.relation(relation), scope, mark)
    if not relations:
        r.effect("lock", "", scope, mark)


def refresh(r: Reading, body: Node, scope: Scope) -> None:
    r.write("update", body.get("relation", {}), scope, Mark.REWRITES)


def notify(r: Reading, body: Node, scope: Scope) -> None:
    r.effect("call", "notify", scope)


def listen(r: Reading, body: Node, scope: Scope) -> None:
    r.effect("call", "listen", scope)


def set_variable(r: Reading, body: Node, scope: Scope) -> None:
    r.barrier = True
    name = body.get("name", "").lower()
    if body.get("kind") == "VAR_SET_MULTI":  # SET TRANSACTION, SET SESSION CHARACTERISTICS
        r.effect("set", name, scope, Mark.SETTING)
        return
    if body.get("kind") == "VAR_RESET_ALL":
        r.effect("set", "", scope, Mark.SETTING)
        return
    values = tuple(_text(each) for each in body.get("args", ()))
    mark = settings.mark_of(name, values)
    effect = "role-change" if mark in (Mark.ROLE_CHANGE, Mark.ROLE_BACK) else "set"
    r.effect(effect, name, scope, mark)


def set_constraints(r: Reading, body: Node, scope: Scope) -> None:
    r.effect("set", "constraints", scope, Mark.SETTING)


def discard(r: Reading, body: Node, scope: Scope) -> None:
    r.barrier = True
    r.effect("set", "", scope, Mark.SETTING)
    if body.get("target", "DISCARD_ALL") == "DISCARD_ALL":
        r.deallocates[""] = None


def show(r: Reading, body: Node, scope: Scope) -> None:
    r.effect("select", "", scope)


def transaction(r: Reading, body: Node, scope: Scope) -> None:
    """BEGIN and SAVEPOINT change no setting; every way out may bring SET LOCAL's old values back."""
    kind = body.get("kind", "")
    if kind not in ("TRANS_STMT_BEGIN", "TRANS_STMT_START", "TRANS_STMT_SAVEPOINT", "TRANS_STMT_RELEASE"):
        r.barrier = True
    if kind in ("TRANS_STMT_PREPARE", "TRANS_STMT_COMMIT_PREPARED", "TRANS_STMT_ROLLBACK_PREPARED"):
        r.effect("call", kind.removeprefix("TRANS_STMT_").lower().replace("_", " "), scope, Mark.PREPARED_TRANSACTION)


def nothing(r: Reading, body: Node, scope: Scope) -> None:
    """CLOSE: what the cursor did, it has done."""


def _not_blind(handler: Handler) -> Handler:
    def read(r: Reading, body: Node, scope: Scope) -> None:
        r.blind = False
        handler(r, body, scope)

    return read


HANDLERS: dict[str, Handler] = {
    kind: _not_blind(handler)
    for kind, handler in {
        **tables.HANDLERS,
        "ExplainStmt": explain,
        "CopyStmt": copy,
        "CreateTableAsStmt": create_table_as,
        "ViewStmt": view,
        "RuleStmt": rule,
        "DefineStmt": define,
        "CreateFunctionStmt": create_function,
        "DoStmt": do,
        "CallStmt": call,
        "PrepareStmt": prepare,
        "DeclareCursorStmt": declare,
        "ExecuteStmt": execute,
        "FetchStmt": fetch,
        "ClosePortalStmt": nothing,
        "DeallocateStmt": deallocate,
        "DropStmt": drop,
        "TruncateStmt": truncate,
        "GrantStmt": grant,
        "GrantRoleStmt": grant_role,
        "LockStmt": lock,
        "VacuumStmt": vacuum,
        "RefreshMatViewStmt": refresh,
        "NotifyStmt": notify,
        "ListenStmt": listen,
        "UnlistenStmt": listen,
        "VariableSetStmt": set_variable,
        "VariableShowStmt": show,
        "ConstraintsSetStmt": set_constraints,
        "DiscardStmt": discard,
        "TransactionStmt": transaction,
    }.items()
}
