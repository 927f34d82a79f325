"""The grammar: what parses, where literals stand, and that no text can hurt the process."""

from __future__ import annotations

import string
import threading
from typing import Protocol

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import connect, sql

from wire.postgres import grammar
from wire.postgres.grammar import LiteralKind, Span, Unparsable, literals, normalise, parse, split


class Postgres(Protocol):
    def url(self) -> str: ...


def cut(sql: str) -> list[tuple[str, str]]:
    return [(span.kind.value, sql[span.start : span.end]) for span in literals(sql)]


def test_a_tree_has_its_statements_in_order_with_their_places() -> None:
    sql = "SELECT 1;  /* é */ DELETE FROM t ;;"
    tree = parse(sql)
    assert [s.kind for s in tree.statements] == ["SelectStmt", "DeleteStmt"]
    assert tree.texts() == ("SELECT 1", "DELETE FROM t")
    assert split(sql) == tree.texts()


@pytest.mark.parametrize("sql", ["", "  ", ";", "-- only a comment", "/* one */;"])
def test_empty_texts_have_no_statement(sql: str) -> None:
    assert parse(sql).statements == ()


def test_offsets_are_characters_not_bytes() -> None:
    sql = "SELECT 'é€😀' AS é; SELECT 2"
    assert split(sql) == ("SELECT 'é€😀' AS é", "SELECT 2")
    assert cut(sql) == [("string", "'é€😀'"), ("number", "2")]


SECRETS = [
    ("a password of a role", "ALTER ROLE bob PASSWORD 'hunter2'", "'hunter2'"),
    (
        "a connection string",
        "CREATE SUBSCRIPTION s CONNECTION 'host=x password=p' PUBLICATION p",
        "'host=x password=p'",
    ),
    ("an option of a user mapping", "CREATE USER MAPPING FOR a SERVER s OPTIONS (password 'hunter2')", "'hunter2'"),
    ("a program", "COPY t FROM PROGRAM 'curl x'", "'curl x'"),
    ("a file name", "COPY t TO '/tmp/4111111111111111'", "'/tmp/4111111111111111'"),
    ("the text of a comment", "COMMENT ON TABLE t IS 'call 555'", "'call 555'"),
    ("a payload of NOTIFY", "NOTIFY c, 'ssn 536-90-4399'", "'ssn 536-90-4399'"),
    ("a body in dollar quotes", "DO $x$ begin perform 'a'; end $x$", "$x$ begin perform 'a'; end $x$"),
    ("a string with escapes", r"SELECT E'a\'b'", r"E'a\'b'"),
    ("a string in Unicode", r"SELECT U&'\0041'", r"U&'\0041'"),
    ("bits", "SELECT B'0101'", "B'0101'"),
    ("hex", "SELECT X'1fF'", "X'1fF'"),
    ("a comment by dashes", "SELECT 1 -- 4111", "-- 4111"),
    ("a nested comment", "SELECT /* a /* b */ c */ 1", "/* a /* b */ c */"),
    ("an unquoted setting", "SET app.token = abcdef", "abcdef"),
    ("an unquoted setting of a role", "ALTER ROLE bob SET app.token TO abcdef", "abcdef"),
    ("a quoted setting", "SET app.token TO 'abcdef'", "'abcdef'"),
    ("the second of two settings", "SET search_path = aa, bb", "bb"),
    ("a label", "SECURITY LABEL ON TABLE t IS 'secret'", "'secret'"),
    ("a number", "SELECT 4111111111111111", "4111111111111111"),
]


@pytest.mark.parametrize(("sql", "secret"), [row[1:] for row in SECRETS], ids=[row[0] for row in SECRETS])
def test_every_constant_is_a_literal(sql: str, secret: str) -> None:
    assert secret in [text for _, text in cut(sql)]
    assert secret.strip("'") not in normalise(sql)


def test_names_are_no_literals() -> None:
    assert cut('SELECT "4111" FROM t WHERE a = $1') == []
    assert cut("UPDATE t SET a = b") == []
    assert cut("SET x TO DEFAULT; SELECT a") == []


def test_literals_are_found_in_text_that_does_not_parse() -> None:
    assert cut("SELEKT 'x' FRM 3") == [("string", "'x'"), ("number", "3")]


@given(st.text(alphabet=string.ascii_letters + "é€😀 -/*", max_size=40), st.integers(0, 10**9))
def test_a_quoted_text_is_one_span(text: str, number: int) -> None:
    sql = f"SELECT '{text}', {number} -- {text.replace('*', '')}"
    assert cut(sql)[:2] == [("string", f"'{text}'"), ("number", str(number))]


@given(st.text(max_size=60))
def test_spans_are_in_order_and_within_the_text(sql: str) -> None:
    try:
        spans = literals(sql)
    except Unparsable:
        return
    at = 0
    for span in spans:
        assert at <= span.start < span.end <= len(sql)
        at = span.end


def test_normalised_texts_are_equal_where_only_constants_differ() -> None:
    one = normalise("SELECT  a FROM T /* x */ WHERE b='x' AND c > 4")
    assert one == normalise("select a\nfrom t where b = $$y$$ and c > 5.5 -- z")
    assert one == "select a from t where b = ? and c > ?"
    assert normalise('SELECT "A"') != normalise("SELECT A")
    assert normalise("SELECT $1") != normalise("SELECT $2")
    assert normalise("SET a.b = c") == normalise("SET a.b = 'd'")


@pytest.mark.parametrize(
    ("why", "sql"),
    [
        (
            "C stops at a zero byte, PostgreSQL would not get it, and half a text must not be judged",
            "SELECT 1\0; DROP x",
        ),
        ("lone surrogates are no Unicode", "SELECT '\ud800'"),
        ("over a mebibyte", "SELECT '" + "x" * (1 << 20) + "'"),
        ("an open string", "SELECT 'x"),
        ("an open comment", "SELECT /* x"),
        ("not the grammar", "SELEKT 1"),
    ],
)
def test_what_cannot_be_read_is_refused(why: str, sql: str) -> None:
    with pytest.raises(Unparsable) as caught:
        parse(sql)
    assert "x" not in str(caught.value).replace("text", "").replace("nested", "")


def test_an_error_says_where_and_nothing_of_the_text() -> None:
    with pytest.raises(Unparsable) as caught:
        parse("SELECT 'é' FROM secret WHERE WHERE")
    assert caught.value.position == 28
    assert "secret" not in str(caught.value)


REPEATED = [
    ("an operator", "SELECT 1", "+1", ""),
    ("a text put together", "SELECT 'a'", "||'b'", ""),
    ("a join", "SELECT 1 FROM a", " JOIN b ON c", ""),
    ("a cast", "SELECT 1", "::a", ""),
    ("a collation", "SELECT a", " COLLATE b", ""),
    ("a subscript", "SELECT a", "[1]", ""),
    ("a union", "SELECT 1", " UNION SELECT 1", ""),
    ("a parenthesis", "SELECT ", "(", "1"),
    ("NOT", "SELECT ", "NOT ", "true"),
    ("a subquery", "SELECT ", "(SELECT ", "1"),
    ("a call", "SELECT ", "f(", "1"),
    ("a CASE", "SELECT ", "CASE WHEN ", "1"),
    ("an element", "SELECT 1", ",1", ""),
    ("a statement", "", "SELECT 1;", ""),
    ("an opened comment", "SELECT ", "/*", ""),
    ("a closed comment", "SELECT ", "*/", ""),
    ("a comment among operators", "SELECT 1 ", "/*-", ""),
    ("a comment in a comment", "SELECT /*", "/*/", ""),
]


@pytest.mark.parametrize(("head", "more", "tail"), [row[1:] for row in REPEATED], ids=[row[0] for row in REPEATED])
def test_a_mebibyte_of_anything_is_an_answer_not_a_crash(head: str, more: str, tail: str) -> None:
    """libpg_query overflows an 8 MB stack at 130 kB of `1+1+1...` and takes the process with it."""
    room = grammar.MAX_TEXT - len(head) - len(tail)
    sql = head + more * (room // len(more)) + tail
    for read in (parse, literals):
        try:
            read(sql)
        except Unparsable:
            pass
    assert parse("SELECT 1").statements


def test_comments_that_the_scanner_reads_once_are_read() -> None:
    """It reads on from each `/*` to the end of the operators' characters around it, and again from the next."""
    art = "/*" + "*=" * 2000 + "*/\n-- " + "/*" * 1000 + "\n"
    nested = "/* " * 5000 + "*/ " * 5000
    assert len(literals("SELECT 1 " + art + nested)) == 4
    assert parse("SELECT 1 " + art + nested).statements
    with pytest.raises(Unparsable, match="comments"):
        parse("DO $$ begin " + "/*" * 3000 + "*/" * 3000 + " end $$")


def test_signs_that_the_scanner_reads_one_by_one_are_refused() -> None:
    """From each `+` it reads to the last of them: 64 KB took it 24 s."""
    for signs in ("+", "+-", "-+"):
        with pytest.raises(Unparsable, match="signs"):
            literals("SELECT " + signs * 3000 + "1")
    assert len(literals("SELECT " + "+" * 1000 + "1 -- " + "-" * 100_000)) == 2


def test_depth_is_refused_by_the_tree_alone_and_width_is_not() -> None:
    assert parse("SELECT 1" + "+1" * 200)
    with pytest.raises(Unparsable, match="deep"):
        parse("SELECT 1" + "+1" * 400)
    assert parse("SELECT 1 WHERE a = 1" + " OR a = 1" * 5000)


def test_large_texts_are_parsed_from_any_thread() -> None:
    done: list[bool] = []

    def run() -> None:
        with pytest.raises(Unparsable):
            parse("SELECT 1" + "+1" * 200_000)
        done.append(True)

    threads = [threading.Thread(target=run) for _ in range(3)]
    usual = threading.stack_size()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == [True] * 3
    assert threading.stack_size() == usual


def test_plpgsql_bodies_are_read_and_strange_ones_are_refused() -> None:
    (function,) = grammar.parse_plpgsql("DO $$ begin delete from t; end $$")
    assert "delete from t" in str(function)
    arrays = "DO $$ declare a complex[]; begin a[1].i := 11; end $$"
    for statement in ("DO $$ begin delete frm; en $$", arrays):
        with pytest.raises(Unparsable):
            grammar.parse_plpgsql(statement)


def test_bodies_of_triggers_are_mended_outside_of_strings_alone() -> None:
    """libpg_query prints the variables of a trigger as `{}}`."""
    body = """insert into log values (new.id, tg_op, '{}}', '[{}}', '"', ',{}}', E'\\\\', ",{}}")"""
    (function,) = grammar.parse_plpgsql(
        f"CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ begin {body}; return new; end $$"
    )
    first = function["PLpgSQL_function"]["action"]["PLpgSQL_stmt_block"]["body"][0]
    assert first["PLpgSQL_stmt_execsql"]["sqlstmt"]["PLpgSQL_expr"]["query"] == body


@pytest.mark.parametrize(
    ("parts", "written"),
    [
        (("public", "t"), "public.t"),
        (("", "t"), "t"),
        (("Odd",), '"Odd"'),
        (("a.b", "c"), '"a.b".c'),
        (('q"q',), '"q""q"'),
        (("1a",), '"1a"'),
        (("é",), '"é"'),
    ],
)
def test_names_are_quoted_as_postgres_reads_them(parts: tuple[str, ...], written: str) -> None:
    assert grammar.quoted(*parts) == written


def test_nothing_shows_its_text() -> None:
    tree = parse("SELECT 'secret'")
    assert "secret" not in repr(tree) + repr(tree.statements[0])


def test_a_span_is_what_it_says() -> None:
    assert literals("SELECT 1") == [Span(7, 8, LiteralKind.NUMBER)]


@pytest.mark.parametrize("name", ["select", "User", "a.b", 'q"q', "1a", "é", "a$b", "a b", "_x9", "x" * 63])
def test_a_quoted_name_finds_its_relation_on_a_real_server(postgres: Postgres, name: str) -> None:
    with connect(postgres.url()) as connection:
        connection.execute(sql.SQL("CREATE TEMP TABLE {} (i int)").format(sql.Identifier(name)))
        tree = parse(f"SELECT * FROM {sql.Identifier(name).as_string(connection)}")
        var = tree.statements[0].body["fromClause"][0]["RangeVar"]["relname"]
        found = connection.execute("SELECT to_regclass(%s) IS NOT NULL", (grammar.quoted(var),)).fetchone()
        connection.rollback()
    assert found == (True,)
