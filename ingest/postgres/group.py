"""The slow way: one sync group at a time, for whatever must be refused, held or waited for.

A barrier (a command that may change settings) is sent, and nothing behind it is
judged before the target has answered. Within a pipeline that needs a Flush of
ours and a look at the settings, because the target reports them only at
ReadyForQuery. A group with a command to hold goes nowhere until that is settled,
so that nothing of it is upstream meanwhile. But what may change the meaning of a
name before it in its group goes first, and is answered: what is approved is what
its names mean then. For the same reason it has to run right behind its Bind: a
DROP finds its table when it runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ingest.postgres import refuse, resolve
from ingest.postgres.incoming import LARGEST_COPY_DATA, Message, read
from ingest.postgres.refuse import Refusal
from ingest.postgres.relay import Relay
from schemas.records import Decision
from wire.postgres.reader import HEADER, RemoteFault, cut

Hold = Callable[[Relay, Message, bytes, bool], Awaitable[Refusal | None]]
"""(relay, message, its bytes, nothing is upstream) -> None if it may run, else why not."""


async def run(relay: Relay, hold: Hold) -> None:
    """Until the inbox has no whole group left; then the hot path goes on."""
    try:
        while not relay.ended and await _next(relay, hold):
            pass
    except RemoteFault:
        relay.fatal("08P01", "tallystick: protocol violation")
    finally:
        relay.busy = None
        if not relay.ended:
            relay.client.resume("held")
            if relay.draining:
                relay.end_when_idle()


async def _next(relay: Relay, hold: Hold) -> bool:
    found, rest = cut(relay.inbox)
    if not found:
        return await _oversized(relay, rest)
    messages = read(_first_group(found), relay.inbox)
    last = messages[-1].kind
    if last in b"PBDEC" and len(relay.inbox) <= relay.capture.max_command and not _oversize_waits(relay, rest):
        return False  # the group's Sync is still to come
    if last == 0x58:  # Terminate
        relay.forward(messages, relay.inbox[: messages[-1].end], ())
        relay.inbox = b""
        await asyncio.sleep(0)
        return False
    await _group(relay, messages, hold)
    return True


def _first_group(found: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    for index, (kind, _, _) in enumerate(found):
        if kind in b"QFSHXdcf":
            return found[: index + 1]
    return found


def _oversize_waits(relay: Relay, at: int) -> bool:
    buffer = relay.inbox
    if len(buffer) - at < HEADER:
        return False
    limit = LARGEST_COPY_DATA if buffer[at] == 0x64 else relay.capture.max_command
    return int.from_bytes(buffer[at + 1 : at + 5], "big") > limit


async def _oversized(relay: Relay, at: int) -> bool:
    """A message above capture.max_command: its body is thrown away as it comes, and it is refused."""
    if not _oversize_waits(relay, at):
        return False
    kind, length = relay.inbox[0], int.from_bytes(relay.inbox[1:5], "big")
    if kind not in b"QPBF":
        raise RemoteFault("message too large")
    left = length + 1
    while left and not relay.ended:
        gone = min(left, len(relay.inbox))
        relay.inbox = relay.inbox[gone:]
        left -= gone
        if left:
            await asyncio.sleep(0.001)
            relay.client.resume("held")
    refusal = refuse.too_large(length - 4, relay.capture.max_command).with_nonce()
    stand_in = refuse.substitute(refusal, simple=kind in b"QF")
    message = read(cut(stand_in)[0], stand_in)[0]
    relay.forward([message], stand_in, ((0, refusal),))
    return True


async def _group(relay: Relay, messages: list[Message], hold: Hold) -> None:
    """Judge this group and send as much of it as may go; the rest stays in the inbox."""
    buffer = relay.inbox
    refusals: list[tuple[int, Refusal]] = []
    barrier = changes = False
    relay.look_ahead()
    for index, message in enumerate(messages):
        if (barrier and message.kind in b"PBQF") or (changes and _is_held(relay, message)):
            await _barrier_in_pipeline(relay, messages[:index], buffer, refusals)
            return
        refusal = await _judge(relay, message, hold, alone=_runs_next(messages, index))
        if message.kind == 0x45 and not refusals and not relay.skipping and (why := relay.suspended()) is not None:
            relay.fatal(why.sqlstate, why.message)  # of a portal that was bound before: no other answer stops its rows
            return
        if refusal is not None:
            refusals.append((index, refusal.with_nonce()))
        relay.pass_by(message)
        verdict = message.verdict
        barrier = barrier or (verdict is not None and verdict.judgement.barrier)
        barrier = barrier or (message.kind == 0x45 and relay.portal_barrier(message))
        # What was released goes before the next one waits, too: its approval was for now.
        changes = changes or message.hold is not None
        changes = changes or (message.kind == 0x45 and not relay.portal_keeps_names(message))
    _send(relay, messages, buffer, refusals)
    if barrier:
        await relay.settled()
        relay.dialogue.forget_portals()
        if relay.group_upstream and not relay.skipping:
            await resolve.look_at_settings(relay)


def _is_held(relay: Relay, message: Message) -> bool:
    verdict = relay.judge(message) if message.kind == 0x42 else None
    return verdict is not None and verdict.judgement.decision is Decision.HOLD


def _runs_next(messages: list[Message], index: int) -> bool:
    """Whether this runs before anything else does: a Query, or a Bind whose portal is executed next."""
    bound = messages[index]
    if bound.kind != 0x42:
        return True
    for at in range(index + 1, len(messages)):  # no slice: a group may have ten thousand Binds
        if messages[at].kind != 0x44:
            return messages[at].kind == 0x45 and messages[at].portal == bound.portal
    return False


def _send(relay: Relay, messages: list[Message], buffer: bytes, refusals: list[tuple[int, Refusal]]) -> None:
    stop = messages[-1].end
    relay.inbox = relay.inbox[stop:]
    held = any(m.verdict is not None and m.verdict.judgement.decision is Decision.HOLD for m in messages)
    relay.forward(messages, buffer[:stop], tuple(refusals), fsync=held)


async def _barrier_in_pipeline(
    relay: Relay, messages: list[Message], buffer: bytes, refusals: list[tuple[int, Refusal]]
) -> None:
    _send(relay, messages, buffer, refusals)
    await relay.settled()
    relay.dialogue.forget_portals()
    if not relay.skipping and not relay.ended:
        await resolve.look_at_settings(relay)


async def _judge(relay: Relay, message: Message, hold: Hold, *, alone: bool) -> Refusal | None:
    """Why this message is refused, or None. `alone`: nothing else runs between it and its end."""
    limit = relay.capture.max_command
    if message.kind in b"QBF" and (suspended := relay.suspended()) is not None:
        return suspended
    if message.kind == 0x46:
        return refuse.function_call()
    if message.kind not in b"QBP":
        return None
    if message.end - message.start > limit:
        return refuse.too_large(message.end - message.start, limit)
    if message.kind == 0x50:
        if not relay.unsupported:
            return None
        probe = Message(0x51, message.start, message.end)
        probe.text = message.text
        verdict = relay.judge(probe)
    else:
        verdict = relay.judge(message)
        if verdict is not None and not verdict.plain and not relay.dialogue.is_idle:
            await relay.settled()  # names mean one thing once the target has answered
            verdict = relay.judge(message)
    if verdict is None:
        return refuse.not_utf8()
    if relay.unsupported and not verdict.judgement.settings_only:
        return refuse.unsupported_settings()
    if message.kind == 0x50 or verdict.judgement.decision is Decision.ALLOW:
        return None
    if verdict.judgement.decision is Decision.DENY:
        return refuse.denied_by_policy(verdict.judgement.rule)
    if not alone:
        return refuse.cannot_be_asked("its portal is not executed right behind its Bind")
    whole = relay.inbox[message.start : message.end]
    return await hold(relay, message, whole, not relay.group_upstream)
