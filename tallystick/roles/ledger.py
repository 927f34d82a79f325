"""The ledger role: events in, signed batches out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from bus.local import LocalBus
from ledger.service import Cut, LedgerService
from ledger.store import FileStore
from seal import keyfiles
from tallystick.config import Config
from tallystick.roles import Say, until
from tallystick.roles import ops as serve_ops
from tallystick.version import VERSION

SHARD = "0"
"""The embedded bus has one partition, so the log has one shard."""

PRUNE_S = 30.0


async def ledger(config: Config, say: Say, stop: asyncio.Event) -> None:
    keys = config.keys
    bus = LocalBus(config.data)
    service = LedgerService(
        bus,
        FileStore(config.store_dir),
        keyfiles.load_signer(keys, "ledger"),
        keyfiles.origin(keys, SHARD),
        keyfiles.enrolled(keys),
        SHARD,
        clock=lambda: time.time_ns() // 1000,
        version=VERSION,
        cut=Cut(soon_s=min(1.0, config.batch_seconds), late_s=config.batch_seconds),
    )

    def figures() -> Mapping[str, float]:
        if not service.ready.is_set():
            return {}
        return {"ledger_size": service.head.tree.size, "ledger_batches": service.head.seq + 1}

    async with serve_ops("ledger", config.ops_at(0), figures, lambda: "" if service.ready.is_set() else "recovering"):
        task = asyncio.create_task(service.run())
        started = asyncio.create_task(service.ready.wait())
        await asyncio.wait({task, started}, return_when=asyncio.FIRST_COMPLETED)
        started.cancel()
        if task.done():
            task.result()
        say(f"ready {config.store}")
        pruning = asyncio.create_task(_prune(bus))
        await until(stop, task, pruning)
        pruning.cancel()
        service.stop()
        await task
    await bus.close()


async def _prune(bus: LocalBus) -> None:
    """Messages that every reader is done with."""
    while True:
        await asyncio.sleep(PRUNE_S)
        await bus.prune()
