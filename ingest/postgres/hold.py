"""A held command: asked about, waited for, released or refused.

The command is resolved in its own session, journalled as a HOLD frame (the
segment is cut at once) and its client is told by a NOTICE. The answer comes on
the grants topic. Nothing of ours is trusted with it: the gateway checks the
reviewers' own signatures against its own policy, recomputes the commitment from
its own bytes, resolves the names again, and never releases on one request twice
(`used`, written and synced before the release) unless it saw the first undone, or the
reviewers allowed more than one use.
Each hold that came to nothing, and each release, ends in one GONE frame: the
approvals step is told what became of the approval.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import structlog

from approvals import grants, votes
from approvals.canonical import canonical, committed, shape
from bus.topics import BusDown, Consumer, OffsetLost
from ingest.postgres import refuse, resolve
from ingest.postgres.incoming import Message
from ingest.postgres.refuse import Refusal
from ingest.postgres.relay import Relay
from ingest.postgres.uses import SessionUses, Use, UsedRequests
from ingest.settings import Holding
from schemas.codec import CodecError, decode, encode
from schemas.frames import FrameKind
from schemas.ids import ApprovalId, HoldId
from schemas.judging import Judgement
from schemas.records import (
    ApprovalState,
    ApproverRule,
    Claim,
    CommandKind,
    Grant,
    HeldCommand,
    HoldGone,
    Over,
    Pending,
    Released,
)
from schemas.records import Refusal as RefusalRecord
from seal import digest
from wire.postgres import messages as wire
from wire.postgres.grammar import normalise
from wire.postgres.reader import HEADER

Answer = Grant | RefusalRecord
_log = structlog.get_logger()


@dataclass(slots=True)
class Waiting:
    """One outstanding hold."""

    relay: Relay
    told: ApprovalId
    answer: asyncio.Future[Answer | None]
    since: float  # by the monotonic clock
    gone: Over | None = None  # why the client takes it back


@dataclass(slots=True)
class Desk:
    """All outstanding holds of one gateway, and the reader of their answers."""

    consumer: Consumer
    directory: votes.Directory
    used: UsedRequests
    match_secret: bytes = field(repr=False)
    settings: Holding = field(default_factory=Holding)
    approvals_url: str = ""
    clock_us: Callable[[], int] = field(default=lambda: time.time_ns() // 1000)
    waiting: dict[HoldId, Waiting] = field(default_factory=dict)
    raised: int = 0
    released: int = 0
    _reader: asyncio.Task[None] | None = None

    def oldest_s(self) -> float:
        """How long the first of those that wait has waited; 0 if none does."""
        now = time.monotonic()
        return now - min((w.since for w in self.waiting.values()), default=now)

    # --- answers --------------------------------------------------------------------

    async def _read(self) -> None:
        """Runs only while holds are outstanding."""
        while self.waiting:
            try:
                for message in await self.consumer.batch(100, 0.05):
                    self._take(message.value)
            except OffsetLost as lost:  # idle for longer than grants are kept: none of those was for a hold of now
                await self.consumer.seek(lost.topic, lost.partition, lost.first)
            except BusDown:
                await asyncio.sleep(0.1)

    def _take(self, value: bytes) -> None:
        try:
            record = decode(value)
        except CodecError:
            return
        if not isinstance(record, (Grant, RefusalRecord, Pending)):
            return
        waiting = self.waiting.get(record.hold)
        if waiting is None:
            return
        if isinstance(record, Pending):
            if record.request != waiting.told:
                waiting.told = record.request
                self._tell(waiting)
        elif not waiting.answer.done():
            waiting.answer.set_result(record)

    def _tell(self, waiting: Waiting) -> None:
        if waiting.relay.client.lost:
            return
        text = f"tallystick: this command waits for approval {waiting.told}"
        waiting.relay.client.write(
            refuse.notice_response("01TL0", text, f"{self.approvals_url}/approvals/{waiting.told}")
        )

    # --- one hold -------------------------------------------------------------------

    async def hold(self, relay: Relay, message: Message, whole: bytes, nothing_upstream: bool) -> Refusal | None:
        """None if the command may run now, else why not."""
        await relay.settled()
        if relay.dialogue.transaction_status == "E" or relay.skipping:
            return refuse.failed_transaction()
        verdict = message.verdict
        rule = verdict.judgement.approvers if verdict else None
        if verdict is None or rule is None:
            return refuse.cannot_be_asked("no rule says who may approve it")
        lookup_only = not nothing_upstream or (relay.used and relay.dialogue.transaction_status == "T")
        try:
            _certain(relay, message)
            meaning = await _resolved(relay, verdict.judgement)
        except resolve.CannotResolve as e:
            return refuse.cannot_be_asked(str(e))
        hold = HoldId(f"hold-{secrets.token_hex(16)}")
        held = self._held(relay, message, whole, meaning, rule, hold, lookup_only=lookup_only)
        relay.mark()
        relay.journal.put(relay.number, FrameKind.HOLD, encode(held))
        relay.journal.cut_now()
        self.raised += 1
        try:
            return await self._settle(relay, message, whole, held)
        finally:
            self.waiting.pop(hold, None)

    def _canonical(self, relay: Relay, message: Message, whole: bytes, resolved: tuple[Claim, ...]) -> bytes:
        bind = wire.parse_bind(whole[HEADER:]) if message.kind == 0x42 else None
        values, formats = (bind.values, bind.formats) if bind else ((), ())
        return canonical(message.text, values, formats, _types(relay, message), resolved, relay.facts)

    def _free(self, relay: Relay, message: Message, whole: bytes, resolved: tuple[Claim, ...]) -> bytes | None:
        """The same without its values, where the rule lets an approval leave these free and they decide nothing."""
        judgement = message.verdict.judgement if message.verdict else None
        if judgement is None or judgement.approvers is None or not judgement.approvers.any_values:
            return None
        if not judgement.literal_blind or b'&"' in message.text:  # a constant, UESCAPE's, says what U&"name" is
            return None
        binds = len(wire.parse_bind(whole[HEADER:]).values) if message.kind == 0x42 else 0
        normal = normalise(message.text.decode("utf-8"))  # the judge read it, so it scans
        return shape(normal, binds, _types(relay, message), resolved, relay.facts)

    def _held(
        self,
        relay: Relay,
        message: Message,
        whole: bytes,
        meaning: resolve.Meaning,
        rule: ApproverRule,
        hold: HoldId,
        *,
        lookup_only: bool,
    ) -> HeldCommand:
        bind = wire.parse_bind(whole[HEADER:]) if message.kind == 0x42 else None
        what = self._canonical(relay, message, whole, meaning.claims)
        free = self._free(relay, message, whole, meaning.claims)
        salt = digest.commitment_salt(self.match_secret, hold)
        caused_by = self._behind(relay)
        now = self.clock_us()
        seconds = self.settings.lookup_seconds if lookup_only else self.settings.wire_seconds
        return HeldCommand(
            hold=hold,
            kind=CommandKind.SIMPLE if bind is None else CommandKind.EXTENDED,
            text=message.text.decode("utf-8"),
            binds=bind.values if bind else (),
            bind_formats=bind.formats if bind else (),
            param_oids=_types(relay, message),
            resolved=meaning.claims,
            match_key=digest.match_key(self.match_secret, what),
            commitment=digest.commitment(salt, committed(what, caused_by)),
            salt=salt,
            rule=rule,
            raised_us=now,
            deadline_us=now + int(seconds * 1_000_000),
            lookup_only=lookup_only,
            caused_by=caused_by,
            shape_key=None if free is None else digest.match_key(self.match_secret, free),
            shape=None if free is None else digest.commitment(salt, committed(free, caused_by)),
            sizes=meaning.sizes,
        )

    def _behind(self, relay: Relay) -> tuple[str, ...]:
        return self.directory.behind(relay.facts.subject, relay.facts.claims)

    async def _settle(self, relay: Relay, message: Message, whole: bytes, held: HeldCommand) -> Refusal | None:
        answer_later = asyncio.get_running_loop().create_future()
        waiting = Waiting(relay, digest.approval_id(held.hold), answer_later, time.monotonic())
        self.waiting[held.hold] = waiting
        relay.held = waiting
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._read())
        try:
            answer = await self._wait(waiting, held)
            if isinstance(answer, Grant):
                return await self._release(relay, message, whole, held, answer)
        except asyncio.CancelledError:
            self._gone(relay, held.hold, waiting.gone or Over.CLIENT_LEFT)
            raise
        finally:
            relay.held = None
        if waiting.gone:
            self._gone(relay, held.hold, waiting.gone)
            return refuse.cancelled(held.hold)
        if answer is None:
            self._gone(relay, held.hold, Over.TIMEOUT)
            if held.lookup_only:
                return refuse.in_used_transaction(waiting.told, held.hold, self.approvals_url)
            return refuse.expired(waiting.told, held.hold, self.approvals_url)
        return self._refusal(answer, held)

    async def _wait(self, waiting: Waiting, held: HeldCommand) -> Answer | None:
        """The answer, or None at the deadline or when the client took it back."""
        notices = 0.0 if not held.lookup_only else self.settings.lookup_seconds
        end = time.monotonic() + (held.deadline_us - held.raised_us) / 1_000_000
        next_notice = time.monotonic() + notices
        while not waiting.answer.done():
            now = time.monotonic()
            if now >= end or waiting.gone:
                return None
            if now >= next_notice:
                self._tell(waiting)
                next_notice = now + self.settings.notice_seconds
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(waiting.answer), min(end, next_notice) - now)
        return None if waiting.gone else waiting.answer.result()

    def cancel(self, relay: Relay) -> bool:
        """A CancelRequest came: whether it was for a held command."""
        waiting = relay.held
        if waiting is None or waiting.answer.done():
            return False
        waiting.gone = Over.CANCELLED
        waiting.answer.set_result(None)
        return True

    def _gone(self, relay: Relay, hold: HoldId, why: Over) -> None:
        relay.mark()
        relay.journal.put(relay.number, FrameKind.GONE, encode(HoldGone(hold, why, self.clock_us())))

    def _refusal(self, answer: RefusalRecord, held: HeldCommand) -> Refusal:
        match answer.state:
            case ApprovalState.DENIED:
                return refuse.denied_by_reviewer(answer.request, held.hold)
            case ApprovalState.REVOKED:
                return refuse.revoked(answer.request, held.hold)
            case ApprovalState.PENDING:
                return refuse.in_used_transaction(answer.request, held.hold, self.approvals_url)
            case ApprovalState.CANCELLED:
                return refuse.cancelled(held.hold)
            case ApprovalState.RESERVED | ApprovalState.USED | ApprovalState.SUPERSEDED:
                return refuse.approval_gone(answer.request, held.hold, f"is {answer.state.value}")
            case ApprovalState.APPROVED:
                return refuse.approval_gone(answer.request, held.hold, "was approved by who stands behind this run")
        return refuse.expired(answer.request, held.hold, self.approvals_url)

    # --- release ----------------------------------------------------------------------

    async def _release(
        self, relay: Relay, message: Message, whole: bytes, held: HeldCommand, grant: Grant
    ) -> Refusal | None:
        verdict = message.verdict
        if (suspended := relay.suspended()) is not None:
            self._gone(relay, held.hold, Over.SUSPENDED)
            return suspended
        try:
            resolved = (await _resolved(relay, verdict.judgement)).claims if verdict is not None else ()
        except resolve.CannotResolve:
            resolved = ()
        if verdict is None or resolved != held.resolved:
            self._gone(relay, held.hold, Over.CHANGED)
            return refuse.changed_since(grant.request, held.hold)
        what = self._canonical(relay, message, whole, resolved)
        try:
            settled = grants.check(
                grant,
                what,
                held.rule,
                relay.facts.subject,
                self._behind(relay),
                self.directory,
                self.used,
                self.match_secret,
                self.clock_us(),
                self._free(relay, message, whole, resolved),
            )
        except grants.BadGrant as bad:
            _log.error("alarm", alarm="bad grant", request=grant.request, hold=held.hold, why=bad.flaw.value)
            self._gone(relay, held.hold, Over.UNVERIFIED)
            return refuse.unverified(grant.request, held.hold, bad.flaw.value)
        try:
            await self._use(grant)
        except OSError:
            self._gone(relay, held.hold, Over.NOT_RECORDED)
            return refuse.not_recorded(disk_full=False)
        if settled.break_glass:
            _log.error("alarm", alarm="break-glass", request=grant.request, hold=held.hold, by=settled.voters[0])
        released = Released(
            held.hold,
            grant.request,
            grant.commitment,
            settled.voters,
            self.clock_us(),
            grant.use,
            settled.break_glass,
        )
        relay.mark()
        # It shares its chunk, or one before it, with the CLIENT frame, which is put behind it at `fsync`.
        relay.journal.put(relay.number, FrameKind.RELEASED, encode(released))
        self.released += 1
        message.hold = held.hold
        if verdict.judgement.undoable:
            self._watch(relay).released(
                Use(held.hold, grant.request, grant.use, relay.dialogue.transaction_status == "T")
            )
        else:
            self._gone(relay, held.hold, Over.KEPT)
        return None

    async def _use(self, grant: Grant) -> None:
        """Durable when it returns, and known before: two grants that come at once are not both good. Raises OSError."""
        request, use = grant.request, grant.use
        self.used.release(request, use)
        writing = asyncio.get_running_loop().run_in_executor(None, self.used.write, request, use)
        try:
            await asyncio.shield(writing)
        except (asyncio.CancelledError, OSError):  # it does not run
            writing.add_done_callback(lambda done: self._undone(request, use, written=done.exception() is None))
            raise

    def _undone(self, request: ApprovalId, use: int, *, written: bool = True) -> None:
        with contextlib.suppress(OSError):  # then it is not used again, from the next start on
            self.used.undone(request, use, written=written)

    def _watch(self, relay: Relay) -> SessionUses:
        """What tells the end of this session's releases."""
        if relay.uses is None:
            relay.uses = SessionUses(lambda use, why: self._over(relay, use, why))
        return relay.uses

    def _over(self, relay: Relay, use: Use, why: Over) -> None:
        if why is not Over.KEPT:
            self._undone(use.request, use.number)
        self._gone(relay, use.hold, why)


async def _resolved(relay: Relay, judgement: Judgement) -> resolve.Meaning:
    """What the command's names mean in the session now: relations, functions that are not known, and what EXECUTE or
    FETCH runs by name."""
    found = await resolve.facts(relay, judgement.names)
    called = dict.fromkeys(e.relation for e in judgement.effects if e.effect in ("unknown", "call") and e.relation)
    claims = found.claims + await resolve.functions(relay, tuple(called))
    for name in judgement.executes:
        texts = relay.texts(name)
        if len(texts) != 1:
            raise resolve.CannotResolve(f"{'nothing' if not texts else 'more than one text'} is known by its name")
        claims += (Claim(f"executes {name}", texts[0]),)
    return replace(found, claims=claims)


def _certain(relay: Relay, message: Message) -> None:
    """Raises CannotResolve where the text or the parameter types that a Bind runs are not certain."""
    if message.kind != 0x42:
        return
    texts = relay.meant(message.name)
    if texts != (message.text,):
        raise resolve.CannotResolve(f"{'nothing' if not texts else 'more than one text'} is known by its name")
    if relay.parse_of(message) is None:
        raise resolve.CannotResolve("the types of its parameters are not certain")


def _types(relay: Relay, message: Message) -> tuple[int, ...]:
    """The parameter types that the Parse of this Bind's statement named; they decide what `$1` means."""
    parsed = relay.parse_of(message) if message.kind == 0x42 else None
    raw = parsed.types if parsed is not None else b""
    return tuple(int.from_bytes(raw[at : at + 4], "big") for at in range(2, len(raw) - 3, 4))
