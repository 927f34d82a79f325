"""Messages of a test's own making on a driver's logged-in connection, and the target's log as the witness."""

from __future__ import annotations

import os
import select
from typing import Any

import psycopg

from wire.postgres.reader import RawMessage, Reader


def send(connection: Any, *parts: bytes) -> None:
    """As one write, so that the gateway reads it as one buffer (below a segment's size)."""
    os.write(connection.pgconn.socket, b"".join(parts))


def answers(connection: Any, syncs: int = 1) -> list[RawMessage]:
    """What comes, up to that many ReadyForQuery."""
    fd = connection.pgconn.socket
    reader, got = Reader(), list[RawMessage]()
    ready = select.poll()  # select() takes no descriptor above 1023, and a long run has as many
    ready.register(fd, select.POLLIN)
    while ready.poll(10_000):
        part = os.read(fd, 65536)
        got += reader.feed(part)
        if not part or sum(m.type == 0x5A for m in got) >= syncs:
            return got
    raise TimeoutError(f"{len(got)} messages came")


def say(connection: Any, *parts: bytes, syncs: int = 1) -> list[RawMessage]:
    send(connection, *parts)
    return answers(connection, syncs)


def errors(messages: list[RawMessage]) -> list[str]:
    """The SQLSTATEs, in order."""
    found = []
    for m in messages:
        if m.type == 0x45:
            found.append(next(f[1:].decode() for f in m.payload.split(b"\0") if f[:1] == b"C"))
    return found


def rows(postgres: Any, table: str = "job_log") -> int:
    with psycopg.connect(postgres.url()) as c:
        found = c.execute(f"select count(*) from {table}").fetchone()  # type: ignore[arg-type]
        assert found is not None
        return int(found[0])
