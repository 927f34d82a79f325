"""A bucket for the ledger and its writer, made on MinIO with root's rights: once, or again with nothing changed.

Other stores have ways of their own for users: there `docs/operations.md` says what to make by hand.
"""

from __future__ import annotations

import re
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from minio import Minio, MinioAdmin
from minio.credentials.providers import StaticProvider
from minio.error import MinioAdminException, MinioException
from urllib3.exceptions import HTTPError

from ledger.s3_settings import StoreSettings
from ledger.store import StoreBroken, StoreRefused

_SECRET = re.compile(r"^aws_secret_access_key = (\S+)$", re.MULTILINE)


def writer_rights(bucket: str) -> dict[str, Any]:
    """Creates, locks, reads and lists; neither deletes nor lifts a lock. As docs/writer-policy.json has it."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": [
                    "s3:GetBucketObjectLockConfiguration",
                    "s3:GetBucketVersioning",
                    "s3:ListBucket",
                    "s3:ListBucketVersions",
                ],
                "Resource": [f"arn:aws:s3:::{bucket}"],
            },
            {
                "Effect": "Allow",
                "Action": ["s3:PutObject", "s3:PutObjectRetention", "s3:GetObject", "s3:GetObjectRetention"],
                "Resource": [f"arn:aws:s3:::{bucket}/*"],
            },
        ],
    }


def prepare(settings: StoreSettings, root: str, password: str, credentials: Path) -> None:
    """The bucket with object lock, and the writer whose secret is in the file `credentials`, made if it is not there.

    Raises StoreRefused for a bucket that was made without a lock, StoreBroken, OSError.
    """
    endpoint = urlsplit(settings.endpoint)
    reach: dict[str, Any] = {"secure": endpoint.scheme == "https", "region": settings.region}
    provider = StaticProvider(root, password)
    client = Minio(endpoint.netloc, credentials=provider, **reach)
    admin = MinioAdmin(endpoint=endpoint.netloc, credentials=provider, **reach)
    writer = f"{settings.bucket}-writer"
    try:
        if not client.bucket_exists(settings.bucket):
            client.make_bucket(settings.bucket, object_lock=True)
        client.get_object_lock_config(settings.bucket)
        # The file first: of a crash behind it nothing is lost, for the same secret is set again.
        admin.user_add(writer, _secret_of(credentials, writer))
        admin.policy_add(writer, policy=writer_rights(settings.bucket))
        admin.policy_set(writer, user=writer)
    except (MinioException, MinioAdminException, HTTPError) as e:
        code = getattr(e, "code", "") or type(e).__name__  # a MinioAdminException's text is the whole answer
        if code == "ObjectLockConfigurationNotFoundError":
            raise StoreRefused(f"{settings.bucket}: was made without object lock; choose another bucket") from e
        raise StoreBroken(f"{settings.endpoint}: cannot be prepared ({code})") from e


def _secret_of(path: Path, user: str) -> str:
    if path.exists():
        found = _SECRET.search(path.read_text(encoding="ascii"))
        if found is None:
            raise StoreRefused(f"{path}: not a file of credentials of the AWS form; remove it, and one is made")
        return found[1]
    secret = secrets.token_urlsafe(24)
    half = path.with_name(f"{path.name}.half")
    half.unlink(missing_ok=True)
    half.touch(0o600)
    half.write_text(f"[default]\naws_access_key_id = {user}\naws_secret_access_key = {secret}\n", encoding="ascii")
    half.replace(path)
    return secret
