"""C2SP signed notes, checkpoints and verifier keys (signed-note, tlog-checkpoint). Pure.

A checkpoint in the store has two signatures by the log's key: the C2SP one (type 0x01),
which is all that others need, and one of our own type (0xff `tallystick-batch`) that
carries SHA-256 of the batch file. So the batch's cursors and content are signed too,
and every byte of the newest batch is covered, not only what its root covers. Verifiers
that do not know the type ignore it, as C2SP signed-note tells them to.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass

from seal.sign import BadSignature, Signer, check_note

ED25519 = b"\x01"
BATCH_DIGEST = b"\xfftallystick-batch"
LARGEST = 64 * 1024
_SIGNATURE = re.compile(r"^— (\S+) ([A-Za-z0-9+/]+={0,2})$")


class BadNote(ValueError):
    """Not a signed note, or not signed by the key it should be."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log says of itself: C2SP tlog-checkpoint, without extension lines."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A log's public key with its name: `<name>+<key id>+<base64>`."""

    name: str
    public: bytes

    @property
    def id(self) -> bytes:
        return self._id(ED25519)

    @property
    def batch_id(self) -> bytes:
        """The key id of the signatures that carry a batch's digest."""
        return self._id(BATCH_DIGEST)

    def _id(self, kind: bytes) -> bytes:
        return hashlib.sha256(self.name.encode() + b"\n" + kind + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(ED25519 + self.public).decode()}"


def parse_vkey(text: str) -> VerifierKey:
    """Raises BadNote."""
    name, _, rest = text.strip().partition("+")
    key_id, _, encoded = rest.partition("+")
    try:
        raw = base64.b64decode(encoded, validate=True)
    except ValueError as e:
        raise BadNote("not a verifier key: <name>+<key id>+<base64>") from e
    if not name or raw[:1] != ED25519 or len(raw) != 33:
        raise BadNote("not an Ed25519 verifier key: <name>+<key id>+<base64>")
    key = VerifierKey(name, raw[1:])
    if key.id.hex() != key_id:
        raise BadNote("the verifier key's id is not that of its name and key")
    return key


def sign_checkpoint(checkpoint: Checkpoint, signer: Signer) -> bytes:
    """A pure function of the checkpoint and the key: signing again gives the same bytes."""
    text = checkpoint.text()
    key = VerifierKey(checkpoint.origin, signer.public)
    signature = base64.b64encode(key.id + signer.sign_note(text.encode())).decode()
    return f"{text}\n— {checkpoint.origin} {signature}\n".encode()


def open_note(note: bytes, key: VerifierKey) -> str:
    """The text that `key` signed; signatures by others are ignored. Raises BadNote."""
    if len(note) > LARGEST:
        raise BadNote("too long for a signed note")
    try:
        whole = note.decode("utf-8")
    except UnicodeDecodeError as e:
        raise BadNote("a signed note is UTF-8") from e
    text, blank, signatures = whole.rpartition("\n\n")
    if not blank or not signatures.endswith("\n"):
        raise BadNote("a signed note has a text, an empty line and signature lines")
    text += "\n"
    for line in signatures[:-1].split("\n"):
        found = _SIGNATURE.match(line)
        if found is None:
            raise BadNote("a signature line is malformed")
        try:
            raw = base64.b64decode(found[2], validate=True)
        except ValueError as e:
            raise BadNote("a signature line is malformed") from e
        if found[1] != key.name or raw[:4] != key.id:
            continue
        if base64.b64encode(raw).decode() != found[2]:  # the bits behind the last byte are nobody's to choose
            raise BadNote("a signature line is malformed")
        try:
            check_note(key.public, text.encode(), raw[4:])
        except BadSignature as e:
            raise BadNote("the signature is not by the trusted key over this text") from e
        return text
    raise BadNote("no signature by the trusted key")


def open_checkpoint(note: bytes, key: VerifierKey) -> Checkpoint:
    """Raises BadNote."""
    lines = open_note(note, key).split("\n")
    if len(lines) < 4 or lines[0] != key.name or not re.fullmatch(r"0|[1-9][0-9]{0,18}", lines[1]):
        raise BadNote("not a checkpoint: origin, size, root")
    try:
        found_root = base64.b64decode(lines[2], validate=True)
    except ValueError as e:
        raise BadNote("the root is not base64") from e
    if len(found_root) != 32:
        raise BadNote("the root has not 32 bytes")
    return Checkpoint(lines[0], int(lines[1]), found_root)


def sign_stored(checkpoint: Checkpoint, batch_digest: bytes, signer: Signer) -> bytes:
    """The note under `checkpoint/<seq>`: a pure function of the batch and the key."""
    key = VerifierKey(checkpoint.origin, signer.public)
    signature = signer.sign_note(_digest_message(checkpoint, batch_digest))
    line = base64.b64encode(key.batch_id + batch_digest + signature).decode()
    return sign_checkpoint(checkpoint, signer) + f"— {checkpoint.origin} {line}\n".encode()


def open_stored(note: bytes, key: VerifierKey) -> tuple[Checkpoint, bytes]:
    """(checkpoint, SHA-256 of its batch file), every byte of the note accounted for. Raises BadNote."""
    checkpoint = open_checkpoint(note, key)
    lines = note.decode().rpartition("\n\n")[2].split("\n")
    try:
        first, raw = (base64.b64decode(line.rpartition(" ")[2], validate=True) for line in lines[:-1])
    except ValueError as e:
        raise BadNote("the checkpoint does not carry its batch's digest") from e
    if len(raw) != 4 + 32 + 64 or raw[:4] != key.batch_id:
        raise BadNote("the checkpoint does not carry its batch's digest")
    digest = raw[4:36]
    try:
        check_note(key.public, _digest_message(checkpoint, digest), raw[36:])
    except BadSignature as e:
        raise BadNote("the batch's digest is not signed by the trusted key") from e
    if note != f"{checkpoint.text()}\n{_line(key, first)}{_line(key, raw)}".encode():
        raise BadNote("the checkpoint is not written as it was signed")
    return checkpoint, digest


def public_part(note: bytes) -> bytes:
    """A stored checkpoint without the digest's line: what a static log shows."""
    return note[: note.index(b"\n", note.index(b"\n\n") + 2) + 1]


def _digest_message(checkpoint: Checkpoint, batch_digest: bytes) -> bytes:
    return b"tallystick/batch/1\0" + batch_digest + checkpoint.text().encode()


def _line(key: VerifierKey, raw: bytes) -> str:
    return f"— {key.name} {base64.b64encode(raw).decode()}\n"
