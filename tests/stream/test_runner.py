"""A turn of the loop around a stage."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from bus.topics import JOURNAL, Message
from stream.pipeline import Output
from stream.runner import turn


class Slow:
    """A stage that tells who else came to run while its messages were applied."""

    def __init__(self) -> None:
        self.ran = 0
        self.seen: list[int] = []

    async def other(self) -> None:
        while True:
            self.ran += 1
            await asyncio.sleep(0)

    def restore(self, rows: dict[bytes, bytes], topic: str) -> None: ...

    def apply(self, message: Message) -> Sequence[Output]:
        self.seen.append(self.ran)
        return ()

    def changes(self) -> dict[bytes, bytes | None]:
        return {}


async def test_health_checks_and_signals_are_heard_between_two_messages(bus: Any) -> None:
    """A dense segment takes a second: a role that answers nothing for all of a turn is taken for dead, and killed."""
    stage = Slow()
    await bus.send(JOURNAL, [(b"r", b"%d" % n) for n in range(5)])
    other = asyncio.create_task(stage.other())
    consumer = await bus.consumer("g", (JOURNAL,))
    assert await turn(stage, consumer, bus.producer(), bus.table("g")) == 5
    other.cancel()
    assert len(set(stage.seen)) == 5
