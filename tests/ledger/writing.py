"""A shard of small entries on any store, for tests and for the child processes that they kill."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from ledger import layout
from ledger.batch import Consumed, Cursor, Item, decode
from ledger.entry import leaf_bytes
from ledger.store import FileStore, Store
from ledger.writer import Writer
from schemas.ids import Position, Source
from schemas.records import LedgerAlive, LedgerEntry
from seal.sign import Signer
from tests.ledger.locked import LockedBucket, clock
from tools.services import Minio as Server

SIGNER = Signer("ledger", bytes(range(32)))
ORIGIN = "tallystick.test/0"
ROOT = Path(__file__).parents[2]


class Place(Protocol):
    """Where a store is, and what somebody who administers it can do behind the ledger's back."""

    @property
    def spec(self) -> str:
        """What `open_store` opens, in another process too."""

    def drop(self, key: str) -> None:
        """It is gone, without a trace."""

    def flip(self, key: str) -> None:
        """It reads with one bit changed."""

    def leftovers(self) -> list[str]:
        """What a dead writer left and nobody tidied."""


class Files:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def spec(self) -> str:
        return f"file:{self._folder}"

    def drop(self, key: str) -> None:
        (self._folder / key).unlink()

    def flip(self, key: str) -> None:
        path = self._folder / key
        path.chmod(0o644)
        path.write_bytes(flipped(path.read_bytes()))

    def leftovers(self) -> list[str]:
        return [p.name for p in (self._folder / ".tmp").iterdir()]


class Objects:
    """Root of the store can write over what is locked, and root of its machine can take it off the disk."""

    def __init__(self, locked: LockedBucket, server: Server) -> None:
        self.locked = locked
        self._disk = server.folder / "data" / locked.name

    @property
    def spec(self) -> str:
        return self.locked.url()

    def drop(self, key: str) -> None:
        whole = self._disk / key
        for path in sorted(whole.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        whole.rmdir()

    def flip(self, key: str) -> None:
        self.cover(key, flipped(open_store(self.spec).get(key)))

    def cover(self, key: str, data: bytes) -> None:
        self.locked.admin._execute("PUT", self.locked.name, key, body=data)

    def hide(self, key: str) -> None:
        self.locked.admin.remove_object(self.locked.name, key)

    def leftovers(self) -> list[str]:
        return []


def flipped(raw: bytes) -> bytes:
    changed = bytearray(raw)
    changed[len(raw) // 2] ^= 1
    return bytes(changed)


def open_store(spec: str) -> Store:
    if spec.startswith("file:"):
        return FileStore(Path(spec.removeprefix("file:")))
    from ledger.s3 import Bucket, S3Store
    from ledger.s3_settings import StoreSettings

    return S3Store(Bucket(StoreSettings.parse(spec), patience_s=5), clock)


def item(n: int) -> Item:
    return Item(leaf_bytes(LedgerEntry(Source("shard:0"), Position(0, n), n, body=LedgerAlive(n))), b"c%d" % n)


def writer(spec: str, **more: Callable[[str], None]) -> Writer:
    return Writer(open_store(spec), "0", ORIGIN, SIGNER, **more)


def commit(w: Writer, first: int, count: int) -> None:
    digest = hashlib.sha256(b"m").digest()
    cursors = {Source("shard:0"): Cursor(Position(0, first + count - 1), digest)}
    w.commit([item(n) for n in range(first, first + count)], cursors, Consumed("c", "events", 0, first + count))


def leaves(spec: str) -> list[bytes]:
    store = open_store(spec)
    return [i.leaf for key in store.keys(layout.batches("0")) for i in decode(store.get(key)).items]


def child(program: str) -> list[str]:
    """The command of a Python process that has everything of this module."""
    return [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{program}"]


def commit_and_die(spec: str, step: str) -> int:
    """In a process of its own, which ends at that step without any clean-up. Gives its exit status."""
    program = f"""
import os
from tests.ledger.writing import commit, writer
def die(step):
    if step == {step!r}:
        os._exit(9)
w = writer({spec!r}, at_step=die)
commit(w, w.head.tree.size, 2)
os._exit(0)
"""
    return subprocess.run(child(program), check=False, timeout=60).returncode


FOREVER = """
from tests.ledger.writing import commit, writer
w = writer({spec!r})
print("up", flush=True)
while True:
    commit(w, w.head.tree.size, 3)
    print(w.head.tree.size, flush=True)
"""


def commits_until_killed(spec: str) -> subprocess.Popen[str]:
    """Prints "up", then the log's size after each commit."""
    return subprocess.Popen(child(FOREVER.format(spec=spec)), stdout=subprocess.PIPE, text=True)
