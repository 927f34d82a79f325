"""Frames of one recorder, in order, become exchanges. Pure; holds raw traffic, shows lengths only.

Which answer belongs to which command is the Dialogue's word (`wire/postgres`), the
gateway's own machine. Rules:

1. One exchange a Query; one a Bind with its first Execute; one a further Execute (RESUME).
2. DECISION and REFUSED frames speak of the next CLIENT frame, at their offset.
3. A refused command's result is refused, whatever the rewritten error says.
4. Between segments stays only what is open: while a session is idle, that is its counter
   and portals. The rest a segment brings along (CONTEXT, STATEMENT).
5. Without state for a session that CONTEXT says was busy, answers are skipped until its
   open Syncs are drained; what was open then is nobody's.
6. What the Dialogue cannot follow leaves the session's open exchanges unknown, and the
   session is read again from its next CONTEXT that is idle.
7. A new boot cuts every session of an earlier one: open exchanges unknown, closed as cut.
8. A client's message that does not keep to the protocol is answered with an error, and its session goes on: it is a
   command too, on record as far as it can be read.
9. What a portal's name means changes when its Bind is answered, not when it is sent. What SQL declares may bear any
   name that was closed before: behind it, none is known.
10. Outside of a transaction block the commit is the Sync. So a command that was answered waits for ReadyForQuery,
   within bounds: an error on the way there undoes it, and a connection that ends there leaves its outcome unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeVar

from schemas.codec import CodecError, decode
from schemas.frames import Frame, FrameKind
from schemas.ids import RecorderId, SessionId, session_id, session_number
from schemas.judging import SessionFacts
from schemas.records import (
    BootMark,
    CloseReason,
    CommandKind,
    Decided,
    Decision,
    Elided,
    HeldCommand,
    HoldGone,
    LoginRefused,
    Refused,
    Released,
    Result,
    SessionClosed,
    SessionContext,
    SessionOpened,
    Statement,
)
from stream.exchange import MOST_CAPTURED, RawExchange
from stream.parsing import Parsing
from wire.postgres import messages as m
from wire.postgres.dialogue import LONGEST_NAME, Dialogue, Operation, Outcome
from wire.postgres.reader import HEADER, RemoteFault, cut

R = TypeVar("R")

_SHORT = 1024
MOST_TOLD = 20_000
"""A session that was not idle for longer than this is given up as unknown, not kept for ever."""
_AHEAD = 64  # messages before a command, such as its Parse and Describe: looked through at each notice
MOST_WAITING, MOST_WAITING_BYTES = 128, 1 << 20
"""Commands of a session that are answered and wait for their commit (rule 10), and bytes of them. Above, they are
taken for executed, as answered: a pipeline of a million rows ends in one Sync."""
MOST_OPEN = 8 * 1024 * 1024
"""Bytes of commands without an answer, of one recorder: the largest session above it is given up as unknown."""


class BadFrame(ValueError):
    """A frame that no recorder of ours writes: poison."""


@dataclass(frozen=True, slots=True)
class Item:
    """Something that happened in a session (number 0: in the recorder)."""

    micros: int
    session: SessionId | None
    facts: SessionFacts | None
    policy_version: str
    what: RawExchange | SessionOpened | SessionClosed | HeldCommand | HoldGone | Released | LoginRefused | BootMark

    def __repr__(self) -> str:
        return f"Item({self.session}, {type(self.what).__name__})"


@dataclass(slots=True)
class Told:
    """What the Dialogue was told: enough to bring it back to where it stood."""

    client: bool
    kind: str
    name: bytes = b""  # of a client's message; the payload of the target's ReadyForQuery
    portal: bytes = b""
    number: int = 0  # of the exchange whose operation this is


@dataclass(slots=True)
class Session:
    """What is known of a live session. `log`: what the Dialogue was told since it was idle."""

    id: SessionId
    facts: SessionFacts | None = None
    policy_version: str = ""
    number: int = 0
    dialogue: Dialogue = field(default_factory=Dialogue)
    open: list[tuple[RawExchange, Operation]] = field(default_factory=list)
    portals: dict[bytes, RawExchange] = field(default_factory=dict)  # by name: the last Bind that worked
    binding: dict[bytes, tuple[RawExchange, Operation]] = field(default_factory=dict)  # the last that was sent
    bound: dict[int, RawExchange] = field(default_factory=dict)  # Binds whose Execute has not come
    statements: dict[bytes, Statement] = field(default_factory=dict)  # this segment's
    parsing: Parsing = field(default_factory=Parsing)
    described: dict[bytes, tuple[m.Column, ...]] = field(default_factory=dict)
    decided: dict[int, Decided] = field(default_factory=dict)
    refused: dict[int, Refused] = field(default_factory=dict)
    log: list[Told] = field(default_factory=list)
    drain: int = 0
    lost: bool = False

    def __repr__(self) -> str:
        return f"Session({self.id}, {len(self.open)} open)"

    def weight(self) -> int:
        """Bytes of commands that must be kept until their answers came."""
        raws = {raw.number: raw for raw in (*self.portals.values(), *(raw for raw, _ in self.open))}
        commands = sum(len(raw.text) + sum(len(v or b"") for v in raw.binds) for raw in raws.values())
        return commands + self.parsing.weight()

    def statement(self, name: bytes) -> Statement | None:
        """What a Bind of this name, sent now, runs if all goes well: a Parse that is not answered yet succeeds."""
        return self.parsing.pending(name) or self.statements.get(name)

    def parsed(self, operation: Operation) -> None:
        """A Parse that failed, or was skipped, changed nothing: the name means what it meant."""
        made = self.parsing.done(operation)
        if made is not None:
            self.statements[operation.name] = made
            self.described.pop(operation.name, None)

    def origin(self, portal: bytes) -> RawExchange | None:
        """What an Execute of this name, sent now, runs if all goes well."""
        raw, operation = self.binding.get(portal[:LONGEST_NAME], (None, None))
        if operation is not None and operation.outcome is Outcome.OWED:
            return raw
        return self.portals.get(portal[:LONGEST_NAME])

    def settle(self, raw: RawExchange, portal: bytes) -> None:
        """Its Bind was answered, so every Parse before it was: what it runs is known."""
        self.portals[portal] = raw
        known, made = self.parsing.settled(raw.number, raw.statement)
        if known:
            raw.text = made.text.encode() if made else b""
            raw.param_oids = made.param_oids if made else ()

    def speaks(self) -> RawExchange | None:
        """Whose answer comes now: that of the first command that is owed one. A Bind that was answered waits in `open`
        for its Execute, and what comes at a Sync is of none."""
        for operation in self.dialogue.next(_AHEAD):
            if isinstance(operation.tag, RawExchange):
                return operation.tag
            if operation.kind == "S":
                return None
        return None

    def tell_client(
        self, kind: str, raw: RawExchange | None = None, *, name: bytes = b"", portal: bytes = b""
    ) -> Operation | None:
        operation = self.dialogue.client(kind, raw, name=name, portal=portal)
        self.log.append(Told(True, kind, name, portal, raw.number if raw is not None else 0))
        return operation

    def forget(self) -> None:
        """Nothing is open, and nothing owed: how the Dialogue came here says no more."""
        self.log.clear()
        self.parsing.clear()

    def tell_server(self, kind: str, payload: bytes = b"") -> Operation | None:
        operation = self.dialogue.server(kind, payload)
        if self.dialogue.is_idle and (kind == "Z" or not self.open):  # an Execute may still come behind a Flush
            self.forget()
            if kind == "Z":
                self.binding.clear()
        elif kind not in "NSAd":
            told = Told(False, kind, payload if kind == "Z" else b"")
            if not (kind == "D" and self.log and self.log[-1] == told):
                self.log.append(told)  # one DataRow moves the Dialogue as far as a thousand
        return operation


class Transcript:
    """The sessions of one recorder's newest boot.

    `asleep` are those that are stored and not yet read back: `wake` does that when the first frame
    speaks of them. `changed` are those that differ from what is stored; the caller empties it.
    """

    def __init__(
        self,
        recorder: RecorderId,
        boot: int = -1,
        *,
        micros: int = 0,
        asleep: Iterable[int] = (),
        wake: Callable[[int], Session] | None = None,
        weights: Mapping[int, int] | None = None,
    ) -> None:
        self.recorder, self.boot = recorder, boot
        self.micros = micros  # of the newest frame
        self.sessions: dict[int, Session] = {}
        self.asleep, self._wake = set(asleep), wake
        self.changed: set[int] = set()
        self.weights = dict(weights or {})  # of the sessions that have any
        self.exchanges = 0  # that became entries, in this process: for the metrics
        self.mask_failures = 0  # values withheld for a fault of the mask, alike

    def segment(self, boot: int) -> None:
        """A new segment begins: what it repeats for itself is forgotten."""
        self.boot = max(boot, self.boot)
        for session in self.sessions.values():
            session.statements.clear()
            session.described.clear()

    def texts(self, session: SessionId | None) -> dict[str, tuple[str, ...]]:
        """What is known of a session's prepared texts by name, for a judge who meets EXECUTE."""
        known = self.sessions.get(session_number(session)) if session is not None else None
        if known is None or known.id != session:
            return {}
        names: dict[str, tuple[str, ...]] = {s.name: (s.text,) for s in known.statements.values()}
        for _, made in known.parsing.owed():
            names[made.name] = (*names.get(made.name, ()), made.text)
        return names

    def feed(self, frame: Frame) -> list[Item]:
        """Raises BadFrame."""
        self.micros = frame.micros
        try:
            return self._feed(frame)
        except CodecError as e:
            raise BadFrame(f"a {frame.kind.name} frame holds no record") from e

    def _feed(self, frame: Frame) -> list[Item]:
        if frame.kind is FrameKind.BOOT:
            return self._boot(frame)
        if frame.kind is FrameKind.LOGIN_REFUSED:
            return [Item(frame.micros, None, None, "", _record(frame, LoginRefused))]
        session = self._session(frame.session)
        match frame.kind:
            case FrameKind.CLIENT:
                return self._client(session, frame)
            case FrameKind.SERVER:
                return self._server(session, frame.micros, frame.data)
            case FrameKind.SERVER_HEAD:
                return self._head(session, frame)
            case FrameKind.ELIDED:
                self._elided(session, _record(frame, Elided))
            case FrameKind.OPENED:
                opened = _record(frame, SessionOpened)
                session.facts, session.policy_version = _facts(opened), opened.policy_version
                return [self._item(session, frame.micros, opened)]
            case FrameKind.CLOSED:
                return self._closed(frame.session, frame.micros, _record(frame, SessionClosed))
            case FrameKind.CONTEXT:
                return self._context(session, frame.micros, _record(frame, SessionContext))
            case FrameKind.STATEMENT:
                statement = _record(frame, Statement)
                name = statement.name.encode()[:LONGEST_NAME]
                known = session.statements.get(name)
                if known is None or known.text != statement.text:
                    session.described.pop(name, None)
                session.statements[name] = statement
                if statement.row_description:
                    session.described[name] = m.parse_row_description(_payload(statement.row_description))
            case FrameKind.DECISION:
                decided = _record(frame, Decided)
                session.decided[decided.offset] = decided
            case FrameKind.REFUSED:
                refused = _record(frame, Refused)
                session.refused[refused.offset] = refused
            case FrameKind.HOLD:
                return [self._item(session, frame.micros, _record(frame, HeldCommand))]
            case FrameKind.GONE:
                return [self._item(session, frame.micros, _record(frame, HoldGone))]
            case FrameKind.RELEASED:
                return [self._item(session, frame.micros, _record(frame, Released))]
        return []

    def lose(self, micros: int) -> list[Item]:
        """A segment is missing or poisoned: what is open stays unknown, every session is read again when idle."""
        items: list[Item] = []
        for session in self._everyone():
            items += self._fault(session, micros)
        return items

    def bounded(self) -> list[Item]:
        """At the end of a segment: what has become too much to keep is given up as unknown."""
        items: list[Item] = []
        for number in sorted(self.changed):
            session = self.sessions.get(number)
            if session is not None and len(session.log) > MOST_TOLD:
                items += self._fault(session, self.micros)
            self._weigh(number)
        while sum(self.weights.values()) > MOST_OPEN:
            heaviest = max(self.weights, key=lambda number: (self.weights[number], number))
            items += self._fault(self._session(heaviest), self.micros)
            self._weigh(heaviest)
        return items

    def _weigh(self, number: int) -> None:
        session = self.sessions.get(number)
        weight = session.weight() if session is not None else 0
        if weight:
            self.weights[number] = weight
        else:
            self.weights.pop(number, None)

    # --- sessions --------------------------------------------------------------------

    def _session(self, number: int) -> Session:
        self.changed.add(number)
        found = self.sessions.get(number)
        if found is None:
            if number in self.asleep and self._wake is not None:
                self.asleep.discard(number)
                found = self._wake(number)
            else:
                found = Session(session_id(self.recorder, self.boot, number))
            self.sessions[number] = found
        return found

    def _everyone(self) -> list[Session]:
        return [self._session(number) for number in sorted(self.asleep | self.sessions.keys())]

    def _item(self, session: Session, micros: int, what: object) -> Item:
        return Item(micros, session.id, session.facts, session.policy_version, what)  # type: ignore[arg-type]

    def _boot(self, frame: Frame) -> list[Item]:
        mark = _record(frame, BootMark)
        items = []
        for session in self._everyone():
            closed = SessionClosed(session.id, CloseReason.CUT, -1, frame.micros, "its recorder stopped")
            items += self._closed(session_number(session.id), frame.micros, closed)
        self.boot = mark.boot
        return [*items, Item(frame.micros, None, None, "", mark)]

    def _closed(self, number: int, micros: int, closed: SessionClosed) -> list[Item]:
        session = self._session(number)
        items = self._give_up(session, micros)
        del self.sessions[number]
        return [*items, self._item(session, micros, closed)]

    def _context(self, session: Session, micros: int, context: SessionContext) -> list[Item]:
        known = session.facts is not None and not session.lost
        session.facts, session.policy_version = _facts(context), context.policy_version
        if known:
            return []
        items = self._give_up(session, micros)
        session.dialogue.transaction_status = context.tx_status
        session.drain = context.open_syncs
        session.lost = context.open_commands > 0 and not context.open_syncs
        return items

    def _give_up(self, session: Session, micros: int) -> list[Item]:
        """Nobody will answer what is open: unknown."""
        raws = [raw for raw, _ in session.open]
        items = []
        for raw in raws:
            raw.result = Result.REFUSED if raw.refused else Result.UNKNOWN
            items.append(self._item(session, micros, raw))
        session.open.clear()
        session.bound.clear()
        session.portals.clear()
        session.binding.clear()
        session.log.clear()
        session.parsing = Parsing()
        session.dialogue = Dialogue()
        return items

    def _fault(self, session: Session, micros: int) -> list[Item]:
        session.lost = True
        return self._give_up(session, micros)

    # --- the client's side --------------------------------------------------------------

    def _client(self, session: Session, frame: Frame) -> list[Item]:
        if session.lost:
            return []
        decided, session.decided = session.decided, {}
        refused, session.refused = session.refused, {}
        try:
            found, rest = cut(frame.data)
            for kind, start, end in found:
                payload = frame.data[start + HEADER : end]
                try:
                    made = self._message(session, chr(kind), payload, frame.micros)
                except m.Malformed:
                    made = self._malformed(session, chr(kind), payload, frame.micros)
                if made is not None:
                    if start in decided:
                        made.decision, made.rule = decided[start].decision, decided[start].rule
                        made.hold = decided[start].hold
                    if start in refused:
                        made.refused = True
                        made.hold = refused[start].hold or made.hold
        except RemoteFault:
            return self._fault(session, frame.micros)
        return [] if rest == len(frame.data) else self._fault(session, frame.micros)

    def _message(self, session: Session, kind: str, payload: bytes, micros: int) -> RawExchange | None:
        """Tells the Dialogue; gives the exchange that begins here, if one does."""
        match kind:
            case "Q" | "F":
                how = CommandKind.SIMPLE if kind == "Q" else CommandKind.FUNCTION
                text = m.parse_query(payload) if kind == "Q" else b""
                return self._begin(session, kind, RawExchange(0, how, text, micros))
            case "P":
                parsed = m.parse_parse(payload)
                made = Statement(
                    parsed.name.decode("utf-8", "replace"), parsed.text.decode("utf-8", "replace"), parsed.oids, b""
                )
                operation = session.tell_client("P", name=parsed.name)
                if operation is not None:
                    session.parsing.began(operation, made)
            case "B":
                return self._bind(session, m.parse_bind(payload), micros)
            case "E":
                return self._execute(session, m.parse_execute(payload)[0], micros)
            case "D" | "C":
                what, name = m.parse_named(payload)
                if what == "S":
                    session.tell_client(kind, name=name)
                else:
                    session.tell_client(kind, portal=b"P" + name)
            case "d":
                if session.open:
                    session.open[-1][0].copy_sent(payload)  # of the command sent last, whatever is unanswered before it
            case "c" | "f":
                if session.open:
                    session.open[-1][0].copy_ended()
                session.tell_client(kind)
            case _:
                session.tell_client(kind)
        return None

    def _malformed(self, session: Session, kind: str, payload: bytes, micros: int) -> RawExchange | None:
        """The target answers it with an error, and the session goes on (rule 8). Nothing was told of it yet."""
        first, _, rest = payload.partition(b"\0")
        match kind:
            case "Q":
                return self._begin(session, kind, RawExchange(0, CommandKind.SIMPLE, first, micros))
            case "B":
                return self._bind(session, m.Bind(first, rest.partition(b"\0")[0], (), (), ()), micros)
            case "E":
                return self._execute(session, first, micros)
            case _:
                session.tell_client(kind, name=first if kind == "P" else b"")
                return None

    def _begin(
        self, session: Session, kind: str, raw: RawExchange, name: bytes = b"", portal: bytes = b""
    ) -> RawExchange:
        session.number += 1
        raw.number = session.number
        operation = session.tell_client(kind, raw, name=name, portal=portal)
        if operation is None:
            raise RemoteFault("a command that is owed no answer")
        session.open.append((raw, operation))
        return raw

    def _bind(self, session: Session, bound: m.Bind, micros: int) -> RawExchange:
        name = bound.statement[:LONGEST_NAME]
        statement = session.statement(name)
        raw = RawExchange(
            0,
            CommandKind.EXTENDED,
            statement.text.encode() if statement else b"",
            micros,
            binds=bound.values,
            bind_formats=bound.formats,
            result_formats=bound.result_formats,
            param_oids=statement.param_oids if statement else (),
            statement=name,
            columns=() if session.parsing.pending(name) else session.described.get(name, ()),
        )
        self._begin(session, "B", raw, bound.statement, bound.portal)
        session.parsing.bound(raw.number, name, session.statements.get(name))
        session.binding[bound.portal[:LONGEST_NAME]] = session.open[-1]
        session.bound[raw.number] = raw
        return raw

    def _execute(self, session: Session, portal: bytes, micros: int) -> RawExchange | None:
        origin = session.origin(portal)
        if origin is not None and session.bound.pop(origin.number, None) is not None:
            operation = session.tell_client("E", origin, portal=portal)
            if operation is None:
                raise RemoteFault("an Execute that is owed no answer")
            session.open = [(raw, operation if raw is origin else op) for raw, op in session.open]
            return None
        again = RawExchange(0, CommandKind.RESUME, b"", micros)
        _resumes(again, origin)
        return self._begin(session, "E", again, portal=portal)

    # --- the target's side ----------------------------------------------------------------

    def _server(self, session: Session, micros: int, data: bytes) -> list[Item]:
        if session.lost:
            return []
        items: list[Item] = []
        try:
            found, _ = cut(data)
            for kind, start, end in found:
                items += self._answer(session, chr(kind), data[start + HEADER : end], micros)
        except RemoteFault:
            items += self._fault(session, micros)
        return items

    def _answer(self, session: Session, kind: str, payload: bytes, micros: int) -> list[Item]:
        if session.drain:
            session.drain -= kind == "Z"
            return []
        operation = session.tell_server(kind, payload)
        raw = operation.tag if operation is not None else None
        if kind == "1" and operation is not None:
            session.parsed(operation)
        if operation is not None and isinstance(raw, RawExchange):
            if kind == "2":
                session.settle(raw, operation.portal)
            elif raw.kind is CommandKind.RESUME and not (raw.row_count or raw.tags or raw.excerpt):
                _resumes(raw, session.portals.get(operation.portal))  # by now it is known
            if kind == "C" and payload.startswith(_DECLARING):
                session.portals.clear()
        if kind == "N":
            raw = session.speaks()
        if kind == "T" and operation is not None:
            self._described(session, operation, m.parse_row_description(payload))
        if isinstance(raw, RawExchange):
            _take(raw, kind, payload)
        if kind == "E" and operation is not None and session.dialogue.transaction_status == "I":
            _undo([each for each, its in session.open if its.outcome in _WORKED], payload)
        return self._finished(session, kind, micros) if kind in _ENDS else []

    def _described(self, session: Session, operation: Operation, columns: tuple[m.Column, ...]) -> None:
        if operation.kind == "D" and operation.portal:
            found = session.portals.get(operation.portal[1:])
            if found is not None:
                found.columns = columns
        elif operation.kind == "D":
            session.described[operation.name] = columns
            made = session.statements.get(operation.name)
            for raw in session.bound.values():
                if raw.statement == operation.name and made is not None and made.text.encode() == raw.text:
                    raw.columns = columns
        elif isinstance(operation.tag, RawExchange):
            operation.tag.columns = columns

    def _finished(self, session: Session, kind: str, micros: int) -> list[Item]:
        """The exchanges that this message ended, in the order they began."""
        items: list[Item] = []
        still: list[tuple[RawExchange, Operation]] = []
        idle = session.dialogue.is_idle
        uncommitted = kind != "Z" and session.dialogue.transaction_status == "I"
        if uncommitted:
            answered = [raw for raw, operation in session.open if operation.outcome is not Outcome.OWED]
            uncommitted = len(answered) <= MOST_WAITING and sum(map(_kept, answered)) <= MOST_WAITING_BYTES
        for raw, operation in session.open:
            outcome = operation.outcome
            waits = outcome is Outcome.OWED or uncommitted or (operation.kind in "QF" and kind != "Z")
            only_bound = operation.kind == "B" and outcome is Outcome.DONE and not (idle and kind == "Z")
            if waits or only_bound:
                still.append((raw, operation))
                continue
            raw.result = _result(raw, outcome)
            raw.ended_us = micros
            session.bound.pop(raw.number, None)
            items.append(self._item(session, micros, raw))
        session.open = still
        if idle and not still:
            session.forget()
        if idle and kind == "Z" and session.dialogue.transaction_status == "I":
            session.portals.clear()  # behind a Flush alone they live on
        return items

    def _head(self, session: Session, frame: Frame) -> list[Item]:
        if session.lost or session.drain or not frame.data:
            return []
        try:
            operation = session.tell_server(chr(frame.data[0]))
        except RemoteFault:
            return self._fault(session, frame.micros)
        if operation is not None and isinstance(operation.tag, RawExchange):
            operation.tag.excerpt = True
            if frame.data[:1] == b"E":
                operation.tag.sqlstate = _sqlstate(frame.data[HEADER:])
        return []

    def _elided(self, session: Session, elided: Elided) -> None:
        raw = session.speaks()
        if raw is not None:
            raw.row_count += elided.rows
            raw.size += elided.size
            raw.excerpt = True


_ENDS = frozenset("CEIsZ")
"""Answers behind which a command may have ended."""
_WORKED = (Outcome.DONE, Outcome.SUSPENDED)
_OF_ROWS = (b"SELECT", b"INSERT", b"UPDATE", b"DELETE", b"MERGE", b"COPY")
"""Commands that commit nothing by themselves."""


def _undo(waiting: list[RawExchange], error: bytes) -> None:
    """Their transaction failed, in a command behind them or in its commit. Where one of them may have committed by
    itself (COMMIT, VACUUM, CALL), nobody can know how far."""
    certain = all(tag.startswith(_OF_ROWS) for raw in waiting for tag in raw.tags)
    for raw in waiting:
        if raw.tags and not raw.error:
            raw.sqlstate = _sqlstate(error)
            raw.error = error if certain else b""


def _result(raw: RawExchange, outcome: Outcome) -> Result:
    if raw.refused:
        return Result.REFUSED
    if outcome in (Outcome.FAILED, Outcome.SKIPPED) or raw.error:
        return Result.FAILED
    return Result.UNKNOWN if raw.sqlstate else Result.EXECUTED


def _kept(raw: RawExchange) -> int:
    return len(raw.text) + sum(len(value or b"") for value in raw.binds) + min(raw.size, MOST_CAPTURED)


_DECLARING = (b"DECLARE CURSOR\0", b"DO\0", b"CALL\0")
"""Commands that may give a name to another cursor (rule 9)."""


def _resumes(raw: RawExchange, origin: RawExchange | None) -> None:
    """`raw` runs what `origin` bound, None for what nobody here knows."""
    if origin is None:
        raw.text, raw.columns, raw.result_formats = b"", (), ()
        raw.decision, raw.rule = Decision.ALLOW, ""
    else:
        raw.text, raw.columns, raw.result_formats = origin.text, origin.columns, origin.result_formats
        raw.decision, raw.rule = origin.decision, origin.rule


def _take(raw: RawExchange, kind: str, payload: bytes) -> None:
    """One message of an answer."""
    match kind:
        case "D":
            raw.row_count += 1
            if raw.room(len(payload)):
                raw.rows.append((raw.columns, m.parse_data_row(payload)))
        case "d":
            raw.row_count += 1
            raw.copy(payload)
        case "c":
            raw.copy_ended()
        case "C":
            raw.tags.append(payload.rstrip(b"\0"))
        case "E":
            raw.error = payload
            raw.sqlstate = _sqlstate(payload)
        case "N":
            if raw.room(len(payload)):
                raw.notices.append(payload)


def _sqlstate(fields: bytes) -> str:
    """Of an error, or of the beginning of one."""
    codes = (each[1:] for each in fields.split(b"\0") if each[:1] == b"C")
    return next(codes, b"").decode("ascii", "replace")[:5]


def _record(frame: Frame, kind: type[R]) -> R:
    record = _known(frame.data) if len(frame.data) <= _SHORT else decode(frame.data)
    if not isinstance(record, kind):
        raise BadFrame(f"a {frame.kind.name} frame holds a {type(record).__name__}")
    return record


@lru_cache(maxsize=4096)  # every segment repeats a session's context and its prepared texts
def _known(data: bytes) -> Any:
    return decode(data)


def _payload(message: bytes) -> bytes:
    return message[HEADER:]


def _facts(known: SessionOpened | SessionContext) -> SessionFacts:
    return SessionFacts(
        known.subject, known.claims, known.target, known.protocol, known.environment, known.database, known.user
    )
