"""CREATE and ALTER TABLE and what they do to other tables; and that no table named anywhere is overlooked."""

from __future__ import annotations

import pytest
from postgast import pg_query_pb2 as pb

from policy.sql.effects import read
from policy.sql.marks import Mark

EFFECTS = [
    ("CREATE TABLE s.a (i int)", {("create", "s.a")}),
    ("CREATE TABLE a (i int REFERENCES s.b)", {("create", "a"), ("lock", "s.b")}),
    ("CREATE TABLE a (FOREIGN KEY (i) REFERENCES b)", {("create", "a"), ("lock", "b")}),
    ("CREATE TABLE a (LIKE b)", {("create", "a"), ("select", "b")}),
    ("CREATE TABLE a PARTITION OF b FOR VALUES IN (1)", {("create", "a"), ("alter", "b")}),
    ("CREATE TABLE a () INHERITS (b, s.c)", {("create", "a"), ("alter", "b"), ("alter", "s.c")}),
    ("ALTER TABLE a ADD FOREIGN KEY (i) REFERENCES b", {("alter", "a"), ("lock", "b")}),
    ("ALTER TABLE a INHERIT b", {("alter", "a"), ("alter", "b")}),
    ("ALTER TABLE a NO INHERIT b", {("alter", "a"), ("alter", "b")}),
    ("ALTER TABLE a ATTACH PARTITION b DEFAULT", {("alter", "a"), ("alter", "b")}),
    ("ALTER TABLE a DETACH PARTITION b", {("alter", "a"), ("alter", "b")}),
    ("CREATE SEQUENCE a OWNED BY s.b.i", {("create", "a"), ("select", "s.b")}),
    ("ALTER SEQUENCE a OWNED BY b.i", {("alter", "a"), ("select", "b")}),
    ("ALTER SEQUENCE a OWNED BY NONE", {("alter", "a")}),
    ("ALTER SEQUENCE a RESTART", {("alter", "a")}),
    ("CREATE CONSTRAINT TRIGGER g AFTER INSERT ON a FROM b FOR EACH ROW EXECUTE FUNCTION f()",
     {("create", "a"), ("lock", "b")}),
    ("CREATE PUBLICATION p FOR TABLE a", {("create", "p"), ("alter", "a")}),
    ("DROP TABLE a CASCADE", {("drop", "a"), ("drop", "")}),
    ("TRUNCATE a CASCADE", {("truncate", "a"), ("truncate", "")}),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "wanted"), EFFECTS, ids=[row[0] for row in EFFECTS])
def test_what_is_done_to_which_table(sql: str, wanted: set[tuple[str, str]]) -> None:
    found = read(sql)
    assert {(each.effect, each.relation) for each in found.effects} == wanted
    assert not found.read_only
    assert not found.literal_blind


def test_a_foreign_key_makes_writers_of_the_other_table_wait() -> None:
    assert Mark.LOCKS_TABLE in read("CREATE TABLE a (i int REFERENCES b)").marks
    assert Mark.LOCKS_TABLE not in read("CREATE TABLE a (i int)").marks


NAMED = {
    "AlterObjectSchemaStmt.relation": "ALTER TABLE zz SET SCHEMA q",
    "AlterPolicyStmt.table": "ALTER POLICY p ON zz USING (true)",
    "AlterSeqStmt.sequence": "ALTER SEQUENCE zz RESTART",
    "AlterTableStmt.relation": "ALTER TABLE zz ADD i int",
    "ClusterStmt.relation": "CLUSTER zz",
    "CompositeTypeStmt.typevar": "CREATE TYPE zz AS (i int)",
    "Constraint.pktable": "CREATE TABLE a (i int REFERENCES zz)",
    "CopyStmt.relation": "COPY zz TO STDOUT",
    "CreatePolicyStmt.table": "CREATE POLICY p ON zz USING (true)",
    "CreateSeqStmt.sequence": "CREATE SEQUENCE zz",
    "CreateStmt.relation": "CREATE TABLE zz (i int)",
    "CreateTrigStmt.relation": "CREATE TRIGGER g AFTER INSERT ON zz EXECUTE FUNCTION f()",
    "CreateTrigStmt.constrrel":
        "CREATE CONSTRAINT TRIGGER g AFTER INSERT ON a FROM zz FOR EACH ROW EXECUTE FUNCTION f()",
    "DeleteStmt.relation": "DELETE FROM zz",
    "IndexStmt.relation": "CREATE INDEX ON zz (i)",
    "InsertStmt.relation": "INSERT INTO zz VALUES (1)",
    "IntoClause.rel": "SELECT 1 INTO zz",
    "MergeStmt.relation": "MERGE INTO zz USING a ON zz.i = a.i WHEN MATCHED THEN DELETE",
    "PartitionCmd.name": "ALTER TABLE a ATTACH PARTITION zz DEFAULT",
    "PublicationTable.relation": "CREATE PUBLICATION p FOR TABLE zz",
    "RefreshMatViewStmt.relation": "REFRESH MATERIALIZED VIEW zz",
    "ReindexStmt.relation": "REINDEX TABLE zz",
    "RenameStmt.relation": "ALTER TABLE zz RENAME TO a",
    "RuleStmt.relation": "CREATE RULE r AS ON INSERT TO zz DO NOTHING",
    "TableLikeClause.relation": "CREATE TABLE a (LIKE zz)",
    "UpdateStmt.relation": "UPDATE zz SET i = 1",
    "VacuumRelation.relation": "VACUUM zz",
    "ViewStmt.view": "CREATE VIEW zz AS SELECT 1",
}  # fmt: skip
NEVER_SET = {"AlterOwnerStmt.relation", "AlterObjectDependsStmt.relation", "ColumnDef.identity_sequence"}
"""Filled in by the server, not by its grammar, or for objects that are no tables."""


def test_the_grammar_names_tables_in_no_other_place() -> None:
    places = {
        f"{message.name}.{field.name}"
        for message in pb.DESCRIPTOR.message_types_by_name.values()
        for field in message.fields
        if message.name != "Node" and field.message_type is not None and field.message_type.name == "RangeVar"
    }
    assert places == NAMED.keys() | NEVER_SET


@pytest.mark.parametrize("place", NAMED)
def test_a_table_is_named_wherever_it_stands(place: str) -> None:
    found = read(NAMED[place])
    assert "zz" in {each.relation for each in found.effects}
    assert "zz" in found.names
