"""The loop around any step: outputs, then state, then offset, each durable before the next.

A crash between two of them is mended by the next start, which reads the same
messages again: the stage knows from the position inside its stored state what it
has applied, and stays silent for that; what it had not stored it says again, byte
for byte, and the reader drops it by its position. `at` names the three places, so
that a test can die there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from bus.topics import Consumer, Message, Producer, Table
from stream.pipeline import Output

OUTPUTS, STATE, OFFSET = "after outputs", "after state", "after offset"
MOST = 64
"""Messages a turn."""


class Stage(Protocol):
    """A step and its state. After any exception the stage must not be used again: restore a new one."""

    def restore(self, rows: dict[bytes, bytes], topic: str) -> None:
        """What was stored last; {} at the very start. `topic` is the identity of the topic that it reads: in another
        one, offsets begin again and those applied mean nothing."""

    def apply(self, message: Message) -> Sequence[Output]:
        """The outputs, in order; () and no change if the state holds this message already."""

    def changes(self) -> dict[bytes, bytes | None]:
        """The rows that differ since the last call; None deletes."""


def nothing(place: str) -> None:
    """The kill point of those who live."""


async def turn(
    stage: Stage,
    consumer: Consumer,
    producer: Producer,
    table: Table,
    *,
    most: int = MOST,
    timeout_s: float = 1.0,
    at: Callable[[str], None] = nothing,
) -> int:
    """One batch, whole. Gives how many messages it had; whatever is raised, nothing was committed too early."""
    messages = await consumer.batch(most, timeout_s)
    if not messages:
        return 0
    outputs: list[Output] = []
    for message in messages:
        outputs.extend(stage.apply(message))
        await asyncio.sleep(0)  # health checks and signals are heard between two messages, however long each takes
    for topic, items in by_topic(outputs):
        await producer.send(topic, items)
    at(OUTPUTS)
    changes = stage.changes()
    if changes:
        await table.put(changes)
    at(STATE)
    for newest in {(m.topic, m.partition): m for m in messages}.values():
        await consumer.commit(newest)
    at(OFFSET)
    return len(messages)


def by_topic(outputs: Iterable[Output]) -> list[tuple[str, list[tuple[bytes, bytes]]]]:
    """Order is kept within a topic; the topic that came first goes first."""
    grouped: dict[str, list[tuple[bytes, bytes]]] = {}
    for output in outputs:
        grouped.setdefault(output.topic, []).append((output.key, output.value))
    return list(grouped.items())
