"""Every plain utility statement: one sentence a kind, its effect, what it is done to, its mark."""

from __future__ import annotations

import pytest

from policy.sql.effects import read
from policy.sql.statements import ROWS
from wire.postgres.grammar import parse

SAMPLES = {
    "CreateSchemaStmt": ("CREATE SCHEMA a", "a"),
    "CreateDomainStmt": ("CREATE DOMAIN s.a AS int", "s.a"),
    "CompositeTypeStmt": ("CREATE TYPE a AS (i int)", "a"),
    "CreateEnumStmt": ("CREATE TYPE a AS ENUM ('x')", "a"),
    "CreateStatsStmt": ("CREATE STATISTICS a ON i, j FROM t", "a"),
    "IndexStmt": ("CREATE INDEX ON a (i)", "a"),
    "AlterEnumStmt": ("ALTER TYPE a ADD VALUE 'x'", "a"),
    "AlterDomainStmt": ("ALTER DOMAIN a SET NOT NULL", "a"),
    "AlterStatsStmt": ("ALTER STATISTICS a SET STATISTICS 1", "a"),
    "AlterCollationStmt": ("ALTER COLLATION a REFRESH VERSION", "a"),
    "AlterTSDictionaryStmt": ("ALTER TEXT SEARCH DICTIONARY a (x = 1)", "a"),
    "AlterTSConfigurationStmt": ("ALTER TEXT SEARCH CONFIGURATION a DROP MAPPING FOR word", "a"),
    "AlterObjectDependsStmt": ("ALTER FUNCTION a() DEPENDS ON EXTENSION x", "a"),
    "AlterObjectSchemaStmt": ("ALTER TABLE a SET SCHEMA s", "a"),
    "RenameStmt": ("ALTER TABLE a RENAME TO b", "a"),
    "CommentStmt": ("COMMENT ON TABLE a IS 'x'", "a"),
    "AlterTableSpaceOptionsStmt": ("ALTER TABLESPACE a SET (random_page_cost = 1)", "a"),
    "AlterTableMoveAllStmt": ("ALTER TABLE ALL IN TABLESPACE b SET TABLESPACE a", "a"),
    "AlterFunctionStmt": ("ALTER FUNCTION s.a() SECURITY DEFINER", "s.a"),
    "CreateEventTrigStmt": ("CREATE EVENT TRIGGER a ON ddl_command_start EXECUTE FUNCTION f()", "a"),
    "CreatePLangStmt": ("CREATE LANGUAGE a HANDLER f", "a"),
    "CreateAmStmt": ("CREATE ACCESS METHOD a TYPE INDEX HANDLER f", "a"),
    "CreateOpClassStmt": ("CREATE OPERATOR CLASS a FOR TYPE int USING btree AS OPERATOR 1 <", "a"),
    "CreateOpFamilyStmt": ("CREATE OPERATOR FAMILY a USING btree", "a"),
    "AlterOpFamilyStmt": ("ALTER OPERATOR FAMILY a USING btree DROP OPERATOR 1 (int)", "a"),
    "AlterOperatorStmt": ("ALTER OPERATOR + (int, int) SET (RESTRICT = NONE)", '"+"'),
    "AlterTypeStmt": ("ALTER TYPE a SET (SEND = f)", "a"),
    "CreateRangeStmt": ("CREATE TYPE a AS RANGE (SUBTYPE = int)", "a"),
    "CreateConversionStmt": ("CREATE CONVERSION a FOR 'UTF8' TO 'LATIN1' FROM f", "a"),
    "CreateCastStmt": ("CREATE CAST (int AS a) WITH FUNCTION f", "a"),
    "CreateTransformStmt": ("CREATE TRANSFORM FOR a LANGUAGE sql (FROM SQL WITH FUNCTION f(internal))", "a"),
    "AlterDefaultPrivilegesStmt": ("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO a", ""),
    "CreateRoleStmt": ("CREATE ROLE a", "a"),
    "AlterRoleStmt": ("ALTER ROLE a LOGIN", "a"),
    "AlterRoleSetStmt": ("ALTER ROLE a SET x.y = 1", "a"),
    "DropRoleStmt": ("DROP ROLE a", "a"),
    "AlterOwnerStmt": ("ALTER SCHEMA a OWNER TO b", "a"),
    "ReassignOwnedStmt": ("REASSIGN OWNED BY a TO b", "a"),
    "DropOwnedStmt": ("DROP OWNED BY a", "a"),
    "CreatePolicyStmt": ("CREATE POLICY p ON a", "a"),
    "AlterPolicyStmt": ("ALTER POLICY p ON a USING (true)", "a"),
    "AlterEventTrigStmt": ("ALTER EVENT TRIGGER a DISABLE", "a"),
    "SecLabelStmt": ("SECURITY LABEL ON TABLE a IS 'x'", "a"),
    "CreatedbStmt": ("CREATE DATABASE a", "a"),
    "AlterDatabaseStmt": ("ALTER DATABASE a CONNECTION LIMIT 1", "a"),
    "AlterDatabaseSetStmt": ("ALTER DATABASE a SET x.y = 1", "a"),
    "AlterDatabaseRefreshCollStmt": ("ALTER DATABASE a REFRESH COLLATION VERSION", "a"),
    "DropdbStmt": ("DROP DATABASE a", "a"),
    "CreateTableSpaceStmt": ("CREATE TABLESPACE a LOCATION '/x'", "a"),
    "DropTableSpaceStmt": ("DROP TABLESPACE a", "a"),
    "AlterSystemStmt": ("ALTER SYSTEM SET x = 1", ""),
    "CheckPointStmt": ("CHECKPOINT", ""),
    "LoadStmt": ("LOAD 'x'", ""),
    "CreateExtensionStmt": ("CREATE EXTENSION a", "a"),
    "AlterExtensionStmt": ("ALTER EXTENSION a UPDATE", "a"),
    "AlterExtensionContentsStmt": ("ALTER EXTENSION a ADD TABLE t", "a"),
    "CreateFdwStmt": ("CREATE FOREIGN DATA WRAPPER a", "a"),
    "AlterFdwStmt": ("ALTER FOREIGN DATA WRAPPER a NO HANDLER", "a"),
    "CreateForeignServerStmt": ("CREATE SERVER a FOREIGN DATA WRAPPER w", "a"),
    "AlterForeignServerStmt": ("ALTER SERVER a VERSION '1'", "a"),
    "CreateUserMappingStmt": ("CREATE USER MAPPING FOR u SERVER a", "a"),
    "AlterUserMappingStmt": ("ALTER USER MAPPING FOR u SERVER a OPTIONS (x 'y')", "a"),
    "DropUserMappingStmt": ("DROP USER MAPPING FOR u SERVER a", "a"),
    "ImportForeignSchemaStmt": ("IMPORT FOREIGN SCHEMA x FROM SERVER s INTO a", "a"),
    "CreateForeignTableStmt": ("CREATE FOREIGN TABLE a (i int) SERVER s", "a"),
    "CreatePublicationStmt": ("CREATE PUBLICATION a FOR TABLE t WHERE (i > 0)", "a"),
    "AlterPublicationStmt": ("ALTER PUBLICATION a ADD TABLE t", "a"),
    "CreateSubscriptionStmt": ("CREATE SUBSCRIPTION a CONNECTION 'x' PUBLICATION p", "a"),
    "AlterSubscriptionStmt": ("ALTER SUBSCRIPTION a DISABLE", "a"),
    "DropSubscriptionStmt": ("DROP SUBSCRIPTION a", "a"),
    "ClusterStmt": ("CLUSTER a", "a"),
    "ReindexStmt": ("REINDEX TABLE a", "a"),
}
WITHIN = {"ReplicaIdentityStmt"}  # of ALTER TABLE


def test_every_kind_has_a_sample() -> None:
    assert SAMPLES.keys() | WITHIN == ROWS.keys()


@pytest.mark.parametrize("kind", SAMPLES)
def test_effect_name_and_mark(kind: str) -> None:
    sql, name = SAMPLES[kind]
    row = ROWS[kind]
    assert parse(sql).statements[0].kind == kind
    found = read(sql)
    assert (row.effect, name) in [(e.effect, e.relation) for e in found.effects]
    assert row.mark in found.marks
    assert found.complete is not bool(row.unknown)
    assert not found.read_only
    assert not found.literal_blind


INSIDE = [
    "CREATE SCHEMA a CREATE TABLE t (i int DEFAULT evil())", "CREATE TABLE a (i int CHECK (evil(i)))",
    "CREATE DOMAIN a AS int DEFAULT evil()", "CREATE STATISTICS a ON (evil(i)), j FROM t",
    "CREATE INDEX ON a (i) WHERE evil(i)", "CREATE INDEX ON a (evil(i))", "ALTER DOMAIN a ADD CHECK (evil(value))",
    "CREATE POLICY p ON a USING (evil())",
    "ALTER POLICY p ON a WITH CHECK (evil())", "CREATE FOREIGN TABLE a (i int DEFAULT evil()) SERVER s",
    "CREATE PUBLICATION a FOR TABLE t WHERE (evil(i))", "ALTER PUBLICATION a ADD TABLE t WHERE (evil(i))",
    "CREATE TABLE a (i int GENERATED ALWAYS AS (evil()) STORED)",
    "CREATE TABLE a PARTITION OF b FOR VALUES IN (evil())",
    "CREATE TABLE a (EXCLUDE USING gist (evil(i) WITH =))", "ALTER TABLE a ATTACH PARTITION b FOR VALUES IN (evil())",
]  # fmt: skip


@pytest.mark.parametrize("sql", INSIDE)
def test_expressions_within_are_read(sql: str) -> None:
    assert "evil" in read(sql).reason
