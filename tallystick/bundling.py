"""Puts a bundle together out of a deployment: its log, keys, reviewers and, where they open, masked texts."""

from __future__ import annotations

import os
from pathlib import Path

from evidence.bundle import Keys, build
from evidence.logcheck import Indexed
from evidence.tables import Query
from policy import rules
from policy.document import RulesInvalid
from schemas.judging import Reviewer
from seal import keyfiles
from tallystick.recorded import Content, Recorded, as_json, masked
from tallystick.terminal import fail
from tallystick.version import VERSION


def write(log: Recorded, query: Query, out: Path) -> None:
    """A new file, linked under its name when it is whole. Raises CannotBuild, StoreBroken, OSError."""
    try:
        signer = keyfiles.load_signer(log.config.keys, "ledger")
        root = keyfiles.enrolled(log.config.keys).root
    except keyfiles.KeysUnusable as e:
        fail(str(e))

    def opener(e: Indexed) -> bytes | None:
        content, text = masked(log.contents, e.entry, e.content)
        return as_json(text).encode() if content is Content.SHOWN else None

    keys = Keys(root, reviewers(log.config.policy))
    made = build(log.store, log.shard, log.key, signer, query, keys, opener, release=VERSION)
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        with temporary.open("xb") as f:
            f.write(made)
            f.flush()
            os.fsync(f.fileno())
        os.link(temporary, out)
    finally:
        temporary.unlink(missing_ok=True)


def reviewers(policy: Path) -> tuple[Reviewer, ...]:
    """Who may vote, by the policy in force."""
    try:
        return rules.parse(policy.read_text(encoding="utf-8")).reviewers
    except (OSError, UnicodeDecodeError):
        fail(f"{policy}: cannot be read; the config names it as the policy")
    except RulesInvalid as e:
        fail(f"{policy}: {e}")
