"""The pipeline as a stage: one transcript a recorder, sealed where it is stored.

The rows hold raw traffic while commands are open, so they meet the table only inside
a secret box under a key derived from the masker's private key. One row a session, so
that a turn writes what it changed; what was captured of an open answer is written
once, in parts. A put is all or none: head and sessions always agree.

    h/<recorder>                              where it stands
    s/<recorder>/<session>                    an open session
    p/<recorder>/<session>/<exchange>/<n>     a part of an open answer
    u/<partition>                             where its unreadable messages stand, and in which topic
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from bus.follow import DAMAGE
from bus.topics import EVENTS, JOURNAL, Message
from schemas.codec import CodecError, decode, encode
from schemas.ids import START, Position, RecorderId, undecoded_source
from schemas.records import Event, EventBatch, JournalSegment, LedgerEntry, Undecoded
from seal.event_batch import sign_batch
from seal.keyfiles import Enrolled
from stream import memory
from stream.memory import MemoryUnreadable
from stream.opening import Poison, Stranger, check_signed, open_segment
from stream.pipeline import EnsureKeys, Output, Tools, step, unopened, with_keys
from stream.transcript import Session, Transcript

VERSION = 2
MOST_EPOCHS = 16
"""Of a recorder, whose keys are remembered: an older segment that comes is taken for the repeat that it may be."""


class StateBox(Protocol):
    """Seals state at rest."""

    def seal(self, plain: bytes) -> bytes: ...
    def open(self, sealed: bytes) -> bytes: ...


@dataclass(slots=True)
class _Asleep:
    """A session's rows as they were stored."""

    row: bytes = b""
    parts: dict[tuple[int, int], bytes] = field(default_factory=dict)  # (exchange, n)


@dataclass(slots=True)
class _Recorder:
    name: RecorderId
    transcript: Transcript
    applied: tuple[int, int] = (-1, -1)  # (epoch, last chunk)
    epochs: dict[int, tuple[str, int]] = field(default_factory=dict)  # digest of its key, last chunk applied
    asleep: dict[int, _Asleep] = field(default_factory=dict)
    stored: dict[int, dict[int, list[memory.Captured]]] = field(default_factory=dict)  # session, exchange: its parts


@dataclass(slots=True)
class Done:
    """What the mask stages of one process did, for the metrics: one that takes over goes on counting."""

    size: int = 0  # bytes of messages
    exchanges: int = 0
    undecoded: int = 0
    failed: int = 0  # values withheld for a fault of the mask


class MaskStage:
    def __init__(
        self,
        tools: Tools,
        private: Callable[[str], bytes],
        enrolled: Enrolled,
        ensure: EnsureKeys,
        box: StateBox,
        done: Done | None = None,
    ) -> None:
        self._tools, self._private, self._enrolled = tools, private, enrolled
        self._ensure, self._box = ensure, box
        self._known: dict[RecorderId, _Recorder] = {}
        self._moved: set[RecorderId] = set()
        self._topic = ""
        self._unreadable: dict[int, int] = {}  # partition of that topic: offset of the newest
        self._told: set[int] = set()
        self._done = done or Done()

    # --- rows ----------------------------------------------------------------------

    def restore(self, rows: dict[bytes, bytes], topic: str) -> None:
        """Raises MemoryUnreadable, CannotOpen. Sessions are read when they are spoken of: there may be many."""
        self._topic = topic
        asleep: dict[RecorderId, dict[int, _Asleep]] = {}
        for name, row in rows.items():
            kind, _, rest = name.decode().partition("/")
            match kind:
                case "s":
                    recorder, number = rest.rsplit("/", 1)
                    of = asleep.setdefault(RecorderId(recorder), {})
                    of.setdefault(int(number), _Asleep()).row = row
                case "p":
                    recorder, number, exchange, part = rest.rsplit("/", 3)
                    of = asleep.setdefault(RecorderId(recorder), {})
                    of.setdefault(int(number), _Asleep()).parts[int(exchange), int(part)] = row
                case "u":
                    known, offset = json.loads(row)
                    if known == topic:
                        self._unreadable[int(rest)] = offset
                case "h":
                    pass
                case _:
                    raise MemoryUnreadable("the pipeline's state has rows of another release")
        for name, row in rows.items():
            if name.startswith(b"h/"):
                recorder = RecorderId(name[2:].decode())
                self._known[recorder] = self._recorder(recorder, self._box.open(row), asleep.get(recorder, {}))

    def _recorder(self, name: RecorderId, head: bytes, asleep: dict[int, _Asleep]) -> _Recorder:
        plain = json.loads(head)
        if plain["v"] != VERSION:
            raise MemoryUnreadable("the pipeline's state is of another release")
        known = _Recorder(name, Transcript(name), tuple(plain["applied"]), asleep=asleep)
        known.epochs = {int(epoch): (digest, last) for epoch, (digest, last) in plain.get("epochs", {}).items()}
        weights = {int(number): weight for number, weight in plain["weights"].items()}
        known.transcript = Transcript(
            name,
            plain["boot"],
            micros=plain["micros"],
            asleep=asleep,
            wake=lambda number: self._wake(known, number),
            weights=weights,
        )
        return known

    def _wake(self, known: _Recorder, number: int) -> Session:
        rows = known.asleep.pop(number)
        parts: dict[int, list[bytes]] = {}
        for (exchange, _), part in sorted(rows.parts.items()):
            parts.setdefault(exchange, []).append(self._box.open(part))
        session = memory.load(self._box.open(rows.row), parts)
        known.stored[number] = memory.captured(session, parts)
        return session

    def changes(self) -> dict[bytes, bytes | None]:
        moved, self._moved = self._moved, set()
        told, self._told = self._told, set()
        rows: dict[bytes, bytes | None] = {}
        for recorder in sorted(moved):
            known = self._known[recorder]
            changed, known.transcript.changed = known.transcript.changed, set()
            for number in sorted(changed):
                rows |= self._session_rows(known, number)
            rows[f"h/{recorder}".encode()] = self._box.seal(_head(known))
        for partition in sorted(told):
            rows[f"u/{partition}".encode()] = json.dumps([self._topic, self._unreadable[partition]]).encode()
        return rows

    def _session_rows(self, known: _Recorder, number: int) -> dict[bytes, bytes | None]:
        name = f"{known.name}/{number}"
        session = known.transcript.sessions.get(number)
        before = known.stored.pop(number, None)
        rows: dict[bytes, bytes | None] = {}
        now: dict[int, list[memory.Captured]] = {}
        if session is not None:
            rows[f"s/{name}".encode()] = self._box.seal(memory.dump(session))
            for raw, _ in session.open:
                parts = (before or {}).get(raw.number, [])
                part, captured = memory.part(raw, parts)
                if part is not None:
                    rows[f"p/{name}/{raw.number}/{len(parts)}".encode()] = self._box.seal(part)
                    parts = [*parts, captured]
                now[raw.number] = parts
            known.stored[number] = now
        elif before is not None:
            rows[f"s/{name}".encode()] = None
        for exchange, parts in (before or {}).items():
            if exchange not in now:
                rows |= dict.fromkeys(f"p/{name}/{exchange}/{n}".encode() for n in range(len(parts)))
        return rows

    # --- messages ------------------------------------------------------------------

    def apply(self, message: Message) -> Sequence[Output]:
        try:
            segment = decode(message.value)
        except CodecError:
            segment = None
        if not isinstance(segment, JournalSegment):
            # Which file is in the recorder's log: whoever writes to the topic must not choose words of an entry.
            damaged = message.value.startswith(DAMAGE)
            return self._unreadable_message(message, "journal damaged" if damaged else "not a journal segment")
        known = self._known.get(segment.recorder)
        at = (segment.epoch, segment.last)
        try:
            if known is not None and _is_forked(known, segment):
                check_signed(segment, self._enrolled, message.time_us)
                return self._unreadable_message(message, FORKED.format(segment, size=len(message.value)))
            if known is not None and at <= known.applied:
                return ()
            outputs = self._outputs(segment, known, message.time_us)
        except Stranger as e:
            return self._unreadable_message(message, str(e))
        self._done.size += len(message.value)
        known = self._known[segment.recorder]
        known.applied = at
        known.epochs[segment.epoch] = (_key_digest(segment), segment.last)
        known.epochs = dict(sorted(known.epochs.items())[-MOST_EPOCHS:])
        self._moved.add(segment.recorder)
        return outputs

    def _outputs(self, segment: JournalSegment, known: _Recorder | None, at_us: int) -> list[Output]:
        """Raises Stranger, and nothing has changed then: who did not sign does not move a recorder."""
        try:
            opened = open_segment(segment, self._private, self._enrolled, at_us)
        except Stranger:
            raise
        except Poison as e:
            self._done.undecoded += 1
            transcript = self._transcript(segment.recorder)
            return unopened(transcript, segment, str(e), with_keys(self._tools, self._ensure, ()))
        gap = known is not None and (segment.prior_epoch, segment.prior_chunk) != known.applied
        transcript = self._transcript(segment.recorder)
        before, failed = transcript.exchanges, transcript.mask_failures
        outputs = step(transcript, opened, with_keys(self._tools, self._ensure, opened.sessions), gap=gap)
        self._done.exchanges += transcript.exchanges - before
        self._done.failed += transcript.mask_failures - failed
        return outputs

    def _transcript(self, recorder: RecorderId) -> Transcript:
        if recorder not in self._known:
            self._known[recorder] = _Recorder(recorder, Transcript(recorder))
        return self._known[recorder].transcript

    def _unreadable_message(self, message: Message, reason: str) -> list[Output]:
        """No recorder says this, so it stands under a source of the partition's own, by its offset."""
        before = self._unreadable.get(message.partition)
        if before is not None and message.offset <= before:
            return []
        self._done.undecoded += 1
        self._unreadable[message.partition] = message.offset
        self._told.add(message.partition)
        source = undecoded_source(self._topic, message.partition)
        at = Position(message.offset, 0, 0)
        digest = hashlib.sha256(message.value).digest()
        body = Undecoded(None, JOURNAL, f"partition {message.partition} offset {message.offset}", digest, reason)
        leaf = encode(LedgerEntry(source, at, message.time_us, body=body))
        prior = START if before is None else Position(before, 0, 0)
        batch = EventBatch(source, RecorderId(""), prior, at, (Event(leaf, b""),), "", b"")
        return [Output(EVENTS, source.encode(), encode(sign_batch(self._tools.signer, batch)))]


FORKED = (
    "not a repeat: {0.recorder} has written something else here (epoch {0.epoch}, chunks {0.first} to {0.last}, "
    "{size} bytes): its disk was cloned, or an older copy of it came back"
)


def _is_forked(known: _Recorder, segment: JournalSegment) -> bool:
    """Whether two write under this recorder's name: each makes a key of its own for an epoch of the same number."""
    met = known.epochs.get(segment.epoch)
    if met is None:
        return min(known.epochs, default=segment.epoch) < segment.epoch < known.applied[0]
    return met[0] != _key_digest(segment) or (segment.epoch < known.applied[0] and met[1] < segment.last)


def _key_digest(segment: JournalSegment) -> str:
    return hashlib.sha256(segment.sealed_key).hexdigest()[:16]


def _head(known: _Recorder) -> bytes:
    transcript = known.transcript
    plain = {
        "v": VERSION,
        "applied": known.applied,
        "epochs": {str(epoch): met for epoch, met in known.epochs.items()},
        "boot": transcript.boot,
        "micros": transcript.micros,
        "weights": {str(number): weight for number, weight in transcript.weights.items()},
    }
    return json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()
