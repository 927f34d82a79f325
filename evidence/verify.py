"""`verify(path, key) -> Outcome`, for a bundle, an exported tlog-tiles directory, or a ledger store.

The trusted key comes from outside. Nothing is extracted, run or fetched, and hostile
bytes give a finding, never a crash. What a pass does not prove is the first fact.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from evidence import archive, tiles
from evidence.bundle_check import check_bundle
from evidence.logcheck import Log, check
from evidence.outcome import Code, Finding, Outcome
from evidence.report import LIMITS
from ledger.note import VerifierKey
from schemas.records import Gap


def verify(path: Path, key: VerifierKey) -> Outcome:
    """Never raises for what lies at `path`."""
    try:
        if path.is_file():
            return _bundle(path, key)
        if (path / "checkpoint").is_file():
            log = tiles.check(_files(path), key)
        elif (path / key.name.rpartition("/")[2] / "batch").is_dir():
            log = _store(path, key)
        else:
            return _cannot("no bundle, exported log or store of this key's log lies there: see the path and the key")
    except OSError as e:
        return _cannot(f"cannot be read: {e.strerror}")
    return outcome(log)


def outcome(log: Log) -> Outcome:
    gaps = [e for e in log.entries if isinstance(e.entry.body, Gap)]
    found = list(log.findings)
    for e in gaps:
        assert isinstance(e.entry.body, Gap)  # noqa: S101  # for the type checker: filtered above
        found.append(Finding(Code.GAP, f"entry {e.index}: a gap in {e.entry.body.missing_source} is on record"))
    facts = (*LIMITS[:1], f"{log.size} entries under the newest checkpoint, {len(log.entries)} of them read here")
    return Outcome(tuple(found), facts)


def _cannot(why: str) -> Outcome:
    return Outcome((Finding(Code.CANNOT, why),), LIMITS[:1])


def _bundle(path: Path, key: VerifierKey) -> Outcome:
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
    return outcome(log)


def _store(path: Path, key: VerifierKey) -> Log:
    shard = key.name.rpartition("/")[2]
    batches, extra = _numbered(path / shard / "batch", ".avro")
    notes, more = _numbered(path / shard / "checkpoint", "")
    log = check(batches, notes, shard, key, 0)
    if not batches and not notes:
        log.found(Code.MISSING, "the store has no batch of this shard")
    for name in (*extra, *more):
        log.found(Code.EXTRA, f"{shard}/{name} does not belong here")
    return log


def _numbered(folder: Path, suffix: str) -> tuple[dict[int, bytes], list[str]]:
    found: dict[int, bytes] = {}
    extra: list[str] = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        number = path.name.removesuffix(suffix) if suffix else path.name
        if len(number) == 20 and number.isdecimal() and number + suffix == path.name and path.is_file():
            found[int(number)] = path.read_bytes()
        else:
            extra.append(f"{folder.name}/{path.name}")
    return _bounded(found, extra, folder.name, suffix)


def _bounded(
    found: Mapping[int, bytes], extra: list[str], folder: str, suffix: str
) -> tuple[dict[int, bytes], list[str]]:
    """A number far beyond the rest is a strange file, not a million missing ones."""
    kept: dict[int, bytes] = {}
    for n in sorted(found):
        if n > 2 * len(found) + 10_000:
            extra.append(f"{folder}/{n:020d}{suffix}")
        else:
            kept[n] = found[n]
    return kept, extra


def _files(path: Path) -> dict[str, bytes]:
    return {
        p.relative_to(path).as_posix(): p.read_bytes()
        for p in sorted(path.rglob("*"))
        if p.is_file() and p.stat().st_size <= archive.LARGEST
    }
