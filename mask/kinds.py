"""The words of this room: what kinds of values there are, what a detector is and what it says."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Any, NamedTuple

import re2

from mask.normal import View


class Kind(StrEnum):
    """What a replaced value was. Also the middle part of a token, so letters and `_` only."""

    CARD = "card"
    SSN = "ssn"
    EMAIL = "email"
    IBAN = "iban"
    BIRTH_DATE = "birth_date"
    PHONE = "phone"
    NATIONAL_ID = "national_id"
    IP = "ip_address"
    JWT = "jwt"
    AWS_KEY = "aws_access_key"
    AWS_SECRET = "aws_secret_key"  # noqa: S105
    PRIVATE_KEY = "private_key"
    GITHUB = "github_token"
    GITLAB = "gitlab_token"
    SLACK = "slack_token"
    STRIPE = "stripe_key"
    GOOGLE = "google_key"
    PASSWORD = "password"  # noqa: S105
    NPM = "npm_token"
    PYPI = "pypi_token"
    AZURE = "azure_key"
    SECRET = "secret"  # noqa: S105
    CARD_CODE = "card_code"
    FIELD = "field"  # by the name of its field
    ENCODED = "encoded"  # decoded, it held several values, or it could not be decoded


class Finding(NamedTuple):
    """A value to be replaced: characters `start` to `end` of the view (or text) that was searched."""

    start: int
    end: int
    kind: Kind
    value: str  # what the token is made of, before canonical form
    withhold: bool = False

    def __repr__(self) -> str:
        return f"Finding({self.kind}, {self.end - self.start} characters)"


class DetectorFailed(Exception):
    """A detector raised, or pointed outside its text. Carries the detector's name only."""


class Family(Enum):
    """Filters of one sort are one set. A set has a state for each mixture of what its filters have read so far: one
    set of all of them is busy making states as long as texts are new, and eight times as slow then."""

    DIGITS = 1
    WORDS = 2
    FORMS = 3


@dataclass(frozen=True, slots=True)
class Detector:
    """One row of the table of values (`mask.values`), which docs/masking.md shows and the tests run.

    `filters`: patterns of which one matches wherever `find` would find something; they may match more.
    `source`: where the rule is from. `hits`: texts with what must be found in them in «», `misses`: texts in
    which nothing may be found; in both, whatever is encoded is searched too.
    """

    name: str
    filters: tuple[bytes, ...]
    find: Callable[[View], Iterable[Finding]]
    source: str = ""
    hits: tuple[str, ...] = ()
    misses: tuple[str, ...] = ()
    family: Family = Family.FORMS


def options() -> Any:
    """re2 on bytes, one a character (`View.data`); quiet, because its log would go to stderr."""
    chosen = re2.Options()
    chosen.encoding = chosen.Encoding.LATIN1
    chosen.log_errors = False
    return chosen


def compiled(pattern: bytes) -> Any:
    """A pattern for `View.data`: linear time, whatever the text."""
    return re2.compile(pattern, options())
