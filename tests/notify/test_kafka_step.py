"""The same on a real Kafka: where each channel stands is in the group's commit."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from bus.kafka import KafkaBus, KafkaSettings
from bus.topics import EVENTS
from schemas.ids import Position
from seal import keyfiles
from tallystick.backends import now_us
from tallystick.config import Notify
from tallystick.notify import step
from tallystick.notify.channels import channel
from tallystick.notify.outbox import Outbox, Wanted
from tallystick.notify.step import GROUP, Lane, Notifier
from tests.bus.test_kafka import make_again
from tests.notify.conftest import Secret, Teller, asked, until, vote, webhook
from tests.notify.receivers import Receiver
from tests.notify.test_step import DOOR, requests, told
from tools.services import Kafka

PREFIXES = (f"notify{n}" for n in itertools.count())


@pytest.fixture
def settings(kafka: Kafka) -> KafkaSettings:
    return KafkaSettings((kafka.servers,), prefix=next(PREFIXES), replication=1, min_insync=1, timeout_s=5.0)


@contextlib.asynccontextmanager
async def opened(settings: KafkaSettings) -> AsyncIterator[KafkaBus]:
    made = await KafkaBus.open(settings)
    await made.ensure_topics()
    try:
        yield made
    finally:
        await made.close()


@contextlib.asynccontextmanager
async def run(settings: KafkaSettings, keys: Path, place: Path, *hooks: Notify) -> AsyncIterator[Notifier]:
    """On a bus of its own, as the role has it."""
    async with opened(settings) as bus:
        lanes = [Lane(channel(h, DOOR, time.time), Outbox(Wanted(), 600), pause_s=0.02) for h in hooks]
        notifier = Notifier(bus, keyfiles.enrolled(keys), lanes, place / "notify.json", now_us)
        task = asyncio.create_task(notifier.run())
        await until(lambda: notifier.ready or task.done())
        try:
            yield notifier
        finally:
            notifier.stop()
            await task


@pytest.mark.timeout(180)
async def test_restarts_a_channel_that_is_down_and_messages_that_are_gone(
    settings: KafkaSettings, keys: Path, tmp_path: Path, secret: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "LONGEST_PAUSE_S", 0.05)
    with Receiver() as gone:
        pass
    async with opened(settings) as bus:
        teller = Teller(bus, keys)
        await teller.tell(asked())
        with Receiver() as receiver:
            hook, down = webhook(secret, receiver.url), webhook(secret, gone.url, name="gone")
            one, two, three = asked(), asked(), asked()
            async with run(settings, keys, tmp_path, hook, down):
                await teller.tell(one, vote(one.request))
                assert requests(await told(receiver, 2)) == [("opened", one.request), ("approved", one.request)]
            consumer = await bus.consumer(GROUP, [EVENTS], [0])
            known = await consumer.committed(EVENTS, 0)
            assert known is not None
            assert (known[0], json.loads(known[1])) == (0, {"hook": 2, "gone": 0})
            await teller.tell(two)
            with Receiver(port=gone.port) as back:
                async with run(settings, keys, tmp_path, hook, down):
                    assert requests(await told(receiver)) == [("opened", two.request)]
                    assert [r for _, r in requests(await told(back, 3))] == [one.request, one.request, two.request]
                await teller.tell(asked(), three)
                await bus.prune(EVENTS, 0, 4)
                async with run(settings, keys, tmp_path, hook, down):
                    found = await told(receiver, 2)
                    assert [said["data"].get("record") for said in found] == ["Gap", None]
                    assert found[1]["data"]["request"] == three.request
                    assert len(await told(back, 2)) == 2
            assert receiver.deliveries.empty()


@pytest.mark.timeout(180)
async def test_a_topic_that_was_made_again_is_told_of_and_read_from_its_start(
    settings: KafkaSettings, keys: Path, tmp_path: Path, secret: Secret
) -> None:
    with Receiver() as receiver:
        hook = webhook(secret, receiver.url)
        async with opened(settings) as bus:
            async with run(settings, keys, tmp_path, hook):
                await Teller(bus, keys).tell(asked(), asked())
                await told(receiver, 2)
            admin = AIOKafkaAdminClient(bootstrap_servers=settings.servers[0])
            await admin.start()
            await make_again(bus, admin, EVENTS)
            await admin.close()
        async with opened(settings) as bus:
            await Teller(bus, keys).tell(one := asked(), two := asked(), three := asked())
            async with run(settings, keys, tmp_path, hook):
                found = await told(receiver, 4)
                assert found[0]["data"]["record"] == "Gap"
                assert [r for _, r in requests(found[1:])] == [one.request, two.request, three.request]
            async with run(settings, keys, tmp_path, hook):
                await Teller(bus, keys, at=Position(2, 0, 0)).tell(last := asked())
                assert requests(await told(receiver)) == [("opened", last.request)]
        assert receiver.deliveries.empty()
