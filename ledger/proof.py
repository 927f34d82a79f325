"""C2SP tlog-proof: one entry's inclusion proof and its checkpoint in one text. Pure."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass

from ledger.note import BadNote, VerifierKey, open_checkpoint
from ledger.tree import ProofInvalid, leaf_hash, verify_inclusion

HEAD = "c2sp.org/tlog-proof@v1"


@dataclass(frozen=True, slots=True)
class Proof:
    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes  # the signed note

    def text(self) -> str:
        lines = [HEAD, f"index {self.index}", *(base64.b64encode(h).decode() for h in self.hashes)]
        return "\n".join(lines) + "\n\n" + self.checkpoint.decode()


def parse(text: str) -> Proof:
    """Raises ProofInvalid."""
    head, blank, note = text.partition("\n\n")
    lines = head.split("\n")
    if not blank or lines[0] != HEAD or len(lines) < 2 or len(lines) > 66:
        raise ProofInvalid("not a tlog-proof")
    if not re.fullmatch(r"index (0|[1-9][0-9]{0,18})", lines[1]):
        raise ProofInvalid("the proof names no index")
    try:
        hashes = tuple(base64.b64decode(line, validate=True) for line in lines[2:])
    except ValueError as e:
        raise ProofInvalid("a hash is not base64") from e
    if any(len(h) != 32 for h in hashes):
        raise ProofInvalid("a hash has not 32 bytes")
    return Proof(int(lines[1][6:]), hashes, note.encode())


def verify(proof: Proof, leaf: bytes, key: VerifierKey) -> None:
    """The leaf is entry `proof.index` of the log that `key` signs. Raises ProofInvalid."""
    try:
        checkpoint = open_checkpoint(proof.checkpoint, key)
    except BadNote as e:
        raise ProofInvalid(str(e)) from e
    verify_inclusion(leaf_hash(leaf), proof.index, checkpoint.size, proof.hashes, checkpoint.root)
