"""What exactly is approved: one command as bytes, in one way only.

Two commands have the same canonical bytes if and only if they are the same in
everything that decides what they do: the text as sent, each bind value with its
format, the parameter types, what names and settings resolved to in the session,
who asks (subject, database role), where (gateway, database), and the claims the
rule names. Every part carries its length, so no part can slide into its
neighbour. The bytes hold raw traffic: they are only ever fed to a keyed or
salted digest (`seal/digest.py`), never kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from schemas.judging import SessionFacts
from schemas.records import Claim

DEFAULT_CLAIMS = ("repository", "ref", "workflow")
"""The claims that bind an approval where the rule names none of its own."""

_VERSION = b"tallystick/command/1"
_SHAPE = b"tallystick/shape/1"
_INTEGERS = {20: 23, 21: 23}
"""int8 and int2 as int4: drivers choose the width by the value (psycopg), and that is free in a shape."""


def canonical(
    text: bytes,
    binds: Sequence[bytes | None],
    bind_formats: Sequence[int],
    param_oids: Sequence[int],
    resolved: Sequence[Claim],
    facts: SessionFacts,
    claim_names: Iterable[str] = DEFAULT_CLAIMS,
) -> bytes:
    """The one encoding of a command. `bind_formats` has one entry a bind (0 text, 1 binary).

    `resolved` and the claims are sets: their order does not matter. Raises ValueError
    where the formats do not match the binds (a caller's mistake, not a client's).
    """
    if len(bind_formats) != len(binds):
        raise ValueError(f"{len(binds)} binds with {len(bind_formats)} formats: give one format a bind")
    parts = [
        _VERSION,
        text,
        _list(_bind(value, form) for value, form in zip(binds, bind_formats, strict=True)),
        *_around(param_oids, resolved, facts, claim_names),
    ]
    return b"".join(map(_sized, parts))


def shape(
    normal: str,
    binds: int,
    param_oids: Sequence[int],
    resolved: Sequence[Claim],
    facts: SessionFacts,
    claim_names: Iterable[str] = DEFAULT_CLAIMS,
) -> bytes:
    """The same of all commands that differ in their values alone: `normal` is the text with a mark for each constant,
    `binds` how many there are. Only for what the judge calls literal-blind: of anything else the values decide what
    it does. Never the canonical bytes of a command: they begin with another word."""
    oids = [_INTEGERS.get(oid, oid) for oid in param_oids]
    parts = [_SHAPE, normal.encode(), _number(binds), *_around(oids, resolved, facts, claim_names)]
    return b"".join(map(_sized, parts))


def _around(
    param_oids: Sequence[int], resolved: Sequence[Claim], facts: SessionFacts, claim_names: Iterable[str]
) -> list[bytes]:
    names = frozenset(claim_names)
    return [
        _list(_number(oid) for oid in param_oids),
        _claims(resolved),
        facts.subject.encode(),
        _claims(claim for claim in facts.claims if claim.name in names),
        facts.protocol.encode(),
        facts.target.encode(),
        facts.database.encode(),
        facts.user.encode(),
    ]


def committed(what: bytes, caused_by: Sequence[str]) -> bytes:
    """What the commitment is to: the command, and the reviewers who stand behind its first run. A grant brings
    these, and nobody who only carries it can leave one out."""
    return what if not caused_by else what + _sized(_list(name.encode() for name in sorted(caused_by)))


def _bind(value: bytes | None, form: int) -> bytes:
    """NULL is one byte, a value at least two: they can never look alike."""
    return b"\x00" if value is None else b"\x01" + bytes((form,)) + value


def _claims(claims: Iterable[Claim]) -> bytes:
    pairs = sorted((claim.name.encode(), claim.value.encode()) for claim in claims)
    return _list(_sized(name) + _sized(value) for name, value in pairs)


def _list(items: Iterable[bytes]) -> bytes:
    return b"".join(map(_sized, items))


def _number(value: int) -> bytes:
    return value.to_bytes(4, "big")


def _sized(part: bytes) -> bytes:
    return len(part).to_bytes(8, "big") + part
