"""What becomes of the commands that approvals released: kept, or seen to be undone.

An approval whose use left nothing behind comes back, so that a migration with two held
statements in one transaction gets through. So "undone" is said only of what a rollback
undoes whole (`Judgement.undoable`), and only where the target's own words leave no doubt:

 1. In a transaction block: the block ended (ReadyForQuery I) and since the command was
    sent no CommandComplete said COMMIT or PREPARE TRANSACTION; or the connection ended
    within the block, with nothing unanswered, which the target rolls back.
 2. Outside of one: the command was alone in its sync group, and an error came.
 3. The command was never sent.
Everything else is kept.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from approvals.grants import Uses
from schemas.ids import ApprovalId, HoldId
from schemas.records import Over

_LASTING = (b"COMMIT", b"PREPARE TRANSACTION")


class UsedRequests(Uses):
    """Also in a file, so that a restart forgets nothing: a line a release, and one with "-" for what was undone; a
    request, with "/" and which of its uses where it is not the first."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        for word in path.read_text(encoding="ascii").split() if path.exists() else ():
            request, _, use = word.removeprefix("-").partition("/")
            said = super().undone if word.startswith("-") else super().release
            said(ApprovalId(request), int(use or 1))

    def write(self, request: ApprovalId, use: int = 1) -> None:
        """What `release` said, durable when it returns. Blocks: not for the loop."""
        self._append(f"{_line(request, use)}\n", sync=True)

    def undone(self, request: ApprovalId, use: int = 1, *, written: bool = True) -> None:
        """Not synced: if it is lost, that use is not had again, which harms nobody. Raises OSError."""
        super().undone(request, use)
        if written:
            self._append(f"-{_line(request, use)}\n", sync=False)

    def _append(self, line: str, *, sync: bool) -> None:
        handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(handle, line.encode("ascii"))
            if sync:
                os.fsync(handle)
        finally:
            os.close(handle)


def _line(request: ApprovalId, use: int) -> str:
    return request if use == 1 else f"{request}/{use}"


@dataclass(slots=True)
class Use:
    """One release whose end is not known yet."""

    hold: HoldId
    request: ApprovalId
    number: int
    in_block: bool
    sent: bool = False
    alone: bool = False  # in its sync group
    failed: bool = False
    lasting: bool = False


class SessionUses:
    """Those of one session. `over` is told each one's end, once."""

    def __init__(self, over: Callable[[Use, Over], None]) -> None:
        self._over = over
        self._open: list[Use] = []

    def __bool__(self) -> bool:
        return bool(self._open)

    def released(self, use: Use) -> None:
        self._open.append(use)

    def sent(self, commands: int) -> None:
        """Messages go upstream, with so many commands: all that was released is among them, or was before."""
        for use in self._open:
            use.alone = commands == 1 if not use.sent else use.alone and not commands
            use.sent = True

    def complete(self, tag: bytes) -> None:
        """CommandComplete, with its tag."""
        if tag.startswith(_LASTING):
            for use in self._open:
                use.lasting = use.lasting or use.sent

    def error(self) -> None:
        for use in self._open:
            use.failed = use.failed or use.sent

    def ready(self, status: str) -> None:
        """ReadyForQuery."""
        for use in [u for u in self._open if u.sent]:
            if use.lasting:
                self._end(use, Over.KEPT)
            elif status != "I":
                use.in_block = True
            else:
                undone = use.in_block or (use.alone and use.failed)
                self._end(use, Over.UNDONE if undone else Over.KEPT)

    def ended(self, status: str, *, unanswered: bool) -> None:
        """The connection is over."""
        for use in list(self._open):
            undone = use.in_block and status != "I" and not unanswered and not use.lasting
            if not use.sent:
                self._end(use, Over.CLIENT_LEFT)
            else:
                self._end(use, Over.UNDONE if undone else Over.KEPT)

    def _end(self, use: Use, why: Over) -> None:
        self._open.remove(use)
        self._over(use, why)
