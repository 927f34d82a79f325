"""Asking the target in the client's own session, unseen by it.

What a command means depends on the session: its search_path, its role, its
temporary tables. So the questions are put through the same connection, in a
named statement of ours, and the answers are swallowed. They are asked only when
nothing else is owed. Every name is written with its schema, because the
session's search_path may be hostile.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from ingest.postgres.relay import PROBE, Relay
from schemas.records import Claim, RelationSize
from wire.postgres import messages as wire
from wire.postgres.reader import RemoteFault

_FACTS = (
    b"SELECT pg_catalog.current_setting('search_path'), current_user::pg_catalog.text, "
    b"session_user::pg_catalog.text, pg_catalog.current_setting('session_replication_role'), "
    b"pg_catalog.to_regclass($1)::pg_catalog.oid::pg_catalog.text, pg_catalog.to_regclass($1)::pg_catalog.text, "
    # Its rows by the statistics, not by pg_class: that would leave a lock on it for as long as the command waits.
    b"pg_catalog.pg_stat_get_live_tuples(pg_catalog.to_regclass($1)::pg_catalog.oid)::pg_catalog.text"
)
_SETTINGS = (
    b"SELECT pg_catalog.current_setting('standard_conforming_strings'), pg_catalog.current_setting('client_encoding')"
)
_FUNCTION = b"SELECT pg_catalog.to_regproc($1)::pg_catalog.oid::pg_catalog.text"
MOST_NAMES = 64
TEXT = 25


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a command's names mean in its session now. Only the claims decide whether it is still the same command."""

    claims: tuple[Claim, ...]
    sizes: tuple[RelationSize, ...] = ()


class CannotResolve(RuntimeError):
    """The session could not say what the names mean."""


async def facts(relay: Relay, names: tuple[str, ...]) -> Meaning:
    """Of settings and names. Raises CannotResolve."""
    if len(names) > MOST_NAMES:
        raise CannotResolve("it names too many relations")
    binds: list[tuple[bytes | None, ...]] = [(name.encode(),) for name in names] or [(None,)]
    rows = await _ask(relay, _FACTS, binds, (TEXT,))
    path, user, session, replication = rows[0][:4]
    claims = [
        Claim("search_path", path),
        Claim("current_user", user),
        Claim("session_user", session),
        Claim("session_replication_role", replication),
    ]
    claims += [Claim(f"relation {n}", f"{row[4]} {row[5]}") for n, row in zip(names, rows, strict=False)]
    sizes = tuple(RelationSize(n, int(row[6])) for n, row in zip(names, rows, strict=False) if row[6] not in ("", "0"))
    return Meaning(tuple(claims), sizes)


async def functions(relay: Relay, names: tuple[str, ...]) -> tuple[Claim, ...]:
    """Which functions and procedures these are, but for those that have several of their name. Raises CannotResolve."""
    if len(names) > MOST_NAMES:
        raise CannotResolve("it names too many functions")
    rows = await _ask(relay, _FUNCTION, [(name.encode(),) for name in names], (TEXT,)) if names else []
    return tuple(Claim(f"function {n}", row[0]) for n, row in zip(names, rows, strict=True))


async def look_at_settings(relay: Relay) -> None:
    """The target reports settings at ReadyForQuery only; within a pipeline they are asked for."""
    try:
        rows = await _ask(relay, _SETTINGS, [()], ())
    except CannotResolve:
        return
    relay.settings["standard_conforming_strings"], relay.settings["client_encoding"] = rows[0]


async def _ask(
    relay: Relay, text: bytes, binds: list[tuple[bytes | None, ...]], oids: tuple[int, ...]
) -> list[tuple[str, ...]]:
    name = b"tl" + secrets.token_hex(6).encode()
    parts = [wire.parse(text, name, oids)]
    relay.dialogue.client("P", PROBE, name=name, text=text)
    for values in binds:
        parts += [wire.bind(name, name, values), wire.execute(name), wire.close("P", name)]
        relay.dialogue.client("B", PROBE, name=name, portal=name)
        relay.dialogue.client("E", PROBE, name=name)
        relay.dialogue.client("C", PROBE, portal=b"P" + name)
    parts.append(wire.close("S", name))
    relay.dialogue.client("C", PROBE, name=name)
    if relay.group_upstream:
        parts.append(wire.FLUSH)
    else:
        parts.append(wire.SYNC)
        relay.dialogue.client("S", PROBE)
    relay.swallowed.clear()
    relay.target.write(b"".join(parts))
    await relay.until(lambda: relay.dialogue.is_idle or relay.skipping)
    answers, relay.swallowed = relay.swallowed, []
    rows = [wire.parse_data_row(payload) for kind, payload in answers if kind == "D"]
    if len(rows) != len(binds):
        raise CannotResolve("the session could not say what its names mean")
    try:
        return [tuple((v or b"").decode() for v in row) for row in rows]
    except UnicodeDecodeError as e:
        raise RemoteFault("an answer that is not UTF-8") from e
