"""What a piece of content is encrypted for (`seal.content`, argument `where`).

Light: the auditor's side reads it too.
"""

from __future__ import annotations

from schemas.ids import HoldId, SessionId


def hold_place(hold: HoldId) -> bytes:
    """Of a Hold entry's content, and of HoldRaised: the masked command that a reviewer reads."""
    return b"hold/" + hold.encode()


def exchange_place(session: SessionId, number: int) -> bytes:
    """Of an Exchange entry's content: the masked command and answer."""
    return b"exchange/" + session.encode() + b"/" + str(number).encode()
