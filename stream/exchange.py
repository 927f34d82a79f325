"""One command and its answer while it is being read: raw traffic, in memory only."""

from __future__ import annotations

from dataclasses import dataclass, field

from schemas.ids import HoldId
from schemas.records import CommandKind, Decision, Result
from wire.postgres.messages import Column

MOST_CAPTURED = 256 * 1024
"""Bytes of an answer kept as material to mask; the rest is counted."""


@dataclass(slots=True, repr=False)
class RawExchange:
    """Open until `ended_us` and `result` are set."""

    number: int
    kind: CommandKind
    text: bytes
    started_us: int
    binds: tuple[bytes | None, ...] = ()
    bind_formats: tuple[int, ...] = ()
    result_formats: tuple[int, ...] = ()  # as in Bind: none, one for all, or one a column
    param_oids: tuple[int, ...] = ()
    statement: bytes = b""
    decision: Decision = Decision.ALLOW
    rule: str = ""
    hold: HoldId | None = None
    refused: bool = False
    columns: tuple[Column, ...] = ()
    rows: list[tuple[tuple[Column, ...], tuple[bytes | None, ...]]] = field(default_factory=list)
    copied: list[bytes] = field(default_factory=list)  # payloads of copy data in order; b"" where a COPY ended
    notices: list[bytes] = field(default_factory=list)
    tags: list[bytes] = field(default_factory=list)
    error: bytes = b""
    sqlstate: str = ""
    row_count: int = 0
    size: int = 0
    sent: int = 0  # bytes of copy data from the client, whether a COPY asked for them or not
    excerpt: bool = False
    ended_us: int = 0
    result: Result = Result.UNKNOWN

    def __repr__(self) -> str:
        return f"RawExchange(#{self.number}, {self.kind}, {len(self.text)} bytes, {self.row_count} rows)"

    def room(self, size: int) -> bool:
        """Whether so many bytes more are kept; they are counted in any case."""
        self.size += size
        if self.size > MOST_CAPTURED:
            self.excerpt = True
        return not self.excerpt

    def copy(self, payload: bytes) -> None:
        """Copy data: a piece of the stream, cut wherever its sender liked. Kept up to the first that has no room."""
        if payload and self.room(len(payload)):
            self.copied.append(payload)

    def copy_sent(self, payload: bytes) -> None:
        """The client's. They have room of their own: else they would take it from an answer that asked for none."""
        self.sent += len(payload)
        if payload and self.sent <= MOST_CAPTURED:
            self.copied.append(payload)

    @property
    def partial(self) -> bool:
        """Whether something of what was sent or answered is counted and not kept."""
        return self.excerpt or self.sent > MOST_CAPTURED

    def copy_ended(self) -> None:
        if len(self.copied) < MOST_CAPTURED:
            self.copied.append(b"")
        else:
            self.excerpt = True  # without this end the next data would be taken for this COPY's

    def copies(self) -> list[bytes]:
        """The data of the first COPY of this command, of the second, and so on."""
        found: list[list[bytes]] = [[]]
        for payload in self.copied:
            if payload:
                found[-1].append(payload)
            else:
                found.append([])
        return [b"".join(pieces) for pieces in found]
