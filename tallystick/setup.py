"""A first deployment in a folder: keys, policy, config, one identity, one reviewer. Nothing is overwritten."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from ingest.postgres.scram import Verifier
from policy.rules import default_text
from seal import keyfiles

CONFIG = """\
# Tallystick. Every key is explained in docs/operations.md; an unknown one stops the start.
data = "{data}"
keys = "{keys}"                       # another place than data: lock and key are kept apart
bus = "{bus}"
store = "{store}"
policy = "policy.yaml"
approvals = "{approvals}"      # the door for reviewers and waiting jobs
{more}
[[gateway]]
name = "{name}"
listen = "{listen}"
target = "{target}"
environment = "production"
durability = "by-effect"
{more_gateway}
[[gateway.identity]]
subject = "{subject}"
user = "{user}"
verifier = "{verifier}"
"""
ITERATIONS = 4096


class SetupRefused(RuntimeError):
    """Something is there already, or cannot be written; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Made:
    config: Path
    reviewer_key: Path
    user: str
    password: str = field(repr=False)


def identity(password: str) -> str:
    """The verifier that a config holds in place of a password."""
    return str(Verifier.of(password, secrets.token_bytes(16), ITERATIONS))


def new_password() -> str:
    return secrets.token_urlsafe(24)


def make(
    place: Path,
    *,
    target: str,
    name: str = "db",
    listen: str = "127.0.0.1:15432",
    approvals: str = "127.0.0.1:7480",
    deployment: str = "local",
    subject: str = "ci/deploy",
    user: str = "ci",
    reviewer: str = "reviewer",
    bus: str = "local",
    store: str = "file:data/ledger",
    more: str = "",
    more_gateway: str = "",
    data: str = "data",
    keys: str = "keys",
    password: str = "",
) -> Made:
    """`more` and `more_gateway` are further lines of TOML; `keys` is what the config says of them, they are made in
    the folder `keys` of `place`; without a `password` one is made up. Raises SetupRefused, KeysUnusable."""
    config, policy, key = place / "tallystick.toml", place / "policy.yaml", place / f"{reviewer}.key"
    for path in (config, policy, key):
        if path.exists():
            raise SetupRefused(f"{path}: is there already, and nothing is overwritten; choose an empty folder")
    try:
        place.mkdir(parents=True, exist_ok=True)
        keyfiles.init(place / "keys", deployment)
        public = keyfiles.new_reviewer(key)
        who = f'reviewers:\n  - {{name: {reviewer}, key: "{public}", groups: [reviewers]}}\n'
        write_secret(policy, default_text().replace("reviewers: []\n", who))
        password = password or new_password()
        write_secret(
            config,
            CONFIG.format(
                data=data,
                keys=keys,
                approvals=approvals,
                bus=bus,
                store=store,
                name=name,
                listen=listen,
                target=target,
                subject=subject,
                user=user,
                verifier=identity(password),
                more=more,
                more_gateway=more_gateway,
            ),
        )
    except OSError as e:
        raise SetupRefused(f"{place}: cannot be written ({e.strerror})") from e
    return Made(config, key, user, password)


def write_secret(path: Path, text: str) -> None:
    """A new file that its owner alone may read. Raises OSError."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as f:
        f.write(text)
