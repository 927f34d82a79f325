"""A locked bucket with a writer that may not delete, made as docs/operations.md says, and a store over it."""

from __future__ import annotations

import itertools
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from minio import Minio, MinioAdmin
from minio.credentials.providers import StaticProvider

from ledger.s3 import Bucket, S3Store
from ledger.s3_settings import StoreSettings
from tools.services import Minio as Server

POLICY = Path(__file__).parents[2] / "docs/writer-policy.json"
NAMES = itertools.count()


def clock() -> int:
    return time.time_ns() // 1000


@dataclass(frozen=True)
class LockedBucket:
    """`writer` and `root` are credential files; `admin` is the minio package's client with root's rights."""

    name: str
    endpoint: str
    writer: Path
    root: Path
    admin: Minio

    def url(self, credentials: Path | None = None, **parameters: str) -> str:
        given = {"endpoint": f"http://{self.endpoint}", "retain_days": "1", **parameters}
        given["credentials"] = str(credentials or self.writer)
        return f"s3://{self.name}?" + "&".join(f"{k}={v}" for k, v in given.items())

    def bucket(self, credentials: Path | None = None, patience_s: float = 5, **parameters: str) -> Bucket:
        return Bucket(StoreSettings.parse(self.url(credentials, **parameters)), patience_s)

    def store(self, credentials: Path | None = None, patience_s: float = 5, **parameters: str) -> S3Store:
        return S3Store(self.bucket(credentials, patience_s, **parameters), clock)


def credentials_file(path: Path, access_key: str, secret_key: str) -> Path:
    path.touch(0o600)
    path.write_text(f"[default]\naws_access_key_id = {access_key}\naws_secret_access_key = {secret_key}\n")
    return path


@pytest.fixture
def new_bucket(minio: Server, tmp_path: Path) -> Callable[..., LockedBucket]:
    """Makes one with object lock, unless told otherwise, and its writer."""

    def make(lock: bool = True) -> LockedBucket:
        name = f"log-{next(NAMES)}"
        provider = StaticProvider(minio.user, minio.password)
        admin = Minio(minio.endpoint, credentials=provider, secure=False, region="us-east-1")
        admin.make_bucket(name, object_lock=lock)
        users = MinioAdmin(endpoint=minio.endpoint, credentials=provider, secure=False)
        user, password = f"writer-{name}", secrets.token_urlsafe(24)
        users.user_add(user, password)
        users.policy_add(user, policy=json.loads(POLICY.read_text().replace("BUCKET", name)))
        users.policy_set(user, user)
        folder = tmp_path / f"credentials-{name}"
        folder.mkdir()
        writer = credentials_file(folder / "writer", user, password)
        root = credentials_file(folder / "root", minio.user, minio.password)
        return LockedBucket(name, minio.endpoint, writer, root, admin)

    return make


@pytest.fixture
def locked(new_bucket: Callable[..., LockedBucket]) -> LockedBucket:
    return new_bucket()
