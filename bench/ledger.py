"""Ledger append and verify, beside a bare SHA-256 tree over the same leaves in the same run.

    .venv/bin/python -m bench.ledger [entries]      (-m: as a script, its own name would hide the room)

Append is what the role does for a message's events: look at every leaf, then commit in
batches of 4,096 to a FileStore (encode, read back, fsync, sign). Verify is `check_log`.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import time
from pathlib import Path

from ledger.batch import Consumed, Cursor, Item
from ledger.check import check_log
from ledger.entry import leaf_bytes, look
from ledger.note import VerifierKey
from ledger.store import FileStore
from ledger.tree import leaf_hash, root
from ledger.writer import Writer
from schemas.ids import Position, SessionId, Source
from schemas.records import Band, CommandKind, Decision, Effect, Exchange, Found, LedgerEntry, Result
from seal.sign import Signer

SOURCE = Source("journal:orders-db.0.1a2b3c4d")
BATCH = 4096


def item(n: int) -> Item:
    body = Exchange(
        SessionId(f"orders-db.0.1a2b3c4d/3/{n % 50}"), n, CommandKind.EXTENDED, 1_790_000_000_000_000 + n,
        1_790_000_000_000_800 + n, Result.EXECUTED, "SELECT 1", "", hashlib.sha256(b"%d" % (n % 20)).digest(),
        (Effect("select", "public.accounts"),), True, 3, Band.LOW, (), Decision.ALLOW, "", None, 1, 120, False,
        (Found("email", 2),), 0, "0123456789abcdef", "pg1 mask1 sql1", hashlib.sha256(b"c%d" % n).digest(),
    )  # fmt: skip
    leaf = leaf_bytes(LedgerEntry(SOURCE, Position(0, n), 1_790_000_000_000_000 + n, body=body))
    return Item(leaf, os.urandom(150))


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 65_536
    items = [item(n) for n in range(count)]
    signer = Signer("ledger", bytes(32))
    start = time.perf_counter()
    bare_root = root([leaf_hash(i.leaf) for i in items])
    bare = count / (time.perf_counter() - start)
    with tempfile.TemporaryDirectory() as place:
        store = FileStore(Path(place))
        writer = Writer(store, "0", "bench/0", signer)
        start = time.perf_counter()
        for at in range(0, count, BATCH):
            part = items[at : at + BATCH]
            for one in part:
                look(one.leaf)
            writer.commit(part, {SOURCE: Cursor(Position(0, at), b"")}, Consumed("c", "events", 0, at))
        append = count / (time.perf_counter() - start)
        stored = sum(p.stat().st_size for p in Path(place).rglob("*") if p.is_file()) / count
        start = time.perf_counter()
        report = check_log(store, "0", VerifierKey("bench/0", signer.public))
        verify = count / (time.perf_counter() - start)
        if not report.intact or report.root != bare_root:
            raise SystemExit("the log that was written does not verify")
    print(f"{count} entries, {os.cpu_count()} cores, one process, {stored:.0f} bytes an entry in the store")
    for name, rate in (("bare SHA-256 tree", bare), ("append", append), ("verify", verify)):
        print(f"{name:18} {rate:10,.0f} entries/s   {rate / bare:5.2f}")


if __name__ == "__main__":
    main()
