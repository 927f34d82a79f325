"""A bucket and its writer, made on a real MinIO: what they may, and that making them again changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from minio import Minio
from minio.error import S3Error

from ledger.s3 import Bucket
from ledger.s3_admin import prepare, writer_rights
from ledger.s3_settings import StoreSettings
from ledger.store import StoreBroken, StoreRefused
from ledger.worm import probe
from tests.ledger.locked import POLICY, clock
from tools.services import Minio as Server


def settings_of(minio: Server, bucket: str, credentials: Path) -> StoreSettings:
    return StoreSettings.parse(f"s3://{bucket}?endpoint=http://{minio.endpoint}&credentials={credentials}")


def test_what_is_made_passes_the_probe_and_its_writer_deletes_nothing(minio: Server, tmp_path: Path) -> None:
    writer = tmp_path / "writer"
    settings = settings_of(minio, "made-1", writer)
    prepare(settings, minio.user, minio.password, writer)
    bucket = Bucket(settings, 5)
    assert len(probe(bucket, clock).checks) == 11
    assert writer.stat().st_mode & 0o077 == 0
    assert bucket.put("0/a", b"x", clock() // 1_000_000 + 60)
    with pytest.raises(S3Error, match="AccessDenied"):
        bucket.client.remove_object(bucket.name, "0/a")
    with pytest.raises(S3Error, match="AccessDenied"):
        bucket.client.make_bucket("another")
    kept = writer.read_text()
    prepare(settings, minio.user, minio.password, writer)
    assert writer.read_text() == kept
    assert Bucket(settings, 5).get("0/a").data == b"x"


def test_a_bucket_without_a_lock_is_not_taken(minio: Server, tmp_path: Path) -> None:
    root = Minio(minio.endpoint, minio.user, minio.password, secure=False)
    root.make_bucket("made-2")
    with pytest.raises(StoreRefused, match="made-2: was made without object lock"):
        prepare(settings_of(minio, "made-2", tmp_path / "w"), minio.user, minio.password, tmp_path / "w")


def test_who_is_not_root_is_told_so_without_a_secret(minio: Server, tmp_path: Path) -> None:
    with pytest.raises(StoreBroken) as said:
        prepare(settings_of(minio, "made-3", tmp_path / "w"), minio.user, "wrong-password", tmp_path / "w")
    assert "cannot be prepared" in str(said.value)
    assert "wrong-password" not in str(said.value)


def test_the_rights_are_those_that_the_manual_gives() -> None:
    assert writer_rights("BUCKET") == json.loads(POLICY.read_text())
