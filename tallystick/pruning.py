"""What Kafka no longer needs goes: by what is covered, then by time, never by time alone.

A sample says: everything of `journal` before J is in `events` before E. It holds because the
masker commits J only after its outputs were acknowledged, and E is asked for after J. Once
the ledger covers E, and the sample is old enough for whoever must look back (a bucket that
comes back as of yesterday is read on from Kafka), both go. Offsets mean something in one
topic only, so a sample of topics that were made again since is worth nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from bus.kafka import KafkaBus
from bus.topics import EVENTS, JOURNAL, MASK_GROUP, BusDown

SAMPLE_S = 30.0
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Sample:
    topics: tuple[str, str]  # the identities of `journal` and `events`
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

    def due(self, topics: tuple[str, str], now_s: float, covered: int) -> Sample | None:
        """The newest sample of these topics that is old enough and whose events the ledger has up to `covered`,
        inclusive."""
        while self._samples and self._samples[0].topics != topics:
            self._samples.popleft()
        found = None
        while self._samples and self._samples[0].taken_s + self._kept_s <= now_s:
            if self._samples[0].events - 1 > covered:
                break
            found = self._samples.popleft()
        return found


async def prune_for_ever(bus: KafkaBus, covered: Callable[[], int], kept_hours: float) -> None:
    """Until cancelled. `covered` gives the last offset of `events` under a checkpoint. Kafka down costs disk space
    there, nothing else."""
    pruning = Pruning(kept_hours * 3600)
    while True:
        await asyncio.sleep(min(SAMPLE_S, kept_hours * 3600))
        try:
            await prune(bus, pruning, covered)
        except BusDown as e:
            _log.warning("nothing is deleted from Kafka now", fault=str(e))


async def prune(bus: KafkaBus, pruning: Pruning, covered: Callable[[], int]) -> None:
    """Takes a sample, and deletes what is due. Raises BusDown."""
    topics = await bus.identity(JOURNAL), await bus.identity(EVENTS)
    journal = await bus.committed(MASK_GROUP, JOURNAL)
    pruning.take(Sample(topics, time.monotonic(), journal, await bus.end(EVENTS, 0)))
    due = pruning.due(topics, time.monotonic(), covered())
    if due is None:
        return
    for partition, upto in due.journal.items():
        await bus.prune(JOURNAL, partition, upto - 1)
    await bus.prune(EVENTS, 0, due.events - 1)
