"""A real PostgreSQL as the judge's judge: whatever a statement really did is within the effects that were named.

Each script of random statements (`statement_mix.py`) runs in one transaction on a real server, and is watched there:
rows by pg_stat_xact_user_tables, structure by event triggers, locks by pg_locks, settings by pg_settings, sequences by
their values, and anything else by whether the transaction got an id at all. Then it is rolled back.
Not watched, and known limitations: what views, triggers and foreign keys that exist already do by themselves.
"""

from __future__ import annotations

import contextlib
import os
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import psycopg
import pytest

from policy.sql.effects import Effects, read
from tests.conftest import Postgres
from tests.policy.statement_mix import SCHEMA, Mix

DATABASE = "oracle"
WATCH = """
    CREATE SCHEMA watch;
    CREATE FUNCTION watch.ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$
    DECLARE o record; BEGIN
        FOR o IN SELECT * FROM pg_event_trigger_ddl_commands() LOOP
            RAISE NOTICE 'watch|%|%|%', o.command_tag, o.object_type, o.objid;
        END LOOP; END $$;
    CREATE FUNCTION watch.dropped() RETURNS event_trigger LANGUAGE plpgsql AS $$
    DECLARE o record; BEGIN
        FOR o IN SELECT * FROM pg_event_trigger_dropped_objects() WHERE original LOOP
            RAISE NOTICE 'watch|DROP|%|%', o.object_type, o.objid;
        END LOOP; END $$;
    CREATE EVENT TRIGGER watch_ddl ON ddl_command_end EXECUTE FUNCTION watch.ddl();
    CREATE EVENT TRIGGER watch_dropped ON sql_drop EXECUTE FUNCTION watch.dropped();
"""
LOOK = """
    CREATE FUNCTION watch.look() RETURNS json LANGUAGE plpgsql AS $$ BEGIN RETURN json_build_object(
        'rows', (SELECT json_agg(json_build_array(relid::int, n_tup_ins, n_tup_upd, n_tup_del))
            FROM pg_stat_xact_user_tables),
        'locks', (SELECT json_agg(json_build_array(l.relation::int, l.mode)) FROM pg_locks l
            JOIN pg_class c ON c.oid = l.relation
            WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND c.relkind IN ('r', 'p')
            AND c.relnamespace <> ALL (ARRAY['pg_catalog', 'pg_toast', 'information_schema']::regnamespace[])),
        'advisory', (SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'),
        'settings', (SELECT json_agg(json_build_array(name, setting)) FROM (SELECT name, setting FROM pg_settings
            WHERE source = 'session' UNION SELECT 'role', current_user) s),
        'sequence', coalesce((SELECT last_value FROM pg_sequences WHERE sequencename = 'sq'), 0),
        'given_id', pg_current_xact_id_if_assigned() IS NOT NULL,
        'names', (SELECT json_agg(json_build_array(oid::int, quote_ident(relname),
            quote_ident(relnamespace::regnamespace::text), pg_table_is_visible(oid)))
            FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'S')),
        'parents', coalesce((SELECT json_agg(json_build_array(inhrelid::int, inhparent::int)) FROM pg_inherits), '[]')
    ); END $$
"""
STRUCTURE = {"create", "alter", "drop", "truncate", "grant", "revoke", "lock"}
"""Effects that, on a schema, a type, or things that the text does not name, may lock tables."""
LIGHT = frozenset(("AccessShareLock", "RowShareLock", "RowExclusiveLock"))
"""Locks that no SELECT or change waits for. EXPLAIN takes them for what it only plans; what changes shows in rows."""
BEHIND = {"v": ("a",), "m": ("b",)}
"""What a view stands for: the judge names the view, the gateway resolves names, and neither looks through it."""

CHANGES_ROWS = (
    {"insert", "copy-in", "create", "update", "alter"},
    {"update", "alter"},
    {"delete", "update"},
)
"""Effects on a table that may insert, update, delete its rows. CREATE TABLE AS, a refresh, a rewrite and a row that
moves to another partition insert."""
TAGS = {
    "CREATE": {"create", "alter"}, "ALTER": {"alter", "create", "grant"}, "DROP": {"drop", "create", "alter"},
    "GRANT": {"grant"}, "REVOKE": {"revoke"}, "COMMENT": {"alter"}, "REFRESH": {"update"}, "SELECT": {"create"},
    "IMPORT": {"create"}, "SECURITY": {"alter"}, "REINDEX": {"lock"},
}  # fmt: skip
"""By the first word of the tag of an event trigger."""


@dataclass
class Seen:
    """What there was at one moment, or what one text did."""

    rows: dict[int, tuple[int, ...]]  # inserted, updated, deleted
    locks: set[tuple[int, str]]
    advisory: int
    settings: frozenset[tuple[str, str]]
    sequence: int
    given_id: bool
    oids: dict[str, int]  # by every name that a relation may be written with
    parents: dict[int, int]
    ddl: list[tuple[str, str, str]] = field(default_factory=list)


class Watched:
    """One session on a server with the schema of the mix."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._c = connection
        self._notices: list[tuple[str, str, str]] = []
        connection.prepare_threshold = None  # DEALLOCATE ALL would take its own
        connection.add_notice_handler(self._heard)

    def _heard(self, diagnostic: psycopg.errors.Diagnostic) -> None:
        kind, _, rest = (diagnostic.message_primary or "").partition("|")
        if kind == "watch":
            tag, what, oid = rest.split("|")
            self._notices.append((tag, what, oid))

    def look(self) -> Seen:
        ((all_,),) = self._c.execute("SELECT watch.look()").fetchall()
        oids = {}
        for oid, name, schema, visible in all_["names"]:
            oids[f"{schema}.{name}"] = oid
            if visible:
                oids[name] = oid
        return Seen(
            rows={relation: tuple(counts) for relation, *counts in all_["rows"]},
            locks={(relation, mode) for relation, mode in all_["locks"] or ()},
            advisory=all_["advisory"],
            settings=frozenset((name, value) for name, value in all_["settings"]),
            sequence=all_["sequence"],
            given_id=all_["given_id"],
            oids=oids,
            parents=dict(all_["parents"]),
        )

    def run(self, text: str) -> Seen | None:
        """What it did, or None where the server refused it."""
        before = self.look()
        self._notices.clear()
        self._c.execute("SAVEPOINT before")
        try:
            self._execute(text)
            if self._c.info.transaction_status is not psycopg.pq.TransactionStatus.INTRANS:
                return None
        except psycopg.Error:
            with contextlib.suppress(psycopg.Error):
                self._c.execute("ROLLBACK TO before")
            return None
        ddl = list(self._notices)
        after = self.look()
        return Seen(
            rows={
                relation: tuple(
                    new - old for new, old in zip(counts, before.rows.get(relation, (0, 0, 0)), strict=True)
                )
                for relation, counts in after.rows.items()
            },
            locks=after.locks - before.locks,
            advisory=after.advisory - before.advisory,
            settings=after.settings ^ before.settings,
            sequence=after.sequence - before.sequence,
            given_id=after.given_id and not before.given_id,
            oids=after.oids | before.oids,
            parents=before.parents | after.parents,
            ddl=ddl,
        )

    def _execute(self, text: str) -> None:
        if not text.startswith("COPY"):
            self._c.execute(text)
            return
        with self._c.cursor() as cursor, cursor.copy(text) as copy:
            if "FROM STDIN" in text:
                copy.write("950\t1\tx\n")
            else:
                for _ in copy:
                    pass


@pytest.fixture(scope="module")
def watched(postgres: Postgres) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {DATABASE}")
        with psycopg.connect(postgres.url(database=DATABASE), autocommit=True) as connection:
            connection.execute(SCHEMA)
            connection.execute(WATCH)
            connection.execute(LOOK)
            yield connection
        admin.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")


def test_what_a_sample_really_did_was_named(watched: psycopg.Connection) -> None:
    seed = int(os.environ.get("TALLYSTICK_SEED", random.SystemRandom().randrange(1 << 32)))
    print("TALLYSTICK_SEED =", seed)
    did = play(watched, seed, 120)
    assert did["ran"] > 60
    assert did["complete"] > 50
    assert min(did[kind] for kind in ("rows", "ddl", "locks")) > 5


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_what_many_really_did_was_named(watched: psycopg.Connection) -> None:
    seed = int(os.environ.get("TALLYSTICK_SEED", random.SystemRandom().randrange(1 << 32)))
    print("TALLYSTICK_SEED =", seed)
    print(play(watched, seed, 10_000))


def play(connection: psycopg.Connection, seed: int, scripts: int) -> Counter[str]:
    """How much there was to see, by kind."""
    mix, session, did = Mix(seed), Watched(connection), Counter[str]()
    for _ in range(scripts):
        connection.execute("BEGIN")
        try:
            kept: dict[str, str] = {}
            for text in mix.script():
                found = read(text, lookup=lambda name: (kept[name],) if name in kept else ())  # noqa: B023
                kept |= {each.name: each.text for each in found.prepares}
                seen = session.run(text)
                did["refused" if seen is None else "ran"] += 1
                if seen is None:
                    break
                did["complete"] += found.complete
                did["read only"] += found.read_only
                did["rows"] += any(any(counts) for counts in seen.rows.values())
                for kind in ("ddl", "locks", "settings"):
                    did[kind] += bool(getattr(seen, kind))
                Check(text, found, seen).all()
        finally:
            connection.execute("ROLLBACK")
            connection.execute("DEALLOCATE ALL")
            connection.execute("RESET ALL")
    return did


class Check:
    """One text, what was said of it, and what it did. A judgement that says it is not complete is held, and may
    name less; what it says of settings and of reading alone must be true all the same."""

    def __init__(self, text: str, found: Effects, seen: Seen) -> None:
        self.text, self.found, self.seen = text, found, seen
        oids = seen.oids
        self.effects: dict[int, set[str]] = {}
        self.unnamed = {each.effect for each in found.effects if each.relation not in oids} & STRUCTURE
        for each in found.effects:
            names = [each.relation, *BEHIND.get(each.relation, ())]
            for oid in (oids[name] for name in names if name in oids):
                self.effects.setdefault(oid, set()).add(each.effect)
        for name in (*found.names, *found.reads):
            for oid in (oids[n] for n in (name, *BEHIND.get(name, ())) if n in oids):
                self.effects.setdefault(oid, set()).add("named")

    def all(self) -> None:
        found, seen = self.found, self.seen
        changed = any(any(counts) for counts in seen.rows.values())
        takes_an_id = "txid_current" in self.text or "pg_current_xact_id" in self.text
        given_id = seen.given_id and not takes_an_id
        quiet = not (seen.ddl or seen.settings or seen.sequence or seen.advisory or changed or given_id)
        assert not found.read_only or quiet, (self.text, seen)
        assert found.barrier or not seen.settings, (self.text, seen)
        if not found.complete:
            return
        for oid, counts in seen.rows.items():
            for count, effects in zip(counts, CHANGES_ROWS, strict=True):
                assert count <= 0 or self.on(oid) & effects, (self.text, oid, counts, found.effects)
        for tag, kind, _ in seen.ddl:
            said = {each.effect for each in found.effects}
            assert said & TAGS[tag.split()[0]], (self.text, tag, kind, found.effects)
        for oid, mode in seen.locks:
            of = self.on(oid) | self.unnamed
            assert of, (self.text, oid, mode, found.effects)
            assert mode in LIGHT or of - {"select", "named"}, (self.text, oid, mode, found.effects)
        said = {each.effect for each in found.effects}
        assert not seen.sequence or said & {"update", "alter", "truncate", "drop"}, self.text
        assert not seen.advisory or "lock" in said, self.text
        assert not seen.settings or said & {"set", "role-change"}, (self.text, seen.settings)

    def on(self, oid: int) -> set[str]:
        """Effects on a relation, or on what it is a part of."""
        found = set(self.effects.get(oid, ()))
        while oid in self.seen.parents:
            oid = self.seen.parents[oid]
            found |= self.effects.get(oid, set())
        return found
