"""What an approval with any values leaves free is named, place by place."""

from __future__ import annotations

import pytest

from wire.postgres.free import MOST_PLACES, free_places

PLACES = [
    ("DELETE FROM t WHERE id = $1", ["$1 in WHERE id = ..."]),
    ("delete from t where kind = 'x' and id = $1", ["constant 1 in WHERE kind = ...", "$1 in WHERE ... id = ..."]),
    ("update a set n = 5 where o = $1", ["constant 1 in SET n = ...", "$1 in WHERE o = ..."]),
    ("insert into t values (1, 'it''s')", ["constant 1 in VALUES ( ...", "constant 2 in VALUES ( ? , ..."]),
    ("select a from t where b > 3 limit 10", ["constant 1 in WHERE b > ...", "constant 2 in LIMIT ..."]),
    ("select a from t where b = c -- 5 $2", []),
]


@pytest.mark.parametrize(("sql", "places"), PLACES, ids=range(len(PLACES)))
def test_each_constant_and_parameter_has_its_line(sql: str, places: list[str]) -> None:
    assert list(free_places(sql)) == places


def test_no_value_is_in_a_line() -> None:
    assert "secret" not in " ".join(free_places("insert into t values ('secret', 'secret', $1)"))


def test_many_are_counted_and_never_left_out_silently() -> None:
    found = free_places(f"insert into t values ({', '.join('1' for _ in range(MOST_PLACES + 5))})")
    assert len(found) == MOST_PLACES + 1
    assert found[-1] == "and 5 more: every constant and parameter"
