"""The step that tells people: a reader of `events`, with nobody's keys. Slow or down, it keeps nobody waiting."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from bus.local import LocalBus
from bus.topics import EVENTS
from seal import keyfiles
from tallystick.backends import now_us, open_kafka
from tallystick.config import Config, ConfigInvalid
from tallystick.metrics import Value
from tallystick.notify.channels import channel
from tallystick.notify.outbox import Outbox, Wanted
from tallystick.notify.step import Lane, Notifier
from tallystick.roles import Say, bus_fault, until
from tallystick.roles import ops as serve_ops
from tallystick.roles.workers import OPS

REMEMBERED = "notify.json"
"""In `data`: the requests that notices are about."""


async def notify_worker(config: Config, say: Say, stop: asyncio.Event) -> None:
    """Raises ConfigInvalid, KeysUnusable, BusDown."""
    if not config.notify:
        raise ConfigInvalid("no [[notify]] is configured, so there is nobody to tell")
    lanes = [
        Lane(
            channel(settings, config.door, time.time),
            Outbox(
                Wanted(
                    frozenset(settings.on), frozenset(settings.targets), frozenset(settings.groups), settings.min_score
                ),
                settings.per_minute,
            ),
        )
        for settings in config.notify
    ]
    enrolled = keyfiles.enrolled(config.keys)
    bus = await open_kafka(config) if config.kafka_servers else LocalBus(config.data)
    notifier = Notifier(bus, enrolled, lanes, config.data / REMEMBERED, now_us)

    async def figures() -> Mapping[str, Value]:
        return {
            "tallystick_worker_messages_total": notifier.handled,
            "tallystick_notify_sent_total": {lane.channel.name: lane.sent for lane in lanes},
            "tallystick_notify_failed_total": {lane.channel.name: lane.failed for lane in lanes},
            "tallystick_notify_given_up_total": {lane.channel.name: lane.given_up for lane in lanes},
            "tallystick_notify_waiting": {lane.channel.name: lane.outbox.waiting for lane in lanes},
        }

    async def ready() -> str:
        return await bus_fault(bus, EVENTS) if notifier.ready else "starting"

    async with serve_ops("notify", config.ops_at(OPS["notify"]), figures, ready):
        task = asyncio.create_task(notifier.run())
        while not notifier.ready and not task.done():  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        if task.done():
            task.result()
        say(f"ready {', '.join(lane.channel.name for lane in lanes)}")
        await until(stop, task)
        notifier.stop()
        await task
    await bus.close()
