"""Who says that an identity is suspended, and what a reviewer signs who lifts it."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from schemas.codec import encode
from schemas.records import Suspended
from seal.keyfiles import Enrolled
from seal.sign import Domain, Signer, check

ROLE = "behaviour"


def suspension_digest(suspended: Suspended) -> bytes:
    """SHA-256 of all of it but the signature: what is signed, and what the vote that lifts it commits to."""
    return hashlib.sha256(encode(replace(suspended, signature=b""))).digest()


def sign_suspension(signer: Signer, suspended: Suspended) -> Suspended:
    named = replace(suspended, producer=signer.name)
    return replace(named, signature=signer.sign(Domain.SUSPENSION, suspension_digest(named)))


def check_suspension(suspended: Suspended, enrolled: Enrolled, at_us: int) -> None:
    """Raises NotEnrolled or BadSignature."""
    public = enrolled.public(suspended.producer, ROLE, at_us)
    check(public, Domain.SUSPENSION, suspension_digest(suspended), suspended.signature)
