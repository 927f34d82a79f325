"""Fixtures that several rooms share: one real PostgreSQL 18, one Kafka, one MinIO a test session.

This build of PostgreSQL has no TLS: tests of TLS to a target put a front before it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tallystick.demo_postgres import Postgres, free_port, running
from tools import services

__all__ = ["Postgres", "free_port", "free_ports_in_a_row", "running_postgres"]

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


def free_ports_in_a_row() -> int:
    """The first of six: a deployment's `ops`."""
    while True:
        first = free_port()
        try:
            for port in range(first + 1, first + 6):
                socket.create_server(("127.0.0.1", port)).close()
        except (OSError, OverflowError):
            continue
        return first


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real PostgreSQL 18: `host`, `port`, `superuser` (trust), `log` with every statement it ran."""
    with running_postgres() as server:
        yield server


MAKE: dict[str, Callable[[], object]] = {
    "kafka": services.kafka_jars,
    "minio": services.minio_program,
    "tlog_reader": services.tlog_reader,
}
"""By fixture: what fetches or builds its server or program, once a machine."""
missing: dict[str, services.Unavailable] = {}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever uses a server that needs more than Python is `full`: `make test` must not start it."""
    for item in items:
        if _servers(item):
            item.add_marker("full")


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Makes the servers of the chosen tests before a test's clock runs: a cold MinIO takes minutes."""
    if session.config.option.collectonly:
        return
    for name in {name for item in session.items for name in _servers(item)}:
        try:
            MAKE[name]()
        except services.Unavailable as error:
            missing[name] = error  # said by the fixture


def _servers(item: pytest.Item) -> set[str]:
    if "backing" in getattr(item, "fixturenames", ()) and item.get_closest_marker("full"):
        return {"kafka", "minio"}  # a deployment on both, which asks for them by name
    return MAKE.keys() & set(getattr(item, "fixturenames", ()))


def _need(name: str) -> None:
    """Skips where the server is missing, but fails where TALLYSTICK_REQUIRE names it: there a skip would hide it."""
    if name in missing:
        required = name in os.environ.get("TALLYSTICK_REQUIRE", "").split(",")
        (pytest.fail if required else pytest.skip)(str(missing[name]))


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[services.Kafka]:
    """One Kafka for all tests of the process: name topics and groups apart. `servers`, `kill()`, `start()`, …"""
    _need("kafka")
    with services.kafka(tmp_path_factory.mktemp("kafka")) as server:
        yield server


@pytest.fixture(scope="session")
def tlog_reader() -> Path:
    """Other people's reader of a log: `tlog_reader URL VKEY`."""
    _need("tlog_reader")
    return services.tlog_reader()


@pytest.fixture(scope="session")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[services.Minio]:
    """One MinIO for all tests of the process: name buckets apart. `endpoint` (plain HTTP), `user`, `password`."""
    _need("minio")
    with services.minio(tmp_path_factory.mktemp("minio")) as server:
        yield server
