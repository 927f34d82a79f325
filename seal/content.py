"""Content keys: one a session, the one store in the system that forgets.

Masked content is encrypted under its session's key; destroying the key erases
the content everywhere it was copied to, and the log still verifies. The keys lie
in SQLite, wrapped by the key-encryption key, durable before first use.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterable
from pathlib import Path

from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
)
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from schemas.ids import SessionId
from seal.box import CannotOpen
from seal.digest import keyed

NONCE = 24


class ContentGone(KeyError):
    """There is no key for this session: it was destroyed, or never made."""


def encrypt(key: bytes, where: bytes, plain: bytes) -> bytes:
    """Nonce ‖ ciphertext. The nonce is a keyed digest of place and text, so that a replay gives
    the same bytes and no nonce ever meets two texts."""
    nonce = keyed(key, b"content nonce", len(where).to_bytes(4, "big") + where + plain)[:NONCE]
    return nonce + crypto_aead_xchacha20poly1305_ietf_encrypt(plain, where, nonce, key)


def decrypt(key: bytes, where: bytes, sealed: bytes) -> bytes:
    """Raises CannotOpen."""
    try:
        return crypto_aead_xchacha20poly1305_ietf_decrypt(sealed[NONCE:], where, sealed[:NONCE], key)
    except (CryptoError, ValueError, TypeError) as e:
        raise CannotOpen("the content does not open with its session's key") from e


class ContentKeys:
    """Several processes may use one file. Everything is durable when a method returns."""

    def __init__(self, path: Path, kek: bytes) -> None:
        self._box = SecretBox(kek)
        path.touch(mode=0o600, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None, timeout=10, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute("PRAGMA secure_delete=ON")
        self._db.execute("CREATE TABLE IF NOT EXISTS content_key (session TEXT PRIMARY KEY, wrapped BLOB) STRICT")

    @classmethod
    def reading(cls, path: Path, kek: bytes) -> ContentKeys:
        """Opens what is there, to `get` alone. Raises FileNotFoundError, OSError."""
        opened = cls.__new__(cls)
        opened._box = SecretBox(kek)
        try:
            path.stat()
            opened._db = sqlite3.connect(
                f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=10
            )
            opened._db.execute("SELECT 1 FROM content_key LIMIT 1")
        except sqlite3.Error as e:
            raise OSError(f"{path}: not a file of content keys") from e
        return opened

    def ensure(self, sessions: Iterable[SessionId]) -> dict[SessionId, bytes]:
        """The key of each session, made where there is none. A destroyed key stays destroyed: ContentGone."""
        found: dict[SessionId, bytes] = {}
        missing: list[SessionId] = []
        for session in dict.fromkeys(sessions):
            try:
                found[session] = self.get(session)
            except ContentGone:
                missing.append(session)
        if missing:
            self._make(missing)
            found.update({session: self.get(session) for session in missing})
        return found

    def _make(self, sessions: list[SessionId]) -> None:
        rows = [(s, self._box.encrypt(secrets.token_bytes(32))) for s in sessions]
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.executemany("INSERT INTO content_key VALUES (?, ?) ON CONFLICT DO NOTHING", rows)
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def get(self, session: SessionId) -> bytes:
        """Raises ContentGone."""
        row = self._db.execute("SELECT wrapped FROM content_key WHERE session = ?", (session,)).fetchone()
        if row is None or row[0] is None:
            raise ContentGone(session)
        try:
            return self._box.decrypt(row[0])
        except CryptoError as e:
            raise CannotOpen("the content key is wrapped by another key-encryption key") from e

    def destroy(self, session: SessionId) -> None:
        """Erases the session's content, for ever; the row stays, so that no new key is made."""
        self._db.execute(
            "INSERT INTO content_key VALUES (?, NULL) ON CONFLICT (session) DO UPDATE SET wrapped = NULL", (session,)
        )
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        self._db.close()
