"""What a text does: every effect, wherever it stands, and what follows for the session."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.sql.effects import EFFECTS, Effects, read
from policy.sql.marks import Mark
from schemas.judging import TransactionStep


def effects(sql: str, **prepared: str) -> list[tuple[str, str]]:
    return [(e.effect, e.relation) for e in known(sql, **prepared).effects]


def known(sql: str, **prepared: str) -> Effects:
    return read(sql, lookup=lambda name: (prepared[name],) if name in prepared else ())


EFFECTS_OF = [
    ("SELECT 1", [("select", "")]),
    ("SELECT * FROM a, public.b, \"C\"", [("select", '"C"'), ("select", "a"), ("select", "public.b")]),
    ("SELECT * FROM a FOR UPDATE", [("lock", "a"), ("select", "a")]),
    ("SELECT 1 INTO x FROM a", [("create", "x"), ("select", "a")]),
    ("CREATE TABLE x AS SELECT * FROM a", [("create", "x"), ("select", "a")]),
    ("INSERT INTO a SELECT * FROM b", [("insert", "a"), ("select", "b")]),
    ("INSERT INTO a VALUES (1) ON CONFLICT (i) DO UPDATE SET i=1", [("update", "a"), ("insert", "a"), ("select", "")]),
    ("UPDATE a SET i = 1 FROM b WHERE a.i = b.i", [("update", "a"), ("select", "b")]),
    ("DELETE FROM a USING b WHERE a.i = b.i", [("delete", "a"), ("select", "b")]),
    (
        "MERGE INTO a USING b ON a.i = b.i WHEN MATCHED AND b.x THEN DELETE WHEN MATCHED THEN UPDATE SET i = 1"
        " WHEN NOT MATCHED THEN INSERT VALUES (1)",
        [("delete", "a"), ("update", "a"), ("insert", "a"), ("select", "b")],
    ),
    ("TRUNCATE a, b", [("truncate", "a"), ("truncate", "b")]),
    ("DROP TABLE a, s.b", [("drop", "a"), ("drop", "s.b")]),
    ("DROP FUNCTION s.f(int)", [("drop", "s.f")]),
    ("ALTER TABLE a ADD COLUMN i int", [("alter", "a")]),
    ("CREATE INDEX ON a (lower(i))", [("create", "a")]),
    ("CREATE VIEW v AS SELECT * FROM a", [("create", "v")]),
    ("GRANT SELECT ON a TO b", [("grant", "a")]),
    ("REVOKE x FROM b", [("revoke", "x")]),
    ("COPY a FROM STDIN", [("copy-in", "a")]),
    ("COPY a TO STDOUT", [("copy-out", "a"), ("select", "a")]),
    ("COPY a TO PROGRAM 'x'", [("copy-program", ""), ("copy-out", "a"), ("select", "a")]),
    ("COPY (SELECT * FROM a) TO '/x'", [("file-access", ""), ("copy-out", ""), ("select", "a")]),
    ("CALL p(1)", [("unknown", "p"), ("call", "p")]),
    ("LOCK TABLE a", [("lock", "a")]),
    ("VACUUM a", [("lock", "a")]),
    ("REINDEX TABLE a", [("lock", "a")]),
    ("REFRESH MATERIALIZED VIEW a", [("update", "a")]),
    ("SET x.y = 1", [("set", "x.y")]),
    ("SET ROLE a", [("role-change", "role")]),
    ("RESET SESSION AUTHORIZATION", [("role-change", "session_authorization")]),
    ("SELECT pg_read_file('x')", [("file-access", "pg_read_file"), ("select", "")]),
    ("SELECT nextval('s')", [("update", "sequence"), ("select", "")]),
    ("LISTEN x", [("call", "listen")]),
    ("UNLISTEN *", [("call", "listen")]),
    ("SHOW ALL", [("select", "")]),
    ("SET CONSTRAINTS ALL DEFERRED", [("set", "constraints")]),
    ("DEALLOCATE a", []),
    ("NOTIFY x, 'y'", [("call", "notify")]),
    ("ALTER SYSTEM SET a = b", [("alter", "")]),
    ("ALTER ROLE x SUPERUSER", [("alter", "x")]),
    ("DO $$ BEGIN INSERT INTO a VALUES (1); END $$", [("insert", "a"), ("execute", ""), ("select", "")]),
    ("EXPLAIN UPDATE a SET i = 1", [("select", "a")]),
    ("SELECT 1; DROP TABLE a", [("drop", "a"), ("select", "")]),
    ("BEGIN", []),
    ("", []),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "wanted"), EFFECTS_OF, ids=[row[0][:50] for row in EFFECTS_OF])
def test_effects_worst_first(sql: str, wanted: list[tuple[str, str]]) -> None:
    assert effects(sql) == wanted
    assert {effect for effect, _ in wanted} <= EFFECTS


def test_ctes_hide_relations_only_where_they_are_in_scope() -> None:
    assert known("WITH a AS (SELECT * FROM b) SELECT * FROM a").reads == ("b",)
    assert known("WITH a AS (SELECT * FROM a) SELECT * FROM a").reads == ("a",)
    assert known("WITH RECURSIVE a AS (SELECT 1 UNION SELECT * FROM a) SELECT * FROM a").reads == ()
    assert known("WITH a AS (SELECT 1), b AS (SELECT * FROM a) SELECT * FROM b, public.a").reads == ("public.a",)
    assert known("SELECT * FROM (WITH a AS (SELECT 1) SELECT * FROM a) x, a").reads == ("a",)
    assert known("WITH a AS (SELECT 1) DELETE FROM a").writes == ("a",)


def test_relations_are_read_written_and_to_be_resolved() -> None:
    found = known('UPDATE a SET i = (SELECT max(i) FROM "B.c") WHERE i = 1')
    assert (found.reads, found.writes) == (('"B.c"',), ("a",))
    assert set(found.names) == {"a", '"B.c"'}
    assert known("DROP TABLE s.a").names == ("s.a",)
    assert known("DROP FUNCTION s.a()").names == ()


def test_bodies_are_read_and_kept_apart() -> None:
    rule = known("CREATE RULE r AS ON INSERT TO t DO ALSO DELETE FROM log")
    assert [(e.effect, e.relation) for e in rule.effects] == [("create", "t")]
    assert [(e.effect, e.relation) for e in rule.later] == [("delete", "log")]
    assert Mark.CODE_CHANGES in rule.marks
    for language, body in (("sql", "DELETE FROM log"), ("plpgsql", "BEGIN DELETE FROM log; END")):
        found = known(f"CREATE FUNCTION f() RETURNS void LANGUAGE {language} AS $$ {body} $$")
        assert [(e.effect, e.relation) for e in found.later] == [("delete", "log")]
    atomic = known("CREATE PROCEDURE p() BEGIN ATOMIC DELETE FROM log; SELECT 1; END")
    assert ("delete", "log") in [(e.effect, e.relation) for e in atomic.later]
    assert Mark.CODE_CHANGES not in known("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'").marks


def test_functions_the_policy_names_are_known_as_written() -> None:
    assert read("SELECT app.total(1)", frozenset(["app.total"])).complete
    assert not read("SELECT total(1)", frozenset(["app.total"])).complete
    assert not read("SELECT other.total(1)", frozenset(["app.total"])).complete
    assert read("SELECT a <=> b FROM t", frozenset(["<=>"])).complete
    assert Mark.SHADOWS in read("CREATE FUNCTION app.total() RETURNS int AS 'SELECT 1'", frozenset(["app.total"])).marks


BARRIERS = [
    "SET a = b", "RESET a", "RESET ALL", "DISCARD ALL", "DO $$ BEGIN NULL; END $$", "CALL p()", "SELECT evil()",
    "SELECT set_config('a', 'b', false)", "WITH x AS (SELECT set_config('a', 'b', true)) SELECT 1", "ROLLBACK",
    "ROLLBACK TO a", "COMMIT", "SELECT 1; SET a = b", "UPDATE pg_settings SET setting = 1", "EXECUTE unknown",
    "CREATE EXTENSION x", "not sql", "SELECT dblink('a')", "SELECT query_to_xml('set a = b')", "SET ROLE a",
]  # fmt: skip


@pytest.mark.parametrize("sql", BARRIERS)
def test_what_may_change_settings_is_a_barrier(sql: str) -> None:
    assert known(sql).barrier


@pytest.mark.parametrize("sql", ["SELECT 1", "BEGIN", "SAVEPOINT a", "DELETE FROM a", "CREATE TABLE a (i int)", ""])
def test_what_cannot_is_none(sql: str) -> None:
    assert not known(sql).barrier


@pytest.mark.parametrize(
    ("sql", "only"),
    [
        ("SET a = b", True),
        ("RESET ALL", True),
        ("ROLLBACK", True),
        ("SET a = 'b'; ROLLBACK TO x", True),
        ("SET a = b; SELECT 1", False),
        ("COMMIT", False),
        ("", False),
        (r"SET a = '\'; SELECT evil() --'", False),  # off: a string with a quote in it, then evil()
        ("SET a = 'é'", False),  # in SJIS and others the second byte may be a backslash
        ("SELECT set_config('a', 'b', false)", False),
    ],
)
def test_settings_only_is_read_alike_under_every_setting(sql: str, only: bool) -> None:
    assert known(sql).settings_only is only


STEPS = [
    ("BEGIN", "harmless"), ("START TRANSACTION READ ONLY", "harmless"), ("SET LOCAL a = b", "harmless"),
    ("SET TRANSACTION READ ONLY", "harmless"), ("SAVEPOINT a", "harmless"), ("SHOW a", "harmless"), ("", "harmless"),
    ("RELEASE a", "harmless"), ("BEGIN; SET LOCAL a = b", "harmless"), ("COMMIT", "ends"), ("ROLLBACK", "ends"),
    ("END", "ends"), ("PREPARE TRANSACTION 'x'", "ends"), ("BEGIN; COMMIT", "ends"), ("SELECT 1", "uses"),
    ("SET a = b", "uses"), ("COMMIT; SELECT 1", "uses"), ("LOCK a", "uses"), ("not sql", "uses"),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "step"), STEPS)
def test_what_a_command_does_to_the_transaction(sql: str, step: str) -> None:
    assert known(sql).transaction is TransactionStep(step)


READ_ONLY = [
    "SELECT * FROM a",
    "BEGIN",
    "ROLLBACK",
    "SHOW a",
    "EXPLAIN DELETE FROM a",
    "VALUES (1)",
    "SELECT now()",
    "",
]
NOT_READ_ONLY = [
    "COMMIT", "SET a = b", "SELECT nextval('s')", "SELECT 1 FROM a FOR SHARE", "SELECT 1 INTO b", "SELECT evil()",
    "PREPARE p AS SELECT 1", "EXPLAIN ANALYZE DELETE FROM a", "LISTEN a", "SELECT 1; DELETE FROM a", "not sql",
    "SELECT pg_notify('a', 'b')", "SELECT pg_advisory_lock(1)", "DEALLOCATE a",
]  # fmt: skip


@pytest.mark.parametrize("sql", READ_ONLY)
def test_reads_are_read_only(sql: str) -> None:
    assert known(sql).read_only


@pytest.mark.parametrize("sql", NOT_READ_ONLY)
def test_all_else_is_not(sql: str) -> None:
    assert not known(sql).read_only


BLIND = [
    "SELECT a FROM t WHERE b = 1 AND c > 'x' LIMIT 3",
    "INSERT INTO t VALUES (1, 'x')",
    "DELETE FROM t WHERE a = 1",
]
NOT_BLIND = [
    "DO $$ BEGIN NULL; END $$", "SELECT set_config('a', 'b', false)", "SELECT query_to_xml('select 1')",
    "SELECT 1 WHERE 1 = 2", "SELECT * FROM t WHERE 1 IN (1, 2)", "DELETE FROM t WHERE a LIKE 'x'", "SET a = 'b'",
    "SELECT evil(1)", "SELECT 1; SELECT 2", "CREATE TABLE a (i int)", "COPY a TO '/x'", "SELECT nextval('s')",
    "SELECT 1 INTO a", "EXPLAIN SELECT 1", "PREPARE p AS SELECT 1", "EXECUTE p", "", "BEGIN", "not sql",
    "CREATE FUNCTION f() RETURNS int AS 'SELECT 1'", "SELECT dblink('a', 'b')",
    "MERGE INTO a USING b ON a.i = b.i WHEN MATCHED THEN DO NOTHING",
]  # fmt: skip


@pytest.mark.parametrize("sql", BLIND)
def test_blind_to_literals(sql: str) -> None:
    assert known(sql).literal_blind


@pytest.mark.parametrize("sql", NOT_BLIND)
def test_not_blind_to_literals(sql: str) -> None:
    assert not known(sql).literal_blind


SHAPES = [
    "SELECT * FROM t WHERE a = {} LIMIT {}", "DELETE FROM t WHERE a = {} OR b < {}", "UPDATE t SET a = {} WHERE b = {}",
    "INSERT INTO t VALUES ({}, {}) ON CONFLICT (a) DO UPDATE SET b = 1", "DELETE FROM t WHERE a LIKE {} AND {} = {}",
    "SELECT lower({}), {}::date FROM t", "DELETE FROM t WHERE {} = {}", "SELECT a FROM t ORDER BY {} OFFSET {}",
    "DELETE FROM t WHERE a ILIKE {} OR a BETWEEN {} AND {}", "SELECT set_config({}, {}, false)", "UPDATE t SET a = {}",
]  # fmt: skip
constants = st.sampled_from(["'x'", "'%'", "''", "1", "0", "1.5", "'role'", "'off'", "$$a$$", "E'a'", "'search_path'"])


@given(st.sampled_from(SHAPES), st.lists(constants, min_size=6, max_size=6))
def test_where_a_tree_is_literal_blind_no_constant_changes_the_answer(shape: str, values: list[str]) -> None:
    holes = shape.count("{}")
    one, other = read(shape.format(*values[:holes])), read(shape.format(*values[-holes:]))
    if one.literal_blind:
        assert one == other


def test_prepared_names_are_told_to_the_caller() -> None:
    found = known("PREPARE p AS SELECT 1; DECLARE c CURSOR FOR SELECT 2; DEALLOCATE q; DEALLOCATE ALL")
    assert [(p.name, p.text) for p in found.prepares] == [
        ("p", "PREPARE p AS SELECT 1"),
        ("c", "DECLARE c CURSOR FOR SELECT 2"),
    ]
    assert found.deallocates == ("q", "")
    assert known("DISCARD ALL").deallocates == ("",)
    assert known("CLOSE ALL").deallocates == ()
    assert known("EXECUTE p; FETCH 1 FROM c").executes == ("p", "c")


def test_a_name_with_several_texts_is_all_of_them() -> None:
    texts = ("SELECT 1", "PREPARE p AS DELETE FROM a")
    assert ("delete", "a") in [(e.effect, e.relation) for e in read("EXECUTE p", lookup=lambda _: texts).effects]


def test_texts_within_texts_are_bounded() -> None:
    assert known("EXECUTE p", p="EXECUTE p").reason == "too many texts within texts"
    assert known("EXECUTE p", p="EXECUTE p").barrier
    assert known("EXECUTE p", p="SET a = b; no sql").barrier
    assert known("SELECT 1; " * 2001 + "SET a = b").barrier
    assert known("SELECT 1; " * 2001).reason == "more than 2000 statements"
    many = "PERFORM 1; " * 400
    assert "too many" in known(f"DO $$ BEGIN {many} END $$").reason
    assert known(f"DO $$ BEGIN {many[:1000]} END $$").complete


@given(st.text(max_size=80))
def test_no_text_raises_and_what_is_not_read_is_unknown(sql: str) -> None:
    found = read(sql)
    assert found.complete or (found.reason and not found.read_only and Mark.UNKNOWN in found.marks)


def test_every_statement_of_the_grammar_is_in_a_table() -> None:
    """A kind that a new grammar brings is unknown; of this one all are read."""
    from postgast import pg_query_pb2 as pb

    from policy.sql.effects import _STATEMENTS

    kinds = {f.message_type.name for f in pb.Node.DESCRIPTOR.fields}
    statements = {kind for kind in kinds if kind.endswith("Stmt")}
    only_within = {"RawStmt", "SetOperationStmt", "ReturnStmt"}  # containers, and RETURN, whose value is read
    assert statements - _STATEMENTS == only_within
