"""What a statement calls its parameters and constants, wherever they stand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mask.sql_names import named
from tests.mask.conftest import session
from wire.postgres.grammar import parse

MASKER = session()

# By statement, the names of $1, $2, …: "" for none.
NAMES = {
    "INSERT INTO t (a, ssn) VALUES ($1, $2), ($3, $4)": ["t.a", "t.ssn", "t.a", "t.ssn"],
    "INSERT INTO s.t (a, ssn) SELECT $1, $2": ["s.t.a", "s.t.ssn"],
    "INSERT INTO t (a, ssn) VALUES ($1, $2) UNION ALL VALUES ($3, $4)": ["t.a", "t.ssn", "t.a", "t.ssn"],
    "INSERT INTO t (a, ssn) SELECT * FROM (VALUES ($1, $2)) v": ["t.a", "t.ssn"],
    "INSERT INTO t (a, ssn) SELECT * FROM unnest($1::int[], $2::text[])": ["t.a", "t.ssn"],
    "INSERT INTO t (a, ssn) SELECT x, y FROM unnest($1::int[], $2::text[]) AS u(x, y)": ["t.a x", "t.ssn y"],
    "INSERT INTO t (a, ssn) WITH w(p, q) AS (SELECT $1, $2) SELECT p, q FROM w": ["t.a p", "t.ssn q"],
    "INSERT INTO t (id, ssn) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET ssn = $3 WHERE t.a = $4": [
        "t.id", "t.ssn", "t.ssn", "t.a",
    ],
    "INSERT INTO t VALUES ($1, $2)": ["t.?", "t.?"],
    "INSERT INTO t (ssn) VALUES (coalesce($1, trim($2)))": ["t.ssn", "t.ssn"],
    "INSERT INTO t (ssn) SELECT CASE WHEN $1 THEN $2 ELSE $3 END": ["", "t.ssn", "t.ssn"],
    "INSERT INTO t (ssn) SELECT $1 WHERE NOT EXISTS (SELECT 1 FROM u WHERE u.id = $2)": ["t.ssn", "u.id"],
    "UPDATE t SET ssn = $1 WHERE id = $2": ["t.ssn", "t.id"],
    "UPDATE t x SET ssn = $1 FROM u WHERE u.id = $2 AND x.a = $3": ["t.ssn", "u.id", "t.a"],
    "UPDATE t SET (a, ssn) = ($1, $2)": ["t.a", "t.ssn"],
    "UPDATE t SET (a, ssn) = ROW($1, $2)": ["t.a", "t.ssn"],
    "UPDATE t SET (a, ssn) = (SELECT $1, $2 FROM u WHERE u.id = $3)": ["t.a", "t.ssn", "u.id"],
    "UPDATE t SET ssn = (SELECT ssn FROM u WHERE u.id = $1)": ["u.id"],
    "UPDATE t SET body['ssn'] = $1, address.zip = $2": ["t.body.ssn", "t.address.zip"],
    "UPDATE t SET body = jsonb_set(body, '{user,ssn}', $1)": ["t.body user.ssn"],
    "MERGE INTO t USING s ON t.id = s.id AND s.k = $4 WHEN MATCHED THEN UPDATE SET ssn = $1 "
    "WHEN NOT MATCHED THEN INSERT (id, ssn) VALUES ($2, $3)": ["t.ssn", "t.id", "t.ssn", "s.k"],
    "DELETE FROM t USING u WHERE t.ssn = $1 RETURNING $2 AS token": ["t.ssn", "token"],
    "SELECT 1 FROM t WHERE ssn = $1 OR $2 = ssn": ["t.ssn", "t.ssn"],
    "SELECT 1 FROM t WHERE ssn IN ($1, $2) OR ssn = ANY($3) OR $4 = ANY(ssns)": ["t.ssn"] * 3 + ["t.ssns"],
    "SELECT 1 FROM t WHERE ssn BETWEEN $1 AND $2 OR ssn IS DISTINCT FROM $3": ["t.ssn"] * 3,
    "SELECT 1 FROM t WHERE ssn LIKE $1 || '%' OR ssn ~ $2 OR ssn ILIKE $3": ["t.ssn"] * 3,
    "SELECT 1 FROM t WHERE (a, ssn) = ($1, $2) OR (a, ssn) IN (($3, $4), ($5, $6))": ["t.a", "t.ssn"] * 3,
    "SELECT 1 FROM t WHERE (a, ssn) IN (VALUES ($1, $2))": ["t.a", "t.ssn"],
    "SELECT 1 FROM t WHERE (a, ssn) IN (SELECT $1, $2)": ["t.a", "t.ssn"],
    "SELECT 1 WHERE $1 IN (SELECT ssn FROM t)": ["t.ssn"],
    "SELECT 1 FROM t WHERE lower(ssn) = upper(trim($1))": ["t.ssn"],
    "SELECT 1 FROM t WHERE coalesce(ssn, $1) = $2": ["t.ssn", "t.ssn"],
    "SELECT 1 FROM t WHERE ssn = $1::text COLLATE \"C\"": ["t.ssn"],
    "SELECT CASE ssn WHEN $1 THEN $2 END FROM t": ["t.ssn", ""],
    "SELECT 1 FROM t x, u y WHERE x.ssn = $1 AND y.a = $2": ["t.ssn", "u.a"],
    "SELECT 1 FROM t, u WHERE ssn = $1": ["t.ssn u.ssn"],
    "SELECT 1 FROM (SELECT ssn AS s FROM t) q WHERE q.s = $1": ["s t.ssn"],
    "SELECT 1 FROM t JOIN (VALUES ($1, $2)) AS v(k, ssn) ON v.k = t.id": ["k t.id", "ssn"],
    "WITH v(id, ssn) AS (VALUES ($1, $2)) SELECT * FROM v": ["id", "ssn"],
    "SELECT 1 FROM t WHERE body ->> 'ssn' = $1 OR body #>> '{user,0,pin}' = $2": [
        "t.body.ssn t.body", "t.body.user.pin t.body",
    ],
    "SELECT 1 FROM t WHERE body['ssn'] = $1 OR jsonb_extract_path_text(body, 'user', 'pin') = $2": [
        "t.body.ssn t.body", "t.body.user.pin t.body",
    ],
    "SELECT 1 FROM t WHERE body @> jsonb_build_object('ssn', $1)": ["t.body ssn"],
    "SELECT json_object(ARRAY['a', 'ssn'], ARRAY[$1, $2])": ["a", "ssn"],
    "SELECT json_object('ssn' VALUE $1), xmlelement(NAME pin, $2), hstore('k', $3)": ["ssn", "pin", "k"],
    "SELECT f($1), g(token => $2::text), set_config('app.token', $3, false)": ["", "token", "app.token"],
    "CALL p(p_ssn => $1)": ["p_ssn"],
    "SELECT format('%s', $1) AS ssn": ["ssn %s"],
    "SELECT crypt($1, gen_salt('bf')), pgp_sym_encrypt($2, $3)": ["password", "", "encryption_key"],
    "SELECT $1, $2 + 1 LIMIT $3": ["", "", ""],
}  # fmt: skip


@pytest.mark.parametrize("sql", NAMES)
def test_the_names_of_parameters(sql: str) -> None:
    found = named(parse(sql)).parameters
    assert [" ".join(found.get(n, ())) for n, _ in enumerate(NAMES[sql], 1)] == NAMES[sql]


@pytest.mark.parametrize("sql", [sql for sql in NAMES if "unnest" not in sql and "ANY" not in sql])
def test_constants_have_the_names_that_parameters_have(sql: str) -> None:
    """Each `$1` as a string of its own: it is called the same."""
    written = sql
    for n, _ in enumerate(NAMES[sql], 1):
        written = written.replace(f"${n}", f"'value{n}'")
    found = named(parse(written)).constants
    for n, names in enumerate(NAMES[sql], 1):
        place = written.index(f"'value{n}'")
        # A constant key in a JSON path names nothing; all else is as above.
        assert " ".join(found.get(place, ())) == names


def test_a_column_that_is_made_of_itself_ends() -> None:
    sql = "WITH w AS (SELECT a AS b, b AS a FROM w) INSERT INTO t (ssn) SELECT a FROM w WHERE b = $1"
    assert named(parse(sql)).parameters == {1: ("t.b", "t.a")}


def test_what_is_followed_too_far_is_withheld() -> None:
    """Each column is made of the two before it, in many ways."""
    twice = "SELECT a{0} || 'x' AS a{1}, a{0} || 'y' AS a{1} FROM v{0}"
    steps = ", ".join(f"v{n} AS ({twice.format(n - 1, n)})" for n in range(2, 60))
    masked = MASKER.sql(f"WITH v1 AS (SELECT 'hunter2' AS a1), {steps} INSERT INTO t (password) SELECT a59 FROM v59")
    assert "hunter2" not in str(masked.text)


@given(st.lists(st.sampled_from(["(SELECT x AS y", "coalesce(y, ", "y = (", "ARRAY[", "(x, ", "f(y => "]), max_size=40))
def test_any_nesting_has_names_or_none(opening: list[str]) -> None:
    closing = {"ARRAY[": "]", "(SELECT x AS y": " FROM t)"}
    sql = "SELECT " + "".join(opening) + " '536904399' " + "".join(closing.get(o, ")") for o in reversed(opening))
    try:
        tree = parse(sql)
    except ValueError:
        return
    named(tree)
