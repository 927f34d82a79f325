"""The object store: any S3 with Object Lock that passes the probe of `worm.py`. Blocking; call it in a thread.

A lock holds *versions*, not keys: a plain PUT over a locked key, or a delete marker, hides what
is there and destroys nothing. So every PUT is create-once and carries its own COMPLIANCE date
(never a legal-hold header: MinIO then sets no date), is read back before it is acknowledged, and
a key that has more than one version or a marker is an alarm: `irregular` names it.

`Bucket` is the only place that reaches into the minio package: its public `put_object` takes no
`If-None-Match`, so requests go through its `_execute`; `tests/ledger/test_s3.py` fails if a
release drops that header.
"""

from __future__ import annotations

import base64
import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import groupby
from typing import TypeVar
from urllib.parse import urlsplit
from xml.etree.ElementTree import ParseError

import certifi
import urllib3
from minio import Minio
from minio.credentials.providers import AWSConfigProvider, EnvAWSProvider
from minio.datatypes import parse_list_objects
from minio.error import InvalidResponseError, MinioException, S3Error, ServerError
from urllib3.exceptions import HTTPError, MaxRetryError
from urllib3.util import Retry, Timeout

from ledger.s3_settings import StoreSettings
from ledger.store import Creation, StoreBroken

CONNECT_S = 3.0
READ_S = 10.0  # one read; a whole request has no bound but the sum of its reads
PATIENCE_S = 30.0  # a request is begun again for so long
LOCK = "COMPLIANCE"
SLACK_S = 86_400  # an object of our own earlier try may end so much sooner than one made now
_AGAIN = frozenset({"RequestTimeout", "ConditionalRequestConflict", "OperationAborted", "SlowDown"})
_PAGE = 1000

T = TypeVar("T")


class Refused(Exception):
    """The store answered, and said no; asking again would not help."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{code}: {message[:200]}")
        self.status, self.code = status, code


@dataclass(frozen=True, slots=True)
class Seen:
    """An object as a GET shows it."""

    data: bytes
    version: str
    lock: str  # "COMPLIANCE", or empty
    until: int  # seconds since 1970; 0 for none
    server_time: int  # the store's own clock at the answer


@dataclass(frozen=True, slots=True)
class Version:
    key: str
    version: str
    is_marker: bool


class Bucket:
    """Requests to one bucket, under a prefix: tried again within `patience_s`, then StoreBroken."""

    def __init__(self, settings: StoreSettings, patience_s: float = PATIENCE_S) -> None:
        """Raises StoreBroken if there are no usable credentials."""
        self.settings, self._patience_s = settings, patience_s
        self._prefix = f"{settings.prefix}/" if settings.prefix else ""
        provider = _provider(settings)
        try:
            provider.retrieve()
        except ValueError as e:
            raise StoreBroken(f"no credentials for bucket {settings.bucket}: {e}") from e
        endpoint = urlsplit(settings.endpoint)
        http = urllib3.PoolManager(
            timeout=Timeout(connect=CONNECT_S, read=READ_S),
            maxsize=16,
            retries=Retry(0, redirect=0, raise_on_redirect=False),  # `ask` alone tries again; never to another host
            ca_certs=os.environ.get("SSL_CERT_FILE") or certifi.where(),
        )
        self.client = Minio(
            endpoint.netloc,
            secure=endpoint.scheme == "https",
            region=settings.region,
            http_client=http,
            credentials=provider,
        )
        self.name = settings.bucket

    @property
    def described(self) -> str:
        """For the record."""
        at = self.settings
        return f"S3 bucket {at.bucket}{f'/{at.prefix}' if at.prefix else ''} at {at.endpoint}"

    def path(self, key: str) -> str:
        """The object's name in the bucket."""
        return self._prefix + key

    def ask(self, request: Callable[[], T]) -> T:
        """Raises Refused; StoreBroken when the store gave no answer of its own for `patience_s`."""
        end = time.monotonic() + self._patience_s
        pause = 0.1
        while True:
            try:
                return request()
            except S3Error as e:
                code, message, status = e.code or "no code", e.message or "no reason given", e.response.status
                if status < 500 and status != 429 and code not in _AGAIN:
                    raise Refused(status, code, message) from e
                why = f"{code}, HTTP {status}"
            except ServerError as e:  # an answer without a body: to a HEAD, or from a proxy
                if e.status_code < 500:
                    raise Refused(e.status_code, f"HTTP {e.status_code}", "no reason given") from e
                why = f"HTTP {e.status_code}"
            except MaxRetryError as e:
                why = type(e.reason).__name__
            except (HTTPError, OSError) as e:
                why = type(e).__name__
            except (InvalidResponseError, ParseError, UnicodeDecodeError):
                why = "an answer that is not S3's"
            except (MinioException, ValueError) as e:  # no credentials any more, among others
                raise StoreBroken(str(e)) from e
            if time.monotonic() + pause > end:
                raise StoreBroken(f"no answer from {self.settings.endpoint} for {self._patience_s:g} s ({why})")
            time.sleep(pause)
            pause = min(2 * pause, 2.0)

    def put(self, key: str, data: bytes, until: int) -> bool:
        """Creates it, locked until then; False if there is an object already.

        After a lost answer the second try finds the first one's object: False as well. The caller reads it.
        """
        headers = {
            "If-None-Match": "*",
            "Content-Type": "application/octet-stream",
            "Content-MD5": _base64(hashlib.md5(data, usedforsecurity=False).digest()),
            "x-amz-checksum-sha256": _base64(hashlib.sha256(data).digest()),
            "x-amz-object-lock-mode": LOCK,
            "x-amz-object-lock-retain-until-date": datetime.fromtimestamp(until, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        try:
            self.ask(lambda: self.client._execute("PUT", self.name, self.path(key), body=data, headers=dict(headers)))
        except Refused as e:
            if e.status == 412:
                return False
            raise
        return True

    def get(self, key: str) -> Seen:
        """The version that a plain reader sees. Raises Refused, also where there is none."""
        response = self.ask(lambda: self.client._execute("GET", self.name, self.path(key)))
        found = response.headers
        return Seen(
            response.data,
            found.get("x-amz-version-id", ""),
            found.get("x-amz-object-lock-mode", ""),
            _seconds(found.get("x-amz-object-lock-retain-until-date", "")),
            _http_date(found.get("date", "")),
        )

    def versions(self, prefix: str, after: str = "", most: int = 0) -> Iterator[Version]:
        """Versions and delete markers under `prefix` with keys beyond `after`; `most` bounds them, 0 is all.

        A page holds its versions first and then its markers; keys never go back from page to page.
        """
        query = {"versions": "", "encoding-type": "url", "delimiter": "", "prefix": self.path(prefix)}
        query["max-keys"] = str(most or _PAGE)
        marker, version_marker = (self.path(after) if after else None), None
        while True:
            if marker:
                query["key-marker"] = marker
            if version_marker:
                query["version-id-marker"] = version_marker
            asked = dict(query)
            page, more, next_marker, version_marker = self.ask(
                lambda q=asked: parse_list_objects(self.client._execute("GET", self.name, query_params=dict(q)))  # type: ignore[misc]
            )
            for found in page:
                key = (found.object_name or "").removeprefix(self._prefix)
                yield Version(key, found.version_id or "", found.is_delete_marker)
            if not more or most:
                return
            if not next_marker or (next_marker, version_marker) == (marker, query.get("version-id-marker")):
                raise StoreBroken(f"{prefix}: the store's listing does not go on")
            marker = next_marker


class S3Store:
    """Durable when `create` returns: locked, read back, one version."""

    def __init__(self, bucket: Bucket, clock: Callable[[], int]) -> None:
        """`clock` gives microseconds since 1970; each object is locked for `retain_days` from it."""
        self._bucket, self._clock = bucket, clock

    @property
    def name(self) -> str:
        days = self._bucket.settings.retain_days
        return f"{self._bucket.described}, each object under a COMPLIANCE lock of {days} days"

    def create(self, key: str, data: bytes) -> Creation:
        until = self._clock() // 1_000_000 + 1 + self._bucket.settings.retain_days * 86_400
        try:
            created = self._bucket.put(key, data, until)
            seen = self._bucket.get(key)
            there = [v for v in self._bucket.versions(key) if v.key == key]
        except (Refused, StoreBroken) as e:
            raise StoreBroken(f"{key}: cannot be written ({e})") from e
        if seen.data != data:
            if created:
                raise StoreBroken(f"{key}: was written, and other bytes were read back")
            return Creation.OTHER
        if seen.lock != LOCK or seen.until < until - (0 if created else SLACK_S):
            kept = f"{seen.lock} until {iso(seen.until)}" if seen.lock else "no lock"
            raise StoreBroken(f"{key}: {LOCK} until {iso(until)} was asked for, the store shows {kept}")
        if [(v.version, v.is_marker) for v in there] != [(seen.version, False)]:
            raise StoreBroken(f"{key}: {_described(there)} right after it was written")
        return Creation.CREATED if created else Creation.SAME

    def get(self, key: str) -> bytes:
        try:
            return self._bucket.get(key).data
        except (Refused, StoreBroken) as e:
            raise StoreBroken(f"{key}: cannot be read ({e})") from e

    def any_after(self, prefix: str, key: str) -> bool:
        return next(self._listed(prefix, key, 1), None) is not None

    def keys(self, prefix: str) -> list[str]:
        return sorted({v.key for v in self._listed(prefix)})

    def irregular(self, prefix: str) -> dict[str, str]:
        """One listing, whatever the number of keys."""
        found = sorted(self._listed(prefix), key=lambda v: v.key)  # stable: a key's versions stay newest first
        odd = {}
        for key, group in groupby(found, key=lambda v: v.key):
            there = list(group)
            if len(there) != 1 or there[0].is_marker:
                odd[key] = _described(there)
        return odd

    def _listed(self, prefix: str, after: str = "", most: int = 0) -> Iterator[Version]:
        try:
            yield from self._bucket.versions(prefix, after, most)
        except (Refused, StoreBroken) as e:
            raise StoreBroken(f"{prefix}: cannot be listed ({e})") from e


def _provider(settings: StoreSettings) -> AWSConfigProvider | EnvAWSProvider:
    """Both read anew at each request, so that a key is changed without a restart. Raises StoreBroken."""
    path = settings.credentials
    if path is None:
        return EnvAWSProvider()
    try:
        mode = path.stat().st_mode
    except OSError as e:
        raise StoreBroken(f"{path}: credentials cannot be read ({e.strerror})") from e
    if not stat.S_ISREG(mode) or mode & 0o077:
        raise StoreBroken(f"{path}: others can read these credentials; chmod 600 {path}")
    return AWSConfigProvider(str(path), "default")


def _described(there: list[Version]) -> str:
    versions = [v.version for v in there if not v.is_marker]
    markers = len(there) - len(versions)
    said = f"{len(versions)} version{'s' * (len(versions) != 1)}"
    if markers:
        said += f" and {markers} delete marker{'s' * (markers != 1)}"
    return said + (f", the first of them {versions[-1]}" if len(there) > 1 and versions else "")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _seconds(text: str) -> int:
    """Of an ISO 8601 time; 0 for none. Raises StoreBroken."""
    if not text:
        return 0
    try:
        return int(datetime.fromisoformat(text).timestamp())
    except (ValueError, OverflowError) as e:
        raise StoreBroken(f"the store gives a date that is none: {text[:40]!r}") from e


def _http_date(text: str) -> int:
    try:
        return int(parsedate_to_datetime(text).timestamp())
    except (ValueError, OverflowError):
        return 0
