"""What is recorded, opened for reading: the log, its key, and masked content where its key still is.

Nothing here writes. What is in the way is one line that says what to do, and an exit code.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from ledger import layout
from ledger.note import VerifierKey
from ledger.reader import StoredEntry, entries
from ledger.store import Store, StoreBroken
from schemas.ids import SessionId
from schemas.records import Exchange, Hold, LedgerEntry
from seal import keyfiles
from seal.content import ContentKeys
from tallystick import config as configuration
from tallystick.backends import open_store
from tallystick.config import Config
from tallystick.terminal import fail, note

SHARD = "0"
"""The embedded bus has one partition, so the log has one shard."""

BROKEN = 1


class Content(StrEnum):
    """What became of an entry's masked text."""

    SHOWN = "shown"
    NONE = "none"  # the entry has none
    ERASED = "erased"  # its session's key was destroyed: only the facts remain
    NO_KEY = "no key here"  # the content keys, or their key-encryption key, are not in this place
    ALTERED = "altered"  # not the bytes that the entry names


@dataclass(frozen=True, slots=True)
class Recorded:
    config: Config
    shard: str
    store: Store
    key: VerifierKey
    contents: ContentKeys | None

    def entries(self) -> Iterator[tuple[StoredEntry, LedgerEntry]]:
        """All that is under a checkpoint, in order."""
        with reading():
            for found in entries(self.store, self.shard):
                yield found, found.entry

    def masked(self, found: StoredEntry, entry: LedgerEntry) -> tuple[Content, Any]:
        """The masked command (and answer) of an Exchange or Hold, as the pipeline wrote them."""
        return masked(self.contents, entry, found.content)


def open_log(config: Path, shard: str = SHARD) -> Recorded:
    found = load(config)
    try:
        enrolled = keyfiles.enrolled(found.keys)
        public = enrolled.public("ledger", "ledger", time.time_ns() // 1000)
        key = VerifierKey(keyfiles.origin(found.keys, shard), public)
    except (keyfiles.KeysUnusable, keyfiles.NotEnrolled) as e:
        fail(str(e))
    try:
        store = open_store(found)
        if not store.any_after(layout.batches(shard), ""):
            fail(f"{found.store}: nothing is recorded yet; start with: tallystick up --config {config}")
    except (configuration.ConfigInvalid, StoreBroken) as e:
        fail(str(e))
    return Recorded(found, shard, store, key, _contents(found))


def load(config: Path) -> Config:
    try:
        return configuration.load(config)
    except configuration.ConfigInvalid as e:
        fail(str(e))


@contextlib.contextmanager
def reading() -> Iterator[None]:
    """A log that cannot be read ends the command with one line."""
    from ledger.entry import NotALeaf
    from ledger.reader import CannotRead
    from ledger.recovery import CannotRecover

    try:
        yield
    except (CannotRead, CannotRecover, StoreBroken, NotALeaf) as e:
        fail(f"{e}; see what is whole with: tallystick ledger verify", BROKEN)


def masked(contents: ContentKeys | None, entry: LedgerEntry, content: bytes) -> tuple[Content, Any]:
    from seal.box import CannotOpen
    from seal.content import ContentGone, decrypt
    from stream.places import exchange_place, hold_place

    body = entry.body
    if not isinstance(body, Exchange | Hold) or not body.content_sha256:
        return Content.NONE, None
    if hashlib.sha256(content).digest() != body.content_sha256:
        return Content.ALTERED, None
    if contents is None:
        return Content.NO_KEY, None
    place = hold_place(body.hold) if isinstance(body, Hold) else exchange_place(body.session, body.number)
    try:
        return Content.SHOWN, json.loads(decrypt(contents.get(SessionId(body.session)), place, content))
    except ContentGone:
        return Content.ERASED, None
    except CannotOpen:
        return Content.NO_KEY, None
    except ValueError:
        return Content.ALTERED, None


def _contents(config: Config) -> ContentKeys | None:
    try:
        return ContentKeys.reading(config.content_keys, keyfiles.load_secret(config.keys, "content"))
    except (OSError, keyfiles.KeysUnusable) as e:
        if (config.keys / "content.secret").exists():  # else it is meant to be so
            note(str(e))
        return None  # an auditor's copy has the log and not the keys: facts are shown, texts are not


def iso(us: int) -> str:
    """2026-01-31T09:30:00.000000Z"""
    try:
        return datetime.fromtimestamp(us / 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    except (OverflowError, ValueError, OSError):
        return f"{us} microseconds"


def as_json(value: Any) -> str:
    """One line of ASCII; bytes as hex."""
    return json.dumps(value, default=_hex)


def _hex(value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError(f"no JSON form for {type(value).__name__}")
