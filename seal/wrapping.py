"""A key at rest: wrapped by a secret that is not on the same disk, or locked with a person's passphrase.

    wrapped1:<base64 of nonce and ciphertext>                 XChaCha20-Poly1305 under HKDF-SHA-256 of the secret
    passphrase1:<passes>:<KiB>:<base64 of salt, nonce, ciphertext>                  under Argon2id of the passphrase

What is wrapped is bound to what the key is called, so that one file put in the place of another does not open. The
secret comes in a file that something else brings: a systemd credential (which a TPM may guard), a secret of
Kubernetes or Docker, a KMS's agent. A copy of the disk is then no copy of the keys.
"""

from __future__ import annotations

import base64
import os
import secrets
import stat
import unicodedata
from pathlib import Path

from nacl import pwhash
from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
)
from nacl.exceptions import CryptoError
from nacl.exceptions import RuntimeError as SodiumFailed

from seal.digest import hkdf

WRAPPED, LOCKED = "wrapped1:", "passphrase1:"
NAMED_BY, CREDENTIAL = "TALLYSTICK_WRAP_FILE", "tallystick-wrap"
"""The variable that names the secret's file; without it, the systemd credential of this name."""
LEAST = 32
"""Bytes of a secret: `openssl rand -base64 32` gives more."""
PASSES, KIB = pwhash.argon2id.OPSLIMIT_MODERATE, pwhash.argon2id.MEMLIMIT_MODERATE // 1024
_MOST_PASSES, _MOST_KIB, _MOST_SECRET = 16, 1024 * 1024, 64 * 1024
_NONCE, _SALT = 24, pwhash.argon2id.SALTBYTES


class CannotUnwrap(ValueError):
    """The message says what is missing or wrong, and holds no secret."""


def secret_file() -> Path | None:
    """Where this process is given the secret, if it is given one."""
    named = os.environ.get(NAMED_BY)
    if named:
        return Path(named)
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    given = Path(folder) / CREDENTIAL if folder else None
    return given if given is not None and given.exists() else None


def read_secret(path: Path) -> bytes:
    """Raises CannotUnwrap."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # of a pipe it would wait, or read it once
        with os.fdopen(handle, "rb") as file:
            regular = stat.S_ISREG(os.fstat(handle).st_mode)
            found = file.read(_MOST_SECRET + 1) if regular else b""
    except OSError as e:
        raise CannotUnwrap(f"{path}: the wrapping secret cannot be read ({e.strerror})") from e
    if not regular:
        raise CannotUnwrap(f"{path}: the wrapping secret must be a file: each key that opens reads it")
    found = found.rstrip(b"\r\n")
    if not LEAST <= len(found) <= _MOST_SECRET:
        raise CannotUnwrap(f"{path}: a wrapping secret has 32 bytes to 64 KiB; make one: openssl rand -base64 32")
    return found


def wrap(key: bytes, name: str, secret: bytes) -> str:
    nonce = secrets.token_bytes(_NONCE)
    return WRAPPED + _b64(nonce + _seal(key, WRAPPED + name, nonce, hkdf(secret, b"tallystick/wrap/1")))


def unwrap(text: str, name: str, secret: bytes) -> bytes:
    """Raises CannotUnwrap."""
    sealed = _raw(text.removeprefix(WRAPPED))
    return _open(sealed, WRAPPED + name, hkdf(secret, b"tallystick/wrap/1"), "this secret did not wrap it")


def lock(key: bytes, passphrase: str) -> str:
    salt, nonce = secrets.token_bytes(_SALT), secrets.token_bytes(_NONCE)
    head = f"{LOCKED}{PASSES}:{KIB}:"
    return head + _b64(salt + nonce + _seal(key, head, nonce, _stretched(passphrase, salt, PASSES, KIB)))


def unlock(text: str, passphrase: str) -> bytes:
    """Raises CannotUnwrap."""
    head, _, sealed = text.rpartition(":")
    try:
        passes, kib = (int(each) for each in head.removeprefix(LOCKED).split(":"))
    except ValueError as e:
        raise CannotUnwrap("not a key file") from e
    if not (0 < passes <= _MOST_PASSES and 8 <= kib <= _MOST_KIB):  # else a file could take all of the memory
        raise CannotUnwrap("not a key file")
    raw = _raw(sealed)
    stretched = _stretched(passphrase, raw[:_SALT].ljust(_SALT, b"\0"), passes, kib)
    return _open(raw[_SALT:], head + ":", stretched, "this passphrase does not open it")


def _stretched(passphrase: str, salt: bytes, passes: int, kib: int) -> bytes:
    """In one normal form: keyboards of several systems write the same letter in several ways."""
    try:
        said = unicodedata.normalize("NFC", passphrase).encode()
        return pwhash.argon2id.kdf(32, said, salt, opslimit=passes, memlimit=kib * 1024)
    except UnicodeEncodeError as e:
        raise CannotUnwrap("the passphrase is no text") from e
    except SodiumFailed as e:
        raise CannotUnwrap(f"there is too little memory: a passphrase takes {kib // 1024} MiB") from e


def _seal(key: bytes, where: str, nonce: bytes, under: bytes) -> bytes:
    return crypto_aead_xchacha20poly1305_ietf_encrypt(key, where.encode(), nonce, under)


def _open(sealed: bytes, where: str, under: bytes, why: str) -> bytes:
    try:
        return crypto_aead_xchacha20poly1305_ietf_decrypt(sealed[_NONCE:], where.encode(), sealed[:_NONCE], under)
    except (CryptoError, ValueError, TypeError) as e:
        raise CannotUnwrap(why) from e


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _raw(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as e:
        raise CannotUnwrap("not a key file") from e
