"""The approvals step as a stage: messages of its topic in, answers and signed entries out.

One row a request, one for the rest, one a recorder for where its entries stand.
The offset applied is in the same put, so what was applied is silent when it comes again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import structlog

from approvals.machine import Body, Enter, Input, Say, step
from approvals.state import State, decode_state, encode_request, encode_rest
from approvals.votes import Directory
from bus.topics import EVENTS, GRANTS, Message
from schemas.codec import CodecError, decode, encode
from schemas.ids import START, Position, RecorderId, approvals_source
from schemas.records import (
    Choice,
    Event,
    EventBatch,
    LedgerEntry,
    Resume,
    Resumed,
    ReviewOverdue,
    Vote,
)
from seal.event_batch import sign_batch
from seal.sign import Signer
from stream.pipeline import Output
from stream.resuming import Resuming

_log = structlog.get_logger()
_REQUEST, _REST, _APPLIED, _SOURCES = b"request/", b"rest", b"applied", b"sources"


class ApprovalsStage:
    """`state` is what the door reads."""

    def __init__(self, signer: Signer, directory: Directory, resuming: Resuming | None = None) -> None:
        self._signer, self._directory, self._resuming = signer, directory, resuming
        self.state = State()
        self._stored = State()
        self._topic = ""
        self._applied: dict[str, int] = {}  # partition of that topic -> offset
        self._sources: dict[str, list[int]] = {}  # source -> its last position
        self._moved = False
        self.unreadable = 0

    def restore(self, rows: dict[bytes, bytes], topic: str) -> None:
        """Raises StateUnreadable. The requests stay whatever becomes of the topic; where its offsets stood does not."""
        self._topic = topic
        if not rows:
            return
        self.state = decode_state(rows[_REST], [row for key, row in rows.items() if key.startswith(_REQUEST)])
        self._stored = self.state
        known, applied = json.loads(rows[_APPLIED])
        if known == topic:
            self._applied, self._sources = applied, json.loads(rows[_SOURCES])
        else:
            _log.error("alarm", alarm="another approvals topic", before=known, now=topic)

    def apply(self, message: Message) -> Sequence[Output]:
        partition = str(message.partition)
        if message.offset <= self._applied.get(partition, -1):
            return ()
        self._applied[partition], self._moved = message.offset, True
        try:
            given = decode(message.value)
        except CodecError:
            given = None
        if isinstance(given, Resume) and self._resuming is not None:
            return self._resume(message, self._resuming.resumed(given, message.time_us))
        if not isinstance(given, Input):
            self.unreadable += 1
            return ()
        self.state, said = step(self.state, given, message.time_us, self._directory)
        answers = [Output(GRANTS, o.message.recorder.encode(), encode(o.message)) for o in said if isinstance(o, Say)]
        entries: dict[RecorderId, list[Body]] = {}
        for output in said:
            if isinstance(output, Enter):
                _sound(output.body)
                entries.setdefault(output.recorder, []).append(output.body)
        return [*(self._batch(message, who, bodies) for who, bodies in entries.items()), *answers]

    def _resume(self, message: Message, resumed: tuple[RecorderId, Resumed] | None) -> Sequence[Output]:
        if resumed is None:
            self.unreadable += 1
            return ()
        recorder, body = resumed
        lifted = Output(GRANTS, body.suspension.encode(), encode(body))
        return [self._batch(message, recorder, [body]), lifted]

    def changes(self) -> dict[bytes, bytes | None]:
        if not self._moved:
            return {}
        now, before = self.state.requests, self._stored.requests
        rows: dict[bytes, bytes | None] = {
            _REQUEST + name.encode(): encode_request(request)
            for name, request in now.items()
            if before.get(name) is not request
        }
        rows |= dict.fromkeys(_REQUEST + name.encode() for name in before if name not in now)
        rows[_REST] = encode_rest(self.state)
        rows[_APPLIED] = json.dumps([self._topic, self._applied], sort_keys=True).encode()
        rows[_SOURCES] = json.dumps(self._sources, sort_keys=True).encode()
        self._stored, self._moved = self.state, False
        return rows

    def _batch(self, message: Message, recorder: RecorderId, bodies: Sequence[Body | Resumed]) -> Output:
        source = approvals_source(self._topic, message.partition, recorder)
        prior = Position(*self._sources.get(source, START))
        events = []
        for n, body in enumerate(bodies):
            entry = LedgerEntry(
                source, Position(message.offset, n, 0), max(self.state.now_us, message.time_us), body=body
            )
            events.append(Event(encode(entry), b""))
        last = Position(message.offset, len(bodies) - 1, 0)
        self._sources[source] = list(last)
        batch = EventBatch(source, recorder, prior, last, tuple(events), "", b"")
        return Output(EVENTS, recorder.encode(), encode(sign_batch(self._signer, batch)))


def _sound(body: Body) -> None:
    """What somebody should look at now."""
    if isinstance(body, Vote) and body.choice is Choice.BREAK_GLASS:
        _log.error("alarm", alarm="break-glass", request=body.request, by=body.reviewer)
    elif isinstance(body, ReviewOverdue):
        _log.error("alarm", alarm="review overdue", request=body.request, by=body.by)
