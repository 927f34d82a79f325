"""SQL stays SQL that people read; what it holds does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mask.literals import parameter_names
from mask.masker import Masked, masker_for
from schemas.ids import SessionId
from tests.mask.conftest import PLANTED, core, session
from wire.postgres.grammar import parse

MASKER = session()

SECRETS = [
    ("password of a role", "ALTER ROLE bob PASSWORD 'hunter2'", "hunter2", "password"),
    ("password of a new user", "CREATE USER bob WITH ENCRYPTED PASSWORD 'hunter2'", "hunter2", "password"),
    ("option", "CREATE USER MAPPING FOR bob SERVER s OPTIONS (user 'b', password 'hunter2')", "hunter2", "password"),
    ("connection", "CREATE SUBSCRIPTION s CONNECTION 'host=a password=hunter2' PUBLICATION p", "hunter2", "password"),
    ("column of INSERT", "INSERT INTO t (a, ssn) VALUES ('x', '536904399'), ('y', '536904398')", "536904398", "ssn"),
    ("number in a column", "INSERT INTO t (ssn) VALUES (536904399)", "536904399", "ssn"),
    ("column of INSERT SELECT", "INSERT INTO t (a, ssn) SELECT 'x', '536904399'", "536904399", "ssn"),
    ("expression", "INSERT INTO t (password) VALUES (crypt('hunter2', gen_salt('bf')))", "hunter2", "password"),
    ("SET of UPDATE", "UPDATE t SET state = 'done', ssn = '536904399'", "536904399", "ssn"),
    ("comparison", "SELECT 1 FROM t WHERE x.ssn = '536904399'", "536904399", "ssn"),
    ("turned comparison", "SELECT 1 FROM t WHERE '536904399' = ssn", "536904399", "ssn"),
    ("list", "SELECT 1 FROM t WHERE ssn IN ('1', '536904399')", "536904399", "ssn"),
    ("function of the column", "SELECT 1 FROM t WHERE trim(ssn) LIKE '536904399%'", "536904399", "ssn"),
    ("path of JSON", "SELECT 1 FROM t WHERE body ->> 'ssn' = '536904399'", "536904399", "ssn"),
    ("alias", "SELECT '536904399' AS ssn", "536904399", "ssn"),
    ("setting", "SET app.token = 'abc123'", "abc123", "secret"),
    ("unquoted setting", "SET app.token TO abc123", "abc123", "secret"),
    ("set_config", "SELECT set_config('app.token', 'abc123', false)", "abc123", "secret"),
    ("pairs of a function", "SELECT jsonb_build_object('a', 1, 'ssn', '536904399')", "536904399", "ssn"),
    ("named argument", "SELECT f(api_key => 'abc123')", "abc123", "secret"),
    ("JSON", """INSERT INTO t (body) VALUES ('{"ssn": "536904399"}')""", "536904399", "ssn"),
    ("card", "SELECT '4111 1111 1111 1111'", "1111", "card"),
    ("card as a number", "SELECT 4111111111111111", "4111111111111111", "card"),
    ("card in two strings", "SELECT '4111' || '1111' || '11111111'", "11111111", "card"),
    ("card over a line break", "SELECT '41111111'\n  '11111111'", "11111111", "card"),
    ("escapes", "SELECT E'\\x34111 1111 1111 1111'", "1111", "card"),
    ("Unicode escapes", "SELECT U&'\\0034111 1111 1111 1111'", "1111", "card"),
    ("dollars", "SELECT $$bob@example.com$$", "bob@example.com", "email"),
    ("tagged dollars", "SELECT $a$ it's bob@example.com $a$", "bob@example.com", "email"),
    ("body", "DO $$ BEGIN EXECUTE 'ALTER ROLE x PASSWORD ''hunter2'''; END $$", "hunter2", "password"),
    ("body by name", "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $$ UPDATE t SET ssn = '536904399' $$",
     "536904399", "ssn"),
    ("plpgsql by column", "DO $a$ BEGIN IF x THEN UPDATE t SET ssn = '536904399' WHERE id = 1; END IF; END $a$",
     "536904399", "ssn"),
    ("plpgsql into", "DO $a$ BEGIN INSERT INTO t (ssn) VALUES ('536904399') RETURNING id INTO x; END $a$",
     "536904399", "ssn"),
    ("plpgsql in a loop", "DO $a$ BEGIN FOR r IN SELECT 1 FROM t WHERE ssn = '536904399' LOOP NULL; END LOOP; END $a$",
     "536904399", "ssn"),
    ("plpgsql with CASE", "DO $a$ BEGIN UPDATE t SET ssn = CASE WHEN a THEN b ELSE '536904399' END; END $a$",
     "536904399", "ssn"),
    ("plpgsql PERFORM", "DO $a$ BEGIN PERFORM f(password => 'hunter2'); END $a$", "hunter2", "password"),
    ("plpgsql assignment", "DO $a$ BEGIN IF a THEN password := 'hunter' || '2'; END IF; END $a$", "hunter", "password"),
    ("plpgsql member", "DO $a$ BEGIN NEW.password := crypt('hunter2', x); END $a$", "hunter2", "password"),
    ("plpgsql declaration", "DO $a$ DECLARE a int; password text NOT NULL := 'hunter2'; BEGIN NULL; END $a$",
     "hunter2", "password"),
    ("plpgsql default", "DO $a$ DECLARE password text DEFAULT 'hunter2'; BEGIN NULL; END $a$", "hunter2", "password"),
    ("plpgsql function", "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $f$ BEGIN UPDATE t SET ssn = '536904399';"
     " END $f$", "536904399", "ssn"),
    ("plpgsql in quotes", "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS 'UPDATE t SET password = ''hunter2'''",
     "hunter2", "password"),
    ("body of SQL", "CREATE FUNCTION f() RETURNS void BEGIN ATOMIC UPDATE t SET password = 'hunter2'; END", "hunter2",
     "password"),
    ("format()", "DO $$ BEGIN EXECUTE format('ALTER ROLE %I PASSWORD %L', 'x', 'hunter2'); END $$", "hunter2",
     "password"),
    ("SQL put together", "DO $$ BEGIN EXECUTE 'ALTER ROLE x PASSWORD ' || quote_literal('hunter2'); END $$", "hunter2",
     "password"),
    ("default of a column", "CREATE TABLE t (a int, password text DEFAULT 'hunter2')", "hunter2", "password"),
    ("new default", "ALTER TABLE t ALTER COLUMN password SET DEFAULT 'hunter2'", "hunter2", "password"),
    ("new column", "ALTER TABLE t ADD COLUMN password text DEFAULT 'hunter2'", "hunter2", "password"),
    ("default of a parameter", "CREATE FUNCTION f(password text DEFAULT 'hunter2') RETURNS int AS '' LANGUAGE sql",
     "hunter2", "password"),
    ("setting of a role", "ALTER ROLE r SET app.token = 'abc123'", "abc123", "secret"),
    ("setting of a database", "ALTER DATABASE d SET app.token TO 'abc123'", "abc123", "secret"),
    ("setting of the system", "ALTER SYSTEM SET primary_conninfo = 'host=a password=hunter2'", "hunter2", "password"),
    ("option of a server", "ALTER SERVER s OPTIONS (SET password 'hunter2')", "hunter2", "password"),
    ("new connection", "ALTER SUBSCRIPTION s CONNECTION 'postgresql://bob:hunter2@db/x'", "hunter2", "password"),
    ("quoted in a connection", "CREATE SUBSCRIPTION s CONNECTION 'host=a password = ''hunter2 x''' PUBLICATION p",
     "hunter2", "password"),
    ("dblink", "SELECT dblink_connect('c', 'host=a password=hunter2')", "hunter2", "password"),
    ("pgcrypto", "SELECT pgp_sym_encrypt('x', 'hunter2')", "hunter2", "secret"),
    ("card in arguments of concat", "SELECT concat('4111', '1111', '1111', '1111')", "1111", "card"),
    ("card in arguments of concat_ws", "SELECT concat_ws('-', '4111', '1111', '1111', '1111')", "1111", "card"),
    ("line comment", "SELECT 1 -- for bob@example.com", "bob@example.com", "email"),
    ("block comment", "SELECT /* password=hunter2*/ 1", "hunter2", "password"),
    ("alias of a value", 'SELECT 1 AS "4111 1111 1111 1111"', "1111", "card"),
    ("COPY", "COPY t FROM PROGRAM 'curl -H \"Authorization: Bearer abcdef123456\" http://x'", "abcdef123456", "secret"),
    ("NOTIFY", "NOTIFY c, 'bob@example.com'", "bob@example.com", "email"),
    ("non-ASCII before", "SELECT 'é€😀' AS a, '536904399' AS ssn", "536904399", "ssn"),
    ("second statement", "SELECT 1; ALTER ROLE bob PASSWORD 'hunter2'", "hunter2", "password"),
    ("base64", "SELECT decode('Y2hhcmdlIDQxMTEgMTExMSAxMTExIDExMTE=', 'base64')", "MTEx", "card"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "sql", "secret", "kind"), SECRETS, ids=[row[0] for row in SECRETS])
def test_a_value_in_a_command(what: str, sql: str, secret: str, kind: str) -> None:
    masked = MASKER.sql(sql)
    assert secret not in str(masked.text)
    assert kind in [found.type for found in masked.found]
    parse(str(masked.text))  # and it is SQL still


@pytest.mark.parametrize(("what", "sql", "secret", "kind"), SECRETS, ids=[row[0] for row in SECRETS])
def test_a_masked_command_stays_as_it_is_when_masked_again(what: str, sql: str, secret: str, kind: str) -> None:
    once = str(MASKER.sql(sql).text)
    assert MASKER.sql(once) == Masked(once)


READABLE = [
    "UPDATE orders SET state = 'done' WHERE id = 42 AND note LIKE '%late%' -- as agreed",
    "SELECT a, b FROM t WHERE created_at > '2024-05-01' LIMIT 10",
    "INSERT INTO t (a, b) VALUES (1, 'x'), (2, $$y$$), (3, E'z\\n'), (4, $1)",
    "DO $$ BEGIN RAISE NOTICE 'it''s done'; END $$",
    "SELECT 'a' || 'b' || 'c'",
    "SELECT concat('a', 'b'), format('%s of %s', 'a', 'b'), concat(a, ', ', b)",
    "SELECT '4111', '1111', '1111', '1111'",
    "SET SESSION AUTHORIZATION 'bob'",
    "CREATE TABLE t (state text DEFAULT 'new', password text DEFAULT NULL)",
    "DO $a$ DECLARE state text := 'new'; n int DEFAULT 5; BEGIN UPDATE t SET state = 'done' WHERE id = n; END $a$",
    "SELECT 'é€😀' /* ok */, 12345678901",
    "DELETE FROM users WHERE ssn = $1",
    "ALTER TABLE t ADD COLUMN password text DEFAULT NULL",
    "SELECT password, token FROM t WHERE token = other.token",
    "",
]


@pytest.mark.parametrize("sql", READABLE)
def test_what_is_harmless_stays_as_it_was_written(sql: str) -> None:
    assert MASKER.sql(sql) == Masked(sql)


def test_what_stands_around_a_value_stays() -> None:
    masked = str(MASKER.sql("UPDATE t SET ssn = '536904399', state = 'done' WHERE id = 7 -- ok").text)
    assert masked.startswith("UPDATE t SET ssn = 'tok:ssn:")
    assert masked.endswith("', state = 'done' WHERE id = 7 -- ok")


@pytest.mark.parametrize(
    ("sql", "first"),
    [
        ("SELECT 'hunter2", "SELECT withheld:15:"), ("insert hunter2 into", "INSERT withheld:19:"),
        ("hunter2 SELECT", "withheld:14:"), ("SELECT 1\0; hunter2", "SELECT withheld:18:"),
        ("SELECT '\ud800hunter2'", "SELECT withheld:17:"), ("'hunter2'", "withheld:9:"),
        ("SELECT '" + "x" * (1 << 20) + "hunter2'", "SELECT withheld:"),
        ("SELECT " + "(" * 60_000 + "hunter2", "SELECT withheld:"),
    ],
)  # fmt: skip
def test_what_does_not_parse_is_withheld_but_for_its_first_keyword(sql: str, first: str) -> None:
    masked = MASKER.sql(sql)
    assert str(masked.text).startswith(first)
    assert "hunter2" not in str(masked.text)
    assert (masked.found, masked.withheld) == ((), 1)


def test_tokens_of_a_command_are_those_of_its_rows() -> None:
    token = str(MASKER.value("536-90-4399", "ssn").text)
    assert token in str(MASKER.sql("SELECT 1 FROM t WHERE ssn = '536904399'").text)


def test_what_a_command_calls_its_parameters() -> None:
    names = {
        "INSERT INTO t (a, ssn) VALUES ($1, $2)": {1: ("t.a",), 2: ("t.ssn",)},
        "UPDATE t SET password = $2 FROM u WHERE u.id = $1": {1: ("u.id",), 2: ("t.password",)},
        "SELECT f($1), g(token => $2::text)": {2: ("token",)},
    }
    for sql, said in names.items():
        assert parameter_names(parse(sql)) == said


@given(st.sampled_from(sorted(PLANTED)), st.text("ab '\"$-/*\\;é\n", max_size=20))
def test_a_planted_value_in_any_quotes(planted: str, around: str) -> None:
    text, _ = PLANTED[planted]
    quoted = f"{around} {text}".replace("'", "''")
    for sql in (f"SELECT '{quoted}'", f"SELECT 1 /* {text} */", f"SELECT $q${text} {around}$q$", f"SELECT E'{text}'"):
        assert core(text) not in str(MASKER.sql(sql).text)


def test_a_statement_with_something_to_mask_is_masked_each_time_and_another_passes() -> None:
    of = masker_for(b"t" * 32)
    maskers = [of(SessionId("a")), of(SessionId("a")), of(SessionId("b"))]  # they share what was learned
    shown = [masker.sql('SELECT id AS "ann@example.com" FROM t') for masker in maskers]
    assert [[(found.type, found.count) for found in each.found] for each in shown] == [[("email", 1)]] * 3
    assert shown[0].text == shown[1].text != shown[2].text
    for masker in maskers:
        assert masker.sql("SELECT id FROM t WHERE id = $1") == Masked("SELECT id FROM t WHERE id = $1")
