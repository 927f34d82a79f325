"""`s3://bucket?endpoint=…`: where an object store is, read strictly; no I/O, and no secret in it.

Parameters: `endpoint` (required, http or https), `region` (us-east-1), `retain_days` (400),
`prefix` (none), `credentials` (a file of the AWS form, mode 0600; without it the environment's
AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN).
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import parse_qsl, urlsplit

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_REGION = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_PREFIX = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
_DAYS = re.compile(r"[1-9][0-9]{0,4}")
LONGEST_DAYS = 36_500  # Amazon's limit; what is locked by mistake stays locked
_KNOWN = ("endpoint", "region", "retain_days", "prefix", "credentials")


class StoreSettingsInvalid(ValueError):
    """The store's URL is not one; the message says which part, and never repeats a secret."""


@dataclass(frozen=True, slots=True)
class StoreSettings:
    bucket: str
    endpoint: str  # "http://host:9000"
    region: str = "us-east-1"
    retain_days: int = 400
    prefix: str = ""  # all keys lie under it; no slash at either end
    credentials: Path | None = None

    @classmethod
    def parse(cls, url: str) -> Self:
        """Raises StoreSettingsInvalid: an unknown or repeated parameter stops the start."""
        try:
            parts = urlsplit(url)
            given = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True)
        except ValueError as e:  # its text may hold what was typed
            raise StoreSettingsInvalid("store: not of the form s3://bucket?endpoint=http://host:9000") from e
        if "@" in parts.netloc or "@" in parts.path:
            raise StoreSettingsInvalid(
                "a URL holds no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or credentials=<file>"
            )
        if parts.scheme != "s3" or not _BUCKET.fullmatch(parts.netloc):
            raise StoreSettingsInvalid("store: not of the form s3://bucket?endpoint=http://host:9000")
        if parts.path or parts.fragment:
            raise StoreSettingsInvalid("store: only a bucket stands before the question mark; a folder is prefix=")
        values = _each_once(given)
        days = values.get("retain_days", "400")
        if not _DAYS.fullmatch(days) or int(days) > LONGEST_DAYS:
            raise StoreSettingsInvalid(f"store: retain_days is a number from 1 to {LONGEST_DAYS}")
        credentials = values.get("credentials")
        return cls(
            parts.netloc,
            _endpoint(values.get("endpoint", "")),
            _matching(_REGION, "region", values.get("region", "us-east-1")),
            int(days),
            _matching(_PREFIX, "prefix", values["prefix"]) if "prefix" in values else "",
            Path(credentials) if credentials else None,
        )


def _each_once(given: list[tuple[str, str]]) -> dict[str, str]:
    values: dict[str, str] = {}
    for name, value in given:
        if name not in _KNOWN:
            near = difflib.get_close_matches(name, _KNOWN, 1)
            hint = f"; did you mean {near[0]}?" if near else f"; known are {', '.join(_KNOWN)}"
            raise StoreSettingsInvalid(f"store: there is no parameter {name!r}{hint}")
        if name in values or not value:
            raise StoreSettingsInvalid(f"store: {name} stands there {'twice' if name in values else 'empty'}")
        values[name] = value
    return values


def _endpoint(text: str) -> str:
    parts = urlsplit(text)
    try:
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        sound = False
    if not sound or parts.path not in ("", "/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise StoreSettingsInvalid("store: endpoint is http://host:port or https://host, and nothing more")
    return f"{parts.scheme}://{parts.netloc}"


def _matching(pattern: re.Pattern[str], name: str, value: str) -> str:
    if not pattern.fullmatch(value):
        raise StoreSettingsInvalid(f"store: {name} is not of the form {pattern.pattern}")
    return value
