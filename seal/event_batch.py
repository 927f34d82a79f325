"""Who made a message on `events`: the ledger takes no other."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from schemas.codec import encode
from schemas.records import EventBatch
from seal.keyfiles import Enrolled
from seal.sign import BadSignature, Domain, Signer, check

PRODUCERS = {
    "journal": "pipeline",
    "beats": "gateway",
    "approvals": "approvals",
    "behaviour": "behaviour",
    "undecoded": "pipeline",
}
"""Which role's key may sign for a source, by the source's first word."""


def _message(batch: EventBatch) -> bytes:
    return hashlib.sha256(encode(replace(batch, signature=b""))).digest()


def sign_batch(signer: Signer, batch: EventBatch) -> EventBatch:
    named = replace(batch, producer=signer.name)
    return replace(named, signature=signer.sign(Domain.EVENTS, _message(named)))


def check_batch(batch: EventBatch, enrolled: Enrolled, at_us: int) -> None:
    """Raises NotEnrolled or BadSignature; a key of another role may not speak for this source."""
    role = PRODUCERS.get(batch.source.partition(":")[0])
    if role is None:
        raise BadSignature("no role may sign for this kind of source")
    check(enrolled.public(batch.producer, role, at_us), Domain.EVENTS, _message(batch), batch.signature)
