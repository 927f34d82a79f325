"""What does this SQL do? The whole tree is read: a statement is all the things it does, wherever they stand.

    read(text, allowed=frozenset({"app.total"}), lookup=texts_by_name) -> Effects

Rules:
1. What cannot be known from the text makes `complete` false, with a reason: a function, operator,
   statement or body that is not in the tables. Nothing is taken for harmless because it was not understood.
2. Views, triggers, column-style calls (`row.f`), casts and operators of user types run code that the text
   does not show. To make such code is marked (CODE, SHADOWS); to use what was there before is not seen.
3. EXPLAIN plans, and planning runs functions: its reads and functions count, its changes do not.
"""

from __future__ import annotations

from typing import NamedTuple

from policy.found import MAX_EFFECTS
from policy.sql import queries, utility
from policy.sql.marks import Mark
from policy.sql.reading import LEAVES, Lookup, Reading, Scope, When
from policy.sql.statements import ROWS, plain
from schemas.judging import Prepares, TransactionStep
from schemas.records import Effect
from wire.postgres import grammar
from wire.postgres.grammar import Statement, Tree

MAX_STATEMENTS = 2000  # in one text
_WORST_FIRST = (
    *("unknown", "copy-program", "file-access", "role-change", "drop", "truncate", "delete", "grant", "revoke"),
    *("update", "alter", "copy-out", "copy-in", "insert", "create", "call", "execute", "set", "lock", "select"),
)
EFFECTS = frozenset(_WORST_FIRST)
_RANK = {effect: rank for rank, effect in enumerate(_WORST_FIRST)}
_HANDLERS = queries.HANDLERS | utility.HANDLERS
_STATEMENTS = frozenset(_HANDLERS) | ROWS.keys()
_READS = frozenset(("SelectStmt", "ExplainStmt", "VariableShowStmt"))
_SETS = frozenset(("VariableSetStmt",))
_HARMLESS_STEPS = frozenset(f"TRANS_STMT_{step}" for step in ("BEGIN", "START", "SAVEPOINT", "RELEASE", "ROLLBACK_TO"))
_ROLLBACKS = frozenset(("TRANS_STMT_ROLLBACK", "TRANS_STMT_ROLLBACK_TO"))
_LEAVE_NOTHING = _HARMLESS_STEPS | _ROLLBACKS


class Effects(NamedTuple):
    """Everything the text alone says; `policy.judge` adds the session and the rules."""

    effects: tuple[Effect, ...]  # worst first
    later: tuple[Effect, ...]  # of the bodies it stores: views, rules, functions
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    names: tuple[str, ...]
    marks: frozenset[Mark]
    complete: bool
    reason: str
    read_only: bool
    barrier: bool
    settings_only: bool
    transaction: TransactionStep
    literal_blind: bool
    undoable: bool
    prepares: tuple[Prepares, ...]
    executes: tuple[str, ...]
    deallocates: tuple[str, ...]
    statements: int


def nothing_known(_: str) -> tuple[str, ...]:
    """The lookup of a caller that remembers no prepared statements."""
    return ()


def read(text: str, allowed: frozenset[str] = frozenset(), lookup: Lookup = nothing_known) -> Effects:
    """Never raises: a text that does not parse is unknown, since a server of another version may take it."""
    r = Reading(allowed, lookup)
    try:
        tree = grammar.parse(text)
    except grammar.Unparsable as error:
        r.effects["unknown", ""] = None
        r.unknown(str(error))
        r.barrier, r.blind = True, False
        return _answer(r, None)
    _push_statements(r, tree)
    _run(r)
    return _answer(r, tree)


def _push_statements(r: Reading, tree: Tree) -> None:
    """A change behind `;` after a read is not what a reader of the text sees first."""
    several = len(tree.statements) > 1
    if several or (tree.statements and tree.statements[0].kind not in queries.LITERAL_BLIND):
        r.blind = False
    first = next((s.kind for s in tree.statements if s.kind != "TransactionStmt"), "")
    items = []
    if len(tree.statements) > MAX_STATEMENTS:
        r.unknown(f"more than {MAX_STATEMENTS} statements")
        r.barrier = True
    for statement in tree.statements[:MAX_STATEMENTS]:
        top = "several" if several and first in _READS and statement.kind not in _READS else statement.kind
        text = tree.text[statement.start : statement.end] if several else tree.text
        scope = Scope(frozenset(), When.NOW, top, text)
        items.append(({statement.kind: statement.body}, scope))
    r.stack.extend(reversed(items))


def _run(r: Reading) -> None:
    stack, handlers = r.stack, _HANDLERS
    while stack:
        node, scope = stack.pop()
        if node.__class__ is list:
            stack.extend([(each, scope) for each in reversed(node) if LEAVES.isdisjoint(each)])
            continue
        if len(node) == 1:
            ((kind, body),) = node.items()
            handler = handlers.get(kind)
            if handler is not None:
                handler(r, body, scope)
                continue
            if kind in LEAVES:
                continue
            if kind in ROWS:
                plain(r, kind, ROWS[kind], body, scope)
                continue
            if kind.endswith("Stmt") and kind != "ReturnStmt":
                r.effect("unknown", "", scope)
                r.unknown("a statement of a kind that is not known")
        r.push_all(node, scope)


def _answer(r: Reading, tree: Tree | None) -> Effects:
    statements = tree.statements if tree else ()
    if max(len(r.effects), len(r.reads), len(r.writes)) > MAX_EFFECTS:
        r.unknown(f"more than {MAX_EFFECTS} effects or relations")
    complete = not r.reason
    if not r.marks.isdisjoint(_CODE) and any(_RANK[effect] < _RANK["select"] for effect, _ in r.later):
        r.marks.add(Mark.CODE_CHANGES)
    ordered = r.effects if len(r.effects) < 2 else sorted(r.effects, key=_order)
    return Effects(
        effects=tuple([Effect(*each) for each in ordered]),
        later=tuple([Effect(*each) for each in r.later]),
        reads=tuple(r.reads),
        writes=tuple(r.writes),
        names=tuple(r.names),
        marks=frozenset(r.marks),
        complete=complete,
        reason=r.reason,
        read_only=complete and _only_reads(r, statements),
        barrier=r.barrier,
        settings_only=_settings_only(tree) if tree else False,
        transaction=_step(statements) if tree else TransactionStep.USES,
        literal_blind=complete and r.blind and len(statements) == 1,
        undoable=complete and _undoable(r, statements),
        prepares=tuple(r.prepares),
        executes=tuple(r.executes),
        deallocates=tuple(r.deallocates),
        statements=len(statements),
    )


_CODE = frozenset((Mark.CODE, Mark.SHADOWS))


def _order(effect: tuple[str, str]) -> tuple[int, str]:
    return _RANK[effect[0]], effect[1]


_ROLLED_BACK = frozenset(
    ("delete", "update", "insert", "truncate", "drop", "alter", "create", "grant", "revoke", "lock", "select")
)
_IN_TRANSACTION = frozenset(
    f"{kind}Stmt"
    for kind in (
        *("Insert", "Update", "Delete", "Merge", "Truncate", "Create", "CreateSchema", "CreateSeq", "CreateTableAs"),
        *("View", "Index", "Drop", "AlterTable", "Rename", "AlterObjectSchema", "AlterOwner", "Comment", "Grant"),
    )
)


def _undoable(r: Reading, statements: tuple[Statement, ...]) -> bool:
    """One statement that runs in a transaction, does nothing that outlives its rollback, and gives no rows."""
    if len(statements) != 1 or statements[0].kind not in _IN_TRANSACTION or r.barrier or r.prepares:
        return False
    body = statements[0].body
    if body.get("returningClause") or body.get("concurrent"):
        return False
    if any("AT_Detach" in str(command.get("AlterTableCmd", {}).get("subtype")) for command in body.get("cmds", ())):
        return False  # it may be CONCURRENTLY, in transactions of its own
    return all(effect in _ROLLED_BACK for effect, _ in r.effects)


def _only_reads(r: Reading, statements: tuple[Statement, ...]) -> bool:
    """COMMIT makes changes last, so it is not read-only; BEGIN and ROLLBACK change nothing."""
    if r.deallocates or r.prepares:
        return False
    for effect, _ in r.effects:
        if effect != "select":
            return False
    return all([s.kind != "TransactionStmt" or s.body.get("kind") in _LEAVE_NOTHING for s in statements])


def _settings_only(tree: Tree) -> bool:
    """SET, RESET and ROLLBACK, written so that every setting of the server reads them alike: with
    standard_conforming_strings off, `SET a = '\\''; ...` is another text, in SJIS so are other bytes."""
    for each in tree.statements:
        if each.kind not in _SETS and each.body.get("kind") not in _ROLLBACKS:
            return False
    return bool(tree.statements) and tree.text.isascii() and "\\" not in tree.text


def _step(statements: tuple[Statement, ...]) -> TransactionStep:
    steps = [_step_of(s) for s in statements]
    for worst in (TransactionStep.USES, TransactionStep.ENDS):
        if worst in steps:
            return worst
    return TransactionStep.HARMLESS


def _step_of(statement: Statement) -> TransactionStep:
    kind, body = statement.kind, statement.body
    if kind == "TransactionStmt":
        return TransactionStep.HARMLESS if body.get("kind") in _HARMLESS_STEPS else TransactionStep.ENDS
    if kind == "VariableShowStmt":
        return TransactionStep.HARMLESS
    if kind == "VariableSetStmt" and (body.get("is_local") or body.get("name") == "TRANSACTION"):
        return TransactionStep.HARMLESS
    return TransactionStep.USES
