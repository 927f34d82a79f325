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


def _marked(text: str, mark: str) -> str:
    return "".join(f"{mark}{ord(each):04x}" for each in text)


def _wide(text: str) -> str:
    return "".join(chr(ord(each) + 0xFEE0) for each in text)


SECRETS: list[tuple[str, str, str, str | None]] = [
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
    ("setting with escapes", 'SET app.token = U&"abc123"', "abc123", "secret"),
    ("escapes in a setting", f'SET a.b TO U&"{_marked("4111111111111111", chr(92))}"', "0034", "card"),
    ("marked in a setting", f"SET a.b = c, U&\"{_marked('4111111111111111', '!')}\" UESCAPE '!'", "!0034", "card"),
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
    ("escapes of another mark", f"SELECT U&'{_marked('4111111111111111', '!')}' UESCAPE '!'", "!0034", "card"),
    ("joined behind another mark", "SELECT U&'4111!003111' UESCAPE '!' || '111111111'", "11111111", "card"),
    ("between a string and its mark", "DO $$ BEGIN x := U&'x' /* bob@example.com */ UESCAPE '!'; END $$",
     "bob@example.com", None),
    ("escapes in a name", f'SELECT 1 AS U&"{_marked("4111111111111111", chr(92))}"', "0034", "card"),
    ("marked escapes in a name", f'SELECT 1 AS U&"{_marked("4111111111111111", "!")}" UESCAPE \'!\'', "!0034", "card"),
    ("between a name and its mark", "DO $$ BEGIN SELECT 1 AS U&\"x\" /* bob@example.com */ UESCAPE '!'; END $$",
     "bob@example.com", None),
    ("hexadecimal", f"SELECT {4111111111111111:#x}::bigint", f"{4111111111111111:x}", "card"),
    ("octal in groups", f"SELECT 0o_{4111111111111111:o}", f"{4111111111111111:o}", "card"),
    ("binary", f"SELECT {4111111111111111:#b}", f"{4111111111111111:b}", "card"),
    ("decimal in groups", "SELECT 4111_1111_1111_1111", "1111_1111", "card"),
    ("with an exponent", "SELECT 4.111111111111111e15", "4.1111111", "card"),
    ("tag of a dollar quote", "SELECT $c4111111111111111$x$c4111111111111111$", "11111111", "card"),
    ("tag around dollars", "SELECT $c4111111111111111$ $$x'$ $c4111111111111111$", "11111111", "card"),
    ("tag of full width", f"SELECT $c{_wide('4111111111111111')}$x$c{_wide('4111111111111111')}$", _wide("1111"),
     "card"),
    ("body in quotes", "DO 'BEGIN PERFORM set_config(''app.password'', ''hunter2'', false); END'",
     "hunter2", "password"),
    ("body in escapes", "DO E'BEGIN password := \\'hunter2\\'; END'", "hunter2", "password"),
    ("commented body in quotes", "DO '/* a */ -- b\nBEGIN PERFORM f(password => ''hunter2''); END'",
     "hunter2", "password"),
    ("labelled body in quotes", "DO '<<a>> BEGIN PERFORM f(password => ''hunter2''); END'", "hunter2", "password"),
    ("body in a body in quotes", "DO 'BEGIN EXECUTE ''ALTER ROLE x PASSWORD ''''hunter2''''''; END'",
     "hunter2", "password"),
    ("command for another server", "SELECT dblink_exec('c', 'ALTER ROLE x PASSWORD ''hunter2''')",
     "hunter2", "password"),
    ("body behind a semicolon", "SELECT dblink_exec('c', '; INSERT INTO t (password) VALUES (''hunter2'')')",
     "hunter2", "password"),
    ("body behind an option", "DO '#variable_conflict error\nBEGIN INSERT INTO t (password) VALUES (''hunter2''); END'",
     "hunter2", "password"),
    ("joined body", "DO $$ BEGIN EXECUTE 'INSERT INTO t (password) ' || 'VALUES (''hunter2'')'; END $$",
     "hunter2", "password"),
    ("beside an address in a name",
     "DO $$ BEGIN CREATE ROLE \"bob@example.com\"; INSERT INTO t (password) VALUES ('hunter2'); END $$",
     "hunter2", "password"),
    ("beside a card of numbers",
     "DO 'BEGIN INSERT INTO t (password) VALUES (''hunter2''); x := 4111-1111-1111-1111; END'",
     "hunter2", "password"),
    ("escapes in a string in a body", r"DO 'BEGIN INSERT INTO t (a, password) VALUES (E''\'''', ''hunter2''); END'",
     "hunter2", "password"),
    ("marked escapes in the name of a column", "UPDATE t SET U&\"!0073sn\" UESCAPE '!' = '536904399'",
     "536904399", "ssn"),
    ("card in marked escapes", "SELECT U&'4111-1111-1111-1111' UESCAPE '-'", "4111", None),
    ("card in a name's marked escapes", "SELECT 1 AS U&\"4111-1111-1111-1111\" UESCAPE '-'", "4111", None),
    ("card behind a point", "SELECT .4111111111111111", "4111111111111111", "card"),
    ("card before a point", "SELECT 4111111111111111., 4111111111111111.50", "4111111111111111", "card"),
    ("tag in dollars", "DO $$ BEGIN x := $c4111111111111111$x$c4111111111111111$; END $$", "11111111", "card"),
    ("tag of dollars in escapes", "DO $a$ BEGIN x := U&'\\0024a\\0024 bob@example.com'; END $a$", "bob@example.com",
     "email"),
    ("short tag of full width", "SELECT $５３６－９０－４３９９$x$５３６－９０－４３９９$", "４３９９", "ssn"),
    ("JSON in a body in quotes", "DO 'BEGIN PERFORM f(''{\"ssn\": \"536904399\"}''); END'", "536904399", "ssn"),
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
def test_a_value_in_a_command(what: str, sql: str, secret: str, kind: str | None) -> None:
    """Of no kind: it is withheld, whatever it is."""
    masked = MASKER.sql(sql)
    assert secret not in str(masked.text)
    assert masked.withheld if kind is None else kind in [found.type for found in masked.found]
    parse(str(masked.text))  # and it is SQL still


@pytest.mark.parametrize(("what", "sql", "secret", "kind"), SECRETS, ids=[row[0] for row in SECRETS])
def test_a_masked_command_stays_as_it_is_when_masked_again(what: str, sql: str, secret: str, kind: str | None) -> None:
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
    "SELECT 0x1F, 0b11, 0o17, 1_000, 1.5e3, 1e400, 0x" + "F" * 400 + ", " + "9" * 400 + "e-390",
    """SELECT U&'d!0061t' UESCAPE '!', U&"a\\0062" FROM U&"t!0061" UESCAPE '!'""",
    "DO 'BEGIN RAISE NOTICE ''it''''s done''; END'",
    "SELECT 'select the best', 'set of ''three''', E'do it\\n', 'begin (with) 1;'",
    "SELECT $a_tag_that_is_long_20240501$x$a_tag_that_is_long_20240501$",
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


def test_what_a_number_says_in_another_base_is_looked_for_each_time() -> None:
    """Statements of plain numbers are known again by what is around these."""
    masker = session()
    for number, stays in (("0x12", True), ("12", True), (f"{4111111111111111:#x}", False), ("0x12", True)):
        sql = f"SELECT {number}, 1"
        assert (masker.sql(sql).text == sql) is stays


def test_data_that_begins_as_a_command_stays_what_it_is() -> None:
    text = str(MASKER.sql("""SELECT 'select {"card": 4111111111111111, "ssn": "536904399", "of": "bob''s"}'""").text)
    assert "4111111111111111" not in text
    assert "536904399" not in text
    assert text.endswith(""""of": "bob''s"}'""")


def test_a_page_of_prose_that_begins_as_a_command_costs_itself_alone() -> None:
    prose = "Set your token. " + "With this update you may call, create and execute it with care. " * 50
    shown = MASKER.sql(f"INSERT INTO logs (n, a) VALUES (42, '{prose}')").text
    assert shown.startswith("INSERT INTO logs (n, a) VALUES (42, 'withheld:")


def test_a_backslash_before_quotes_stays_one() -> None:
    shown = MASKER.sql(r"SELECT 'it\''s bob@example.com'").text
    assert shown.startswith(r"SELECT 'it\''s tok:email:")


def test_a_value_of_a_name_that_is_masked_in_text_is_masked_once() -> None:
    once = MASKER.sql("DO 'DECLARE password text := a+b; BEGIN EXECUTE 1; END'").text
    assert MASKER.sql(once).text == once


def test_what_is_deeper_than_bodies_are_read_is_withheld_where_names_may_speak_of_it() -> None:
    for depth, shown in ((3, "withheld:7:"), (4, "withheld:49:"), (5, "withheld:56:")):
        sql = "INSERT INTO t (a, password) VALUES (1, 'hunter2')"
        for _ in range(depth):
            sql = "DO '" + sql.replace("'", "''") + "'"
        once = str(MASKER.sql(sql).text)
        assert "hunter2" not in once
        assert shown in once
        assert MASKER.sql(once).text == once
