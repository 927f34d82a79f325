"""What the columns of an answer are made of, whatever the client calls them."""

from __future__ import annotations

import pytest

from mask.sql_origins import Origins
from wire.postgres.grammar import parse

# By statement: what the answer calls its columns, and all the names that each has.
RESULTS = {
    "SELECT ssn FROM people": ["ssn: people.ssn"],
    "SELECT ssn AS x FROM s.people": ["x: x s.people.ssn"],
    "SELECT * FROM people": ["id: people.id", "ssn: people.ssn"],
    "TABLE people": ["ssn: people.ssn"],
    "SELECT p.ssn FROM people p, staff q": ["ssn: people.ssn"],
    "SELECT ssn FROM people p, staff q": ["ssn: people.ssn staff.ssn"],
    "SELECT s AS x FROM (SELECT lower(ssn) FROM people) q(s)": ["x: x people.s people.ssn"],
    "SELECT q.* FROM (SELECT ssn AS x FROM people) q": ["x: people.x people.ssn"],
    "SELECT x.* FROM (SELECT ssn || '' FROM people) x": ["?column?: people.?column? people.ssn"],
    "WITH v AS (SELECT ssn AS s FROM people) SELECT s || '' AS y FROM v": ["y: y people.s people.ssn"],
    "WITH v(k) AS (SELECT ssn FROM people) SELECT * FROM v": ["k: people.k people.ssn"],
    "SELECT id AS k FROM a UNION SELECT ssn FROM b": ["k: k a.id b.id a.ssn b.ssn"],
    "SELECT max(ssn), left(ssn, 3) AS l, ssn::text FROM t": ["max: max t.ssn", "l: l t.ssn", "ssn: t.ssn"],
    "SELECT body ->> 'ssn', body #> '{user,1,pin}' AS p FROM t": [
        "?column?: ?column? t.body.ssn t.body", "p: p t.body.user.pin t.body",
    ],
    "SELECT CASE WHEN ssn = '1' THEN name ELSE iban END FROM t": ["case: case t.name t.iban"],
    "SELECT (SELECT ssn FROM people WHERE pin = 1) AS z": ["z: z people.ssn"],
    "SELECT count(ssn), ssn = '1' AS b, ssn IS NULL AS n, ssn IN ('1') AS i, length(ssn) FROM t": [
        "count: count", "b: b", "n: n", "i: i", "length: length",
    ],
    "SELECT string_agg(ssn, ',' ORDER BY id) FILTER (WHERE pin > 1) FROM t": ["string_agg: string_agg t.ssn"],
    "SELECT first_value(ssn) OVER (PARTITION BY id) FROM t": ["first_value: first_value t.ssn"],
    "INSERT INTO t (a) VALUES (1) RETURNING ssn AS q": ["q: q t.ssn"],
    "UPDATE t SET a = 1 RETURNING *": ["ssn: t.ssn"],
    "SELECT u.s FROM unnest(ARRAY['1']) AS u(s)": ["s: s"],
    "SHOW ALL": ["name: name"],
    "FETCH 5 FROM c": ["x: x"],
}  # fmt: skip


@pytest.mark.parametrize("sql", RESULTS)
def test_the_names_of_results(sql: str) -> None:
    (statement,) = parse(sql).statements
    origins = Origins(statement)
    called = [said.split(":")[0] for said in RESULTS[sql]]
    assert [f"{own}: {' '.join(origins.result(n, own))}" for n, own in enumerate(called)] == RESULTS[sql]


def test_of_too_many_relations_a_column_is_none() -> None:
    (statement,) = parse("SELECT ssn FROM " + ", ".join(f"t{n}" for n in range(20))).statements
    assert Origins(statement).result(0, "ssn") == ("ssn",)
