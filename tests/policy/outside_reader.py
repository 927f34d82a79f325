"""What a statement changes, found by another reader than ours: postgast's protobuf tree, walked by its descriptors.

It knows nothing of our tables: every statement node that is not a read counts, wherever it stands.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from postgast import deparse
from postgast import pg_query_pb2 as pb

ROWS = {"InsertStmt": ("insert", "update"), "UpdateStmt": ("update",), "DeleteStmt": ("delete",)}
READS = frozenset(("RawStmt", "SelectStmt", "ExplainStmt", "VariableShowStmt", "TransactionStmt", "SetOperationStmt"))
_KEPT = frozenset(("RuleStmt", "ViewStmt", "CreateFunctionStmt"))
_WITHIN = frozenset(("PLAssignStmt", "ReturnStmt", "CreateStmt"))  # parts of another statement


@dataclass(frozen=True, slots=True)
class Change:
    """A statement node that is not a read. `kept`: in the text of a rule, view or function, so not run now."""

    kind: str
    relation: str  # of INSERT, UPDATE, DELETE, as written but without its schema
    kept: bool
    top: bool  # it is the whole statement
    text: str  # of INSERT, UPDATE, DELETE inside another: the bare statement


def changes(tree: pb.ParseResult) -> Iterator[Change]:
    """Those of EXPLAIN without ANALYZE are left out: they do not run."""
    stack: list[tuple[Any, bool, bool]] = [(raw.stmt, False, True) for raw in tree.stmts]
    while stack:
        message, kept, top = stack.pop()
        kind = message.DESCRIPTOR.name
        if kind.endswith("Stmt") and kind not in READS and not (kind in _WITHIN and not top):
            relation = message.relation.relname if kind in ROWS else ""
            yield Change(kind, relation, kept, top, "" if top or kind not in ROWS else _bare(kind, message))
        if kind == "ExplainStmt" and not _analyses(message):
            continue
        below_top = top and kind == "Node"
        for field, value in message.ListFields():
            if field.message_type is None:
                continue
            for each in value if isinstance(value, list) or hasattr(value, "add") else [value]:
                stack.append((each, kept or kind in _KEPT, below_top))


def _bare(kind: str, message: Any) -> str:
    """The statement by itself. What it reads from CTEs of the outer one becomes a relation; it is only judged."""
    tree = pb.ParseResult(version=180004)
    node = tree.stmts.add().stmt
    name = next(f.name for f in node.DESCRIPTOR.fields if f.message_type and f.message_type.name == kind)
    getattr(node, name).CopyFrom(message)
    return str(deparse(tree))


def _analyses(explain: Any) -> bool:
    """As PostgreSQL does: the last ANALYZE among the options counts."""
    on = False
    for option in explain.options:
        if option.def_elem.defname == "analyze":
            argument = option.def_elem.arg
            word = argument.string.sval if argument.HasField("string") else ""
            on = not argument.ListFields() or word.lower() not in ("false", "off", "0")
            if argument.HasField("integer"):
                on = argument.integer.ival != 0
    return on
