"""The S3 driver: what every store keeps, and what is its own: locks, read-backs, lost answers, dead stores."""

from __future__ import annotations

import logging
import socket
import time
from pathlib import Path

import pytest
from minio.error import S3Error

import ledger.s3
from ledger.s3 import Bucket, Refused, S3Store
from ledger.s3_settings import StoreSettings, StoreSettingsInvalid
from ledger.store import Creation, StoreBroken
from tests.ledger.locked import LockedBucket, clock, credentials_file
from tests.ledger.lying_s3 import Answer, Asked, Lie, Send, error, lying
from tests.ledger.test_store import StoreConformance
from tools.services import Minio as Server

GIVEN = "s3://tally?endpoint=http://127.0.0.1:9000"


class TestS3Store(StoreConformance):
    @pytest.fixture
    def store(self, locked: LockedBucket) -> S3Store:
        return locked.store()


class TestS3StoreUnderAPrefix(StoreConformance):
    @pytest.fixture
    def store(self, locked: LockedBucket) -> S3Store:
        return locked.store(prefix="tenant-1/logs")


# --- what a PUT carries -------------------------------------------------------------------


def test_a_put_is_create_once_locked_and_checked_by_the_store(locked: LockedBucket) -> None:
    """Fails when a release of the minio package sends another request than the one that we mean."""
    puts: list[Asked] = []

    def watch(asked: Asked, send: Send) -> Answer:
        if asked.method == "PUT":
            puts.append(asked)
        return send(asked)

    with lying(locked.endpoint, [locked.writer], watch) as endpoint:
        assert locked.store(endpoint=f"http://{endpoint}").create("0/a", b"data") is Creation.CREATED
    (put,) = puts
    assert put.headers["if-none-match"] == "*"
    assert put.headers["x-amz-object-lock-mode"] == "COMPLIANCE"
    assert put.headers["content-md5"] == "jXd/OF09/siBXSD3SWAm3A=="
    assert put.headers["x-amz-checksum-sha256"] == "Om6weQ85rIfJTzhWst0sXREOaBFgImGpqSPTuyOtyLc="
    assert not any("legal-hold" in name for name in put.headers)


def test_each_object_is_locked_for_the_days_that_were_asked(locked: LockedBucket) -> None:
    before = clock() // 1_000_000
    locked.store(retain_days="400").create("0/a", b"x")
    held = locked.admin.get_object_retention(locked.name, "0/a")
    assert held is not None
    assert held.mode == "COMPLIANCE"
    assert 0 <= held.retain_until_date.timestamp() - before - 400 * 86_400 <= 30


@pytest.mark.parametrize("header", ["content-md5", "x-amz-checksum-sha256"])
def test_bytes_that_were_changed_on_the_way_are_refused_by_the_store(locked: LockedBucket, header: str) -> None:
    other = {"content-md5", "x-amz-checksum-sha256"} - {header}

    def change(asked: Asked, send: Send) -> Answer:
        if asked.method == "PUT":
            asked.body = b"other"
            for name in other:
                del asked.headers[name]
        return send(asked)

    with lying(locked.endpoint, [locked.writer], change) as endpoint:
        with pytest.raises(StoreBroken, match="0/a: cannot be written"):
            locked.store(endpoint=f"http://{endpoint}").create("0/a", b"data")
    assert locked.store().keys("0/") == []


# --- the writer's rights --------------------------------------------------------------------


def test_the_writers_credential_neither_deletes_nor_writes_over(locked: LockedBucket) -> None:
    locked.store().create("0/a", b"x")
    bucket = locked.bucket()
    version = bucket.get("0/a").version
    for attempt in (
        lambda: bucket.client.remove_object(bucket.name, "0/a"),
        lambda: bucket.client.remove_object(bucket.name, "0/a", version),
        lambda: bucket.client.enable_object_legal_hold(bucket.name, "0/a"),
        lambda: bucket.client.delete_object_lock_config(bucket.name),
        lambda: bucket.client.remove_bucket(bucket.name),
    ):
        with pytest.raises(S3Error, match="AccessDenied"):
            attempt()
    assert locked.store().create("0/a", b"other") is Creation.OTHER
    assert locked.store().get("0/a") == b"x"
    assert locked.store().irregular("0/") == {}


def test_root_cannot_delete_what_is_locked_but_can_hide_it_and_that_is_seen(locked: LockedBucket) -> None:
    store = locked.store()
    for key in ("0/a", "0/b", "0/c"):
        store.create(key, key.encode())
    first = locked.bucket().get("0/b").version
    with pytest.raises(S3Error, match="WORM"):
        locked.admin.remove_object(locked.name, "0/b", first)
    over(locked, "0/b", b"forged")
    locked.admin.remove_object(locked.name, "0/c")
    odd = store.irregular("0/")
    assert odd == {
        "0/b": f"2 versions, the first of them {first}",
        "0/c": f"1 version and 1 delete marker, the first of them {odd['0/c'].split()[-1]}",
    }
    assert store.keys("0/") == ["0/a", "0/b", "0/c"]
    assert store.any_after("0/", "0/b")
    with pytest.raises(StoreBroken, match="0/c: cannot be read"):
        store.get("0/c")


def test_a_marker_alone_is_irregular_and_lies_after(locked: LockedBucket) -> None:
    """Amazon sets one on a key that never was; MinIO does not, so the proxy makes it of a version."""
    locked.store().create("0/a", b"x")

    def lie(asked: Asked, send: Send) -> Answer:
        answer = send(asked)
        answer.body = answer.body.replace(b"<Version>", b"<DeleteMarker>").replace(b"</Version>", b"</DeleteMarker>")
        return answer

    with lying(locked.endpoint, [locked.writer], lie) as endpoint:
        store = locked.store(endpoint=f"http://{endpoint}")
        assert store.irregular("0/") == {"0/a": "0 versions and 1 delete marker"}
        assert store.any_after("0/", "")
        assert store.keys("0/") == ["0/a"]


def over(locked: LockedBucket, key: str, data: bytes) -> None:
    """By root: a plain PUT, which no lock forbids."""
    locked.admin._execute("PUT", locked.name, key, body=data)


def test_a_key_that_was_deleted_and_created_again_is_not_acknowledged(locked: LockedBucket) -> None:
    """S3 lets If-None-Match succeed over a delete marker."""
    store = locked.store()
    store.create("0/a", b"x")
    locked.admin.remove_object(locked.name, "0/a")
    with pytest.raises(StoreBroken, match="0/a: 2 versions and 1 delete marker"):
        store.create("0/a", b"y")


# --- a store that does other than it says ---------------------------------------------------


def drops_the_lock(asked: Asked, send: Send) -> Answer:
    for name in [n for n in asked.headers if n.startswith("x-amz-object-lock")]:
        del asked.headers[name]
    return send(asked)


def weakens_the_mode(asked: Asked, send: Send) -> Answer:
    if "x-amz-object-lock-mode" in asked.headers:
        asked.headers["x-amz-object-lock-mode"] = "GOVERNANCE"
    return send(asked)


def locks_for_a_minute(asked: Asked, send: Send) -> Answer:
    if "x-amz-object-lock-mode" in asked.headers:
        until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 60))
        asked.headers["x-amz-object-lock-retain-until-date"] = until
    return send(asked)


def loses_it(asked: Asked, send: Send) -> Answer:
    return Answer(200, {}) if asked.method == "PUT" else send(asked)


def gives_other_bytes(asked: Asked, send: Send) -> Answer:
    answer = send(asked)
    if asked.method == "GET" and not asked.query:
        answer.body = b"?"
    return answer


@pytest.mark.parametrize(
    ("lie", "said"),
    [
        (drops_the_lock, "the store shows no lock"),
        (weakens_the_mode, "the store shows GOVERNANCE"),
        (locks_for_a_minute, "COMPLIANCE until .* was asked for, the store shows COMPLIANCE until"),
        (loses_it, "NoSuchKey"),
        (gives_other_bytes, "other bytes were read back"),
    ],
)
def test_nothing_is_acknowledged_that_was_not_read_back(locked: LockedBucket, lie: Lie, said: str) -> None:
    with lying(locked.endpoint, [locked.writer], lie) as endpoint:
        with pytest.raises(StoreBroken, match=f"0/a: .*{said}"):
            locked.store(endpoint=f"http://{endpoint}").create("0/a", b"x")


# --- a store that does not answer -----------------------------------------------------------


def losing(times: int, reached: bool) -> Lie:
    """Hangs up on the first PUTs, after or before they reached the store."""
    left = [times]

    def lie(asked: Asked, send: Send) -> Answer | None:
        if asked.method == "PUT" and left[0]:
            left[0] -= 1
            if reached:
                send(asked)
            return None
        return send(asked)

    return lie


@pytest.mark.parametrize(
    ("lie", "made"),
    [
        (losing(1, reached=True), Creation.SAME),
        (losing(3, reached=True), Creation.SAME),
        (losing(1, reached=False), Creation.CREATED),
        (losing(3, reached=False), Creation.CREATED),
    ],
    ids=["answer lost", "answer lost thrice", "request lost", "request lost thrice"],
)
def test_a_lost_answer_is_asked_for_again(locked: LockedBucket, lie: Lie, made: Creation) -> None:
    with lying(locked.endpoint, [locked.writer], lie) as endpoint:
        store = locked.store(endpoint=f"http://{endpoint}")
        assert store.create("0/a", b"x") is made
        assert store.create("0/a", b"y") is Creation.OTHER
    assert locked.store().get("0/a") == b"x"
    assert locked.store().irregular("") == {}


def test_a_lost_answer_that_hid_another_writer_is_other(locked: LockedBucket) -> None:
    def lie(asked: Asked, send: Send) -> Answer | None:
        if asked.method == "PUT" and asked.body == b"mine":
            locked.store().create("0/a", b"theirs")
        return send(asked)

    with lying(locked.endpoint, [locked.writer], lie) as endpoint:
        assert locked.store(endpoint=f"http://{endpoint}").create("0/a", b"mine") is Creation.OTHER


@pytest.mark.parametrize("status", [409, 429, 500, 503])
def test_a_store_that_is_busy_is_asked_again(locked: LockedBucket, status: int) -> None:
    left = [2]

    def lie(asked: Asked, send: Send) -> Answer:
        left[0] -= 1
        return (
            error(status, "ConditionalRequestConflict" if status == 409 else "SlowDown")
            if left[0] >= 0
            else send(asked)
        )

    with lying(locked.endpoint, [locked.writer], lie) as endpoint:
        assert locked.store(endpoint=f"http://{endpoint}").create("0/a", b"x") is Creation.CREATED


def test_a_long_listing_goes_on_from_page_to_page(locked: LockedBucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger.s3, "_PAGE", 2)
    store = locked.store()
    keys = [f"0/{n}" for n in range(5)]
    for key in keys:
        store.create(key, b"x")
    over(locked, "0/2", b"y")
    over(locked, "0/2", b"z")
    locked.admin.remove_object(locked.name, "0/3")
    assert store.keys("0/") == keys
    assert {k: v.split(",")[0] for k, v in store.irregular("0/").items()} == {
        "0/2": "3 versions",
        "0/3": "1 version and 1 delete marker",
    }


def test_a_listing_that_does_not_go_on_is_broken(locked: LockedBucket) -> None:
    store = locked.store()
    store.create("0/a", b"x")

    def lie(asked: Asked, send: Send) -> Answer:
        answer = send(asked)
        answer.body = answer.body.replace(b"<IsTruncated>false", b"<IsTruncated>true")
        return answer

    with lying(locked.endpoint, [locked.writer], lie) as endpoint:
        with pytest.raises(StoreBroken, match="listing does not go on"):
            locked.store(endpoint=f"http://{endpoint}").keys("0/")


def test_a_dead_store_is_said_after_a_bounded_time(locked: LockedBucket, minio: Server) -> None:
    store = locked.store(patience_s=1)
    minio.kill()
    try:
        start = time.monotonic()
        for attempt in (lambda: store.create("0/a", b"x"), lambda: store.get("0/a"), lambda: store.any_after("0/", "")):
            with pytest.raises(StoreBroken, match=r"0/a?: .*no answer from http://127.0.0.1:\d+ for 1 s"):
                attempt()
        assert time.monotonic() - start < 10
    finally:
        minio.start()
    assert store.create("0/a", b"x") is Creation.CREATED


def test_a_store_that_takes_requests_and_never_answers_is_said_after_a_bounded_time(
    locked: LockedBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger.s3, "READ_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = locked.store(patience_s=1, endpoint=f"http://127.0.0.1:{silent.getsockname()[1]}")
        start = time.monotonic()
        with pytest.raises(StoreBroken, match="ReadTimeoutError"):
            store.create("0/a", b"x")
        assert time.monotonic() - start < 5


def test_an_answer_that_is_not_s3s_is_said(locked: LockedBucket) -> None:
    page = Answer(200, {"content-type": "text/html"}, b"<html>Sign in<br></html>")
    with lying(locked.endpoint, [locked.writer], lambda *_: page) as endpoint:
        with pytest.raises(StoreBroken, match="an answer that is not S3's"):
            locked.store(endpoint=f"http://{endpoint}", patience_s=0.2).keys("0/")


def test_it_is_never_led_to_another_host(locked: LockedBucket, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(0.5)
        away = f"http://127.0.0.1:{other.getsockname()[1]}/"
        moved = Answer(307, {"location": away, "content-type": "application/xml"}, b"")
        with lying(locked.endpoint, [locked.writer], lambda *_: moved) as endpoint:
            with pytest.raises(StoreBroken):
                locked.store(endpoint=f"http://{endpoint}", patience_s=0.2).create("0/a", b"x")
        with pytest.raises(TimeoutError):
            other.accept()


def test_a_bucket_that_is_not_there_or_a_wrong_key_is_said_at_once(locked: LockedBucket, tmp_path: Path) -> None:
    start = time.monotonic()
    missing = Bucket(StoreSettings.parse(locked.url().replace(f"s3://{locked.name}", "s3://nothing-here")))
    with pytest.raises(StoreBroken, match=r"0/: cannot be listed \((AccessDenied|NoSuchBucket)"):
        S3Store(missing, clock).keys("0/")
    wrong = credentials_file(tmp_path / "wrong", "nobody", "no-secret-of-ours")
    with pytest.raises(StoreBroken, match=r"0/a: cannot be read \(InvalidAccessKeyId") as e:
        locked.store(wrong).get("0/a")
    assert "no-secret-of-ours" not in str(e.value)
    assert time.monotonic() - start < 5


# --- settings and credentials ---------------------------------------------------------------


def test_settings_are_read() -> None:
    assert StoreSettings.parse(GIVEN) == StoreSettings("tally", "http://127.0.0.1:9000", "us-east-1", 400, "", None)
    full = f"{GIVEN.replace('http', 'https')}/&region=eu-west-1&retain_days=7&prefix=a/b&credentials=/run/keys/s3"
    expected = StoreSettings("tally", "https://127.0.0.1:9000", "eu-west-1", 7, "a/b", Path("/run/keys/s3"))
    assert StoreSettings.parse(full) == expected


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"{GIVEN}&retention_days=3", "did you mean retain_days"),
        (f"{GIVEN}&endpont=x", "did you mean endpoint"),
        (f"{GIVEN}&colour=blue", "known are endpoint, region"),
        (f"{GIVEN}&retain_days=3&retain_days=4", "retain_days stands there twice"),
        (f"{GIVEN}&prefix=", "prefix stands there empty"),
        (f"{GIVEN}&retain_days=0", "from 1 to 36500"),
        (f"{GIVEN}&retain_days=36501", "from 1 to 36500"),
        (f"{GIVEN}&retain_days=-3", "from 1 to 36500"),
        (f"{GIVEN}&prefix=/a", "prefix is not"),
        (f"{GIVEN}&prefix=a/../b", "prefix is not"),
        (f"{GIVEN}&region=a b", "region is not"),
        ("s3://tally", "endpoint is http"),
        ("s3://tally?endpoint=127.0.0.1:9000", "endpoint is http"),
        ("s3://tally?endpoint=ftp://h", "endpoint is http"),
        ("s3://tally?endpoint=http://h/path", "endpoint is http"),
        ("s3://tally?endpoint=http://h:99999", "endpoint is http"),
        ("s3://tally?endpoint=http://user:s3cr3t@h", "endpoint is http"),
        ("s3://tally?region=us-east-1", "endpoint is http"),
        ("s3://AB?endpoint=http://h", "not of the form"),
        ("file:data", "not of the form"),
        ("s3://tally/folder?endpoint=http://h", "prefix="),
        ("s3://key:s3cr3t@tally?endpoint=http://h", "holds no credentials"),
        ("s3://tally?s3cr3t", "not of the form"),
    ],
)
def test_a_mistyped_store_stops_the_start(url: str, said: str) -> None:
    with pytest.raises(StoreSettingsInvalid, match=said) as e:
        StoreSettings.parse(url)
    assert "s3cr3t" not in str(e.value)


def test_credentials_come_from_the_environment_or_a_file_that_nobody_else_reads(
    locked: LockedBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    from_file = locked.bucket()
    locked.writer.chmod(0o640)
    with pytest.raises(StoreBroken, match="chmod 600"):
        locked.bucket()
    with pytest.raises(StoreBroken, match="cannot be read"):
        locked.bucket(locked.writer.parent / "not-there")
    settings = StoreSettings(locked.name, f"http://{locked.endpoint}", retain_days=1)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "MINIO_ACCESS_KEY", "AWS_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(StoreBroken, match=f"no credentials for bucket {locked.name}"):
        Bucket(settings)
    kept = from_file.client._provider.retrieve()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", kept.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", kept.secret_key)
    assert S3Store(Bucket(settings), clock).create("0/a", b"x") is Creation.CREATED


def test_no_secret_is_logged_or_shown(locked: LockedBucket, caplog: pytest.LogCaptureFixture) -> None:
    secret = locked.bucket().client._provider.retrieve().secret_key
    bucket = locked.bucket()
    with caplog.at_level(logging.DEBUG):
        store = S3Store(bucket, clock)
        store.create("0/a", b"x")
        with pytest.raises(StoreBroken) as e:
            store.get("0/b")
    with pytest.raises(Refused) as refused:
        bucket.get("0/b")
    shown = [caplog.text, store.name, repr(store), repr(bucket), repr(bucket.settings), str(e.value), repr(refused)]
    assert caplog.text
    assert not any(secret in text for text in shown)
