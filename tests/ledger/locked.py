"""A bucket with object lock and a writer that may not delete, made as docs/operations.md says."""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from minio import Minio, MinioAdmin
from minio.credentials.providers import StaticProvider

from ledger.s3 import Bucket, S3Store
from ledger.s3_settings import StoreSettings
from tools.services import Minio as Server

POLICY = Path(__file__).parents[2] / "docs/writer-policy.json"


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


def make_bucket(server: Server, name: str, folder: Path, lock: bool = True) -> LockedBucket:
    """With a writer of its own; the credential files lie in `folder`."""
    provider = StaticProvider(server.user, server.password)
    admin = Minio(server.endpoint, credentials=provider, secure=False, region="us-east-1")
    admin.make_bucket(name, object_lock=lock)
    users = MinioAdmin(endpoint=server.endpoint, credentials=provider, secure=False)
    user, password = f"writer-{name}", secrets.token_urlsafe(24)
    users.user_add(user, password)
    users.policy_add(user, policy=json.loads(POLICY.read_text().replace("BUCKET", name)))
    users.policy_set(user, user)
    writer = credentials_file(folder / f"{name}.writer", user, password)
    root = credentials_file(folder / f"{name}.root", server.user, server.password)
    return LockedBucket(name, server.endpoint, writer, root, admin)
