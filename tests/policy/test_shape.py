"""Does a WHERE narrow? And may another constant change that?"""

from __future__ import annotations

import pytest

from policy.sql.effects import read
from policy.sql.marks import Mark
from policy.sql.shape import narrows
from wire.postgres.grammar import parse

NARROW = [
    "a = 1", "a = b", "t.a = u.a", "a > 0", "a IS NULL", "a IN (1, 2)", "a = $1", "a LIKE 'x%'", "lower(a) = 'x'",
    "EXISTS (SELECT 1 FROM u WHERE u.a = t.a)", "a IN (SELECT a FROM u)", "a IN (SELECT a FROM t WHERE b)", "NOT a",
    "a = 1 AND true", "a = 1 OR b = 2", "CURRENT OF c", "a BETWEEN 1 AND 2", "(a, b) = (1, 2)", "a = ANY ($1)", "a",
    "a IN (SELECT a FROM t LIMIT 1)", "EXISTS (SELECT 1 FROM u WHERE u.a = b)", "s.t.a = u.a", "a LIKE ''",
]  # fmt: skip
WIDE = [
    "true", "1 = 1", "1", "'a' = 'a'", "$1", "$1 = $1", "now() > '2000-01-01'", "random() < 2", "a = a", "t.a = a",
    "a >= a", "a LIKE '%'", "a LIKE '%%'", "a ILIKE '%'", "a = 1 OR true", "true AND 1 = 1", "NOT false",
    "EXISTS (SELECT 1)", "a IN (SELECT a FROM t)", "1 IN (1, 2)", "a = a AND b = b", "'x'::text = 'x'", "1 < 2",
    "coalesce(true)", "CASE WHEN true THEN true END", "EXISTS (SELECT 1 FROM u WHERE u.a = 1)",
]  # fmt: skip


def where(condition: str) -> bool:
    body = parse(f"DELETE FROM t WHERE {condition}").statements[0].body
    return narrows(body["whereClause"], body["relation"])


@pytest.mark.parametrize("condition", NARROW)
def test_it_narrows(condition: str) -> None:
    assert where(condition)


@pytest.mark.parametrize("condition", WIDE)
def test_it_takes_every_row(condition: str) -> None:
    assert not where(condition)


def test_no_condition_narrows_nothing() -> None:
    assert not narrows(None, {})


BESIDE_OTHERS = [
    ("DELETE FROM t USING u WHERE u.a = 1", Mark.DELETE_ALL),
    ("DELETE FROM t USING u WHERE u.a = 1 AND t.a = u.a", Mark.DELETE),
    ("DELETE FROM t USING u WHERE u.a = 1 OR t.a = u.a", Mark.DELETE_ALL),
    ("DELETE FROM s.t USING u WHERE s.t.a = u.a", Mark.DELETE),
    ("DELETE FROM t USING u WHERE a = 1", Mark.DELETE),
    ("DELETE FROM t x USING t WHERE t.a = 1", Mark.DELETE_ALL),
    ("DELETE FROM t x WHERE a IN (SELECT a FROM t)", Mark.DELETE_ALL),
    ("DELETE FROM t USING u WHERE EXISTS (SELECT 1 FROM v WHERE v.a = u.a)", Mark.DELETE_ALL),
    ("UPDATE t SET a = 1 FROM u WHERE u.a = 1", Mark.UPDATE_ALL),
    ("UPDATE t AS x SET a = 1 FROM u WHERE x.a = u.a", Mark.UPDATE),
    ("UPDATE t SET a = u.a FROM u WHERE u.a IN (SELECT 1)", Mark.UPDATE_ALL),
    ("MERGE INTO t USING u ON u.a = 1 WHEN MATCHED THEN UPDATE SET a = 1", Mark.UPDATE_ALL),
    ("MERGE INTO t x USING u ON u.a = x.a WHEN MATCHED THEN UPDATE SET a = 1", Mark.UPDATE),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "mark"), BESIDE_OTHERS, ids=[row[0] for row in BESIDE_OTHERS])
def test_beside_other_relations_a_condition_must_be_about_the_target(sql: str, mark: Mark) -> None:
    assert mark in read(sql).marks


WHOLE = [
    "SELECT * FROM t", "SELECT * FROM t WHERE 1 = 1", "SELECT * FROM t WHERE a LIKE '%'", "SELECT * FROM t LIMIT ALL",
    "SELECT * FROM t JOIN u ON t.a = u.a", "SELECT * FROM pg_class LEFT JOIN t ON true", "TABLE t",
    "INSERT INTO u SELECT * FROM t", "SELECT * FROM (SELECT * FROM t) x",
]  # fmt: skip
NOT_WHOLE = [
    "SELECT * FROM t WHERE a = 1", "SELECT * FROM t LIMIT 1", "SELECT * FROM pg_class", "SELECT * FROM f(1)",
    "SELECT 1", "WITH t AS (SELECT 1) SELECT * FROM t", "SELECT * FROM t JOIN u USING (a) WHERE u.a = 1",
    "EXPLAIN SELECT * FROM t",
]  # fmt: skip


@pytest.mark.parametrize("sql", WHOLE)
def test_a_whole_table_is_read(sql: str) -> None:
    assert Mark.READS_ALL in read(sql).marks


@pytest.mark.parametrize("sql", NOT_WHOLE)
def test_no_whole_table_is_read(sql: str) -> None:
    assert Mark.READS_ALL not in read(sql).marks


CROSS = [
    "SELECT * FROM t, u", "SELECT * FROM t CROSS JOIN u", "SELECT * FROM t, u WHERE t.a = 1 AND u.b = 2",
    "SELECT * FROM t JOIN u ON true", "SELECT * FROM t JOIN u ON t.a = 1", "SELECT * FROM t, u, v WHERE t.a = u.a",
    "SELECT * FROM t x, t y WHERE x.a = 1", "SELECT * FROM t, u JOIN v ON u.a = v.a",
]  # fmt: skip
NO_CROSS = [
    "SELECT * FROM t, u WHERE t.a = u.a", "SELECT * FROM t, u WHERE a = b", "SELECT * FROM t JOIN u USING (a)",
    "SELECT * FROM t NATURAL JOIN u", "SELECT * FROM t, unnest(t.a) x", "SELECT * FROM t, LATERAL (SELECT 1) x",
    "SELECT * FROM t, u, v WHERE t.a = u.a AND v.b = u.b",
    "SELECT * FROM t LEFT JOIN u ON t.a = u.a, v WHERE v.a = u.a",
    "SELECT * FROM t", "SELECT * FROM t, u WHERE t.a = u.a OR t.b = 1", "SELECT * FROM t x, t y WHERE x.a = y.b",
    "SELECT * FROM t, u WHERE EXISTS (SELECT 1 FROM v WHERE v.a = t.a AND v.b = u.b)",
]  # fmt: skip


@pytest.mark.parametrize("sql", CROSS)
def test_tables_stand_side_by_side(sql: str) -> None:
    assert Mark.CROSS_JOIN in read(sql).marks


@pytest.mark.parametrize("sql", NO_CROSS)
def test_tables_are_related_or_may_be(sql: str) -> None:
    assert Mark.CROSS_JOIN not in read(sql).marks
