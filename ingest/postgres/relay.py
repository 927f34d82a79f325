"""One session's two directions, after login: the hot path.

Client to target: every complete sync group in the read buffer is judged before
its first byte goes on. If there is nothing to hold, refuse or wait for, the
buffer becomes one CLIENT frame as it came and is sent once the recorder says it
is durable. Anything else goes the slow way, one group at a time (group.py).
Target to client: messages are cut at their headers, put as one SERVER frame a
read, and forwarded. Rows are never decoded.
"""

from __future__ import annotations

import asyncio
import errno
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from ingest.postgres import refuse
from ingest.postgres.channel import Channel
from ingest.postgres.incoming import SMALL_MESSAGE, Message, fits, read
from ingest.postgres.refuse import Refusal
from ingest.postgres.screen import NotUtf8, Screen, Verdict, made, worst
from ingest.postgres.stand_ins import stand_ins, substituted
from ingest.postgres.target import Ready
from ingest.postgres.uncaptured import Uncaptured
from ingest.postgres.uses import SessionUses
from ingest.settings import Capture, Durability
from schemas.codec import encode
from schemas.frames import FrameKind
from schemas.judging import SessionFacts
from schemas.records import Decided, Decision, SessionContext, Statement
from wire.postgres import messages as wire
from wire.postgres.dialogue import LONGEST_NAME, Ahead, Dialogue, Operation, Outcome
from wire.postgres.reader import HEADER, Body, Cutter, Head, RemoteFault, cut

MOST_PARSED = 4096
"""Names whose Parse is remembered, for its parameter types; only what is held asks for them, and is refused
where they were forgotten."""

MOST_DESCRIBED = 1 << 20
"""Bytes of RowDescriptions that a session remembers, for segments to come: what is forgotten is read off the text."""

PROBE = object()
"""Tag of operations that the gateway itself asked: their answers are not the client's."""


class Journal(Protocol):
    """What the relay asks of the recorder (ingest/recorder.py)."""

    @property
    def segment(self) -> int: ...

    def put(self, session: int, kind: FrameKind, data: bytes) -> None: ...

    def put_command(
        self,
        session: int,
        kind: FrameKind,
        data: bytes,
        durability: Durability,
        release: Callable[[], None],
        refuse: Callable[[Exception], None],
    ) -> bool: ...

    def cut_now(self) -> None: ...


class Relay:
    def __init__(
        self,
        client: Channel,
        ready: Ready,
        journal: Journal,
        screen: Screen,
        facts: SessionFacts,
        context: Callable[[str, int, int], SessionContext],
        number: int,
        durability: Durability,
        capture: Capture,
        slow: Callable[[Relay], asyncio.Task[None]],
        finished: Callable[[Relay, str], None],
        digest_key: bytes,
        suspended: Callable[[], Refusal | None] = lambda: None,
    ) -> None:
        self.suspended = suspended  # why nothing of this session's runs now
        self.client, self.target = client, ready.channel
        self.target_key = ready.key
        self.journal, self.screen, self.facts, self.number = journal, screen, facts, number
        self.dialogue = Dialogue()
        self.ahead = Ahead(self.dialogue)
        self.inbox = b""
        self.busy: asyncio.Task[None] | None = None
        self.used = False  # the transaction may hold something
        self.group_upstream = False  # messages of a group were sent, its Sync was not
        self.settings = dict(ready.settings)
        self.refusals: list[Refusal] = []
        self.parsed: dict[bytes, Message] = {}  # by name: the last Parse that the target completed
        self.parsing: dict[bytes, Message] = {}  # by name: the last Parse before the message that is judged
        self.described: dict[bytes, tuple[bytes, bytes]] = {}  # by name: a text, and its RowDescription
        self._description_bytes = 0
        self.commands = 0
        self.refused: Counter[str] = Counter()  # commands, by why
        self.ended = False
        self.draining = False
        self.swallowed: list[tuple[str, bytes]] = []
        self.held: Any = None  # the hold that waits (hold.Waiting)
        self.uses: SessionUses | None = None  # from the first release on
        self.changed = asyncio.Event()
        self._context, self._slow, self._finished = context, slow, finished
        self._durability, self.capture = durability, capture
        self._segment = -1
        self._stands, self._encoded = ("", 0, 0), b""  # the last context, and its bytes
        self._stated: dict[bytes, bytes] = {}  # by name, the text that the segment has of it last
        self._unreleased = 0
        self._fsyncing = 0
        self._behind = b""  # ours, to be sent once nothing waits for the recorder
        self._cutter = Cutter(capture.max_response)
        self._answered = 0  # bytes of this answer so far
        self._uncaptured = Uncaptured(digest_key)
        client.on_lost = lambda: self.close("client")
        self.target.on_lost = lambda: self.close("target")
        client.on_full = lambda: self.target.pause("client is slow")
        client.on_drained = lambda: self.target.resume("client is slow")
        self.target.on_full = lambda: client.pause("target is slow")
        self.target.on_drained = lambda: client.resume("target is slow")

    def start(self) -> None:
        self.target.flow_to(self.from_target)
        self.client.flow_to(self.from_client)

    # --- client to target ---------------------------------------------------------

    def from_client(self, data: bytes) -> None:
        if self.ended:
            return
        self.inbox = self.inbox + data if self.inbox else data
        if self.busy is not None:
            if len(self.inbox) > 65536:
                self.client.pause("held")
            return
        try:
            if not self._fast():
                self.busy = self._slow(self)
        except RemoteFault:
            self.fatal("08P01", "tallystick: protocol violation")

    def _fast(self) -> bool:
        """Forward all whole groups of the inbox if every one is plain; False leaves everything untouched."""
        buffer = self.inbox
        found, rest = cut(buffer)
        if rest < len(buffer) and not fits(buffer, rest, self.capture.max_command):
            return False
        if not found:
            return True
        if self.unsupported or self.suspended() is not None:
            return False
        messages = read(found, buffer)
        end = self._forwardable(messages, len(buffer) - rest)
        messages = messages[:end]
        if not messages or not self._all_plain(messages):
            return not messages
        stop = messages[-1].end
        self.inbox = buffer[stop:]
        self.forward(messages, buffer if stop == len(buffer) else buffer[:stop], ())
        return True

    def _forwardable(self, messages: list[Message], partial_bytes: int) -> int:
        """How many messages make whole groups. An unfinished group waits for its Sync or Flush, within bounds."""
        for index in range(len(messages) - 1, -1, -1):
            if messages[index].kind in b"QFSHXdcf":
                if index + 1 < len(messages) and self._too_long(messages[index + 1 :], partial_bytes):
                    return len(messages)
                return index + 1
        return len(messages) if self._too_long(messages, partial_bytes) else 0

    def _too_long(self, messages: list[Message], partial_bytes: int) -> bool:
        return messages[-1].end - messages[0].start + partial_bytes > self.capture.max_command

    def _all_plain(self, messages: list[Message]) -> bool:
        """Judge all; False if one is not plain."""
        self.look_ahead()
        limit = self.capture.max_command
        last = messages[-1]
        for message in messages:
            kind = message.kind
            if kind == 0x42 or kind == 0x51:
                if message.end - message.start > limit:
                    return False
                verdict = self.judge(message)
                if verdict is None or not verdict.plain:
                    return False
            elif kind == 0x45:
                if not self.runs_plain(message):
                    return False
            elif kind == 0x44:
                continue
            elif kind == 0x46 or kind == 0x58 or (kind == 0x50 and message.end - message.start > limit):
                return False
            if message is not last:
                self.pass_by(message)
        return True

    def look_ahead(self) -> None:
        """From here, where the dialogue was told of all."""
        self.ahead.reset()
        if self.parsing:
            self.parsing.clear()

    def parse_of(self, message: Message) -> Message | None:
        """The Parse whose statement this Bind runs; None where that is not certain, or was forgotten."""
        name = message.name[:LONGEST_NAME]
        found = self.parsing.get(name) or self.parsed.get(name)
        return found if found is not None and self.meant(name) == (found.text,) else None

    def pass_by(self, message: Message) -> None:
        """What follows is judged as behind this message, which the dialogue is told only when it is sent."""
        kind = message.kind
        if kind == 0x50:
            self.ahead.parse(message.name, message.text)
            self.parsing[message.name[:LONGEST_NAME]] = message
        elif kind == 0x42:
            self.ahead.bind(message.portal, message)
            if message.verdict is not None and not message.verdict.plain:
                self._prepared_ahead(message)
        elif kind in b"QSF":
            self.ahead.group_ends()
        elif kind == 0x45:
            for bound in self.ahead.portals(message.portal):
                if isinstance(bound, Message):
                    self._prepared_ahead(bound)

    def _prepared_ahead(self, message: Message) -> None:
        if message.verdict is not None:
            for prepares in message.verdict.judgement.prepares:
                self.ahead.prepare(prepares.name.encode(), prepares.text.encode())

    def judge(self, message: Message) -> Verdict | None:
        """Sets and gives the verdict: the worst of all that it may run. None where the text is not UTF-8."""
        try:
            if message.kind == 0x51:
                message.verdict = self.screen.verdict(message.text, self.texts)
                return message.verdict
            texts = self.meant(message.name)
            if len(texts) == 1:
                message.text = message.base = texts[0]
                message.verdict = self.screen.verdict(message.text, self.texts)
            elif not texts:
                message.text = b""
                message.verdict = self.screen.nothing
            else:
                at, message.verdict = worst([self.screen.verdict(text, self.texts) for text in texts])
                message.text, message.base = texts[at], texts[0]
        except NotUtf8:
            return None
        return message.verdict

    def meant(self, name: bytes) -> tuple[bytes, ...]:
        """Every text that the statement of this name may be; () where nobody here can know.

        A target with another encoding compares names in that one, cut elsewhere than we would cut them.
        """
        if not name.isascii() and self.settings.get("server_encoding") != "UTF8":
            return ()
        return self.ahead.statement(name)

    def texts(self, name: str) -> tuple[str, ...]:
        """Every text that SQL EXECUTE or FETCH of a name may run."""
        raw = name.encode()
        known = self.meant(raw)
        if raw.isascii() or known:
            known += tuple(bound.text for bound in self.ahead.portals(raw) if isinstance(bound, Message))
        return tuple(t.decode("utf-8", "replace") for t in dict.fromkeys(known))

    def runs_plain(self, message: Message) -> bool:
        """Whether this Execute runs what was bound by a plain Bind, whatever its portal's name may mean."""
        bound = self.ahead.portals(message.portal)
        return bool(bound) and all(isinstance(b, Message) and b.verdict is not None and b.verdict.plain for b in bound)

    def portal_barrier(self, message: Message) -> bool:
        """Whether this Execute may change settings. A portal that no Bind made (DECLARE, a function) may."""
        bound = self.ahead.portals(message.portal)
        return not bound or any(
            not isinstance(b, Message) or b.verdict is None or b.verdict.judgement.barrier for b in bound
        )

    def portal_keeps_names(self, message: Message) -> bool:
        """Whether this Execute can change rows alone, and not what names mean."""
        bound = self.ahead.portals(message.portal)
        return bool(bound) and all(isinstance(b, Message) and b.verdict is not None and b.verdict.rows for b in bound)

    @property
    def unsupported(self) -> bool:
        """Settings under which the target reads a text otherwise than the judge."""
        settings = self.settings
        return settings.get("standard_conforming_strings", "on") != "on" or settings.get("client_encoding") != "UTF8"

    def forward(
        self, messages: list[Message], data: bytes, refusals: tuple[tuple[int, Refusal], ...], *, fsync: bool = False
    ) -> None:
        """One CLIENT frame of these messages; upstream with refused ones substituted, once it is durable.

        `refusals` are (index in messages, refusal with a nonce). `data` starts at the first message's start.
        """
        self.mark()
        base = messages[0].start
        journal, number = self.journal, self.number
        durable = self._durability
        strict = fsync or durable is Durability.FSYNC
        for index, refusal in refusals:
            journal.put(number, FrameKind.REFUSED, encode(refusal.record(messages[index].start - base)))
            self.refusals.append(refusal)
            self.refused[refusal.why] += 1
        for message in messages:
            verdict = message.verdict
            if message.kind in b"QBF":  # a verdict or not: what is refused unread is a command too
                self.commands += 1
            if verdict is not None:
                if verdict.uses:
                    self.used = True
                if durable is Durability.BY_EFFECT and not verdict.read_only:
                    strict = True
                if verdict.judgement.decision is not Decision.ALLOW:
                    judgement = verdict.judgement
                    decided = Decided(message.start - base, judgement.decision, judgement.rule, message.hold)
                    journal.put(number, FrameKind.DECISION, encode(decided))
            self._tell(message)
        if self.uses:
            self.uses.sent(sum(message.kind in b"QBF" for message in messages))
        self.look_ahead()
        upstream = data
        if refusals:
            upstream = substituted(messages, data, base, refusals)
        if self._fsyncing:
            strict = True  # one behind another: a later command is never released before an earlier one
        self._unreleased += 1
        self._fsyncing += strict
        recorded = [False]  # known before either of the two is called
        recorded[0] = journal.put_command(
            number,
            FrameKind.CLIENT,
            data,
            Durability.FSYNC if strict else Durability.WRITE,
            partial(self._release, upstream, strict),
            partial(self._journal_refused, messages, recorded, strict),
        )

    def _tell(self, message: Message) -> None:
        kind, client = message.kind, self.dialogue.client
        if kind == 0x53:
            client("S", message)
            self.group_upstream = False
            return
        if kind == 0x45:
            operation = client("E", message, message.portal)
            for bound in self.dialogue.portals(message.portal):
                if isinstance(bound, Message) and operation is not None:
                    self._note_names(operation, bound)
        elif kind == 0x42:
            if message.base and self._stated.get(message.name) != message.base:
                self._stated[message.name] = message.base
                self._state(message)
            client("B", message, message.name, message.portal)
        elif kind == 0x50:
            self._stated[message.name] = message.text
            client("P", message, message.name, b"", message.text)
        elif kind == 0x43:
            client("C", message, message.name, message.portal)
        else:
            operation = client(chr(kind), message, message.name)
            if kind == 0x51 and operation is not None:
                self._note_names(operation, message)
            if kind != 0x44:
                return
        self.group_upstream = True

    def _note_names(self, operation: Operation, message: Message) -> None:
        if message.verdict is None or message.verdict.plain:
            return
        judgement = message.verdict.judgement
        for prepares in judgement.prepares:
            self.dialogue.note_sql_prepare(operation, prepares.name.encode(), prepares.text.encode())
        for name in judgement.deallocates:
            self.dialogue.note_sql_deallocate(operation, name.encode())

    def _release(self, upstream: bytes, strict: bool) -> None:
        self._unreleased -= 1
        self._fsyncing -= strict
        if not self.target.lost:
            self.target.write(upstream)
            if self._behind and self._unreleased == 0:
                self.target.write(self._behind)
                self._behind = b""

    def after_release(self, upstream: bytes) -> None:
        """A Flush of ours, behind all that was put before."""
        if self._unreleased == 0:
            self.target.write(upstream)
        else:
            self._behind += upstream

    def _journal_refused(self, messages: list[Message], recorded: list[bool], strict: bool, error: Exception) -> None:
        """Nothing of the client's goes upstream unrecorded: stand-ins of ours do, so that upstream says its state.

        Where the client's frame is in no journal, the stand-ins are put as the frame, marked refused, and are
        written when there is space: else their answers would be answers to nothing, and the transcript would
        give the session up, with what runs in it after space is back.
        """
        self._unreleased -= 1
        self._fsyncing -= strict
        cause = error.__cause__ or error
        disk_full = isinstance(cause, OSError) and cause.errno == errno.ENOSPC
        refusal = refuse.not_recorded(disk_full=disk_full).with_nonce()
        self.refusals.append(refusal)
        self.refused[refusal.why] += 1
        upstream, commands = stand_ins(messages, refusal)
        if not recorded[0]:
            self.mark()
            for offset in commands:
                self.journal.put(self.number, FrameKind.REFUSED, encode(refusal.record(offset)))
            self.journal.put(self.number, FrameKind.CLIENT, upstream)
        if not self.target.lost:
            self.target.write(upstream)

    # --- segments that read alone -----------------------------------------------

    def mark(self) -> None:
        """A session's first frame in a segment is its context."""
        segment = self.journal.segment
        if segment == self._segment:
            return
        self._segment = segment
        self._stated.clear()
        dialogue = self.dialogue
        stands = (dialogue.transaction_status, dialogue.open_syncs, len(dialogue.owed))
        if stands != self._stands:
            self._stands, self._encoded = stands, encode(self._context(*stands))
        self.journal.put(self.number, FrameKind.CONTEXT, self._encoded)

    def _state(self, message: Message) -> None:
        name = message.name.decode("utf-8", "replace")
        text, description = self.described.get(message.name[:LONGEST_NAME], (b"", b""))
        description = description if text == message.base else b""
        record = Statement(name, message.base.decode("utf-8", "replace"), (), description)
        self.journal.put(self.number, FrameKind.STATEMENT, encode(record))

    # --- target to client ---------------------------------------------------------

    def from_target(self, data: bytes) -> None:
        if self.ended:
            return
        try:
            for piece in self._cutter.feed(data):
                if isinstance(piece, Head):
                    self._large(piece.type, piece.length, piece.data)
                elif isinstance(piece, Body):
                    self._large_body(piece.data)
                else:
                    self._answer(piece.data, piece.messages)
        except RemoteFault:
            self.fatal("08P01", "tallystick: the target does not keep to the protocol")
        if self.draining:
            self.end_when_idle()

    def _answer(self, data: bytes, messages: tuple[tuple[int, int, int], ...]) -> None:
        self.mark()
        server = self.dialogue.server
        changed: list[tuple[int, int, bytes]] = []  # (start, end, what is there instead)
        elided: list[tuple[int, int]] = []
        for kind, start, end in messages:
            if kind == 0x44 or kind == 0x64:
                self._answered += end - start
                if self._answered > self.capture.max_response:
                    elided.append((start, end))
                    self._uncaptured.row(data[start:end])
                if kind == 0x64 or self.busy is None:
                    continue  # rows end nothing, and nobody but the client asked for them
                operation = server("D")
            elif kind == 0x5A:
                operation = server("Z", data[start + HEADER : end])
                self._ready()
            else:
                operation = server(chr(kind))
                if kind == 0x31:
                    self._parse_completed(operation)
                elif kind == 0x54:
                    self._described(operation, data[start:end])
                elif kind == 0x33 and operation is not None and not operation.portal:
                    self.parsed.pop(operation.name, None)
                    self._forget_description(operation.name)
                elif kind == 0x45:
                    ours = refuse.rewrite(data[start:end], self.refusals) if self.refusals else None
                    if ours is not None:
                        changed.append((start, end, ours[0]))
                        self.refusals.remove(ours[1])
                elif kind == 0x53:
                    self._parameter(data[start + HEADER : end])
                if kind in b"CEIs":
                    if self.uses and kind == 0x43:
                        self.uses.complete(data[start + HEADER : end])
                    elif self.uses and kind == 0x45:
                        self.uses.error()
                    self._answered = 0
                    self._end_elided()
            if operation is not None and operation.tag is PROBE:
                changed.append((start, end, b""))
                self.swallowed.append((chr(kind), data[start + HEADER : end]))
        if changed:
            self._send_changed(data, changed, elided)
            return
        self._send(data, elided)

    def _parse_completed(self, operation: Operation | None) -> None:
        if operation is not None and isinstance(operation.tag, Message):
            self.parsed[operation.name] = operation.tag
            if len(self.parsed) > MOST_PARSED:
                del self.parsed[next(iter(self.parsed))]

    def _described(self, operation: Operation | None, description: bytes) -> None:
        """Drivers ask once: segments that come later must be told, or they do not know the names of columns."""
        if operation is None or operation.kind != "D" or not operation.name:
            return
        parsed = self.parsed.get(operation.name)
        if parsed is not None and len(description) <= SMALL_MESSAGE:
            self._forget_description(operation.name)
            self.described[operation.name] = parsed.text, description
            self._description_bytes += len(description)
            while self._description_bytes > MOST_DESCRIBED:
                self._forget_description(next(iter(self.described)))

    def _forget_description(self, name: bytes) -> None:
        if (known := self.described.pop(name, None)) is not None:
            self._description_bytes -= len(known[1])

    def _send_changed(self, data: bytes, changed: list[tuple[int, int, bytes]], elided: list[tuple[int, int]]) -> None:
        """Rare: rewritten errors, answers to our own questions."""
        gone = set(elided)
        recorded, sent, at = [], [], 0
        cuts = sorted([*changed, *((s, e, None) for s, e in gone)], key=lambda c: c[0])
        for start, end, instead in cuts:
            recorded.append(data[at:start])
            sent.append(data[at:start])
            if instead is None:
                sent.append(data[start:end])
            else:
                recorded.append(instead)
                sent.append(instead)
            at = end
        recorded.append(data[at:])
        sent.append(data[at:])
        self._put_server(b"".join(recorded))
        out = b"".join(sent)
        if out and not self.client.lost:
            self.client.write(out)
        self.changed.set()

    def _send(self, data: bytes, elided: list[tuple[int, int]]) -> None:
        if not elided:
            self._put_server(data)
        else:
            parts, at = [], 0
            for start, end in elided:
                parts.append(data[at:start])
                at = end
            parts.append(data[at:])
            self._put_server(b"".join(parts))
        if not self.client.lost:
            self.client.write(data)
        if self.busy is not None:
            self.changed.set()

    def _put_server(self, data: bytes) -> None:
        if data:
            self.journal.put(self.number, FrameKind.SERVER, data)

    def _ready(self) -> None:
        self._answered = 0
        self._end_elided()
        if self.uses:
            self.uses.ready(self.dialogue.transaction_status)
        if self.dialogue.is_idle:
            self.refusals.clear()
            if self.dialogue.transaction_status == "I":
                self.used = False

    def _parameter(self, payload: bytes) -> None:
        name, _, value = payload.partition(b"\0")
        self.settings[name.decode("utf-8", "replace")] = value.rstrip(b"\0").decode("utf-8", "replace")

    def _end_elided(self) -> None:
        if (elided := self._uncaptured.end()) is not None:
            self.journal.put(self.number, FrameKind.ELIDED, encode(elided))

    def _large(self, kind: int, length: int, data: bytes) -> None:
        """A message larger than what is captured: its head is recorded, the rest counted, all forwarded."""
        self.mark()
        if kind in b"DE":
            self.dialogue.server(chr(kind))
        elif kind not in b"dNA":
            raise RemoteFault("message too large")
        if kind == 0x45 and self.uses:
            self.uses.error()
        self._answered += length
        self.journal.put(self.number, FrameKind.SERVER_HEAD, data)
        if kind in b"Dd":
            self._uncaptured.begin()
        self.client.write(data)

    def _large_body(self, data: bytes) -> None:
        self._uncaptured.add(data)
        if not self.client.lost:
            self.client.write(data)

    # --- ending ---------------------------------------------------------------------

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for the target's answers to make `condition` true, or for the session's end."""
        while not condition() and not self.ended:
            self.changed.clear()
            await self.changed.wait()

    async def settled(self) -> None:
        """Wait until the target has answered all that it was sent; in an open group it must be asked to."""
        if self.group_upstream:
            self.after_release(wire.FLUSH)
        await self.until(lambda: self.dialogue.is_idle or self.skipping)

    @property
    def skipping(self) -> bool:
        """The target skips to a Sync that was not sent yet: until then it answers nothing."""
        owed = self.dialogue.owed
        if not owed or owed[0].outcome is not Outcome.FAILED or owed[0].kind in "QSF":
            return False
        return not any(operation.kind == "S" for operation in owed)

    def end_when_idle(self) -> None:
        """Now, or behind the answer that ends the transaction: a client that never rests has no other pause."""
        self.draining = True
        idle = self.busy is None and not self.inbox and self.dialogue.is_idle
        if idle and not self.ended and self.dialogue.transaction_status == "I":
            self.terminate()

    def terminate(self) -> None:
        self.fatal("57P01", "terminating connection due to administrator command")

    def fatal(self, sqlstate: str, message: str, reason: str = "gateway") -> None:
        if not self.client.lost:
            self.client.write(refuse.error_response("FATAL", sqlstate, message))
        self.close(reason)

    def close(self, reason: str) -> None:
        """Both sides end; what waits is dropped. Safe to call twice."""
        if self.ended:
            return
        self.ended = True
        if self.uses:
            self.uses.ended(self.dialogue.transaction_status, unanswered=not self.dialogue.is_idle)
        self.changed.set()
        self.client.close()
        self.target.close()
        busy = self.busy
        if busy is None:
            self._finished(self, reason)
        else:  # a hold says that its client is gone before the session says that it is closed
            busy.add_done_callback(lambda _: self._finished(self, reason))
            busy.cancel()


__all__ = ["PROBE", "Journal", "Message", "Relay", "made"]
