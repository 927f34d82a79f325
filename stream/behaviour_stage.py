"""The behaviour step as a stage: entries of `events` in, alerts out; suspensions go to the gateways, too.

It believes what the ledger believes (`check_batch`) and counts it once, by the cursor of
each source, as the ledger does: a message that comes again, at its offset or at another,
says nothing. What it says stands under a source of its own, by the offset of what made
it say so, so a repeat after a crash is the same bytes. Rows are sealed: they are no
secret that the ledger keeps, but nobody else may write what is usual.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from approvals.votes import Directory
from bus.topics import EVENTS, GRANTS, Message
from policy.rules import Rules
from schemas.codec import CodecError, decode, decode_plain, encode, from_plain
from schemas.ids import START, Position, RecorderId, Source, behaviour_source
from schemas.records import (
    ApprovalRequest,
    Event,
    EventBatch,
    Grant,
    LedgerEntry,
    Refusal,
    Resumed,
    SessionOpened,
    Suspended,
)
from seal.content import decrypt, encrypt
from seal.event_batch import check_batch, sign_batch
from seal.keyfiles import Enrolled, NotEnrolled
from seal.sign import BadSignature, Signer
from seal.suspension import sign_suspension
from stream.behaviour.identity import dumps
from stream.behaviour.memory import MOST_IDENTITIES, Memory
from stream.behaviour.watch import Said, Watch
from stream.memory import MemoryUnreadable
from stream.pipeline import Output

_log = structlog.get_logger()
VERSION = 1
_META, _CURSOR = b"m/", b"c/"
_EXCHANGE, _CLOSED = "tallystick.Exchange", "tallystick.SessionClosed"
"""Read as they come: there are many of them."""
_READ = {f"tallystick.{kind.__name__}": kind for kind in (SessionOpened, ApprovalRequest, Grant, Refusal, Resumed)}


class SealedRows:
    """Rows at rest, for the role alone."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def seal(self, name: bytes, plain: bytes) -> bytes:
        return encrypt(self._key, name, plain)

    def open(self, name: bytes, sealed: bytes) -> bytes:
        """Raises CannotOpen."""
        return decrypt(self._key, name, sealed)


@dataclass(slots=True)
class Watched:
    """For the metrics."""

    exchanges: int = 0
    unknown: int = 0  # of sessions whose opening was never seen
    alerts: int = 0
    suspensions: int = 0
    strangers: int = 0  # messages that no enrolled producer signed
    identities: int = 0


class BehaviourStage:
    def __init__(
        self,
        signer: Signer,
        box: SealedRows,
        enrolled: Enrolled,
        rules: Rules,
        done: Watched | None = None,
        most: int = MOST_IDENTITIES,
    ) -> None:
        self._signer, self._box, self._enrolled = signer, box, enrolled
        self._memory = Memory(box, most)
        self._watch = Watch(rules.behaviour, rules.version, Directory(rules.reviewers), self._memory)
        self._done = done or Watched()
        self._topic = ""
        self._applied: dict[str, list[int]] = {}  # partition of that topic: offset applied; where its own source stands
        self._cursors: dict[Source, Position] = {}
        self._moved: set[Source] = set()
        self._any = False

    # --- rows ----------------------------------------------------------------------

    def restore(self, rows: dict[bytes, bytes], topic: str) -> None:
        """Raises MemoryUnreadable, CannotOpen."""
        self._topic = topic
        if _META not in rows:
            if rows:
                raise MemoryUnreadable("the behaviour step's state has no head")
            return
        meta = json.loads(self._box.open(_META, rows[_META]))
        if meta["v"] != VERSION:
            raise MemoryUnreadable("the behaviour step's state is of another release")
        if meta["topic"] == topic:
            self._applied = meta["applied"]
        else:
            _log.error("alarm", alarm="another events topic", before=meta["topic"], now=topic)
        learned = {}
        for name, row in rows.items():
            if name.startswith(_CURSOR):
                source = Source(name.removeprefix(_CURSOR).decode())
                self._cursors[source] = Position(*json.loads(self._box.open(name, row)))
            elif name != _META:
                learned[name] = row
        self._memory.restore(learned)
        self._done.identities = len(self._memory)

    def changes(self) -> dict[bytes, bytes | None]:
        if not self._any:
            return {}
        rows = self._memory.changes()
        for source in sorted(self._moved):
            name = _CURSOR + source.encode()
            rows[name] = self._box.seal(name, dumps(self._cursors[source]))
        meta = {"v": VERSION, "topic": self._topic, "applied": self._applied}
        rows[_META] = self._box.seal(_META, dumps(meta))
        self._moved, self._any = set(), False
        return rows

    # --- messages --------------------------------------------------------------------

    def apply(self, message: Message) -> Sequence[Output]:
        applied = self._applied.setdefault(str(message.partition), [-1, *START])
        if message.offset <= applied[0]:
            return ()
        applied[0], self._any = message.offset, True
        batch = self._believed(message)
        if batch is None:
            return ()
        at = self._cursors.get(batch.source, START)
        if batch.last <= at:
            return ()
        if batch.prior > at != START:
            _log.warning("entries were not seen", source=batch.source, after=at, before=batch.prior)
        self._cursors[batch.source] = batch.last
        self._moved.add(batch.source)
        own = behaviour_source(self._topic, message.partition)
        self._watch.begin(f"{own}@{message.offset}", message.time_us)
        for event in batch.events:
            try:
                _, entry = decode_plain(event.leaf)
                position = entry["position"]
                if (position["major"], position["minor"], position["index"]) > at:
                    self._take(*entry["body"])
            except (CodecError, KeyError, ValueError):  # not a leaf: the ledger tells of the whole message
                self._done.strangers += 1
        self._done.unknown, self._done.identities = self._watch.unknown, len(self._memory)
        return self._outputs(message, own, self._watch.said())

    def _believed(self, message: Message) -> EventBatch | None:
        """Of what nobody signed the ledger tells."""
        try:
            batch = decode(message.value)
            if not isinstance(batch, EventBatch) or batch.source.startswith("behaviour:"):
                return None
            check_batch(batch, self._enrolled, message.time_us)
        except (CodecError, BadSignature, NotEnrolled):
            self._done.strangers += 1
            return None
        return batch

    def _take(self, kind: str, body: dict[str, Any]) -> None:
        if kind == _EXCHANGE:
            self._done.exchanges += 1
            self._watch.exchange(body)
            return
        if kind == _CLOSED:
            self._watch.closed(body["session"])
            return
        if kind not in _READ:
            return
        match from_plain(_READ[kind], body):
            case SessionOpened() as opened:
                self._watch.opened(opened)
            case ApprovalRequest() as request:
                self._watch.requested(request)
            case Grant() as grant:
                self._watch.granted(grant)
            case Refusal() as refusal:
                self._watch.refused(refusal)
            case Resumed() as resumed:
                self._watch.resumed(resumed)

    def _outputs(self, message: Message, source: Source, said: list[Said]) -> list[Output]:
        if not said:
            return []
        bodies = [sign_suspension(self._signer, b) if isinstance(b, Suspended) else b for b in said]
        applied = self._applied[str(message.partition)]
        prior = Position(*applied[1:])
        events = []
        for n, body in enumerate(bodies):
            entry = LedgerEntry(source, Position(message.offset, n, 0), message.time_us, body=body)
            events.append(Event(encode(entry), b""))
        last = Position(message.offset, len(bodies) - 1, 0)
        applied[1:] = last
        batch = EventBatch(source, RecorderId(""), prior, last, tuple(events), "", b"")
        outputs = [Output(EVENTS, source.encode(), encode(sign_batch(self._signer, batch)))]
        for body in bodies:
            if isinstance(body, Suspended):
                self._done.suspensions += 1
                outputs.append(Output(GRANTS, body.suspension.encode(), encode(body)))
            self._done.alerts += type(body).__name__ == "Alert"
        return outputs
