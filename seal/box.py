"""Sealing what the gateway records, for the masker alone.

A chunk is XChaCha20-Poly1305 under the epoch's key; its nonce is the chunk's
number. So **a number is sealed once**: whoever retries a failed write writes the
same sealed bytes again, or ends the epoch. The epoch key travels in an X25519
sealed box.
"""

from __future__ import annotations

from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
    crypto_aead_xchacha20poly1305_ietf_KEYBYTES,
)
from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, PublicKey, SealedBox

from seal.digest import hkdf

KEY_BYTES = crypto_aead_xchacha20poly1305_ietf_KEYBYTES
_NONCE_HEAD = bytes(16)


class CannotOpen(ValueError):
    """These bytes were not sealed with this key for this place, or were changed."""


class EpochKey:
    """One epoch's key. Never written anywhere but sealed to the masker."""

    __slots__ = ("_about", "_key")

    def __init__(self, key: bytes, recorder: str, epoch: int) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"an epoch key has {KEY_BYTES} bytes, not {len(key)}")
        self._key = key
        self._about = b"tallystick/chunk/1\0" + recorder.encode() + b"\0" + epoch.to_bytes(8, "big")

    def __repr__(self) -> str:
        return "EpochKey(…)"

    def seal(self, chunk: int, plain: bytes) -> bytes:
        return crypto_aead_xchacha20poly1305_ietf_encrypt(
            plain, self._about, _NONCE_HEAD + chunk.to_bytes(8, "big"), self._key
        )

    def open(self, chunk: int, sealed: bytes) -> bytes:
        """Raises CannotOpen."""
        try:
            return crypto_aead_xchacha20poly1305_ietf_decrypt(
                sealed, self._about, _NONCE_HEAD + chunk.to_bytes(8, "big"), self._key
            )
        except (CryptoError, ValueError, TypeError) as e:
            raise CannotOpen(f"chunk {chunk} does not open with its epoch's key") from e

    def digest_key(self) -> bytes:
        """For digests of what was forwarded but not captured."""
        return hkdf(self._key, b"tallystick/elided/1")


def seal_to(public: bytes, secret: bytes) -> bytes:
    """An X25519 sealed box: only the holder of the private half opens it."""
    return SealedBox(PublicKey(public)).encrypt(secret)


def open_sealed(private: bytes, sealed: bytes) -> bytes:
    """Raises CannotOpen."""
    try:
        return SealedBox(PrivateKey(private)).decrypt(sealed)
    except (CryptoError, ValueError, TypeError) as e:
        raise CannotOpen("the sealed key does not open with this masker key") from e
