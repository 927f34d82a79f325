"""Secrets that have a form of their own: tokens, keys, passwords in URLs.

`_FORMS` is the table: a row's pattern is its prefilter and, in re2, what locates it; where it has a group,
the group alone is the secret. Sources: RFC 7519 and 7516 (JWT, JWE), RFC 7468 and 4880 (PEM, armour),
RFC 3986 section 3.2.1 (userinfo); the providers' published formats, as in gitleaks' rules (MIT).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from mask.kinds import Detector, Finding, Kind, compiled
from mask.normal import View
from mask.values.personal import windows

_FORMS: tuple[tuple[str, Kind, bytes], ...] = (
    ("jwt", Kind.JWT, rb"e(?:y[JA]|w[o0])[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]+){1,4}\.?"),
    ("aws_access_key", Kind.AWS_KEY, rb"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16,}"),
    ("github_token", Kind.GITHUB, rb"gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}"),
    ("gitlab_token", Kind.GITLAB, rb"gl(?:pat|ptt|rt|cbt|dt|soat)-[A-Za-z0-9_.-]{16,}"),
    ("slack_token", Kind.SLACK, rb"(?:xox[a-z](?:\.xox[a-z])?|xapp)-[A-Za-z0-9-]{10,}"),
    ("slack_webhook", Kind.SLACK, rb"hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9/_+-]{20,}"),
    ("stripe_key", Kind.STRIPE, rb"(?:[sr]k_(?:live|test|prod)|whsec)_[A-Za-z0-9+/=]{10,}"),
    ("google_api_key", Kind.GOOGLE, rb"AIza[A-Za-z0-9_-]{30,}"),
    ("google_oauth", Kind.GOOGLE, rb"(?:ya29\.|GOCSPX-)[A-Za-z0-9_.-]{20,}"),
    ("npm_token", Kind.SECRET, rb"npm_[A-Za-z0-9]{30,}"),
    ("pypi_token", Kind.SECRET, rb"pypi-[A-Za-z0-9_-]{40,}"),
    ("bearer", Kind.SECRET, rb"[Bb][Ee][Aa][Rr][Ee][Rr][ \t]+([A-Za-z0-9._~+/=-]{16,})"),
)


def _form(name: str, kind: Kind, pattern: bytes) -> Detector:
    located = compiled(pattern)
    group = 1 if located.groups else 0

    def find(view: View) -> Iterator[Finding]:
        for match in located.finditer(view.data):
            start, end = match.span(group)
            yield Finding(start, end, kind, view.text[start:end])

    return Detector(name, (pattern,), find)


# --- AWS secret access keys: 40 characters that say nothing by themselves -----------

_SAYS_AWS = compiled(rb"(?i)aws|secret|access.?key|amazon|AKIA|ASIA")
_FORTY = re.compile(rb"(?<![A-Za-z0-9/+])[A-Za-z0-9/+]{40}+(?![A-Za-z0-9/+])")
_KINDS_OF_CHARACTERS = tuple(re.compile(one) for one in (rb"[A-Z]", rb"[a-z]", rb"[0-9]"))


def find_aws_secret(view: View) -> Iterator[Finding]:
    for start, end in windows(view.data, _SAYS_AWS, 128, 160):
        for match in _FORTY.finditer(view.data, start, end):
            if all(each.search(match[0]) for each in _KINDS_OF_CHARACTERS):
                yield Finding(*match.span(), Kind.AWS_SECRET, match[0].decode())


# --- private keys ---------------------------------------------------------------------

_BEGIN = re.compile(rb"-{2,8}+[ ]?BEGIN[ A-Z0-9]{0,40}?PRIVATE KEY(?: BLOCK)?[ ]?-{2,8}+|PuTTY-User-Key-File-[0-9]")
_END = re.compile(rb"-{2,8}+[ ]?END[ A-Z0-9]{0,40}?PRIVATE KEY(?: BLOCK)?[ ]?-{2,8}+|Private-MAC: ?[0-9a-f]*+")


def find_private_key(view: View) -> Iterator[Finding]:
    """From BEGIN to END; to the end of the text where END is not in it, or a barrier is before it."""
    at = 0
    while begin := _BEGIN.search(view.data, at):
        barrier = view.data.find(b"\x82", begin.end())
        stop = barrier if barrier >= 0 else len(view.data)
        end = _END.search(view.data, begin.end(), stop)
        at = end.end() if end else stop
        yield Finding(begin.start(), at, Kind.PRIVATE_KEY, view.text[begin.start() : at])


# --- passwords in URLs -------------------------------------------------------------------

_AUTHORITY = re.compile(rb"[^\s/?#\"'<>\x82]*+")
_TO_AT = re.compile(rb"[^\s@\"'<>\x82]{1,256}+@")
_PORT = re.compile(rb"[0-9]{1,5}+(?![^/?#])")
_LONG_USER = 16  # a user name so long, with no password, is a token


def find_url_password(view: View) -> Iterator[Finding]:
    data, at = view.data, view.data.find(b"://")
    while at >= 0:
        if span := _secret_of(data, at + 3):
            yield Finding(*span, Kind.PASSWORD, view.text[span[0] : span[1]], withhold=True)
        at = data.find(b"://", at + 3)


def _secret_of(data: bytes, start: int) -> tuple[int, int] | None:
    """Where the password is in the authority that begins at `start`, or the user name that is a token."""
    end = _end_of(_AUTHORITY, data, start)
    colon = data.find(b":", start, end)
    last = data.rfind(b"@", start, end)
    if last < 0 and colon >= 0 and not _PORT.match(data, colon + 1):  # a password with a `/` in it
        match = _TO_AT.match(data, colon + 1)
        last = match.end() - 1 if match else -1
    if last < 0:
        return None
    if 0 <= colon < last:
        return (colon + 1, last) if colon + 1 < last else None
    return (start, last) if last - start >= _LONG_USER else None


def _end_of(pattern: re.Pattern[bytes], data: bytes, start: int) -> int:
    match = pattern.match(data, start)
    return match.end() if match else start


DETECTORS = (
    *(_form(*row) for row in _FORMS),
    Detector("aws_secret_key", (rb"(?:^|[^A-Za-z0-9/+])[A-Za-z0-9/+]{40}(?:[^A-Za-z0-9/+]|$)",), find_aws_secret),
    Detector("private_key", (rb"BEGIN[ A-Z0-9]{0,40}PRIVATE KEY|PuTTY-User-Key-File-",), find_private_key),
    Detector("url_password", (rb"://[^\s/\"'<>]*[:@]",), find_url_password),
)
