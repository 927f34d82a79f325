"""`python -m tools.services kafka minio`: starts them, prints where they are as one JSON line, stops at SIGTERM or ^C.

    {"kafka": "127.0.0.1:23456", "minio": "127.0.0.1:12345", "credentials": "/tmp/tallystick-…/minio.env"}

`credentials` is a file (mode 0600) with MINIO_ROOT_USER and MINIO_ROOT_PASSWORD. Everything lies in a temporary
folder and goes with it. Exit 1 where a server cannot be had, does not start, or ends by itself. With `--only-make`
they are fetched and built if they are not in the cache yet, and nothing is started.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import NoReturn

from . import Minio, Server, Unavailable, kafka, kafka_jars, minio, minio_program

POLL_S = 0.2
MAKE: dict[str, Callable[[], Path]] = {"kafka": kafka_jars, "minio": minio_program}


def main() -> None:
    parser = argparse.ArgumentParser("python -m tools.services", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("servers", nargs="+", choices=sorted(MAKE))
    parser.add_argument("--only-make", action="store_true")
    given = parser.parse_args()
    wanted = sorted(set(given.servers))
    if given.only_make:
        _make(wanted)
        return
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tallystick-")))
        said: dict[str, str] = {}
        running: list[Server] = []
        try:
            if "kafka" in wanted:
                broker = stack.enter_context(kafka(folder / "kafka"))
                running.append(broker)
                said["kafka"] = broker.servers
            if "minio" in wanted:
                store = stack.enter_context(minio(folder / "minio"))
                running.append(store)
                said |= {"minio": store.endpoint, "credentials": str(_credentials(store, folder / "minio.env"))}
        except (Unavailable, RuntimeError) as error:
            sys.exit(str(error))
        print(json.dumps(said), flush=True)
        while all(server.alive() for server in running):
            time.sleep(POLL_S)
        sys.exit(" and ".join(server.name for server in running if not server.alive()) + " ended by itself")


def _make(wanted: Sequence[str]) -> None:
    try:
        for name in wanted:
            MAKE[name]()
    except Unavailable as error:
        sys.exit(str(error))


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    """Unwinds `main`, which stops what runs; a second signal must not break that off."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(0)


def _credentials(store: Minio, path: Path) -> Path:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"MINIO_ROOT_USER={store.user}\nMINIO_ROOT_PASSWORD={store.password}\n")
    return path


if __name__ == "__main__":
    main()
