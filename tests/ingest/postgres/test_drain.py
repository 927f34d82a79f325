"""SIGTERM: nobody new, and each session ends between two transactions, however busy its client is."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import socket
import threading
import time
from typing import Any

import psycopg
import pytest

from wire.postgres import startup


def drain(bench: Any) -> concurrent.futures.Future[list[int]]:
    """What each client had still to be sent when it returned: the process would end then."""

    async def draining() -> list[int]:
        clients = [session.relay.client for session in bench.running.gateway._sessions.values()]
        await bench.running.gateway.drain()
        return [client.transport.get_write_buffer_size() for client in clients]

    return asyncio.run_coroutine_threadsafe(draining(), bench.running.loop)


CLIENTS = 6


def test_clients_that_never_rest_end_behind_an_answer_and_not_within_a_command(bench: Any, postgres: Any) -> None:
    answered = [0] * CLIENTS
    errors: list[psycopg.Error] = []

    def work(number: int) -> None:
        with psycopg.connect(bench.url(), autocommit=True) as db:
            try:
                while True:
                    db.execute(f"select 'busy-{number}-{answered[number]}-end', pg_sleep(0.3)".encode())
                    answered[number] += 1
            except psycopg.Error as error:
                errors.append(error)

    at = postgres.log_size()
    threads = [threading.Thread(target=work, args=(n,)) for n in range(CLIENTS)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + 20
    while not all(answered):
        assert time.monotonic() < end
        time.sleep(0.01)
    began = time.monotonic()
    drain(bench).result(20)
    assert time.monotonic() - began < 2, "it waited for clients that have no pause"
    for thread in threads:
        thread.join(10)
    assert len(errors) == CLIENTS
    assert all(isinstance(error, psycopg.OperationalError) for error in errors), "the connection ended, nothing else"
    log = postgres.log_since(at)
    for number, count in enumerate(answered):
        assert f"busy-{number}-{count - 1}-end" in log
        assert f"busy-{number}-{count}-end" not in log, "it ran, and its client was not told"


def test_what_runs_and_what_is_in_a_transaction_ends_first(bench: Any, postgres: Any) -> None:
    with (
        psycopg.connect(bench.url(), autocommit=True) as slow,
        psycopg.connect(bench.url()) as used,
        psycopg.connect(bench.url(), autocommit=True) as idle,
        concurrent.futures.ThreadPoolExecutor() as pool,
    ):
        used.execute("create temp table t (n int)")
        idle.execute("select 1")
        do = "select 7 from pg_sleep(1)"
        running = pool.submit(lambda: slow.execute(do).fetchone())
        _until_it_runs(postgres, do)
        draining = drain(bench)
        with pytest.raises(psycopg.OperationalError):
            while True:
                idle.execute("select 1")
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(bench.url())
        used.execute("insert into t values (1)")
        assert used.execute("select count(*) from t").fetchone() == (1,)
        assert running.result(10) == (7,)
        assert not draining.done()
        used.commit()
        draining.result(5)


def _until_it_runs(postgres: Any, text: str) -> None:
    asked = "select 1 from pg_stat_activity where query = %s and state = 'active'"
    with psycopg.connect(postgres.url(), autocommit=True) as db:
        end = time.monotonic() + 10
        while not db.execute(asked, (text,)).fetchall():
            assert time.monotonic() < end


def test_the_whole_answer_is_sent_before_the_process_may_end(bench: Any) -> None:
    with contextlib.closing(psycopg.connect(bench.url(), autocommit=True)) as db:
        db.pgconn.send_query(b"select repeat('x', 1000) from generate_series(1, 30000)")
        db.pgconn.flush()
        draining = drain(bench)
        size = 0
        os.set_blocking(db.pgconn.socket, True)
        while part := os.read(db.pgconn.socket, 1 << 14):  # a client that does little at a time
            size += len(part)
            time.sleep(0.0002)
        assert size > 30_000_000
        assert draining.result(10) == [0]


def test_who_is_logging_in_is_told_why_not(bench: Any) -> None:
    with socket.create_connection((bench.running.host, bench.running.port), timeout=10) as s:
        s.sendall(startup.startup((("user", "ci"), ("database", "postgres"))))
        answer = s.recv(4096)
        assert answer[:1] == b"R"
        drain(bench).result(10)
        while part := s.recv(4096):
            answer += part
    assert b"C57P03\0" in answer
