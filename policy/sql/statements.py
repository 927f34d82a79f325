"""The plain utility statements, as a table: what each does, to what, and whether it has expressions.

Statements that need a look inside are in `utility.py`. A kind in neither is unknown.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from policy.sql.marks import Mark
from policy.sql.reading import Reading, Scope
from wire.postgres.grammar import Node, quoted, strings


class Row(NamedTuple):
    effect: str
    mark: Mark
    name: str = ""  # the field that names what it is done to
    inside: bool = False  # it has expressions (defaults, checks), which may call functions
    unknown: str = ""  # why the judgement is not complete


ROWS: dict[str, Row] = {
    # tables, types and what belongs to them
    "CreateSchemaStmt": Row("create", Mark.CREATE, "schemaname", inside=True),
    "CreateDomainStmt": Row("create", Mark.CREATE, "domainname", inside=True),
    "CompositeTypeStmt": Row("create", Mark.CREATE, "typevar"),
    "CreateEnumStmt": Row("create", Mark.CREATE, "typeName"),
    "CreateStatsStmt": Row("create", Mark.CREATE, "defnames", inside=True),
    "IndexStmt": Row("create", Mark.CREATE_INDEX, "relation", inside=True),
    "AlterEnumStmt": Row("alter", Mark.ALTER, "typeName"),
    "ReplicaIdentityStmt": Row("alter", Mark.ALTER),
    "AlterDomainStmt": Row("alter", Mark.ALTER, "typeName", inside=True),
    "AlterStatsStmt": Row("alter", Mark.ALTER, "defnames"),
    "AlterCollationStmt": Row("alter", Mark.ALTER, "collname"),
    "AlterTSDictionaryStmt": Row("alter", Mark.ALTER, "dictname"),
    "AlterTSConfigurationStmt": Row("alter", Mark.ALTER, "cfgname"),
    "AlterObjectDependsStmt": Row("alter", Mark.ALTER, "object"),
    "AlterObjectSchemaStmt": Row("alter", Mark.RENAME, "relation"),
    "RenameStmt": Row("alter", Mark.RENAME, "relation"),
    "CommentStmt": Row("alter", Mark.COMMENT, "object"),
    "AlterTableSpaceOptionsStmt": Row("alter", Mark.ALTER, "tablespacename"),
    "AlterTableMoveAllStmt": Row("alter", Mark.REWRITES, "new_tablespacename"),
    # text that runs later
    "AlterFunctionStmt": Row("alter", Mark.CODE, "func"),
    "CreateEventTrigStmt": Row("create", Mark.CODE, "trigname"),
    "CreatePLangStmt": Row("create", Mark.CODE, "plname"),
    "CreateAmStmt": Row("create", Mark.CODE, "amname"),
    "CreateOpClassStmt": Row("create", Mark.CODE, "opclassname"),
    "CreateOpFamilyStmt": Row("create", Mark.CODE, "opfamilyname"),
    "AlterOpFamilyStmt": Row("alter", Mark.CODE, "opfamilyname"),
    "AlterOperatorStmt": Row("alter", Mark.CODE, "opername"),
    "AlterTypeStmt": Row("alter", Mark.CODE, "typeName"),
    "CreateRangeStmt": Row("create", Mark.CODE, "typeName"),
    "CreateConversionStmt": Row("create", Mark.CODE, "conversion_name"),
    "CreateCastStmt": Row("create", Mark.CODE, "targettype"),
    "CreateTransformStmt": Row("create", Mark.CODE, "type_name"),
    # who may do what
    "AlterDefaultPrivilegesStmt": Row("grant", Mark.GRANT),
    "CreateRoleStmt": Row("create", Mark.ROLE, "role"),
    "AlterRoleStmt": Row("alter", Mark.ROLE, "role"),
    "AlterRoleSetStmt": Row("alter", Mark.SETTING_STORED, "role"),
    "DropRoleStmt": Row("drop", Mark.ROLE, "roles"),
    "AlterOwnerStmt": Row("alter", Mark.OWNER, "relation"),
    "ReassignOwnedStmt": Row("alter", Mark.OWNER, "roles"),
    "DropOwnedStmt": Row("drop", Mark.DROP_OWNED, "roles"),
    "CreatePolicyStmt": Row("create", Mark.GUARD_OFF, "table", inside=True),
    "AlterPolicyStmt": Row("alter", Mark.GUARD_OFF, "table", inside=True),
    "AlterEventTrigStmt": Row("alter", Mark.GUARD_OFF, "trigname"),
    "SecLabelStmt": Row("alter", Mark.GUARD_OFF, "object"),
    # databases and the server
    "CreatedbStmt": Row("create", Mark.CREATE, "dbname"),
    "AlterDatabaseStmt": Row("alter", Mark.SETTING_STORED, "dbname"),
    "AlterDatabaseSetStmt": Row("alter", Mark.SETTING_STORED, "dbname"),
    "AlterDatabaseRefreshCollStmt": Row("alter", Mark.ALTER, "dbname"),
    "DropdbStmt": Row("drop", Mark.DROP_DATABASE, "dbname"),
    "CreateTableSpaceStmt": Row("create", Mark.FILE_ACCESS, "tablespacename"),
    "DropTableSpaceStmt": Row("drop", Mark.DROP_DATABASE, "tablespacename"),
    "AlterSystemStmt": Row("alter", Mark.ALTER_SYSTEM, "system"),
    "CheckPointStmt": Row("call", Mark.MAINTENANCE),
    "LoadStmt": Row("file-access", Mark.LOADS_LIBRARY, unknown="LOAD runs what a library does"),
    "CreateExtensionStmt": Row("create", Mark.EXTENSION, "extname", unknown="an extension's script runs"),
    "AlterExtensionStmt": Row("alter", Mark.EXTENSION, "extname", unknown="an extension's script runs"),
    "AlterExtensionContentsStmt": Row("alter", Mark.EXTENSION, "extname"),
    # other servers
    "CreateFdwStmt": Row("create", Mark.FOREIGN, "fdwname"),
    "AlterFdwStmt": Row("alter", Mark.FOREIGN, "fdwname"),
    "CreateForeignServerStmt": Row("create", Mark.FOREIGN, "servername"),
    "AlterForeignServerStmt": Row("alter", Mark.FOREIGN, "servername"),
    "CreateUserMappingStmt": Row("create", Mark.FOREIGN, "servername"),
    "AlterUserMappingStmt": Row("alter", Mark.FOREIGN, "servername"),
    "DropUserMappingStmt": Row("drop", Mark.FOREIGN, "servername"),
    "ImportForeignSchemaStmt": Row("create", Mark.FOREIGN, "local_schema", unknown="another server names the tables"),
    "CreateForeignTableStmt": Row("create", Mark.FOREIGN, "base", inside=True),
    "CreatePublicationStmt": Row("create", Mark.REPLICATION, "pubname", inside=True),
    "AlterPublicationStmt": Row("alter", Mark.REPLICATION, "pubname", inside=True),
    "CreateSubscriptionStmt": Row("create", Mark.FOREIGN, "subname"),
    "AlterSubscriptionStmt": Row("alter", Mark.FOREIGN, "subname"),
    "DropSubscriptionStmt": Row("drop", Mark.FOREIGN, "subname"),
    # locks and upkeep
    "ClusterStmt": Row("lock", Mark.REWRITES, "relation"),
    "ReindexStmt": Row("lock", Mark.REWRITES, "relation"),
}


def plain(r: Reading, kind: str, row: Row, body: Node, scope: Scope) -> None:
    r.blind = False
    for name in named(r, body, row.name) or ("",):
        r.effect(row.effect, name, scope, row.mark)
    if row.unknown:
        r.barrier = True
        r.unknown(row.unknown)
    if row.inside:
        r.push_all(body, scope)


def named(r: Reading, body: Node, field: str) -> tuple[str, ...]:
    """The names in a field, whatever way the grammar puts them. Only relations are `names`."""
    value: Any = body.get(field) or body.get("object")
    if isinstance(value, str):
        return (quoted(value),)
    if isinstance(value, list):
        if value and "String" in value[0]:
            return (quoted(*strings(value)),)
        return tuple(name for each in value for name in _one(r, each))
    return _one(r, value) if isinstance(value, dict) else ()


def _one(r: Reading, node: Node) -> tuple[str, ...]:
    body = next(iter(node.values())) if len(node) == 1 and next(iter(node))[0].isupper() else node
    if not isinstance(body, dict):
        return ()
    if "relname" in body:
        return (r.relation(body),)
    if "relation" in body:  # CREATE FOREIGN TABLE keeps a CreateStmt inside
        return (r.relation(body["relation"]),)
    for key in ("objname", "names", "items"):
        if key in body:
            return (quoted(*strings(body[key])),)
    text = body.get("rolename") or body.get("sval")
    return (quoted(text),) if text else ()
