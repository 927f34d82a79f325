"""plpgsql: wherever an expression or a statement may stand in a body, it is read."""

from __future__ import annotations

import pytest

from policy.sql import bodies
from policy.sql.effects import read
from schemas.records import Effect
from wire.postgres.grammar import parse_plpgsql

BODY = "DO $$ DECLARE x int; y int[]; r record; c refcursor; b CURSOR (p int) FOR SELECT p; BEGIN {}; END $$"

HIDES = [
    "x := evil()", "y[evil()] := 1", "PERFORM evil()", "ASSERT evil()", "CALL p(evil())", "OPEN c FOR SELECT evil()",
    "OPEN b(evil())", "FETCH RELATIVE evil() FROM c INTO x", "MOVE FORWARD evil() FROM c", "RETURN",
    "WHILE evil() LOOP NULL; END LOOP", "LOOP EXIT WHEN evil(); END LOOP", "FOR x IN 1..evil() LOOP NULL; END LOOP",
    "FOR x IN 1..9 BY evil() LOOP NULL; END LOOP", "FOR r IN SELECT evil() LOOP NULL; END LOOP",
    "FOR r IN b(evil()) LOOP NULL; END LOOP", "FOREACH x IN ARRAY evil() LOOP NULL; END LOOP",
    "CASE evil() WHEN 1 THEN NULL; END CASE", "CASE WHEN evil() THEN NULL; END CASE",
    "IF true THEN NULL; ELSIF evil() THEN NULL; END IF", "IF true THEN NULL; ELSE PERFORM evil(); END IF",
    "RAISE NOTICE '%', evil()", "RAISE EXCEPTION USING message = evil()", "SELECT evil() INTO x",
    "INSERT INTO t VALUES (evil())", "BEGIN NULL; EXCEPTION WHEN others THEN PERFORM evil(); END",
    "<<a>> DECLARE z int := evil(); BEGIN NULL; END", "r.a := evil()", "x = evil()",
]  # fmt: skip
DYNAMIC = [
    "EXECUTE 'select 1'", "EXECUTE 'select $1' INTO x USING 1", "OPEN c FOR EXECUTE 'select 1'",
    "FOR r IN EXECUTE 'select 1' LOOP NULL; END LOOP",
]  # fmt: skip


@pytest.mark.parametrize("statement", HIDES)
def test_nothing_hides_in_a_body(statement: str) -> None:
    found = read(BODY.format(statement))
    if statement == "RETURN":
        assert found.complete
    else:
        assert Effect("unknown", "evil") in found.effects
        assert read(BODY.format(statement.replace("evil()", "abs(1)")), frozenset(["p"])).complete


@pytest.mark.parametrize("statement", DYNAMIC)
def test_dynamic_sql_is_unknown(statement: str) -> None:
    assert read(BODY.format(statement)).reason == "dynamic SQL in a body"


def test_into_a_variable_makes_no_table() -> None:
    assert {e.effect for e in read(BODY.format("SELECT a FROM t INTO x")).effects} == {"execute", "select"}


def test_a_kind_of_statement_that_is_not_known_is_dynamic() -> None:
    assert bodies.Piece("", 0) in list(bodies.pieces([{"PLpgSQL_stmt_new": {}}]))
    body = parse_plpgsql("DO $$ BEGIN DELETE FROM t; END $$")
    assert list(bodies.pieces(body)) == [bodies.Piece("DELETE FROM t", 0)]
