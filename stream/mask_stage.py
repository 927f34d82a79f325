"""The pipeline as a stage: one transcript a recorder, sealed where it is stored.

The state holds raw traffic while commands are open, so it meets the table only
inside a secret box under a key derived from the masker's private key.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from bus.topics import Message
from schemas.codec import CodecError, decode
from schemas.ids import RecorderId, SessionId
from schemas.records import JournalSegment
from seal.keyfiles import Enrolled
from stream import memory
from stream.opening import Opened, Poison, open_segment
from stream.pipeline import Output, Tools, step, undecoded
from stream.transcript import Transcript


class StateBox(Protocol):
    """Seals state at rest."""

    def seal(self, plain: bytes) -> bytes: ...
    def open(self, sealed: bytes) -> bytes: ...


EnsureKeys = Callable[[Iterable[SessionId]], Mapping[SessionId, bytes]]
"""Content keys, durable when it returns; a session whose content was erased has none."""


@dataclass(slots=True)
class _Known:
    applied: tuple[int, int]  # (epoch, last chunk)
    memory: bytes


class MaskStage:
    def __init__(
        self,
        tools: Tools,
        private: Callable[[str], bytes],
        enrolled: Enrolled,
        ensure: EnsureKeys,
        box: StateBox,
    ) -> None:
        self._tools, self._private, self._enrolled = tools, private, enrolled
        self._ensure, self._box = ensure, box
        self._known: dict[RecorderId, _Known] = {}
        self._changed: set[RecorderId] = set()
        self.poisoned = 0

    def restore(self, rows: dict[bytes, bytes]) -> None:
        for key, row in rows.items():
            head, _, kept = self._box.open(row).partition(b"\n")
            epoch, last = json.loads(head)
            self._known[RecorderId(key.decode())] = _Known((epoch, last), kept)

    def apply(self, message: Message) -> Sequence[Output]:
        try:
            segment = decode(message.value)
        except CodecError:
            segment = None
        if not isinstance(segment, JournalSegment):
            self.poisoned += 1  # no recorder of ours is named in it, so there is no source to say it under
            return ()
        recorder = segment.recorder
        known = self._known.get(recorder)
        if known is not None and (segment.epoch, segment.last) <= known.applied:
            return ()
        kept = memory.dump(Transcript(recorder)) if known is None else known.memory
        gap = known is not None and (segment.prior_epoch, segment.prior_chunk) != known.applied
        transcript, outputs = self._outputs(segment, kept, message.time_us, gap)
        self._known[recorder] = _Known((segment.epoch, segment.last), memory.dump(transcript))
        self._changed.add(recorder)
        return outputs

    def changes(self) -> dict[bytes, bytes | None]:
        changed, self._changed = self._changed, set()
        return {recorder.encode(): self._row(self._known[recorder]) for recorder in changed}

    def _row(self, known: _Known) -> bytes:
        return self._box.seal(json.dumps(known.applied).encode() + b"\n" + known.memory)

    def _outputs(self, segment: JournalSegment, kept: bytes, at_us: int, gap: bool) -> tuple[Transcript, list[Output]]:
        opened: Opened | None = None
        try:
            opened = open_segment(segment, self._private, self._enrolled, at_us)
            transcript = memory.load(kept)
            return step(transcript, opened, self._with_keys(transcript, opened.sessions), gap=gap)
        except Poison as e:
            self.poisoned += 1
            transcript = memory.load(kept)  # the half-read segment is forgotten
            sessions = opened.sessions if opened is not None else ()
            tools = self._with_keys(transcript, sessions)
            return transcript, undecoded(transcript, segment, sessions, str(e), tools)

    def _with_keys(self, transcript: Transcript, sessions: tuple[SessionId, ...]) -> Tools:
        """Before the first output: every content key that it may use is durable."""
        known = tuple(session.id for session in transcript.sessions.values())
        return replace(self._tools, content_keys=self._ensure((*known, *sessions)))
