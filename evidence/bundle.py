"""The evidence bundle: one zip that a stranger can navigate and check with the log's verifier key alone.

The same log, query and keys give the same bytes. It is built only of a log that verifies.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from evidence import archive
from evidence.logcheck import Indexed, Log, check
from evidence.report import page
from evidence.tables import Query, as_json, chosen, derive, draw
from ledger import layout
from ledger.note import VerifierKey
from ledger.store import Store
from ledger.tree import CompactRange
from schemas.judging import Reviewer
from seal.sign import Domain, Signer

Opener = Callable[[Indexed], bytes | None]
"""The masked text of an entry's content, or None where its key is not here or destroyed."""

README = """Tallystick evidence bundle

Open index.html. To check everything, offline, with the log's verifier key from another hand:

    tallystick verify THIS.zip --key LOG.vkey

batches/ and checkpoints/  the whole log, from its first entry: Avro files, C2SP signed notes
population.csv, exchanges.csv, exceptions.csv, gaps.csv, policies.csv, standing.csv, break-glass.csv, approvals/
                           all recomputed by the verifier from batches/
samples/                   masked text of exchanges drawn by the seed in query.json
proofs/*.tlog-proof        C2SP proofs that an entry is in the log; any tlog tool checks them
keys/                      verifier key; the log's enrolments, and the root key that signed them; reviewers' public keys
manifest.json              which release made this, and the digest of every part, signed by the log's key
"""
FORMAT = 1
"""Of what a bundle holds: raised with any change of what a verifier makes again (tests/evidence/test_format.py)."""


class CannotBuild(RuntimeError):
    """The log does not verify, or is empty; nothing was made."""


@dataclass(frozen=True, slots=True)
class Keys:
    """What stands in keys/."""

    root: bytes  # public; signs enrolments
    reviewers: tuple[Reviewer, ...]


@dataclass(frozen=True, slots=True)
class Made:
    """Which release of Tallystick made a bundle, and in which format."""

    format: int
    release: str


def build(
    store: Store,
    shard: str,
    key: VerifierKey,
    signer: Signer,
    query: Query,
    keys: Keys,
    opener: Opener | None = None,
    *,
    release: str = "",
) -> bytes:
    """The zip. `signer` is the log's own key. Raises CannotBuild, StoreBroken."""
    batches = _numbered(store, layout.batches(shard))
    notes = _numbered(store, layout.checkpoints(shard))
    newest = max(notes, default=-1)
    unsigned = [n for n in batches if n > newest]
    if len(unsigned) > 1:  # one may be on its way, or its writer died; more were signed, and somebody took that away
        raise CannotBuild(f"checkpoint {newest + 1} is missing, and those behind it; run: tallystick ledger verify")
    batches = {n: raw for n, raw in batches.items() if n <= newest}
    log = check(batches, notes, shard, key, 0)
    if log.findings:
        raise CannotBuild(f"the log does not verify: {log.findings[0].what}; run: tallystick ledger verify")
    if not log.entries:
        raise CannotBuild("the log has no entries yet")
    parts = {f"batches/{n:020d}.avro": raw for n, raw in batches.items()}
    parts |= {f"checkpoints/{n:020d}": raw for n, raw in notes.items()}
    parts |= derive(log, query)
    root = root_of(log)
    parts |= _samples(log, query, root, opener)
    parts["index.html"] = page(log, query, key, root)
    parts["README.txt"] = README.encode()
    parts["keys/log.vkey"] = f"{key}\n".encode()
    parts["keys/root.json"] = root_bytes(keys.root)
    parts["keys/reviewers.json"] = reviewers_bytes(keys.reviewers)
    parts["manifest.json"] = manifest(parts, key, signer, Made(FORMAT, release))
    return archive.pack(parts)


def root_of(log: Log) -> bytes:
    tree: CompactRange = log.base.extend(log.hashes)
    return tree.root()


def manifest(parts: Mapping[str, bytes], key: VerifierKey, signer: Signer, made: Made) -> bytes:
    listed = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(parts.items())}
    signature = signer.sign(Domain.MANIFEST, manifest_message(key.name, made, listed))
    return manifest_bytes(key.name, made, listed, base64.b64encode(signature).decode())


def manifest_message(origin: str, made: Made, listed: Mapping[str, str]) -> bytes:
    said = [2, origin, made.format, made.release, sorted(listed.items())]
    return json.dumps(said, separators=(",", ":")).encode()


def manifest_bytes(origin: str, made: Made, listed: Mapping[str, str], signature: str) -> bytes:
    said = {"format": made.format, "release": made.release, "origin": origin}
    return as_json({**said, "parts": dict(listed), "signature": signature})


def sample_facts(e: Indexed) -> dict[str, object]:
    """The part of a sample that follows from the entry."""
    return {"index": e.index, "kind": type(e.entry.body).__name__, "leaf": e.leaf.hex()}


def _samples(log: Log, query: Query, root: bytes, opener: Opener | None) -> dict[str, bytes]:
    made = {}
    for e in draw(chosen(log, query), query, root):
        opened = opener(e) if opener is not None else None
        text = None if opened is None else opened.decode("utf-8", "replace")
        made[f"samples/{e.index}.json"] = as_json({**sample_facts(e), "masked": text})
    return made


def _numbered(store: Store, prefix: str) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    for name in store.keys(prefix):
        number = name.removeprefix(prefix).removesuffix(".avro")
        if number.isdecimal():
            found[int(number)] = store.get(name)
    return found


def root_bytes(root: bytes) -> bytes:
    return as_json({"public_key": root})


def reviewers_bytes(reviewers: Iterable[Reviewer]) -> bytes:
    return as_json([_reviewer(r) for r in reviewers])


def _reviewer(r: Reviewer) -> dict[str, object]:
    return {
        "name": r.name,
        "public_key": r.public_key,
        "groups": sorted(_texts(r.groups)),
        "identities": sorted(_texts(r.identities)),
        "break_glass": r.break_glass,
    }


def _texts(values: Iterable[str]) -> list[str]:
    return list(values)
