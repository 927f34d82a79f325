"""The WORM probe: does this store keep what is locked? At every start, on two short-dated objects.

Stores were seen to take COMPLIANCE headers and not to enforce them, so nothing is believed that was
not tried here. Each attempt that must be refused is followed by a look at the object, for a store may
refuse in words alone. What was seen is evidence: `WormProbe` is an entry of the log.

The writer's credential has no right to delete, so its refused delete proves the policy and not the
lock; shortening is another matter, for the same right extends (tried first) and shortens. Who also
has an administrator's credential gives it: then a delete is refused to one that could delete.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from datetime import UTC, datetime

from minio.commonconfig import COMPLIANCE, ENABLED, GOVERNANCE
from minio.retention import Retention

from ledger.s3 import Bucket, Refused, Seen, iso
from ledger.store import StoreBroken, StoreRefused
from schemas.records import WormCheck, WormProbe

LOCKED_S = 120
EXTENDED_S = 300
SKEW_S = 60  # the retention clock is the store's own

POLICY = "give the ledger the rights of docs/writer-policy.json and no other"


class WormProbeFailed(StoreRefused):
    """The store must not be written to; one line: which check, and what was seen."""

    def __init__(self, check: str, seen: str) -> None:
        super().__init__(f"WORM probe: {check}: {seen}")
        self.check, self.seen = check, seen


class _Unlike(Exception):
    """Not what a WORM store does."""


def probe(bucket: Bucket, clock: Callable[[], int], administrator: Bucket | None = None) -> WormProbe:
    """`clock` gives microseconds since 1970. Raises WormProbeFailed at the first check that fails; StoreBroken if
    the store does not answer, which proves nothing and may pass.
    """
    run = _Run(bucket, clock)
    checks: list[tuple[str, Callable[[], str]]] = [
        ("object lock is on", run.object_lock),
        ("versioning is on", run.versioning),
        ("mode and date as asked", run.dated),
        ("clocks agree", run.clocks),
        ("extend is accepted", run.extend),
        ("shorten is refused", run.shorten),
        ("downgrade is refused", run.downgrade),
        ("create-once is kept", run.create_once),
        ("version delete is refused", run.version_delete),
        ("delete marker is refused", run.delete_marker),
        ("listing after a key", run.listing),
    ]
    if administrator is not None:
        checks.append(("lock holds against an administrator", lambda: run.against(administrator)))
    seen = []
    for name, check in checks:
        try:
            seen.append(WormCheck(name, check()))
        except (_Unlike, Refused) as e:
            raise WormProbeFailed(name, str(e)) from e
        except StoreBroken as e:
            raise StoreBroken(f"WORM probe: {name}: {e}") from e
    return WormProbe(bucket.described, tuple(seen), clock())


class _Run:
    """The checks, in their order; each gives what was seen, or raises."""

    def __init__(self, bucket: Bucket, clock: Callable[[], int]) -> None:
        self._bucket, self._clock = bucket, clock
        self._client = bucket.client
        now = clock()
        self._folder = f"probe/{now:020d}-{os.urandom(4).hex()}/"
        self._key, self._path = f"{self._folder}a", bucket.path(f"{self._folder}a")
        self._data = f"WORM probe {self._key}".encode()
        self._until = now // 1_000_000 + LOCKED_S
        self._version = ""

    def object_lock(self) -> str:
        rule = self._bucket.ask(lambda: self._client.get_object_lock_config(self._bucket.name))
        return f"on, default rule {rule.mode}" if rule.mode else "on, no default rule"

    def versioning(self) -> str:
        found = self._bucket.ask(lambda: self._client.get_bucket_versioning(self._bucket.name))
        if found.status != ENABLED or found.excluded_prefixes or found.exclude_folders:
            raise _Unlike(f"versioning is {found.status_string}, or leaves out some keys")
        return ENABLED

    def dated(self) -> str:
        if not self._bucket.put(self._key, self._data, self._until):
            raise _Unlike("a new key is said to exist")
        self._version = self._bucket.get(self._key).version
        return self._unchanged("after the write")

    def clocks(self) -> str:
        ours = self._clock() // 1_000_000
        ahead = self._bucket.get(self._key).server_time - ours
        if abs(ahead) > SKEW_S:
            raise _Unlike(f"the store's clock is {ahead:+d} s from ours: it would end each lock at another time")
        return f"{ahead:+d} s"

    def extend(self) -> str:
        self._until += EXTENDED_S - LOCKED_S
        self._retain(COMPLIANCE, self._until)
        return self._unchanged("after it was extended")

    def shorten(self) -> str:
        return self._refused("shortening", lambda: self._retain(COMPLIANCE, self._until - 60))

    def downgrade(self) -> str:
        return self._refused("GOVERNANCE mode", lambda: self._retain(GOVERNANCE, self._until + 60))

    def create_once(self) -> str:
        if self._bucket.put(self._key, b"other bytes", self._until):
            raise _Unlike("a key that exists was written over")
        self._unchanged("after a second write")
        return "refused (HTTP 412), the object is as it was"

    def version_delete(self) -> str:
        said = self._refused("deleting the version", lambda: self._delete(self._version))
        return f"{said}; whether by the lock or for want of the right, this credential cannot tell"

    def delete_marker(self) -> str:
        try:
            return self._refused("a delete marker", lambda: self._delete(None))
        except _Unlike as e:
            raise _Unlike(f"{e}; {POLICY}") from e

    def listing(self) -> str:
        """Recovery rests on it: a listing that ends early would fork the log."""
        second = f"{self._folder}b"
        self._bucket.put(second, self._data, self._until)
        for after, there in (("", [self._key, second]), (self._key, [second]), (second, [])):
            found = [v.key for v in self._bucket.versions(self._folder, after)]
            first = [v.key for v in self._bucket.versions(self._folder, after, 1)]
            if found != there or first != there[:1]:
                raise _Unlike(f"after {after or 'nothing'!r} there are {len(there)} keys, the store lists {len(found)}")
        return "two keys, one version each"

    def against(self, administrator: Bucket) -> str:
        """A refusal counts only from one who may delete: an unlocked version is deleted first."""
        control, client = f"{self._path}-unlocked", administrator.client
        name = administrator.name
        made = administrator.ask(lambda: client.put_object(name, control, io.BytesIO(b"unlocked"), 8))
        try:
            administrator.ask(lambda: client.remove_object(name, control, made.version_id))
        except Refused as e:
            raise _Unlike(f"the administrator could not delete an unlocked version ({e.code})") from e
        said = self._refused(
            "deleting the version",
            lambda: administrator.ask(lambda: client.remove_object(name, self._path, self._version)),
        )
        return f"{said}, to a credential that had just deleted an unlocked version"

    # --- one attempt, and the look after it -----------------------------------------------

    def _refused(self, what: str, attempt: Callable[[], object]) -> str:
        try:
            attempt()
        except Refused as e:
            self._unchanged(f"although {what} was refused")
            return f"refused ({e.code}), the object is as it was"
        raise _Unlike(f"{what} was accepted")

    def _unchanged(self, when: str) -> str:
        """The object's bytes, version, mode and date are those that they must be."""
        seen = self._bucket.get(self._key)
        expected = (self._data, self._version, COMPLIANCE, self._until)
        if (seen.data, seen.version, seen.lock, seen.until) != expected:
            raise _Unlike(f"{when} the store shows {_shown(seen)}, not {COMPLIANCE} until {iso(self._until)}")
        return f"{COMPLIANCE} until {iso(self._until)}"

    def _retain(self, mode: str, until: int) -> None:
        kept = Retention(mode, datetime.fromtimestamp(until, UTC))
        self._bucket.ask(lambda: self._client.set_object_retention(self._bucket.name, self._path, kept, self._version))

    def _delete(self, version: str | None) -> None:
        self._bucket.ask(lambda: self._client.remove_object(self._bucket.name, self._path, version))


def _shown(seen: Seen) -> str:
    kept = f"{seen.lock} until {iso(seen.until)}" if seen.lock else "no lock"
    return f"version {seen.version}, {len(seen.data)} bytes, {kept}"
