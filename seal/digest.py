"""Keyed digests, and the two of an approval.

No digest of raw bytes leaves a gateway or a worker unkeyed: `DELETE … WHERE ssn =
$1` has 10^9 possible values and falls to a guess. The match key finds a command
again and never leaves the system; the commitment is salted, signed and stored.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

from schemas.ids import ApprovalId, HoldId

_IPAD, _OPAD = (bytes(n ^ pad for n in range(256)) for pad in (0x36, 0x5C))


def hkdf(secret: bytes, info: bytes, length: int = 32) -> bytes:
    """HKDF-SHA-256 (RFC 5869), no salt, at most 255 blocks of 32 bytes."""
    extracted = hmac.digest(bytes(32), secret, "sha256")
    out, block = b"", b""
    for n in range(1, (length + 31) // 32 + 1):
        block = hmac.digest(extracted, block + info + bytes([n]), "sha256")
        out += block
    return out[:length]


def keyed(secret: bytes, purpose: bytes, data: bytes) -> bytes:
    """HMAC-SHA-256 of `data`, of no use for another purpose. 32 bytes."""
    return hmac.digest(secret, b"tallystick/" + purpose + b"\0" + data, "sha256")


class Keyed:
    """`keyed` of one secret and purpose for many data: what is the same in all is digested once (RFC 2104)."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, secret: bytes, purpose: bytes) -> None:
        """`secret`: 64 bytes at most."""
        if len(secret) > 64:
            raise ValueError("a secret is one block of SHA-256 at most")
        block = secret.ljust(64, b"\0")
        self._inner = hashlib.sha256(block.translate(_IPAD) + b"tallystick/" + purpose + b"\0")
        self._outer = hashlib.sha256(block.translate(_OPAD))

    def __call__(self, data: bytes) -> bytes:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(data)
        outer.update(inner.digest())
        return outer.digest()


def match_key(secret: bytes, canonical: bytes) -> bytes:
    """Finds the same command again; stays inside."""
    return keyed(secret, b"match", canonical)


def commitment_salt(secret: bytes, hold: HoldId) -> bytes:
    """The salt of the request that this hold opened; derived, so it is stored nowhere in clear."""
    return keyed(secret, b"salt", hold.encode())


def commitment(salt: bytes, canonical: bytes) -> bytes:
    """What reviewers sign: SHA-256(salt ‖ canonical), 32 bytes."""
    return hashlib.sha256(salt + canonical).digest()


def approval_id(hold: HoldId) -> ApprovalId:
    """The request's id, known to the client before the approvals step ever saw the hold."""
    digest = hashlib.sha256(b"tallystick/approval/1\0" + hold.encode()).digest()
    return ApprovalId("req-" + base64.b32encode(digest[:10]).decode().lower())
