"""Real clients through the gateway and without it: what they see is equal, to the byte where they show bytes."""

from __future__ import annotations

import asyncio
import datetime
import decimal
import ipaddress
import re
import shutil
import subprocess
import threading
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import pytest
from psycopg.rows import dict_row

from schemas.frames import FrameKind
from tests.ingest.postgres.conftest import ALLOWING


def program(postgres: Any, name: str) -> str:
    found = shutil.which(name, path=str(postgres.bin)) or shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} here, neither in the wheel nor in PATH")
    return found


def both(bench: Any, postgres: Any, work: Callable[[str], Any]) -> Any:
    """What `work(url)` gives directly; it gave the same through the gateway, and nothing was held or refused."""
    direct, through = work(postgres.url()), work(bench.url())
    assert through == direct
    assert not bench.journal.of(FrameKind.HOLD)
    assert not bench.journal.of(FrameKind.REFUSED)
    return direct


async def both_async(bench: Any, postgres: Any, work: Callable[[str], Awaitable[Any]]) -> Any:
    direct, through = await work(postgres.url()), await work(bench.url())
    assert through == direct
    assert not bench.journal.of(FrameKind.HOLD)
    return direct


# --- psql and pgbench ------------------------------------------------------------------

SCRIPT = r"""
\set VERBOSITY verbose
create temp table t (a int primary key, b text, c timestamptz default '2026-01-02 03:04:05+00');
insert into t select g, repeat(chr(64 + g), g) from generate_series(1, 9) g;
select * from t; table t \gx
\copy t (a, b) from stdin
11	eleven
12	\N
\.
\copy (select * from t order by a) to stdout with (format csv, header)
select 1/0; select 'after'; insert into t values (1);
begin; savepoint s; select nonsense; rollback to s; select 2; commit;
prepare q (int) as select b from t where a = $1; execute q(3);
\bind 7 \g
select $1::int + 1 \bind 41 \g
\parse named
select $1::text || 'x'
\bind_named named foo \g
\set FETCH_COUNT 2
select a from t order by a;
\d t
\df pg_sleep
do $$ begin null; end $$;
select pg_notify('c', 'p'); listen c;
set search_path = pg_catalog; show search_path; reset all;
explain (costs off) select * from t where a = 1;
select 'é', '日本', E'\t' as "tab", null is null;
"""


def one_session(text: bytes) -> bytes:
    """Without what differs between any two sessions: the number of the temporary schema, the process."""
    return re.sub(rb"(pg_temp_|PID )[0-9]+", rb"\1N", text)


def test_psql_sees_the_same_bytes(allowing: Any, postgres: Any) -> None:
    psql = program(postgres, "psql")

    def work(url: str) -> tuple[bytes, bytes, int]:
        run = subprocess.run([psql, "-X", url], input=SCRIPT.encode(), capture_output=True, timeout=60, check=False)
        return one_session(run.stdout), one_session(run.stderr), run.returncode

    direct, through = work(postgres.url()), work(allowing.url())
    assert through == direct
    assert b"division by zero" in direct[1]


@pytest.mark.parametrize("mode", ["simple", "extended", "prepared"])
@pytest.mark.parametrize("script", ["select-only", "simple-update", "tpcb-like"])
def test_pgbench(bench: Any, postgres: Any, mode: str, script: str) -> None:
    """Under the default policy: nothing of it needs an approval."""
    pgbench = program(postgres, "pgbench")
    subprocess.run([pgbench, "-i", "-q", postgres.url()], check=True, capture_output=True)
    command = [pgbench, "-n", "-b", script, "-M", mode, "-c", "4", "-j", "2", "-t", "25", bench.url()]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert "number of transactions actually processed: 100/100" in run.stdout, run.stderr[-500:]
    assert "number of failed transactions: 0" in run.stdout
    if script != "select-only":
        with psycopg.connect(postgres.url()) as c:
            assert c.execute("select count(*) from pgbench_history").fetchone() == (100,)


# --- psycopg ---------------------------------------------------------------------------

TYPES = (
    "select 1::int2, 2::int4, 3::int8, 1.5::float4, 2.5::float8, 12345.678::numeric, true, 'text'::text, 'v'::varchar, "
    "'\\x00ff'::bytea, '2026-01-02'::date, '03:04:05'::time, '2026-01-02 03:04:05'::timestamp, "
    "'2026-01-02 03:04:05+00'::timestamptz, '1 day 2 hours'::interval, "
    "'6f2a1e52-5f0c-4b1e-9e55-7b5d5b0f0c11'::uuid, '{\"a\": [1, null]}'::jsonb, '192.168.0.1'::inet, "
    "array[1, null, 3], array[['a', 'b'], ['c', 'd']], int4range(1, 5), null::text, row(1, 'x')"
)


@pytest.mark.parametrize("binary", [False, True])
def test_psycopg_types_and_parameters(allowing: Any, postgres: Any, binary: bool) -> None:
    def work(url: str) -> Any:
        with psycopg.connect(url) as c, c.cursor(binary=binary, row_factory=dict_row) as cursor:
            found: list[Any] = [cursor.execute(TYPES).fetchall()]
            values = (
                7,
                "te'xt",
                decimal.Decimal("1.10"),
                uuid.UUID(int=5),
                datetime.date(2026, 1, 2),
                [1, 2],
                b"\0\xff",
            )
            found.append(cursor.execute("select " + ", ".join(f"%s as c{n}" for n in range(7)), values).fetchall())
            found.append([(d.name, d.type_code, d.internal_size) for d in cursor.description or ()])
            found.append(cursor.execute("select %(a)s::inet", {"a": ipaddress.ip_address("10.0.0.1")}).fetchall())
            for n in range(8):  # prepared from the sixth on
                found.append(cursor.execute("select %s::int * 2 as d", (n,), prepare=n == 7).fetchall())
            return found

    both(allowing, postgres, work)


def test_psycopg_pipeline_mode_with_an_error_in_the_middle(allowing: Any, postgres: Any) -> None:
    def work(url: str) -> Any:
        found: list[Any] = []
        with psycopg.connect(url, autocommit=True) as c:
            c.execute("create temp table p (a int primary key)")
            with c.pipeline() as pipe:
                cursors = [c.execute("insert into p values (%s) returning a", (n,)) for n in range(200)]
                pipe.sync()
                found += [cursor.fetchall() for cursor in cursors]
                found.append(c.execute("select count(*) from p").fetchall())
            try:
                with c.pipeline():
                    c.execute("insert into p values (500)")
                    c.execute("insert into p values (1)")
                    c.execute("insert into p values (501)")
            except psycopg.Error as e:
                found.append((e.sqlstate, str(e)))
            found.append(c.execute("select max(a) from p").fetchall())
        return found

    assert both(allowing, postgres, work)[-2][0] == "23505"


@pytest.mark.parametrize("binary", [False, True])
def test_psycopg_copy_in_and_out(allowing: Any, postgres: Any, binary: bool) -> None:
    form = " (format binary)" if binary else ""

    def work(url: str) -> Any:
        with psycopg.connect(url) as c, c.cursor() as cursor:
            cursor.execute("create temp table big (a int, b text)")
            with cursor.copy(f"copy big from stdin{form}") as copy:  # type: ignore[arg-type]
                copy.set_types(["int4", "text"])
                for n in range(20_000):
                    copy.write_row((n, f"row {n}\t\\" if n % 7 else None))
            rowcount = cursor.rowcount
            with cursor.copy(f"copy (select * from big order by a) to stdout{form}") as copy:  # type: ignore[arg-type]
                out = b"".join(bytes(part) for part in copy)
            c.commit()
            try:
                with cursor.copy("copy big from stdin") as copy:
                    copy.write("not a number\tx\n")
            except psycopg.Error as e:
                failed = e.sqlstate
            c.rollback()
            return rowcount, out, failed, cursor.execute("select count(*) from big").fetchall()

    assert both(allowing, postgres, work)[0] == 20_000


def test_psycopg_server_side_cursors(allowing: Any, postgres: Any) -> None:
    def work(url: str) -> Any:
        with psycopg.connect(url) as c:
            with c.cursor("named", scrollable=True) as cursor:
                cursor.execute("select g, 'x' || g from generate_series(1, 1000) g where g <> %s", (5,))
                found = [cursor.fetchmany(3), cursor.fetchone()]
                cursor.scroll(100)
                found.append(cursor.fetchmany(2))
                cursor.scroll(0, mode="absolute")
                found.append(len(cursor.fetchall()))
            with c.cursor("hold", withhold=True) as cursor:
                cursor.execute("select generate_series(1, 10)")
                c.commit()
                cursor.itersize = 3
                found.append(list(cursor))
        return found

    both(allowing, postgres, work)


def test_psycopg_transactions_notices_and_notifications(allowing: Any, postgres: Any) -> None:
    def work(url: str) -> Any:
        notices: list[Any] = []
        with psycopg.connect(url) as c:
            c.add_notice_handler(lambda d: notices.append((d.severity, d.sqlstate, d.message_primary)))
            c.execute("create temp table t (a int)")
            try:
                with c.transaction():
                    c.execute("insert into t values (1)")
                    with c.transaction(force_rollback=True):
                        c.execute("insert into t values (2)")
                    c.execute("drop table if exists no_such_table")
                    c.execute("select nonsense")
            except psycopg.Error as e:
                notices.append((e.sqlstate, e.diag.statement_position, e.diag.source_function))
            status = c.info.transaction_status
            c.rollback()
        with psycopg.connect(url, autocommit=True) as c:
            c.execute("listen room")
            c.execute("select pg_notify('room', 'hello')")
            told = [(n.channel, n.payload) for n in c.notifies(timeout=5, stop_after=1)]
            return notices, status, told, c.info.parameter_status("server_version"), c.info.encoding

    both(allowing, postgres, work)


async def test_psycopg_async(allowing: Any, postgres: Any) -> None:
    async def work(url: str) -> Any:
        async with await psycopg.AsyncConnection.connect(url) as c:
            found = [await (await c.execute("select %s::text, %s", ("a", 1))).fetchall()]
            async with c.cursor("n") as cursor:
                await cursor.execute("select generate_series(1, 50)")
                found.append([row async for row in cursor])
            async with c.pipeline():
                cursors = [await c.execute("select %s::int", (n,)) for n in range(30)]
            found += [await cursor.fetchall() for cursor in cursors]
            async with c.cursor() as cursor, cursor.copy("copy (select 1, 'x') to stdout") as copy:
                found.append([bytes(part) async for part in copy])
            return found

    await both_async(allowing, postgres, work)


# --- asyncpg ---------------------------------------------------------------------------


async def test_asyncpg(allowing: Any, postgres: Any) -> None:
    async def work(url: str) -> Any:
        c = await asyncpg.connect(url)
        found: list[Any] = [[tuple(r) for r in await c.fetch(TYPES)]]
        await c.execute("create temp table t (a int primary key, b text, c jsonb, d bytea, e timestamptz)")
        when = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
        await c.executemany(
            "insert into t values ($1, $2, $3, $4, $5)", [(n, str(n), '{"x": 1}', bytes([n]), when) for n in range(200)]
        )
        found.append([tuple(r) for r in await c.fetch("select * from t where a = any($1::int[]) order by a", [1, 7])])
        statement = await c.prepare("select b from t where a = $1")
        found += [await statement.fetchval(n) for n in range(20)]
        found.append([(a.name, a.type.name) for a in statement.get_attributes()])
        async with c.transaction():
            found.append([r[0] async for r in c.cursor("select a from t order by a", prefetch=7)])
            cursor = await c.cursor("select a from t order by a")
            found.append([[r[0] for r in await cursor.fetch(n)] for n in (1, 2, 3)])
        for isolation in ("serializable", "repeatable_read"):
            try:
                async with c.transaction(isolation=isolation, readonly=True):
                    await c.execute("insert into pg_class select 1")
            except asyncpg.PostgresError as e:
                found.append((e.sqlstate, str(e)))
        try:
            async with c.transaction():
                await c.execute("insert into t (a) values (2000)")
                async with c.transaction():
                    await c.execute("insert into t (a) values (1)")
        except asyncpg.UniqueViolationError as e:
            found.append((e.sqlstate, e.detail))
        found.append(await c.fetchval("select count(*) from t where a = 2000"))
        out: list[bytes] = []

        async def take(data: bytes) -> None:
            out.append(data)

        await c.copy_records_to_table("t", records=[(n, "copied", None, None, None) for n in range(500, 2500)])
        await c.copy_from_query("select a, b from t where a < $1 order by a", 700, output=take, format="csv")
        found.append(b"".join(out))
        await c.set_type_codec("jsonb", encoder=str, decoder=len, schema="pg_catalog")
        found.append(await c.fetchval("select c from t where a = 1"))
        await c.close()
        return found

    await both_async(allowing, postgres, work)


async def test_an_asyncpg_pool_resets_its_connections(allowing: Any, postgres: Any) -> None:
    async def work(url: str) -> Any:
        async with asyncpg.create_pool(url, min_size=2, max_size=4) as pool:
            return sorted(await asyncio.gather(*(pool.fetchval("select $1::int", n) for n in range(40))))

    await both_async(allowing, postgres, work)


# --- cancelling ------------------------------------------------------------------------

SLEEP = "select pg_sleep(30)"


def sleeping(postgres: Any, *, gone: bool = False) -> None:
    """Waits until the target runs the statement, or no longer does."""
    deadline = time.monotonic() + 10
    with psycopg.connect(postgres.url(), autocommit=True) as c:
        while time.monotonic() < deadline:
            found = c.execute("select count(*) from pg_stat_activity where query = %s and state = 'active'", (SLEEP,))
            if found.fetchone() == (0 if gone else 1,):
                return
            time.sleep(0.01)
    raise TimeoutError


@pytest.mark.parametrize("version", ["3.0", "3.2"])
def test_a_cancel_ends_the_statement_and_the_connection_goes_on(allowing: Any, postgres: Any, version: str) -> None:
    extra = f"?max_protocol_version={version}"
    with psycopg.connect(allowing.url(extra=extra), autocommit=True) as c:
        ended: list[Any] = []

        def run() -> None:
            try:
                c.execute(SLEEP)
            except psycopg.Error as e:
                ended.append(e.sqlstate)

        thread = threading.Thread(target=run)
        thread.start()
        sleeping(postgres)
        c.cancel_safe(timeout=5)
        thread.join(10)
        assert ended == ["57014"]
        assert c.execute("select 1").fetchone() == (1,)


async def test_asyncpg_cancels_by_its_timeout(allowing: Any, postgres: Any) -> None:
    c = await asyncpg.connect(allowing.url())
    running = asyncio.create_task(c.execute(SLEEP))
    await asyncio.to_thread(sleeping, postgres)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await asyncio.to_thread(lambda: sleeping(postgres, gone=True))
    assert await c.fetchval("select 1") == 1
    await c.close()


def test_a_cancel_with_a_wrong_key_ends_nothing(allowing: Any, postgres: Any) -> None:
    import socket

    with psycopg.connect(allowing.url(), autocommit=True) as c:
        pid = c.info.backend_pid
        raw = (16).to_bytes(4, "big") + (80877102).to_bytes(4, "big") + pid.to_bytes(4, "big") + b"\0\1\2\3"
        with socket.create_connection((allowing.running.host, allowing.running.port), timeout=5) as s:
            s.sendall(raw)
            assert s.recv(10) == b""
        assert c.execute("select pg_sleep(0.05)").fetchone() == ("",)
    with psycopg.connect(postgres.url()) as c:  # the gateway's number is not the target's
        assert c.execute("select count(*) from pg_stat_activity where pid = %s", (pid,)).fetchone() == (0,)


def test_tls_and_large_answers_are_the_same(make_bench: Any, postgres: Any, tmp_path: Path) -> None:
    import trustme

    from ingest.settings import ClientTls

    ca = trustme.CA()
    cert = ca.issue_cert("localhost", "127.0.0.1")
    (tmp_path / "cert").write_bytes(b"".join(b.bytes() for b in cert.cert_chain_pems))
    (tmp_path / "key").write_bytes(cert.private_key_pem.bytes())
    (tmp_path / "ca").write_bytes(ca.cert_pem.bytes())
    allowing = make_bench(ALLOWING, tls=ClientTls(tmp_path / "cert", tmp_path / "key"))

    def work(url: str) -> Any:
        if url == allowing.url():
            url += f"?sslmode=verify-full&sslrootcert={tmp_path / 'ca'}"
        with psycopg.connect(url) as c, c.cursor() as cursor:
            found: list[Any] = cursor.execute("select g, repeat('x', g) from generate_series(1, 3000) g").fetchall()
            with cursor.copy("copy (select g, md5(g::text) from generate_series(1, 50000) g) to stdout") as copy:
                found.append(b"".join(bytes(part) for part in copy))
            return found

    both(allowing, postgres, work)
