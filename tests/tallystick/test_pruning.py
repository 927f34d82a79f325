"""Nothing goes from Kafka that the ledger has not got, whatever its age, and nothing of a topic made again."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator

import pytest

from bus.kafka import KafkaBus, KafkaSettings
from bus.topics import EVENTS, JOURNAL, MASK_GROUP, BusRefused
from tallystick.pruning import Pruning, Sample, prune
from tools.services import Kafka

TOPICS = ("c/j", "c/e")
NUMBERS = itertools.count()


def sample(taken_s: float, journal: int, events: int, topics: tuple[str, str] = TOPICS) -> Sample:
    return Sample(topics, taken_s, {0: journal}, events)


def test_a_sample_is_due_when_it_is_old_and_its_events_are_covered() -> None:
    pruning = Pruning(100)
    for one in (sample(0, 10, 5), sample(30, 20, 9), sample(60, 30, 12)):
        pruning.take(one)
    assert pruning.due(TOPICS, 99, 1000) is None, "covered, and too young"
    assert pruning.due(TOPICS, 1000, 3) is None, "old, and the ledger has events up to 3 only; the sample needs 4"
    assert pruning.due(TOPICS, 1000, 4) == sample(0, 10, 5)
    assert pruning.due(TOPICS, 135, 1000) == sample(30, 20, 9)
    assert pruning.due(TOPICS, 135, 1000) is None, "said once"
    assert pruning.due(TOPICS, 160, 11) == sample(60, 30, 12)


@pytest.mark.parametrize("now", [("c/j2", "c/e"), ("c/j", "c/e2")])
def test_samples_of_a_topic_that_was_made_again_are_forgotten(now: tuple[str, str]) -> None:
    pruning = Pruning(100)
    pruning.take(sample(0, 10, 5))
    pruning.take(sample(10, 1, 1, now))
    assert pruning.due(now, 105, 1000) is None
    assert pruning.due(now, 110, 1000) == sample(10, 1, 1, now)


@pytest.fixture
async def bus(kafka: Kafka) -> AsyncIterator[KafkaBus]:
    settings = KafkaSettings((kafka.servers,), f"prune-{next(NUMBERS)}", partitions=1, replication=1, min_insync=1)
    made = await KafkaBus.open(settings)
    await made.ensure_topics()
    yield made
    await made.close()


async def test_on_kafka_goes_what_was_masked_and_covered_and_no_more(bus: KafkaBus) -> None:
    producer, client = bus.producer(), bus.client
    await producer.send(JOURNAL, [(b"r", b"%d" % n) for n in range(10)])
    await producer.send(EVENTS, [(b"r", b"%d" % n) for n in range(6)])
    group, topic = bus.settings.group(MASK_GROUP), bus.settings.topic(JOURNAL)
    await client.commit(group, topic, 0, 4, "")  # as Faust does: without our metadata
    pruning = Pruning(0.0)
    await prune(bus, pruning, lambda: 4)
    assert await firsts(bus) == (0, 0), "the ledger lacks event 5"
    await prune(bus, pruning, lambda: 5)
    assert await firsts(bus) == (4, 6)
    await producer.send(EVENTS, [(b"r", b"new")])
    await prune(bus, pruning, lambda: 5)
    assert await firsts(bus) == (4, 6)


async def test_on_kafka_nothing_of_a_topic_that_was_made_again_goes(bus: KafkaBus, kafka: Kafka) -> None:
    from aiokafka.admin import AIOKafkaAdminClient

    producer = bus.producer()
    await producer.send(JOURNAL, [(b"r", b"old")] * 5)
    await bus.client.commit(bus.settings.group(MASK_GROUP), bus.settings.topic(JOURNAL), 0, 5, "")
    pruning = Pruning(0.0)
    await producer.send(EVENTS, [(b"r", b"old")] * 5)
    await prune(bus, pruning, lambda: -1)  # taken, and not covered yet
    admin, before = AIOKafkaAdminClient(bootstrap_servers=kafka.servers), await bus.identity(JOURNAL)
    await admin.start()
    await admin.delete_topics([bus.settings.topic(JOURNAL)])
    await admin.close()
    while True:
        await bus.ensure_topics()
        try:
            if await bus.identity(JOURNAL) != before:
                break
        except BusRefused:
            continue
    await bus.producer().send(JOURNAL, [(b"r", b"new")] * 9)
    await prune(bus, pruning, lambda: 4)
    assert (await firsts(bus))[0] == 0


async def firsts(bus: KafkaBus) -> tuple[int, int]:
    """The first offset that is left in `journal` and `events`."""
    reader = await bus.consumer("", [JOURNAL, EVENTS])
    found = [(await reader._bounds(at))[0] for at in sorted(reader._heard, key=lambda at: at.topic, reverse=True)]
    await reader.close()
    return found[0], found[1]
