"""What a gateway is told at start: plain values that the program's TOML maps onto.

Nothing here reads a file but `Target.of`, which takes the URL apart. Secrets are
kept out of every `repr`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from schemas.records import Claim


class SettingsInvalid(ValueError):
    """A setting cannot be used; the message names it and says what to write instead."""


class Durability(StrEnum):
    """What must be true of the journal before a command goes upstream."""

    BY_EFFECT = "by-effect"  # write for what is judged complete and read-only, else fsync
    WRITE = "write"  # survives our death
    FSYNC = "fsync"  # survives the machine's


class SslMode(StrEnum):
    """How the target's side is spoken to, in libpq's words."""

    DISABLE = "disable"
    REQUIRE = "require"
    VERIFY_CA = "verify-ca"
    VERIFY_FULL = "verify-full"


@dataclass(frozen=True, slots=True)
class Identity:
    """A machine that may log in. `verifier` is PostgreSQL's form, never a password."""

    subject: str
    user: str
    verifier: str = field(repr=False)  # SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>
    claims: tuple[Claim, ...] = ()


@dataclass(frozen=True, slots=True)
class ClientTls:
    """`required`: a client that does not ask for TLS is turned away."""

    cert: Path
    key: Path
    required: bool = True


@dataclass(frozen=True, slots=True)
class Target:
    """Where commands go, and the credential that machines never see."""

    host: str
    port: int
    user: str
    database: str
    password: str = field(default="", repr=False)
    sslmode: SslMode = SslMode.DISABLE
    ca: Path | None = None

    @staticmethod
    def of(url: str, password: str = "", ca: Path | None = None) -> Target:
        """From `postgresql://user@host:5432/database?sslmode=verify-full`. Raises SettingsInvalid."""
        parts = urlsplit(url)
        if parts.scheme not in ("postgresql", "postgres") or not (parts.hostname and parts.username and parts.path[1:]):
            raise SettingsInvalid('target: write it as "postgresql://user@host:5432/database"')
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        asked = options.pop("sslmode", SslMode.VERIFY_FULL if ca else SslMode.DISABLE)
        if options:
            raise SettingsInvalid(f"target: unknown option {sorted(options)[0]!r}; only sslmode is known")
        try:
            sslmode = SslMode(asked)
        except ValueError:
            raise SettingsInvalid(f"target: sslmode must be one of {', '.join(SslMode)}") from None
        return Target(
            host=parts.hostname,
            port=parts.port or 5432,
            user=unquote(parts.username),
            database=unquote(parts.path[1:]),
            password=password,
            sslmode=sslmode,
            ca=ca,
        )


@dataclass(frozen=True, slots=True)
class Capture:
    """Sizes in bytes."""

    max_command: int = 1 << 20  # text and binds of one command; above it is refused
    max_response: int = 256 << 10  # of one answer, or of one COPY's data; the rest is counted and digested


@dataclass(frozen=True, slots=True)
class Holding:
    """Seconds."""

    wire_seconds: float = 300.0  # how long a command waits for its reviewers
    lookup_seconds: float = 2.0  # in a used transaction: only to learn of an approval that is there already
    notice_seconds: float = 15.0  # how often the client is told that it waits


@dataclass(frozen=True, slots=True)
class Admission:
    """What somebody who has not logged in may cost."""

    login_seconds: float = 10.0
    unauthenticated: int = 100
    connect_seconds: float = 10.0  # to the target


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    name: str
    listen_host: str
    listen_port: int  # 0: any free one; `Gateway.address` tells
    target: Target
    environment: str
    identities: tuple[Identity, ...]
    approvals_url: str  # told to clients whose command is held
    tls: ClientTls | None = None
    durability: Durability = Durability.BY_EFFECT
    capture: Capture = Capture()
    holding: Holding = Holding()
    admission: Admission = Admission()
    drain_seconds: float = 10.0
