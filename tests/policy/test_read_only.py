"""PostgreSQL refuses changes in a READ ONLY transaction: whatever the judge calls read-only runs in one.

Its own regression tests are run on a real server, file by file, statement by statement: those that are judged
read-only in a READ ONLY transaction of their own, all others as they are, so that there is something to read.
What fails for another reason proves nothing, and is not counted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import psycopg
import pytest
from psycopg.pq import TransactionStatus

from policy.sql.effects import read
from schemas.judging import TransactionStep
from tests.conftest import Postgres
from tests.policy.regression import Statement

DATABASE = "read_only"
FIRST = "test_setup"
SHORT = (FIRST, "select", "with", "union", "case", "sequence", "plancache")
HARMLESS = ("SELECT loread(lo_open(1001, x'20000'::int), 32)",)
"""Opens a large object for writing, and only reads it: to open changes nothing, and lowrite is an update to us."""


@pytest.fixture(scope="module")
def server(postgres: Postgres) -> Iterator[str]:
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {DATABASE}")
        yield postgres.url(database=DATABASE)
        admin.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")


def test_what_is_called_read_only_is(server: str, regression: list[Statement]) -> None:
    assert play(server, [each for each in regression if each.file in SHORT]) > 150


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_of_all_of_it(server: str, regression: list[Statement]) -> None:
    assert play(server, regression) > 12_000


def play(server: str, statements: Iterable[Statement]) -> int:
    """How many were called read-only, and ran in a transaction that is."""
    files: dict[str, list[str]] = {FIRST: []}
    for file, text in statements:
        files.setdefault(file, []).append(text)
    ran, refused = 0, []
    for texts in files.values():
        with psycopg.connect(server, autocommit=True, prepare_threshold=None) as session:
            session.execute("SET statement_timeout = '2s'; SET client_min_messages = error")
            for text in texts:
                if session.closed or "stdin" in text.lower() or "stdout" in text.lower():
                    continue
                found = read(text)
                idle = session.info.transaction_status is TransactionStatus.IDLE
                with contextlib.suppress(psycopg.Error, UnicodeError):
                    if not (idle and found.read_only and found.transaction is TransactionStep.USES):
                        session.execute(text)
                        continue
                    session.execute("BEGIN READ ONLY")
                    try:
                        session.execute(text)
                        ran += 1
                    except psycopg.errors.ReadOnlySqlTransaction:
                        refused.append(text)
                    finally:
                        session.execute("ROLLBACK")
    assert [text for text in refused if text not in HARMLESS] == []
    return ran
