"""What goes upstream in place of what is refused, so that the target itself says what state it is in."""

from __future__ import annotations

from ingest.postgres import refuse
from ingest.postgres.incoming import Message
from ingest.postgres.refuse import Refusal


def substituted(messages: list[Message], data: bytes, base: int, refusals: tuple[tuple[int, Refusal], ...]) -> bytes:
    """The messages' bytes, from `base` on, with each refused one replaced by a command of ours that fails."""
    parts, at = [], base
    for index, refusal in refusals:
        message = messages[index]
        parts.append(data[at - base : message.start - base])
        parts.append(refuse.substitute(refusal, simple=message.kind in b"QF"))
        at = message.end
    parts.append(data[at - base :])
    return b"".join(parts)


def stand_ins(messages: list[Message], refusal: Refusal) -> tuple[bytes, list[int]]:
    """What goes upstream in place of these messages, and at which offsets a command is refused in it.

    One stand-in a command (Query, FunctionCall, Bind), so that commands and exchanges stay equal in number; a group
    that only prepares gets one that fails and is none. Sync and Flush stay.
    """
    parts, commands, size = [], [], 0
    only_prepares = not any(m.kind in b"QFB" for m in messages)
    for message in messages:
        if message.kind in b"QFB":
            part = refuse.substitute(refusal, simple=message.kind != 0x42)
            commands.append(size)
        elif message.kind in b"PDEC":
            part = refuse.describe_missing(refusal) if only_prepares else b""
            only_prepares = False
        elif message.kind in b"dcf":
            part = refuse.copy_fail(refusal) if message is messages[-1] else b""
        else:  # Sync, Flush, Terminate: nothing in them but their kind
            part = b"%c\0\0\0\4" % message.kind
        parts.append(part)
        size += len(part)
    return b"".join(parts), commands
