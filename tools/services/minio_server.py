"""MinIO, one drive, built with Go from the pinned commit.

`pins/minio` is a module of ours that names MinIO as its tool: `go build -mod=readonly` compares every
module that it downloads with the hashes in go.sum. The last tag lacks the fix for write conditions that
were ignored, so the pin is a commit. The binary is not pinned: each Go release builds another.
"""

from __future__ import annotations

import functools
import http.client
import secrets
import shutil
from pathlib import Path

from .cache import PINS, made, run, tools
from .process import Server, free_ports

MODULE = "github.com/minio/minio"


class Minio(Server):
    """A running store: `endpoint` is host:port, over plain HTTP; `user` and `password` are its root's, made at random.

    They reach the server by its environment, never by argv.
    """

    name = "minio"

    def __init__(self, folder: Path) -> None:
        program = minio_program()
        folder = folder.absolute()
        (port,) = free_ports(1)
        self.endpoint = f"127.0.0.1:{port}"
        self.user, self.password = f"root-{secrets.token_hex(4)}", secrets.token_urlsafe(24)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        environment = {
            "MINIO_ROOT_USER": self.user,
            "MINIO_ROOT_PASSWORD": self.password,
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
        }
        command = [str(program), "server", "--quiet", "--address", self.endpoint, str(folder / "data")]
        super().__init__(folder, command, environment)

    def _answers(self, began: int) -> bool:
        # /health/ready says yes before the server does: it then answers 503, and clients come back after 60 s
        connection = http.client.HTTPConnection(self.endpoint, timeout=5)
        try:
            connection.request("GET", "/minio/health/cluster")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()


def minio(folder: Path) -> Minio:
    """A store with its data in `folder`, for a `with`. Raises `Unavailable` where it cannot be had."""
    return Minio(folder)


@functools.cache
def minio_program() -> Path:
    """The built program. `Unavailable` where it cannot be built."""
    return made("minio", _build) / "minio"


def _build(folder: Path) -> None:
    (go,) = tools("minio", "go 1.25+", "go")
    work = folder / "module"
    shutil.copytree(PINS / "minio", work)  # go wants to write beside go.mod, and the tree may be read-only
    run("minio", [go, "build", "-mod=readonly", "-trimpath", "-ldflags=-s -w", "-o", folder / "minio", MODULE], work)
    shutil.rmtree(work)
