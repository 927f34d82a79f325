"""Secrets that have a form of their own: tokens, keys, passwords in URLs.

`_FORMS` is the table of tokens: a row's pattern is its prefilter and, in re2, what locates it; where it has a
group, the group alone is the secret. Sources: RFC 7519 and 7516 (JWT, JWE), RFC 7468 and 4880 (PEM, armour),
RFC 3986 section 3.2.1 (userinfo); the providers' published formats, as in gitleaks' rules (MIT).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from math import log2
from typing import NamedTuple

from mask.kinds import Detector, Family, Finding, Kind, compiled
from mask.normal import View
from mask.tokens import MASKED
from mask.values.near import windows


class _Form(NamedTuple):
    """`hits` and `misses` of the detector (`mask.kinds`)."""

    name: str
    kind: Kind
    pattern: bytes
    source: str
    hits: tuple[str, ...]
    misses: tuple[str, ...] = ()
    filter: bytes = b""
    """Instead of the pattern, where that counts characters before it knows anything: a set of filters would have a
    state for each count."""


_A = "aB3dE5fG7hJ9"  # of examples: made here, so that no scanner takes them for anybody's
_FORMS = (
    _Form("jwt", Kind.JWT, rb"e(?:y[JA]|w[o0])[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]+){1,4}\.?", "RFC 7519, RFC 7516",
          ("x «eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.c2ln» y",), ("eyJ", "eyJhbGciOiJub25lIn0")),
    _Form("aws_access_key", Kind.AWS_KEY, rb"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16,}", "AWS IAM, unique identifiers",
          ("id «AKIAIOSFODNN7EXAMPLE»",), ("AKIA", "AKIAiosfodnn7example")),
    _Form("github_token", Kind.GITHUB, rb"gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}",
          "GitHub, token formats", (f"«ghp_{_A * 3}»", f"«github_pat_{_A * 4}»"), ("ghp_short", "gha_" + _A * 3)),
    _Form("gitlab_token", Kind.GITLAB,
          rb"gl(?:pat|ptt|rt|cbt|dt|soat|oas|ft|ffct|imt|agent|wt)-[A-Za-z0-9_.-]{16,}|GR1348941[A-Za-z0-9_-]{16,}",
          "GitLab, token prefixes", (f"«glpat-{_A * 2}»", f"«glrt-{_A * 2}»", f"«GR1348941{_A * 2}»"),
          ("glpat-short",)),
    _Form("slack_token", Kind.SLACK, rb"(?:xox[a-z](?:\.xox[a-z])?|xapp)-[A-Za-z0-9-]{10,}", "Slack, token types",
          (f"«xoxb-123456789012-{_A}»", f"«xapp-1-A0123-{_A}»"), ("xox-", "xoxb-1")),
    _Form("slack_webhook", Kind.SLACK, rb"hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9/_+-]{20,}",
          "Slack, incoming webhooks", (f"https://«hooks.slack.com/services/T0/B0/{_A * 2}»",),
          ("https://hooks.slack.com/services/",)),
    _Form("stripe_key", Kind.STRIPE, rb"(?:[sr]k_(?:live|test|prod)|whsec)_[A-Za-z0-9+/=]{10,}", "Stripe, API keys",
          (f"«sk_live_{_A * 2}»", f"«rk_test_{_A * 2}»", f"«whsec_{_A * 2}»"), ("sk_live_", "pk_live_" + _A * 2)),
    _Form("google_api_key", Kind.GOOGLE, rb"AIza[A-Za-z0-9_-]{30,}", "Google Cloud, API keys",
          (f"«AIza{(_A * 3)[:35]}»",), ("AIza", "AIzaX")),
    _Form("google_oauth", Kind.GOOGLE, rb"(?:ya29\.|GOCSPX-|1//0)[A-Za-z0-9_.-]{20,}", "Google Identity, OAuth 2.0",
          (f"«ya29.{_A * 3}»", f"«GOCSPX-{_A * 2}»", f"«1//0{_A * 4}»"), ("ya29.", "1//0")),
    _Form("azure_client_secret", Kind.AZURE, rb"[A-Za-z0-9_~.-]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34}", "Microsoft Entra ID",
          (f"«abc8Q~{(_A * 3)[:34]}»",), ("abc8Q~short",)),
    _Form("azure_key", Kind.AZURE,
          rb"[A-Za-z0-9]{52}JQQJ99[A-Za-z0-9]{18}[A-Za-z0-9+/=]{4,8}"
          rb"|[A-Za-z0-9+/]{33,76}(?:\+A(?:St|Ba|Sb|Eh|CR|MC)|ACDb|AIoT|AzSe|AzFu)[A-Za-z0-9+/]{5,6}={0,2}",
          "Microsoft, common annotated security keys",
          (f"«{(_A * 5)[:52]}JQQJ99{(_A * 2)[:18]}AbCd»", f"«{(_A * 7)[:76]}+ASt5fG7hQ==»"),
          ("JQQJ99", "a+ASt5fG7hQ=="),
          rb"JQQJ99|(?:\+A(?:St|Ba|Sb|Eh|CR|MC)|ACDb|AIoT|AzSe|AzFu)[A-Za-z0-9+/]{5}"),
    _Form("azure_connection", Kind.AZURE,
          rb"(?i)(?:AccountKey|SharedAccessKey|SharedSecretValue)[ ]?=[ ]?([A-Za-z0-9+/]{20,}={0,2})",
          "Microsoft, connection strings", (f"AccountName=a;AccountKey=«{(_A * 8)[:86]}==»;x",), ("AccountKey=;",)),
    _Form("azure_sas", Kind.AZURE, rb"[?&](?:sig)=([A-Za-z0-9%+/=_-]{40,})", "Microsoft, shared access signatures",
          (f"https://a.blob.core.windows.net/b?sv=2024-01-01&sig=«{(_A * 4)[:43]}%3D»&se=1",), ("?sig=short",)),
    _Form("npm_token", Kind.NPM, rb"npm_[A-Za-z0-9]{30,}", "npm, access tokens", (f"«npm_{_A * 3}»",),
          ("npm_config_registry", "npm_lifecycle_event_of_a_script_x")),
    _Form("pypi_token", Kind.PYPI, rb"pypi-[A-Za-z0-9_-]{40,}", "PyPI, API tokens",
          (f"«pypi-AgEIcHlwaS5vcmc{_A * 4}»",), ("pypi-mirror-of-the-house",)),
    _Form("vendor_token", Kind.SECRET,
          rb"sk-(?:proj-|ant-|svcacct-|or-v1-)[A-Za-z0-9_-]{20,}|SG\.[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]{20,}"
          rb"|(?:dop|doo|dor)_v1_[a-f0-9]{40,}|hv[sbr]\.[A-Za-z0-9_-]{24,}|dckr_[po]at_[A-Za-z0-9_-]{20,}"
          rb"|hf_[A-Za-z]{30,}|dapi[a-f0-9]{32}|shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}|lin_api_[A-Za-z0-9]{32,}"
          rb"|ATATT3[A-Za-z0-9_=-]{40,}|AGE-SECRET-KEY-1[0-9A-Z]{50,}|NRAK-[A-Z0-9]{20,}|glsa_[A-Za-z0-9_]{32,}"
          rb"|rubygems_[a-f0-9]{40,}|[0-9]{8,10}:AA[A-Za-z0-9_-]{33}|tskey-[a-z]+-[A-Za-z0-9-]{20,}",
          "the vendors' published prefixes",
          (f"«sk-proj-{_A * 3}»", f"«SG.{_A * 2}.{_A * 3}»", f"«dop_v1_{'0a1b2c3d' * 8}»", f"«hvs.{_A * 3}»",
           f"«shpat_{'0a1b2c3d' * 4}»", f"«12345678:AA{(_A * 3)[:33]}»"), ("sk-1", "hf_", "hvs.", "SG.a.b")),
    _Form("bearer", Kind.SECRET, rb"[Bb][Ee][Aa][Rr][Ee][Rr][ \t]+([A-Za-z0-9._~+/=-]{16,})", "RFC 6750, section 2.1",
          ("Authorization: Bearer «abcdefghijklmnop1234»",), ("the bearer of this", "bearer token")),
)  # fmt: skip


def _form(form: _Form) -> Detector:
    located = compiled(form.pattern)
    group = 1 if located.groups else 0

    def find(view: View) -> Iterator[Finding]:
        for match in located.finditer(view.data):
            start, end = match.span(group)
            yield Finding(start, end, form.kind, view.text[start:end])

    return Detector(form.name, (form.filter or form.pattern,), find, form.source, form.hits, form.misses)


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
_MASKED = re.compile(rb"(?:[^:@/]*+:)?(?:" + MASKED + rb")\Z")
_LONG_USER = 16  # a user name so long, with no password, is a token


def find_url_password(view: View) -> Iterator[Finding]:
    data, at = view.data, view.data.find(b"://")
    while at >= 0:
        if (span := _secret_of(data, at + 3)) and not _MASKED.match(data, at + 3, span[1]):
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


# --- passwords of drivers' own names for a database ---------------------------------------

_DSN = compiled(rb"[A-Za-z0-9_.+-]+:([^\s@\"'<>\x82]{1,256})@(?:tcp|udp|unix)\(")


def find_dsn(view: View) -> Iterator[Finding]:
    for match in _DSN.finditer(view.data):
        start, end = match.span(1)
        if _MASKED.match(match[1]):
            continue
        yield Finding(start, end, Kind.PASSWORD, view.text[start:end], withhold=True)


# --- random characters near a word that says secret ----------------------------------------

_SAYS_SECRET = rb"(?i)secret|token|passw|api.?key|credential|auth.?key|private.?key"
_SECRET_WORDS = compiled(_SAYS_SECRET)
_RANDOM = re.compile(rb"(?<![A-Za-z0-9+/_=~.-])[A-Za-z0-9+/_~.-]{20,128}+={0,2}(?![A-Za-z0-9+/_=~.-])")
_NUMBERS = re.compile(rb"[0-9]++")
_TURNS = re.compile(rb"[0-9](?=[A-Za-z])|[A-Za-z](?=[0-9])|[a-z](?=[A-Z])")


def is_random(value: bytes) -> bool:
    """Capitals, small letters and digits that change places often, and few characters that come again: at least
    3.5 bits a character (Shannon). Names in code, paths,
    digests in hex and UUIDs are none."""
    if not all(each.search(value) for each in _KINDS_OF_CHARACTERS):
        return False
    counts = Counter(value)
    bits = -sum(n / len(value) * log2(n / len(value)) for n in counts.values())
    turns = len(_TURNS.findall(value))
    return bits >= 3.5 and turns * 4 >= len(value) and len(_NUMBERS.findall(value)) > 1


def find_random(view: View) -> Iterator[Finding]:
    for start, end in windows(view.data, _SECRET_WORDS, 0, 160):
        for match in _RANDOM.finditer(view.data, start, end):
            if is_random(match[0]):
                yield Finding(*match.span(), Kind.SECRET, match[0].decode())


DETECTORS = (
    *map(_form, _FORMS),
    Detector(
        "aws_secret_key",
        (rb"(?:^|[^A-Za-z0-9/+])[A-Za-z0-9/+]{40}(?:[^A-Za-z0-9/+]|$)",),
        find_aws_secret,
        "AWS IAM, access keys; near a word that says so",
        ("aws_secret_access_key = «wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY»",),
        ("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "secret da39a3ee5e6b4b0d3255bfef95601890afd80709"),
    ),
    Detector(
        "private_key",
        (rb"BEGIN[ A-Z0-9]{0,40}PRIVATE KEY|PuTTY-User-Key-File-",),
        find_private_key,
        "RFC 7468, RFC 4880 section 6.2, PuTTY appendix C",
        ("a «-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----» b",
         "«-----BEGIN RSA PRIVATE KEY-----\nMIIE»"),
        ("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----", "BEGIN PRIVATE KEY"),
    ),
    Detector(
        "url_password",
        (rb"://[^\s/\"'<>]*[:@]",),
        find_url_password,
        "RFC 3986, section 3.2.1",
        ("postgres://bob:«hunter2»@db/shop", "https://«abcdefghij0123456789»@git.example.com"),
        ("http://example.com:8080/a@b", "https://bob@git", "s3://bucket/key"),
    ),
    Detector(
        "dsn_password",
        (rb":[^\s@\"'<>\x82]{1,256}@(?:tcp|udp|unix)\(",),
        find_dsn,
        "go-sql-driver/mysql, DSN",
        ("bob:«hunter2»@tcp(db:3306)/shop",),
        ("bob@tcp(db)", "a: b@tcp"),
    ),
    Detector(
        "random_secret",
        (_SAYS_SECRET,),
        find_random,
        "Shannon entropy and turns of characters, near a word that says secret",
        (f"the secret is «{_A * 2}»", f"SECRET_VALUE -> «{_A}+/{_A}=»"),
        ("token getUserTokenV2FromTheCache", "secret /etc/ssl/Private/key1.pem",
         "secret 6ba7b810-9dad-11d1-80b4-00c04fd430c8",
         "token e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", _A * 2),
        family=Family.WORDS,
    ),
)  # fmt: skip
