"""What Kafka no longer needs goes: by what is covered, then by time, never by time alone.

A sample says: everything of `journal` before J is in `events` before E. It holds because the
masker commits J only after its outputs were acknowledged, and E is asked for after J. Once
the ledger covers E, and the sample is old enough for whoever must look back (a bucket that
comes back as of yesterday is read on from Kafka), both go.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from bus.kafka import KafkaBus
from bus.topics import EVENTS, JOURNAL, BusDown

SAMPLE_S = 30.0
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Sample:
    taken_s: float
    journal: Mapping[int, int]  # by partition: the offset that the masker reads next
    events: int  # the offset that the next event will have


class Pruning:
    """Samples, and what follows from them. Pure but for its memory: a restart forgets, and deletes later."""

    def __init__(self, kept_s: float) -> None:
        self._kept_s = kept_s
        self._samples: deque[Sample] = deque()

    def take(self, sample: Sample) -> None:
        self._samples.append(sample)

    def due(self, now_s: float, covered: int) -> Sample | None:
        """The newest sample that is old enough and whose events the ledger has up to `covered`, inclusive."""
        found = None
        while self._samples and self._samples[0].taken_s + self._kept_s <= now_s:
            if self._samples[0].events - 1 > covered:
                break
            found = self._samples.popleft()
        return found


async def prune_for_ever(bus: KafkaBus, covered: Callable[[], int], kept_hours: float) -> None:
    """Until cancelled. Kafka down costs disk space there, nothing else."""
    pruning = Pruning(kept_hours * 3600)
    while True:
        await asyncio.sleep(min(SAMPLE_S, kept_hours * 3600))
        try:
            journal = await bus.committed("pipeline", JOURNAL)
            pruning.take(Sample(time.monotonic(), journal, await bus.end(EVENTS, 0)))
            due = pruning.due(time.monotonic(), covered())
            if due is not None:
                for partition, upto in due.journal.items():
                    await bus.prune(JOURNAL, partition, upto - 1)
                await bus.prune(EVENTS, 0, due.events - 1)
        except BusDown as e:
            _log.warning("nothing is deleted from Kafka now", fault=str(e))
