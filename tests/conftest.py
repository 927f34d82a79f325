"""Fixtures that several rooms share: one real PostgreSQL 18 a test session.

This build has no TLS: tests of TLS to a target put a front before it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tallystick.demo_postgres import Postgres, free_port, running

__all__ = ["Postgres", "free_port", "running_postgres"]

HBA = """
local   all             all                             trust
host    all             scram_user      127.0.0.1/32    scram-sha-256
host    all             md5_user        127.0.0.1/32    md5
host    all             password_user   127.0.0.1/32    password
host    all             all             127.0.0.1/32    trust
"""


def running_postgres():  # type: ignore[no-untyped-def]
    """A context manager: a server of its own."""
    return running(hba=HBA, connections=700)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real PostgreSQL 18: `host`, `port`, `superuser` (trust), `log` with every statement it ran."""
    with running_postgres() as server:
        yield server
