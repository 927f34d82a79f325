"""What a statement says of the data of its COPY, in both syntaxes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mask.copy_shape import Format, Shape, shapes
from mask.fields import Names
from wire.postgres.grammar import parse

CSV = {"format": Format.CSV, "delimiter": b",", "null": b""}
CASES: dict[str, Shape | None] = {
    "COPY t FROM stdin": Shape(),
    'COPY t (id, "Tax Id") TO STDOUT': Shape(("id", "Tax Id")),
    "COPY t (a) FROM stdin WITH (FORMAT csv, DELIMITER ';', NULL 'x', QUOTE '''', ESCAPE '\\', HEADER)": Shape(
        ("a",), Format.CSV, b";", b"x", b"'", b"\\", True
    ),
    "COPY t FROM stdin CSV HEADER DELIMITER AS ';' NULL AS 'x' QUOTE AS '|'": Shape(
        (), Format.CSV, b";", b"x", b"|", b"|", True
    ),
    "COPY t FROM stdin WITH BINARY": Shape((), Format.BINARY),
    "COPY BINARY t (a) FROM stdin": Shape(("a",), Format.BINARY),
    "COPY t FROM stdin USING DELIMITERS '|'": Shape((), Format.TEXT, b"|"),
    "COPY t TO stdout (FORMAT csv, NULL '')": Shape((), **CSV),
    "COPY t FROM stdin (HEADER match)": Shape((), header=True),
    "COPY t FROM stdin (HEADER 1)": Shape((), header=True),
    "COPY t FROM stdin (HEADER off)": Shape(),
    "COPY t FROM stdin (HEADER 0)": Shape(),
    "COPY (SELECT a, b.ssn, c AS d, 1 FROM t) TO STDOUT": Shape(("a", "ssn", "d", "?column?")),
    "COPY (SELECT lower(ssn), ssn || '', (r).pan, x::text, a || b FROM t) TO STDOUT": Shape(
        ("lower", "?column?", "pan", "x", "?column?")
    ),
    "COPY (SELECT (SELECT ssn FROM t WHERE id = 1), count(*) FROM t) TO STDOUT": Shape(("ssn", "count")),
    "COPY (WITH w AS (SELECT 1) SELECT ssn FROM w) TO STDOUT": Shape(("ssn",)),
    "COPY (SELECT ssn FROM t UNION SELECT b FROM x) TO STDOUT": Shape(("ssn",)),
    "COPY (VALUES (1, 2), (3, 4)) TO STDOUT": Shape(("column1", "column2")),
    "COPY (DELETE FROM t RETURNING id, ssn) TO STDOUT": Shape(("id", "ssn")),
    "COPY (SELECT ssn, * FROM t) TO STDOUT": Shape(),
    "COPY (SELECT (r).* FROM t) TO STDOUT": Shape(),
    "COPY (TABLE t) TO STDOUT": Shape(),
    "COPY t FROM stdin (FORMAT 'json')": None,
    "COPY t FROM stdin (DELIMITER '||')": None,
    "COPY t FROM stdin (DELIMITER 'a')": None,
    "COPY t FROM stdin (FORMAT csv, DELIMITER '\"')": None,
    "COPY t FROM stdin (FORMAT csv, QUOTE 'é')": None,
}


@pytest.mark.parametrize("sql", CASES)
def test_shape(sql: str) -> None:
    (found,) = shapes(parse(sql))
    assert (found and replace(found, origins=(), unnamed=("?",))) == CASES[sql]
    assert found is None or len(found.origins) == len(found.names)


ORIGINS: dict[str, tuple[Names, ...]] = {
    "COPY s.t (id, ssn) TO STDOUT": (("s.t.id",), ("s.t.ssn",)),
    "COPY (SELECT a, b.ssn, c AS d, 1 FROM t, u b) TO STDOUT": (
        ("t.a", "u.a"), ("u.ssn",), ("d", "t.c", "u.c"), ("?column?",),
    ),
    "COPY (SELECT lower(ssn), a || b FROM t) TO STDOUT": (("lower", "t.ssn"), ("?column?", "t.a", "t.b")),
    "COPY (SELECT (SELECT ssn FROM t WHERE id = 1), count(*)) TO STDOUT": (("ssn", "t.ssn"), ("count",)),
    "COPY (SELECT ssn FROM t UNION SELECT b FROM x) TO STDOUT": (("t.ssn", "x.ssn", "t.b", "x.b"),),
    "COPY (DELETE FROM t RETURNING id, ssn AS b) TO STDOUT": (("t.id",), ("b", "t.ssn")),
    "COPY (TABLE t) TO STDOUT": (),
}  # fmt: skip


@pytest.mark.parametrize("sql", ORIGINS)
def test_what_its_columns_are_made_of(sql: str) -> None:
    (found,) = shapes(parse(sql))
    assert found is not None
    assert found.origins == ORIGINS[sql]


def test_each_copy_with_the_client_has_one_and_nothing_else_does() -> None:
    sql = "SELECT 1; COPY a (x) TO STDOUT; COPY b TO '/tmp/b'; COPY c TO PROGRAM 'd'; COPY e (y) FROM stdin"
    assert [shape and (shape.unnamed, shape.names) for shape in shapes(parse(sql))] == [
        (("a.?",), ("x",)),
        (("e.?",), ("y",)),
    ]
