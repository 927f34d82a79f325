"""Create-once storage: what the ledger needs of any object store, and the file one.

There is no overwrite and no delete. `create` decides: exactly one of several
writers gets CREATED. Nobody ever asks whether a key exists (a hole, a pruned
object and a delete marker would answer alike); recovery asks what lies *after*.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from enum import Enum
from pathlib import Path
from typing import Protocol

from ledger.container import LARGEST_FILE


class Creation(Enum):
    CREATED = "created"
    SAME = "same"  # the key was there with these bytes: our own earlier try
    OTHER = "other"  # the key was there with other bytes: somebody else's


class StoreBroken(RuntimeError):
    """The store did not take or give what it must; the message names the key."""


class StoreRefused(StoreBroken):
    """The store is there and must not be used as it is: somebody must mend it first."""


class Store(Protocol):
    @property
    def name(self) -> str:
        """What it is and what it promises, for the record."""

    def create(self, key: str, data: bytes) -> Creation:
        """Durable when it returns. Raises StoreBroken."""

    def get(self, key: str) -> bytes:
        """Raises StoreBroken if there is nothing or it cannot be read."""

    def any_after(self, prefix: str, key: str) -> bool:
        """Does anything under `prefix` lie after `key` ("" = anything at all)?"""

    def keys(self, prefix: str) -> list[str]:
        """Everything under `prefix`, in order; a key that is hidden by a delete marker, too."""

    def irregular(self, prefix: str) -> dict[str, str]:
        """Keys under `prefix` that have been written over or hidden, and what there is: `get` may not show the first.

        A store without versions has none.
        """


class FileStore:
    """A directory. Create-once by link(2); read-only files; the directory is fsynced.

    It has no WORM lock: whoever administers the machine can replace all of it.
    Who only reads changes nothing: what a dead writer left is tidied at the first `create`.
    """

    def __init__(self, directory: Path) -> None:
        self._dir = directory
        self._tmp = directory / ".tmp"
        self._tidy = False

    @property
    def name(self) -> str:
        return "file store without a WORM lock"

    def create(self, key: str, data: bytes) -> Creation:
        path = self._dir / key
        try:
            self._tidy_up()
            self._folder(path.parent)
            return self._create(path, data)
        except OSError as e:
            raise StoreBroken(f"{key}: cannot be written ({e.strerror})") from e

    def _tidy_up(self) -> None:
        if self._tidy:
            return
        self._tmp.mkdir(parents=True, exist_ok=True)
        for leftover in self._tmp.iterdir():  # of a writer that died before its link(2)
            if not _alive(leftover.name):
                leftover.unlink(missing_ok=True)
        self._tidy = True

    def _folder(self, folder: Path) -> None:
        if folder.is_dir():
            return
        self._folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _fsync_dir(folder.parent)

    def _create(self, path: Path, data: bytes) -> Creation:
        temporary = self._tmp / f"{os.getpid()}-{os.urandom(6).hex()}"
        try:
            with temporary.open("xb") as f:
                f.write(data)
                f.flush()
                os.fchmod(f.fileno(), 0o444)
                os.fsync(f.fileno())
            try:
                os.link(temporary, path)  # the one point of decision: EEXIST if another was first
            except FileExistsError:
                _fsync_dir(path.parent)  # the other one's link may not be durable yet
                return Creation.SAME if path.read_bytes() == data else Creation.OTHER
            _fsync_dir(path.parent)
            return Creation.CREATED
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()

    def get(self, key: str) -> bytes:
        try:
            return read_file(self._dir / key, LARGEST_FILE)
        except OSError as e:
            raise StoreBroken(f"{key}: cannot be read ({e.strerror})") from e

    def any_after(self, prefix: str, key: str) -> bool:
        try:
            with os.scandir(self._dir / prefix) as found:
                return any(prefix + entry.name > key for entry in found)
        except FileNotFoundError:
            return False
        except OSError as e:
            raise StoreBroken(f"{prefix}: cannot be listed ({e.strerror})") from e

    def keys(self, prefix: str) -> list[str]:
        folder = self._dir / prefix
        try:
            names = sorted(os.listdir(folder))
        except FileNotFoundError:
            return []
        except OSError as e:
            raise StoreBroken(f"{prefix}: cannot be listed ({e.strerror})") from e
        return [prefix + name for name in names]

    def irregular(self, prefix: str) -> dict[str, str]:
        return {}


def read_file(path: Path, most: int) -> bytes:
    """A plain file's bytes, at most one more than `most`: so a longer one is seen to be longer. Raises OSError.

    A pipe in its place would keep its reader for ever, and a file of holes can say any length.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "not a plain file")
        with os.fdopen(handle, "rb", closefd=False) as f:
            return f.read(most + 1)
    finally:
        os.close(handle)


def _alive(name: str) -> bool:
    """Is the process that made this temporary file still there?"""
    pid = name.partition("-")[0]
    if not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _fsync_dir(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
