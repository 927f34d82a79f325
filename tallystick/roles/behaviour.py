"""The step that learns what is usual for each identity: a reader of `events`, with a signing key of its own.

Down, it stops nothing: what is suspended stays so until its time, and nothing new is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from bus.local import LocalBus
from bus.topics import BEHAVIOUR_GROUP, EVENTS
from seal import keyfiles
from stream.behaviour_stage import BehaviourStage, SealedRows, Watched
from stream.workers import Worker
from tallystick.backends import kafka_settings, open_bus
from tallystick.config import Config
from tallystick.metrics import Value
from tallystick.roles import Say, read_rules, until
from tallystick.roles import ops as serve_ops
from tallystick.roles.workers import OPS, begun, fault, worker_figures

if TYPE_CHECKING:
    from stream.faust_app import FaustWorker


async def behaviour_worker(config: Config, say: Say, stop: asyncio.Event) -> None:
    rules, keys, done = read_rules(config), config.keys, Watched()
    signer, enrolled = keyfiles.load_signer(keys, "behaviour"), keyfiles.enrolled(keys)
    box = SealedRows(keyfiles.load_state_key(keys, "behaviour"))
    bus = await open_bus(config)

    def new() -> BehaviourStage:
        return BehaviourStage(signer, box, enrolled, rules, done)

    worker: Worker | FaustWorker
    if isinstance(bus, LocalBus):
        worker = Worker(bus, BEHAVIOUR_GROUP, EVENTS, new)
    else:
        from stream.faust_app import FaustWorker

        worker = FaustWorker(kafka_settings(config), new, EVENTS, BEHAVIOUR_GROUP)

    async def figures() -> Mapping[str, Value]:
        return {
            **worker_figures(worker),
            "tallystick_behaviour_exchanges_total": done.exchanges,
            "tallystick_behaviour_unknown_total": done.unknown,
            "tallystick_behaviour_strangers_total": done.strangers,
            "tallystick_behaviour_identities": done.identities,
            "tallystick_behaviour_alerts_total": done.alerts,
            "tallystick_behaviour_suspensions_total": done.suspensions,
        }

    async with serve_ops("behaviour", config.ops_at(OPS["behaviour"]), figures, partial(fault, worker, bus, EVENTS)):
        task = asyncio.create_task(worker.run())
        await begun(worker, task)
        say("ready")
        await until(stop, task)
        worker.stop()
        await task
    await bus.close()
