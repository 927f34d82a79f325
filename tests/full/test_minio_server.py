"""The real MinIO that other tests stand on: it answers, locks objects, and keeps them through a kill."""

from __future__ import annotations

import io
import threading
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from minio import Minio as Client
from minio.commonconfig import COMPLIANCE
from minio.error import S3Error
from minio.retention import Retention

from tools.services import Minio


@pytest.fixture
def client(minio: Minio) -> Client:
    return Client(minio.endpoint, minio.user, minio.password, secure=False)


@pytest.fixture
def bucket(client: Client) -> str:
    """A new bucket with object lock."""
    name = f"b-{uuid.uuid4().hex}"
    client.make_bucket(name, object_lock=True)
    return name


def put(client: Client, bucket: str, key: str, body: bytes, retention: Retention | None = None) -> str:
    version = client.put_object(bucket, key, io.BytesIO(body), len(body), retention=retention).version_id
    assert version
    return version


def get(client: Client, bucket: str, key: str) -> bytes:
    with client.get_object(bucket, key) as response:
        return response.read()


def test_holds_an_object_in_compliance_mode_against_its_root(client: Client, bucket: str) -> None:
    until = datetime.now(UTC) + timedelta(hours=1)
    version = put(client, bucket, "batch/0", b"locked", Retention(COMPLIANCE, until))
    with pytest.raises(S3Error, match="WORM protected"):
        client.remove_object(bucket, "batch/0", version)
    assert get(client, bucket, "batch/0") == b"locked"


def test_keeps_an_acknowledged_object_through_a_kill(minio: Minio, client: Client, bucket: str) -> None:
    endpoint, pid = minio.endpoint, minio.pid
    put(client, bucket, "batch/0", b"kept")
    minio.kill()
    assert not minio.alive()
    minio.start()
    assert (minio.endpoint, minio.pid != pid) == (endpoint, True)
    assert get(client, bucket, "batch/0") == b"kept"


def test_answers_nothing_while_it_is_paused(minio: Minio, client: Client, bucket: str) -> None:
    minio.pause()
    writer = threading.Thread(target=put, args=(client, bucket, "batch/0", b"meanwhile"))
    try:
        writer.start()
        writer.join(1)
        assert writer.is_alive()
    finally:
        minio.resume()
    writer.join(30)
    assert get(client, bucket, "batch/0") == b"meanwhile"


def test_its_password_is_in_no_argument(minio: Minio) -> None:
    assert minio.password.encode() not in Path(f"/proc/{minio.pid}/cmdline").read_bytes()
