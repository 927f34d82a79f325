"""Writes policy/sql/functions_pg18.yaml from a real server's pg_proc and pg_operator.

    .venv/bin/python tools/pg_functions.py postgresql://postgres@localhost/postgres

Harmless: a name of pg_catalog of which every function is immutable or stable, can be called from
SQL (no `internal` argument, no trigger or handler), and that functions.yaml does not name. Built-in
types are there too: `regclass('t')` is a cast written as a call.
The file is committed; run this again for a new major version and read the difference.
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import psycopg
import yaml

SQL = Path(__file__).parent.parent / "policy" / "sql"

FUNCTIONS = """
    SELECT proname COLLATE "C" FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace
    GROUP BY proname
    HAVING bool_and(provolatile IN ('i', 's') AND prokind IN ('f', 'a', 'w') AND proname !~ '^binary_upgrade_'
        AND prorettype NOT IN (SELECT oid FROM pg_type WHERE typname ~ '(handler|trigger|^internal)$')
        AND NOT 'internal'::regtype = ANY (proargtypes::oid[]))
    UNION
    SELECT typname FROM pg_type
    WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype IN ('b', 'r', 'm') AND typname !~ '^_'
    ORDER BY 1
"""
OPERATORS = """
    SELECT DISTINCT oprname COLLATE "C" FROM pg_operator
    WHERE oprnamespace = 'pg_catalog'::regnamespace ORDER BY 1
"""


def main(server: str) -> None:
    known = yaml.safe_load((SQL / "functions.yaml").read_text())
    by_hand = {name for row in known["effects"] for name in row["functions"]} | set(known["harmless"].split())
    with psycopg.connect(server) as connection:
        version = connection.execute("SHOW server_version").fetchone()
        functions = [name for (name,) in connection.execute(FUNCTIONS) if name not in by_hand]
        operators = [name for (name,) in connection.execute(OPERATORS)]
    head = f"# Written by tools/pg_functions.py from PostgreSQL {version[0]}: do not edit.\n"
    parts = [f"{key}: |\n{_block(names)}\n" for key, names in (("functions", functions), ("operators", operators))]
    (SQL / "functions_pg18.yaml").write_text(head + "\n".join(parts))


def _block(names: list[str]) -> str:
    return textwrap.indent(textwrap.fill(" ".join(names), 116, break_on_hyphens=False, break_long_words=False), "  ")


if __name__ == "__main__":
    main(sys.argv[1])
