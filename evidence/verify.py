"""`verify(path, key) -> Outcome`, for a bundle, an exported tlog-tiles directory, or a ledger store.

The trusted key comes from outside. Nothing is extracted, run or fetched, and hostile
bytes give a finding, never a crash. What a pass does not prove is the first fact.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from functools import partial
from pathlib import Path

from evidence import archive
from evidence.bundle_check import check_bundle, root_key
from evidence.logcheck import Log
from evidence.outcome import Code, Finding, Outcome
from evidence.report import LIMITS, WORD
from ledger.check import GAPS, Kind, Report, check_directory, root_of_export, was_seen
from ledger.note import Checkpoint, VerifierKey
from ledger.store import FileStore, Store, StoreBroken
from ledger.succession import check_shards
from schemas.records import Gap, LedgerAdopted

CODES = {
    Kind.ALTERED: Code.ALTERED,
    Kind.MISSING: Code.MISSING,
    Kind.EXTRA: Code.EXTRA,
    Kind.GAP: Code.GAP,
    Kind.CANNOT: Code.CANNOT,
}


def verify(path: Path, key: VerifierKey, seen: Checkpoint | None = None) -> Outcome:
    """`seen` is a checkpoint that somebody outside kept. Never raises for what lies at `path`."""
    shard = key.name.rpartition("/")[2]
    try:
        if path.is_file():
            return _bundle(path, key, seen)
        if (path / "checkpoint").is_file():
            report = check_directory(path, key)
            _hold_against(report, partial(root_of_export, path), seen)
            return _of_report(report)
        if (path / shard).is_dir():
            return verify_store(FileStore(path), shard, key, seen)
    except OSError as e:
        return _cannot(f"cannot be read: {e.strerror or e}")
    return _cannot("no bundle, exported log or store of this key's log lies there: see the path and the key")


def verify_store(store: Store, shard: str, key: VerifierKey, seen: Checkpoint | None = None) -> Outcome:
    """A shard where its ledger wrote it, and those under whose names it went on. Never raises for what lies there."""
    try:
        reports = check_shards(store, shard, key.name, key.public)
    except StoreBroken as e:
        return _cannot(f"cannot be read: {e}")
    _hold_against(reports[0][1], reports[0][1].signed.get, seen)
    if len(reports) == 1:
        return _of_report(reports[0][1])
    outcomes = [(name, _of_report(report)) for name, report in reports]
    about = "; ".join(f"shard {name}: {one.about}" for name, one in outcomes)
    return Outcome(tuple(f for _, one in outcomes for f in one.findings), LIMITS[:1], about)


def _hold_against(report: Report, root_at: Callable[[int], bytes | None], seen: Checkpoint | None) -> None:
    wrong = was_seen(report.size, root_at, seen) if seen is not None and report.intact else None
    if wrong is not None:
        report.add(wrong[0], "checkpoint", wrong[1])


def _of_report(report: Report) -> Outcome:
    """What the ledger's own check says of a log that lies there whole."""
    found = tuple(Finding(CODES[f.kind], f"{f.where}: {f.what}") for f in report.findings)
    return Outcome(found, LIMITS[:1], f"{report.size} entries under the newest checkpoint")


def outcome(log: Log, root: bytes | None) -> Outcome:
    """`root` is the key that the bundle says signed its enrolments."""
    found = list(log.findings)
    for e in log.entries:
        if isinstance(e.entry.body, Gap):
            found.append(Finding(Code.GAP, f"entry {e.index}: a gap in {e.entry.body.missing_source} is on record"))
        elif isinstance(e.entry.body, LedgerAdopted):
            found.append(Finding(Code.GAP, f"entry {e.index} says that {GAPS['LedgerAdopted']}"))
    facts: tuple[str, ...] = LIMITS[:1]
    if root is not None:
        facts += (f"{WORD} The root key is {base64.b64encode(root).decode()}.",)
    return Outcome(tuple(found), facts, f"{log.size} entries under the newest checkpoint")


def _cannot(why: str) -> Outcome:
    return Outcome((Finding(Code.CANNOT, why),), LIMITS[:1])


def _bundle(path: Path, key: VerifierKey, seen: Checkpoint | None) -> Outcome:
    if path.stat().st_size > archive.LARGEST:
        return _cannot(f"a bundle has at most {archive.LARGEST} bytes")
    data = path.read_bytes()
    try:
        unpacked = archive.unpack(data)
    except archive.NotAZip as e:
        if data[:2] == b"PK" or b"PK\x01\x02" in data:
            return Outcome((Finding(Code.ALTERED, f"the bundle was damaged: {e}"),), LIMITS[:1])
        return _cannot("the file is no bundle")
    log = check_bundle(unpacked, key)
    if not log.findings and not archive.same(unpacked, data):
        log.found(Code.ALTERED, "the zip was changed outside its parts; every part is as it was")
    if seen is not None and not log.findings:
        wrong = was_seen(log.size, lambda size: log.base.extend(log.hashes[:size]).root(), seen)
        if wrong is not None:
            log.found(CODES[wrong[0]], f"the log: {wrong[1]}")
    return outcome(log, root_key(unpacked.parts))
