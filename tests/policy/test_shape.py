"""Does a WHERE narrow? And may another constant change that?"""

from __future__ import annotations

import pytest

from policy.sql.shape import narrows
from wire.postgres.grammar import parse

NARROW = [
    "a = 1", "a = b", "t.a = u.a", "a > 0", "a IS NULL", "a IN (1, 2)", "a = $1", "a LIKE 'x%'", "lower(a) = 'x'",
    "EXISTS (SELECT 1 FROM u WHERE u.a = t.a)", "a IN (SELECT a FROM u)", "a IN (SELECT a FROM t WHERE b)", "NOT a",
    "a = 1 AND true", "a = 1 OR b = 2", "CURRENT OF c", "a BETWEEN 1 AND 2", "(a, b) = (1, 2)", "a = ANY ($1)", "a",
    "a IN (SELECT a FROM t LIMIT 1)", "a LIKE ''",
]  # fmt: skip
WIDE = [
    "true", "1 = 1", "1", "'a' = 'a'", "$1", "$1 = $1", "now() > '2000-01-01'", "random() < 2", "a = a", "t.a = a",
    "a >= a", "a LIKE '%'", "a LIKE '%%'", "a ILIKE '%'", "a = 1 OR true", "true AND 1 = 1", "NOT false",
    "EXISTS (SELECT 1)", "a IN (SELECT a FROM t)", "1 IN (1, 2)", "a = a AND b = b", "'x'::text = 'x'", "1 < 2",
    "coalesce(true)", "CASE WHEN true THEN true END",
]  # fmt: skip


def where(condition: str) -> bool:
    body = parse(f"DELETE FROM t WHERE {condition}").statements[0].body
    return narrows(body["whereClause"], "t")


@pytest.mark.parametrize("condition", NARROW)
def test_it_narrows(condition: str) -> None:
    assert where(condition)


@pytest.mark.parametrize("condition", WIDE)
def test_it_takes_every_row(condition: str) -> None:
    assert not where(condition)


def test_no_condition_narrows_nothing() -> None:
    assert not narrows(None, "t")
