"""Random SQL for a real server: whatever changes something, in whatever wrapping, by a seed.

    Mix(seed).script() -> texts of one session, in order; later ones run names that earlier ones prepared

It knows the tables of `SCHEMA`, and makes no attempt to be accepted: what the server refuses changes nothing.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.strip().splitlines())


SCHEMA = """
    CREATE SCHEMA q;
    CREATE TABLE a (id int PRIMARY KEY, n int, s text);
    CREATE TABLE b (id int PRIMARY KEY, n int, s text);
    CREATE TABLE "C d" (id int PRIMARY KEY, n int, s text);
    CREATE TABLE q.e (id int PRIMARY KEY, n int, s text);
    CREATE TABLE p (id int PRIMARY KEY, n int, s text) PARTITION BY RANGE (id);
    CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100);
    CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (1000);
    CREATE VIEW v AS SELECT * FROM a;
    CREATE MATERIALIZED VIEW m AS SELECT * FROM b;
    CREATE INDEX b_n ON b (n);
    CREATE SEQUENCE sq;
    CREATE TYPE mood AS ENUM ('good', 'bad');
    CREATE FUNCTION own(int) RETURNS int LANGUAGE sql AS 'SELECT $1';
    CREATE FUNCTION fires() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    INSERT INTO a SELECT i, i, 'x' FROM generate_series(1, 5) i;
    INSERT INTO b SELECT i, i, 'x' FROM generate_series(1, 5) i;
    INSERT INTO "C d" SELECT i, i, 'x' FROM generate_series(1, 5) i;
    INSERT INTO q.e SELECT i, i, 'x' FROM generate_series(1, 5) i;
    INSERT INTO p SELECT i, i, 'x' FROM generate_series(1, 5) i;
"""
TABLES = ("a", "b", '"C d"', "q.e", "p", "public.a", '"b"')
CONDITIONS = (
    "id = 1", "id > 2", "n IS NOT NULL", "true", "id IN (SELECT id FROM {t})", "s LIKE '%'", "1 = 1", "n = n",
    "EXISTS (SELECT 1 FROM {t} o WHERE o.n = 2)", "id = ANY (ARRAY[1, 2])", "id = nextval('sq')",
)  # fmt: skip
CALLS = (
    "now()", "lower(s)", "nextval('sq')", "set_config('my.own', 'x', true)", "pg_advisory_xact_lock(7)", "count(*)",
    "set_config('role', 'none', true)", "pg_notify('c', 'x')", "lo_create(0)", "setval('sq', 40)", "random()", "id",
    "pg_try_advisory_xact_lock(8)", "currval('sq')", "set_config('search_path', 'q, public', true)", "own(n)",
    "pg_relation_size('a')", "txid_current()", "pg_current_xact_id()", "gen_random_uuid()",
)  # fmt: skip
LOCKING = ("FOR UPDATE", "FOR NO KEY UPDATE", "FOR SHARE", "FOR KEY SHARE", "FOR UPDATE SKIP LOCKED")
MODES = ("ACCESS SHARE", "ROW SHARE", "ROW EXCLUSIVE", "SHARE", "EXCLUSIVE", "ACCESS EXCLUSIVE")
ALTERS = _lines("""
    ADD COLUMN c{n} int DEFAULT 1
    DROP COLUMN s
    ALTER COLUMN n TYPE bigint
    ALTER COLUMN n SET DEFAULT 3
    RENAME COLUMN s TO s{n}
    RENAME TO r{n}
    ADD CHECK (n > -1)
    DISABLE TRIGGER ALL
    ENABLE ROW LEVEL SECURITY
    SET (fillfactor = 50)
    ALTER COLUMN s SET NOT NULL
    CLUSTER ON b_n
    REPLICA IDENTITY FULL
    SET UNLOGGED
    ALTER COLUMN n TYPE text USING n::text
    OWNER TO CURRENT_USER
    INHERIT b
    ADD FOREIGN KEY (n) REFERENCES {t}
    SET SCHEMA q
    ATTACH PARTITION b FOR VALUES FROM (1000) TO (2000)
    DETACH PARTITION p2
    ADD COLUMN d{n} int DEFAULT nextval('sq')
""")
DDL = _lines("""
    CREATE TABLE t{n} (id int, n int DEFAULT nextval('sq'))
    CREATE TABLE t{n} (LIKE {t} INCLUDING ALL)
    CREATE TABLE t{n} (id int REFERENCES {t})
    CREATE TABLE t{n} () INHERITS (a)
    CREATE TEMP TABLE t{n} (id int)
    CREATE TABLE t{n} PARTITION OF p FOR VALUES FROM (5000) TO (6000)
    CREATE UNLOGGED TABLE q.t{n} (i int)
    CREATE INDEX i{n} ON {t} (n)
    CREATE UNIQUE INDEX ON {t} (lower(s), id)
    CREATE VIEW w{n} AS SELECT * FROM {t}
    CREATE MATERIALIZED VIEW w{n} AS SELECT * FROM {t}
    CREATE MATERIALIZED VIEW w{n} AS SELECT * FROM a WITH NO DATA
    CREATE OR REPLACE VIEW v AS SELECT * FROM a WHERE id > 0
    CREATE SEQUENCE s{n}
    CREATE SEQUENCE s{n} OWNED BY a.n
    CREATE TYPE y{n} AS (i int)
    CREATE TYPE y{n} AS ENUM ('x')
    CREATE DOMAIN y{n} AS int CHECK (VALUE > 0)
    CREATE SCHEMA z{n}
    CREATE SCHEMA z{n} CREATE TABLE t (i int) CREATE VIEW w AS SELECT * FROM t
    CREATE FUNCTION f{n}() RETURNS void LANGUAGE sql AS 'DELETE FROM a'
    CREATE FUNCTION f{n}() RETURNS void LANGUAGE plpgsql AS 'BEGIN DELETE FROM a; END'
    CREATE PROCEDURE f{n}() BEGIN ATOMIC DELETE FROM b; END
    CREATE RULE r{n} AS ON INSERT TO {t} DO ALSO DELETE FROM b
    CREATE TRIGGER g{n} AFTER INSERT ON {t} EXECUTE FUNCTION fires()
    CREATE STATISTICS st{n} ON id, n FROM {t}
    CREATE POLICY o{n} ON {t} USING (true)
    CREATE AGGREGATE ag{n} (int) (sfunc = int4pl, stype = int)
    ALTER TYPE mood ADD VALUE 'x{n}'
    ALTER SEQUENCE sq RESTART
    ALTER VIEW v RENAME TO v{n}
    ALTER INDEX b_n RENAME TO b_n{n}
    ALTER FUNCTION own(int) STABLE
    ALTER SCHEMA q RENAME TO q{n}
    ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC
    DROP TABLE {t}
    DROP TABLE {t} CASCADE
    DROP TABLE a, b CASCADE
    DROP VIEW v
    DROP MATERIALIZED VIEW m
    DROP SEQUENCE sq
    DROP INDEX b_n
    DROP SCHEMA q CASCADE
    DROP TYPE mood
    DROP FUNCTION own(int)
    DROP FUNCTION fires() CASCADE
    DROP OWNED BY CURRENT_USER
    GRANT SELECT ON {t} TO PUBLIC
    REVOKE ALL ON {t} FROM PUBLIC
    GRANT SELECT ON ALL TABLES IN SCHEMA public TO PUBLIC
    GRANT USAGE ON SCHEMA q TO PUBLIC
    COMMENT ON TABLE {t} IS 'x'
    COMMENT ON COLUMN a.n IS 'x'
    COMMENT ON FUNCTION own(int) IS 'x'
    SECURITY LABEL ON TABLE {t} IS 'x'
    REFRESH MATERIALIZED VIEW m
    REINDEX TABLE {t}
    REINDEX INDEX b_n
    CLUSTER b USING b_n
    ANALYZE {t}
    CREATE ROLE role{n}
    ALTER ROLE CURRENT_USER SET my.own = 'x'
    TRUNCATE {t}
    TRUNCATE a, b RESTART IDENTITY
    TRUNCATE {t} CASCADE
    IMPORT FOREIGN SCHEMA x FROM SERVER y INTO q
    CREATE EXTENSION IF NOT EXISTS plpgsql
""")
SESSION = _lines("""
    SET my.own = 'y'
    SET LOCAL work_mem = '8MB'
    RESET ALL
    RESET work_mem
    SET ROLE NONE
    SET search_path = q, public
    SHOW work_mem
    LISTEN c
    UNLISTEN *
    NOTIFY c, 'x'
    SET CONSTRAINTS ALL DEFERRED
    SAVEPOINT sp; RELEASE sp
    SET TRANSACTION READ ONLY
    DISCARD PLANS
    DISCARD TEMP
    SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY
""")


class Mix:
    def __init__(self, seed: int) -> None:
        self._r = random.Random(seed)
        self._names = 0

    def script(self) -> list[str]:
        return self._one((self._plain, self._wrapped, self._named, self._ddl, self._several))()

    def _plain(self) -> list[str]:
        return [self._one((self._query, self._change, self._with))()]

    def _with(self) -> str:
        """A change in a CTE, which may stand at the top alone."""
        inner = self._one((self._query, lambda: self._change(returning=True)))()
        recursive = self._one(("", "", "RECURSIVE "))
        return f"WITH {recursive}x AS ({inner}) {self._one((self._reads_x, self._writes_x))()}"

    def _reads_x(self) -> str:
        return self._one(("SELECT * FROM x", "SELECT count(*) FROM x", "SELECT 1", f"SELECT * FROM x, {self._table()}"))

    def _writes_x(self) -> str:
        return f"INSERT INTO {self._table()} SELECT 1000 + x.id, 1, 'y' FROM x"

    def _wrapped(self) -> list[str]:
        inner = self._one((self._query, self._change, self._with, lambda: self._change(returning=True)))()
        table = self._table()
        return [
            self._one(
                (
                    f"EXPLAIN {inner}",
                    f"EXPLAIN ANALYZE {inner}",
                    f"EXPLAIN (ANALYZE {self._one(('on', 'off', 'true', '0'))}, COSTS off) {inner}",
                    f"EXPLAIN (ANALYZE false, ANALYZE) {inner}",
                    f"COPY ({inner}) TO STDOUT",
                    f"CREATE TABLE n{self._number()} AS {self._query()}",
                    f"EXPLAIN ANALYZE CREATE TABLE n{self._number()} AS {self._query()}",
                    f"SELECT * INTO n{self._number()} FROM {table}",
                    f"DO $$ BEGIN {self._body()} END $$",
                    f"DO $$ DECLARE k int; r record; BEGIN {self._body()}"
                    f" EXCEPTION WHEN others THEN {self._body()} END $$",
                    f"COPY {table} TO STDOUT",
                    f"COPY {table} FROM STDIN",
                    f"LOCK TABLE {table} IN {self._one(MODES)} MODE",
                    f"LOCK {table}",
                )
            )
        ]

    def _body(self) -> str:
        """Statements of plpgsql."""
        return self._one(
            (
                f"{self._change()};",
                f"PERFORM 1 FROM ({self._select()}) y;",
                f"FOR r IN {self._change(returning=True)} LOOP {self._change()}; END LOOP;",
                f"IF (SELECT count(*) FROM {self._table()}) > 1 THEN {self._ddl()[0]}; END IF;",
                f"k := (SELECT max(n) FROM {self._table()} WHERE n < nextval('sq'));",
                f"EXECUTE 'DELETE FROM {self._table()}';",
                f"{self._one(SESSION)};",
                "NULL;",
            )
        )

    def _named(self) -> list[str]:
        """Kept under a name, and then run."""
        inner = self._one((self._query, self._change, self._with))()
        name = f"k{self._number()}"
        return self._one(
            (
                [f"PREPARE {name} AS {inner}", f"EXECUTE {name}"],
                [f"PREPARE {name} AS {inner}", f"EXPLAIN ANALYZE EXECUTE {name}"],
                [f"PREPARE {name} AS {self._query()}", f"CREATE TABLE n{self._number()} AS EXECUTE {name}"],
                [f"PREPARE {name} AS {inner}", f"DEALLOCATE {name}"],
                [f"DECLARE {name} CURSOR FOR {self._query()}", f"FETCH ALL FROM {name}", f"CLOSE {name}"],
                [
                    f"DECLARE {name} CURSOR FOR SELECT * FROM a FOR UPDATE",
                    f"FETCH 1 FROM {name}",
                    f"{self._one(('DELETE FROM a', 'UPDATE a SET n = 0'))} WHERE CURRENT OF {name}",
                ],
                [f"DECLARE {name} CURSOR WITH HOLD FOR {self._query()}", f"MOVE 2 IN {name}"],
            )
        )

    def _ddl(self) -> list[str]:
        if self._r.random() < 0.3:
            return [self._filled(f"ALTER TABLE {self._table()} {self._one(ALTERS)}")]
        return [self._filled(self._one(DDL + SESSION))]

    def _several(self) -> list[str]:
        parts = [self._one((self._query, self._change, self._with, lambda: self._ddl()[0]))() for _ in range(2)]
        return ["; ".join(parts)]

    def _query(self) -> str:
        return self._one((self._select, self._select, self._nested))()

    def _nested(self) -> str:
        table = self._table()
        bare = table.replace('"', "").replace(" ", "").split(".")[-1]
        return self._one(
            (
                f"SELECT x.n FROM ({self._select()}) x",
                f"{self._select()} UNION ALL {self._select()}",
                f"SELECT (SELECT max(id) FROM {table}), {self._one(CALLS)} FROM {self._table()}",
                f"WITH {bare} AS (SELECT * FROM {table}) SELECT * FROM {self._table()}",
                f"TABLE {table}",
                "VALUES (1), (nextval('sq')::int)",
                f"SELECT * FROM {table} x JOIN {self._table()} y ON x.id = y.id JOIN v USING (n)",
                f"SELECT * FROM {table} TABLESAMPLE bernoulli (50)",
                f"SELECT * FROM ROWS FROM (generate_series(1, 2), unnest(ARRAY[1])), LATERAL (SELECT * FROM {table}) z",
            )
        )

    def _select(self) -> str:
        what = self._one(("*", "id, n, s", self._one(CALLS)))
        tail = self._one(("", "", f" {self._one(LOCKING)}", " LIMIT 2", " ORDER BY 1"))
        where = f" WHERE {self._condition()}" if self._r.random() < 0.6 else ""
        return f"SELECT {what} FROM {self._one((self._table(), 'v', 'm'))}{where}{tail}"

    def _change(self, returning: bool = False) -> str:
        table, other, where = self._table(), self._table(), self._condition()
        text = self._one(
            (
                f"INSERT INTO {table} VALUES ({self._r.randrange(10, 900)}, 1, 'z')",
                f"INSERT INTO {table} SELECT id + 500, n, s FROM {other}",
                f"INSERT INTO {table} VALUES (1, 1, 'z') ON CONFLICT (id) DO UPDATE SET n = 9",
                f"INSERT INTO {table} VALUES (1, 1, 'z') ON CONFLICT DO NOTHING",
                f"UPDATE {table} SET n = n + 1 WHERE {where}",
                f"UPDATE {table} SET s = (SELECT max(s) FROM {other})",
                f"UPDATE {table} t SET n = o.n FROM {other} o WHERE t.id = o.id",
                f"DELETE FROM {table} WHERE {where}",
                f"DELETE FROM {table}",
                f"DELETE FROM {table} t USING {other} o WHERE t.id = o.id",
                f"MERGE INTO {table} t USING {other} o ON t.id = o.id + 3"
                f" WHEN MATCHED THEN {self._one(('DELETE', 'UPDATE SET n = 0'))}"
                f" WHEN NOT MATCHED THEN {self._one(('INSERT VALUES (o.id + 800, 0, null)', 'DO NOTHING'))}",
            )
        )
        key = "t.id" if text.startswith("MERGE") else "id"
        return f"{text} RETURNING {self._one(('*', key))}" if returning else text

    def _condition(self) -> str:
        return self._filled(self._one(CONDITIONS))

    def _table(self) -> str:
        return self._one(TABLES)

    def _number(self) -> int:
        self._names += 1
        return self._names

    def _filled(self, text: str) -> str:
        return text.replace("{t}", self._table()).replace("{n}", str(self._number()))

    def _one(self, choices: Sequence[T]) -> T:
        return self._r.choice(choices)
