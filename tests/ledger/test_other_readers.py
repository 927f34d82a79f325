"""A log as other people's tools read it: exported, served by a static server, read by torchwood and x/mod in Go."""

from __future__ import annotations

import functools
import hashlib
import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ledger.export import export
from ledger.note import VerifierKey
from ledger.reader import entries
from tests.ledger.test_check import KEY, ORIGIN, SHARD, SIGNER, change, write


class Quiet(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Requests are no news."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def read(program: Path, folder: Path, key: VerifierKey = KEY) -> subprocess.CompletedProcess[str]:
    with served(folder) as url:
        command = [program, url, str(key)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


LARGE = pytest.param(66_000, marks=pytest.mark.slow)  # a tile of the third level


@pytest.mark.parametrize("size", [1, 255, 256, 257, 700, LARGE], ids=str)
def test_they_read_every_entry_and_check_their_place(tlog_reader: Path, tmp_path: Path, size: int) -> None:
    store = write(tmp_path / "store", [*range(0, size, 10_000), size])
    export(store, SHARD, KEY, tmp_path / "out")
    done = read(tlog_reader, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    all_of_it = hashlib.sha256()
    for stored in entries(store, SHARD):
        all_of_it.update(len(stored.leaf).to_bytes(2, "big") + stored.leaf)
    assert json.loads(done.stdout) == {"origin": ORIGIN, "size": size, "entries": all_of_it.hexdigest()}


@pytest.mark.parametrize("path", ["checkpoint", "tile/0/001", "tile/0/002.p/88", "tile/entries/000", "tile/1/000.p/2"])
@pytest.mark.parametrize(
    "harm", [lambda path: change(path, path.stat().st_size // 2), Path.unlink], ids=["change", "loss"]
)
def test_they_notice_what_was_changed_or_is_missing(
    tlog_reader: Path, tmp_path: Path, path: str, harm: Callable[[Path], None]
) -> None:
    export(write(tmp_path / "store", [0, 600]), SHARD, KEY, tmp_path / "out")
    harm(tmp_path / "out" / path)
    done = read(tlog_reader, tmp_path / "out")
    assert (done.returncode, done.stdout) == (1, ""), done.stderr


def test_they_take_no_other_key(tlog_reader: Path, tmp_path: Path) -> None:
    export(write(tmp_path / "store", [0, 3]), SHARD, KEY, tmp_path / "out")
    done = read(tlog_reader, tmp_path / "out", VerifierKey("other.test/0", SIGNER.public))
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
