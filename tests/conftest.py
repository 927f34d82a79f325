"""Fixtures that several rooms share: one real PostgreSQL 18, one Kafka, one MinIO a test session.

This build of PostgreSQL has no TLS: tests of TLS to a target put a front before it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import NoReturn

import pytest

from tallystick.demo_postgres import Postgres, free_port, running
from tools import services

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


SERVICES: dict[str, Callable[[], object]] = {"kafka": services.kafka_jars, "minio": services.minio_program}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever uses a server that needs more than Python is `full`: `make test` must not start it."""
    for item in items:
        if SERVICES.keys() & set(getattr(item, "fixturenames", ())):
            item.add_marker("full")


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Fetches and builds what the chosen tests need before a test's clock runs: a cold MinIO takes minutes."""
    wanted = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    for name in SERVICES.keys() & wanted:
        try:
            SERVICES[name]()
        except services.Unavailable:
            pass  # said by the fixture


def _or_skip(name: str, error: services.Unavailable) -> NoReturn:
    """Skips, or fails where TALLYSTICK_REQUIRE names the server: there a skip would hide that nothing was tested."""
    if name in os.environ.get("TALLYSTICK_REQUIRE", "").split(","):
        pytest.fail(str(error))
    pytest.skip(str(error))


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[services.Kafka]:
    """One Kafka for all tests of the process: name topics and groups apart. `servers`, `kill()`, `start()`, …"""
    try:
        server = services.kafka(tmp_path_factory.mktemp("kafka"))
    except services.Unavailable as error:
        _or_skip("kafka", error)
    with server:
        yield server


@pytest.fixture(scope="session")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[services.Minio]:
    """One MinIO for all tests of the process: name buckets apart. `endpoint` (plain HTTP), `user`, `password`."""
    try:
        server = services.minio(tmp_path_factory.mktemp("minio"))
    except services.Unavailable as error:
        _or_skip("minio", error)
    with server:
        yield server
