"""One commit of the ledger (batch and checkpoint, each read back) on files and on a real MinIO, in turns in one run.

    .venv/bin/python -m bench.store [commits]

256 entries a commit, as in a busy second. MinIO runs beside it on the same cores and disk, over
loopback: the figure is the protocol's cost, six requests a commit, and not a network's.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from bench.ledger import SOURCE, item
from ledger.batch import Consumed, Cursor
from ledger.check import check_log
from ledger.store import FileStore, Store
from ledger.writer import Writer
from schemas.ids import Position
from seal.sign import Signer
from tests.ledger.locked import make_bucket
from tools.services import Unavailable, minio

ENTRIES = 256


def main() -> None:
    commits = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        try:
            with minio(place / "minio") as server:
                bucket = make_bucket(server, "bench", place)
                compare(commits, {"files": FileStore(place / "files"), "MinIO": bucket.store()})
        except Unavailable as e:
            print(f"no MinIO: {e}")
            compare(commits, {"files": FileStore(place / "files")})


def compare(commits: int, stores: dict[str, Store]) -> None:
    signer = Signer("ledger", bytes(32))
    writers = {name: Writer(store, "0", "bench/0", signer) for name, store in stores.items()}
    took: dict[str, list[float]] = {name: [] for name in stores}
    for n in range(commits):
        items = [item(n * ENTRIES + k) for k in range(ENTRIES)]
        for name, writer in writers.items():
            start = time.perf_counter()
            writer.commit(items, {SOURCE: Cursor(Position(0, n), b"")}, Consumed("c", "events", 0, n))
            took[name].append((time.perf_counter() - start) * 1000)
    print(f"{commits} commits of {ENTRIES} entries on each store, {os.cpu_count()} cores")
    for name, times in took.items():
        cut = statistics.quantiles(times, n=100)
        start = time.perf_counter()
        if not check_log(stores[name], "0", writers[name].key).intact:
            raise SystemExit(f"{name}: the log that was written does not verify")
        verify = time.perf_counter() - start
        print(f"{name:6} commit p50 {cut[49]:6.1f} ms  p99 {cut[98]:6.1f} ms   verify {verify:5.2f} s")


if __name__ == "__main__":
    main()
