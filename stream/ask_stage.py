"""What the approvals step is told, read off the journal ahead of the masker: nobody waits on the wire behind a backlog.

A segment reads alone, so a held command needs nothing of the sessions before it; and what
is said here of a segment depends on that segment alone, so the stage keeps nothing, and saying
it again does no harm (`approvals/machine.py`, rule 1). That it happened is the pipeline's to
say, later, from the same frames; so is what cannot be read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bus.topics import Message
from schemas.codec import CodecError, decode
from schemas.records import JournalSegment
from seal.keyfiles import Enrolled
from stream.opening import Poison, open_segment
from stream.pipeline import EnsureKeys, Output, Tools, asks, with_keys


@dataclass(slots=True)
class Asked:
    """For the metrics."""

    messages: int = 0  # to the approvals step


class AskStage:
    def __init__(
        self,
        tools: Tools,
        private: Callable[[str], bytes],
        enrolled: Enrolled,
        ensure: EnsureKeys,
        asked: Asked | None = None,
    ) -> None:
        self._tools, self._private, self._enrolled, self._ensure = tools, private, enrolled, ensure
        self._asked = asked or Asked()

    def restore(self, rows: dict[bytes, bytes], topic: str) -> None:
        """There is nothing to restore."""

    def apply(self, message: Message) -> Sequence[Output]:
        """Raises NoMaskerKey."""
        try:
            segment = decode(message.value)
        except CodecError:
            return ()
        if not isinstance(segment, JournalSegment) or not segment.asks:
            return ()
        try:
            opened = open_segment(segment, self._private, self._enrolled, message.time_us)
        except Poison:
            return ()
        outputs = asks(opened, with_keys(self._tools, self._ensure, ()))
        self._asked.messages += len(outputs)
        return outputs

    def changes(self) -> dict[bytes, bytes | None]:
        return {}
