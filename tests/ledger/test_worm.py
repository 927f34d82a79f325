"""The probe: a store that keeps its locks passes, and each that lies in one thing is refused with that thing named."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest

from ledger.entry import leaf_bytes, read_leaf
from ledger.s3 import LOCK
from ledger.store import StoreBroken
from ledger.worm import WormProbeFailed, probe
from schemas.ids import Position, Source
from schemas.records import LedgerEntry, WormProbe
from tests.ledger.locked import LockedBucket, clock
from tests.ledger.lying_s3 import Answer, Asked, Lie, Send, error, lying

MODE, UNTIL = "x-amz-object-lock-mode", "x-amz-object-lock-retain-until-date"


def seen(found: WormProbe) -> dict[str, str]:
    return {c.name: c.seen for c in found.checks}


def test_a_store_that_keeps_its_locks_passes_and_says_what_was_seen(locked: LockedBucket) -> None:
    found = probe(locked.bucket(), clock)
    said = seen(found)
    assert len(said) == 11
    assert said["shorten is refused"] == "refused (InvalidRequest), the object is as it was"
    assert "refused (AccessDenied)" in said["version delete is refused"]
    assert "this credential cannot tell" in said["version delete is refused"]
    assert locked.name in found.store
    entry = LedgerEntry(Source("shard:0"), Position(0, 0), 1, body=found)
    assert read_leaf(leaf_bytes(entry)) == entry


def test_with_an_administrators_credential_the_lock_itself_refuses(locked: LockedBucket) -> None:
    said = seen(probe(locked.bucket(), clock, locked.bucket(locked.root)))
    assert said["lock holds against an administrator"].startswith("refused (InvalidRequest)")


def test_it_can_be_run_again_at_each_start(locked: LockedBucket) -> None:
    for _ in range(2):
        probe(locked.bucket(prefix="a/b"), clock)


# --- what is really so ------------------------------------------------------------------


def refused_at(check: str, bucket: object, **more: object) -> str:
    with pytest.raises(WormProbeFailed) as e:
        probe(bucket, **{"clock": clock, **more})  # type: ignore[arg-type]
    assert e.value.check == check, str(e.value)
    assert "\n" not in str(e.value)
    return e.value.seen


def test_a_bucket_without_object_lock(new_bucket: Callable[..., LockedBucket]) -> None:
    assert "ObjectLockConfigurationNotFound" in refused_at("object lock is on", new_bucket(lock=False).bucket())


def test_a_credential_that_may_delete(locked: LockedBucket) -> None:
    assert "docs/writer-policy.json" in refused_at("delete marker is refused", locked.bucket(locked.root))


def test_an_administrator_that_may_not_delete_proves_nothing(locked: LockedBucket) -> None:
    said = refused_at("lock holds against an administrator", locked.bucket(), administrator=locked.bucket())
    assert "could not delete an unlocked version" in said


def test_a_clock_that_is_another(locked: LockedBucket) -> None:
    refused_at("clocks agree", locked.bucket(), clock=lambda: clock() + 90_000_000)


def test_nobody_there(locked: LockedBucket) -> None:
    """That proves nothing against the store: whoever runs the ledger may try again."""
    with pytest.raises(StoreBroken, match="object lock is on: no answer from http") as e:
        probe(locked.bucket(patience_s=0.3, endpoint="http://127.0.0.1:1"), clock)
    assert not isinstance(e.value, WormProbeFailed)


# --- lies ---------------------------------------------------------------------------------


def has_date(asked: Asked) -> bool:
    return asked.method == "PUT" and UNTIL in asked.headers


def is_object(asked: Asked) -> bool:
    return asked.method == "GET" and "probe/" in asked.path and not asked.query


def retention(asked: Asked) -> bool:
    return asked.method == "PUT" and "retention" in asked.query


def suspended(asked: Asked, send: Send) -> Answer:
    if "versioning" not in asked.query:
        return send(asked)
    text = "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>"
    return Answer(200, {"content-type": "application/xml"}, text.encode())


def drops_the_lock(asked: Asked, send: Send) -> Answer:
    if has_date(asked):
        del asked.headers[MODE], asked.headers[UNTIL]
    return send(asked)


def weakens_the_mode(asked: Asked, send: Send) -> Answer:
    if has_date(asked):
        asked.headers[MODE] = "GOVERNANCE"
    return send(asked)


def locks_for_a_minute(asked: Asked, send: Send) -> Answer:
    if has_date(asked):
        asked.headers[UNTIL] = datetime.fromtimestamp(time.time() + 60, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return send(asked)


def stores_other_bytes(asked: Asked, send: Send) -> Answer:
    answer = send(asked)
    if is_object(asked):
        answer.body = answer.body[:-1] + b"?"
    return answer


def has_another_clock(asked: Asked, send: Send) -> Answer:
    answer = send(asked)
    answer.headers["date"] = format_datetime(datetime.fromtimestamp(time.time() - 300, UTC), usegmt=True)
    return answer


def refuses_to_extend(asked: Asked, send: Send) -> Answer:
    return error(403, "AccessDenied") if retention(asked) else send(asked)


def extends_in_words() -> Lie:
    return lambda asked, send: Answer(200, {}) if retention(asked) else send(asked)


def shortens_in_words() -> Lie:
    times = []

    def lie(asked: Asked, send: Send) -> Answer:
        if not retention(asked):
            return send(asked)
        times.append(asked)
        return send(asked) if len(times) == 1 else Answer(200, {})

    return lie


def shortens_and_says_no() -> Lie:
    times = []

    def lie(asked: Asked, send: Send) -> Answer:
        if retention(asked):
            times.append(asked)
            return send(asked) if len(times) == 1 else error(403, "AccessDenied")
        answer = send(asked)
        if is_object(asked) and len(times) == 2:
            answer.headers[UNTIL] = datetime.fromtimestamp(time.time() + 60, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return answer

    return lie


def downgrades(asked: Asked, send: Send) -> Answer:
    return Answer(200, {}) if b"GOVERNANCE" in asked.body and retention(asked) else send(asked)


def ignores_create_once(asked: Asked, send: Send) -> Answer:
    asked.headers.pop("if-none-match", None)
    return send(asked)


def writes_over_and_says_no() -> Lie:
    keys = set()

    def lie(asked: Asked, send: Send) -> Answer:
        if not has_date(asked):
            return send(asked)
        again = asked.path in keys
        keys.add(asked.path)
        if again:
            del asked.headers["if-none-match"]
            send(asked)
            return error(412, "PreconditionFailed")
        return send(asked)

    return lie


def deletes_versions(asked: Asked, send: Send) -> Answer:
    return Answer(204, {}) if asked.method == "DELETE" and "versionId" in asked.query else send(asked)


def deletes_and_says_no() -> Lie:
    gone = []

    def lie(asked: Asked, send: Send) -> Answer:
        if asked.method == "DELETE":
            gone.append(asked.path)
        return error(404, "NoSuchKey") if is_object(asked) and asked.path in gone else send(asked)

    return lie


def sets_markers(asked: Asked, send: Send) -> Answer:
    return Answer(204, {}) if asked.method == "DELETE" and "versionId" not in asked.query else send(asked)


def emptied(body: bytes) -> bytes:
    start = body.index(b"<Version>")
    return body[:start] + body[body.rindex(b"</Version>") + len(b"</Version>") :]


def lists_nothing_after(asked: Asked, send: Send) -> Answer:
    answer = send(asked)
    if "key-marker" in asked.query and b"<Version>" in answer.body:
        answer.body = emptied(answer.body).replace(b"<IsTruncated>true", b"<IsTruncated>false")
    return answer


def lists_the_marker_itself(asked: Asked, send: Send) -> Answer:
    if marker := asked.query.get("key-marker"):
        asked.query["key-marker"] = marker[:-1]
    return send(asked)


LIES: dict[str, tuple[str, Callable[[], Lie]]] = {
    "versioning suspended": ("versioning is on", lambda: suspended),
    "drops the lock headers": ("mode and date as asked", lambda: drops_the_lock),
    "GOVERNANCE in place of COMPLIANCE": ("mode and date as asked", lambda: weakens_the_mode),
    "locks for a minute only": ("mode and date as asked", lambda: locks_for_a_minute),
    "gives other bytes back": ("mode and date as asked", lambda: stores_other_bytes),
    "its clock is behind": ("clocks agree", lambda: has_another_clock),
    "refuses to extend": ("extend is accepted", lambda: refuses_to_extend),
    "extends in words": ("extend is accepted", extends_in_words),
    "shortens": ("shorten is refused", shortens_in_words),
    "shortens and says no": ("shorten is refused", shortens_and_says_no),
    "downgrades to GOVERNANCE": ("downgrade is refused", lambda: downgrades),
    "ignores If-None-Match": ("create-once is kept", lambda: ignores_create_once),
    "writes over and says no": ("create-once is kept", writes_over_and_says_no),
    "deletes versions": ("version delete is refused", lambda: deletes_versions),
    "deletes and says no": ("version delete is refused", deletes_and_says_no),
    "sets delete markers": ("delete marker is refused", lambda: sets_markers),
    "lists nothing after": ("listing after a key", lambda: lists_nothing_after),
    "lists the key itself again": ("listing after a key", lambda: lists_the_marker_itself),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_store_that_lies_in_one_thing_is_refused_with_that_thing_named(locked: LockedBucket, lie: str) -> None:
    check, made = LIES[lie]
    with lying(locked.endpoint, [locked.writer], made()) as endpoint:
        refused_at(check, locked.bucket(endpoint=f"http://{endpoint}"))


def test_a_proxy_that_does_not_lie_passes(locked: LockedBucket) -> None:
    with lying(locked.endpoint, [locked.writer, locked.root], lambda asked, send: send(asked)) as endpoint:
        honest = f"http://{endpoint}"
        found = probe(locked.bucket(endpoint=honest), clock, locked.bucket(locked.root, endpoint=honest))
    assert LOCK in seen(found)["mode and date as asked"]


def test_a_store_that_lets_its_administrator_delete(locked: LockedBucket) -> None:
    with lying(locked.endpoint, [locked.writer, locked.root], lets_administrators_delete) as endpoint:
        lax = f"http://{endpoint}"
        refused_at(
            "lock holds against an administrator",
            locked.bucket(endpoint=lax),
            administrator=locked.bucket(locked.root, endpoint=lax),
        )


def lets_administrators_delete(asked: Asked, send: Send) -> Answer:
    return Answer(204, {}) if asked.method == "DELETE" and asked.user.startswith("root") else send(asked)
