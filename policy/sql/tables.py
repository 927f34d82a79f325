"""Reads CREATE and ALTER TABLE, sequences and triggers, which touch more tables than the one that they are about."""

from __future__ import annotations

from policy.sql.marks import Mark
from policy.sql.reading import Handler, Reading, Scope
from wire.postgres.grammar import Node, strings, walk

_ALTERS = {
    "AT_DropColumn": Mark.DROP_COLUMN,
    "AT_AlterColumnType": Mark.ALTER_TYPE,
    "AT_ChangeOwner": Mark.OWNER,
    "AT_SetLogged": Mark.REWRITES,
    "AT_SetUnLogged": Mark.REWRITES,
    "AT_SetAccessMethod": Mark.REWRITES,
    "AT_SetTableSpace": Mark.REWRITES,
    "AT_DropConstraint": Mark.ALTER_TYPE,
    "AT_DetachPartition": Mark.ALTER_TYPE,
    "AT_DropIdentity": Mark.ALTER_TYPE,
    "AT_DropExpression": Mark.ALTER_TYPE,
    "AT_GenericOptions": Mark.FOREIGN,
} | dict.fromkeys(
    (
        *("AT_DisableTrig", "AT_DisableTrigAll", "AT_DisableTrigUser", "AT_EnableReplicaTrig", "AT_EnableAlwaysTrig"),
        *("AT_DisableRule", "AT_EnableReplicaRule", "AT_EnableAlwaysRule", "AT_DisableRowSecurity"),
        "AT_NoForceRowSecurity",
    ),
    Mark.GUARD_OFF,
)


def create_table(r: Reading, body: Node, scope: Scope) -> None:
    r.effect("create", r.relation(body.get("relation", {})), scope, Mark.CREATE)
    for parent in body.get("inhRelations", ()):  # INHERITS, PARTITION OF: the parent has one more
        _locks(r, "alter", parent["RangeVar"], scope)
    r.push_all(body, scope, ("relation", "inhRelations"))


def alter_table(r: Reading, body: Node, scope: Scope) -> None:
    commands = [each.get("AlterTableCmd", {}) for each in body.get("cmds", ())]
    marks = {_ALTERS.get(each.get("subtype", "AT_AddColumn"), Mark.ALTER) for each in commands}
    if any(each.get("subtype") == "AT_AlterColumnType" and _writes(each) for each in commands):
        marks.add(Mark.UPDATE_ALL)
    r.effect("alter", r.relation(body.get("relation", {})), scope, *marks)
    for each in commands:
        parent = each.get("def", {}).get("RangeVar")  # INHERIT, NO INHERIT
        if parent:
            _locks(r, "alter", parent, scope)
        else:
            r.push_all(each, scope)


def _writes(command: Node) -> bool:
    """USING makes every row's value anew, perhaps of nothing that was in it."""
    using = command.get("def", {}).get("ColumnDef", {}).get("raw_default")
    return using is not None and not any(kind == "ColumnRef" for kind, _ in walk(using))


def constraint(r: Reading, body: Node, scope: Scope) -> None:
    """A foreign key puts triggers on the table that it refers to, whose writers wait."""
    if "pktable" in body:
        _locks(r, "lock", body["pktable"], scope)
    r.push_all(body, scope, ("pktable",))


def like(r: Reading, body: Node, scope: Scope) -> None:
    r.read(body.get("relation", {}), scope._replace(ctes=frozenset()))


def partition(r: Reading, body: Node, scope: Scope) -> None:
    """ATTACH and DETACH: the part is changed, too."""
    _locks(r, "alter", body.get("name", {}), scope)
    r.push_all(body, scope, ("name",))


def published(r: Reading, body: Node, scope: Scope) -> None:
    table = body.get("pubtable", {})
    if "relation" in table:
        r.effect("alter", r.relation(table["relation"]), scope)
        r.push(table.get("whereClause"), scope)


def trigger(r: Reading, body: Node, scope: Scope) -> None:
    r.effect("create", r.relation(body.get("relation", {})), scope, Mark.CODE)
    if "constrrel" in body:
        _locks(r, "lock", body["constrrel"], scope)
    r.push(body.get("whenClause"), scope.deferred())


def create_sequence(r: Reading, body: Node, scope: Scope) -> None:
    r.effect("create", r.relation(body.get("sequence", {})), scope, Mark.CREATE)
    _owned(r, body, scope)


def alter_sequence(r: Reading, body: Node, scope: Scope) -> None:
    r.effect("alter", r.relation(body.get("sequence", {})), scope, Mark.ALTER)
    _owned(r, body, scope)


def _owned(r: Reading, body: Node, scope: Scope) -> None:
    """OWNED BY table.column: dropped with it."""
    for option in body.get("options", ()):
        if option.get("DefElem", {}).get("defname") == "owned_by":
            *schema, table, _ = ("", "", *strings(option["DefElem"].get("arg", {}).get("List", {}).get("items", ())))
            if table:
                r.effect("select", r.relation({"schemaname": schema[-1], "relname": table}), scope)


def _locks(r: Reading, effect: str, relation: Node, scope: Scope) -> None:
    r.effect(effect, r.relation(relation), scope, Mark.LOCKS_TABLE)


HANDLERS: dict[str, Handler] = {
    "CreateStmt": create_table,
    "AlterTableStmt": alter_table,
    "Constraint": constraint,
    "TableLikeClause": like,
    "PartitionCmd": partition,
    "PublicationObjSpec": published,
    "CreateTrigStmt": trigger,
    "CreateSeqStmt": create_sequence,
    "AlterSeqStmt": alter_sequence,
}
