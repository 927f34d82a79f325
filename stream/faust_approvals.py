"""The approvals step as a Faust worker, with a Tick a second to each of its partitions that has something to expire."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import faust

from approvals.state import State
from bus.kafka_client import KafkaSettings
from bus.topics import APPROVALS
from schemas.codec import encode
from schemas.records import Tick
from stream.approvals_stage import ApprovalsStage
from stream.faust_app import FaustWorker, or_end
from stream.runner import nothing

_TICK_S = 1.0


class FaustApprovalsWorker(FaustWorker):
    """A tick is a message like any other: the log's time on it is the step's clock."""

    def __init__(
        self, settings: KafkaSettings, new: Callable[[], ApprovalsStage], at: Callable[[str], None] = nothing
    ) -> None:
        super().__init__(settings, new, APPROVALS, "approvals", at)

    @property
    def state(self) -> State:
        """What the door reads; empty while another worker owns the partition. As applied, so at most a turn ahead."""
        for stage in self.stages.values():
            if isinstance(stage, ApprovalsStage):
                return stage.state
        return State()

    async def _live(self, app: faust.App) -> None:
        ticking = asyncio.create_task(or_end(self._tick()))
        try:
            await super()._live(app)
        finally:
            ticking.cancel()

    async def _tick(self) -> None:
        tick, topic = encode(Tick()), self._settings.topic(APPROVALS)
        while True:
            await asyncio.sleep(_TICK_S)
            for partition, stage in self.stages.items():
                if isinstance(stage, ApprovalsStage) and stage.state.requests:
                    await self._outputs.send_and_wait(topic, tick, key=b"tick", partition=partition)
