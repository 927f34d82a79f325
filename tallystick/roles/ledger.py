"""The ledger role: events in, signed batches out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial

from bus.local import LocalBus
from ledger.service import Cut, LedgerService
from ledger.store import Store
from schemas.records import WormProbe
from seal import keyfiles
from tallystick.backends import now_us, open_bucket, open_kafka, open_store
from tallystick.config import Config
from tallystick.pruning import prune_for_ever
from tallystick.roles import Say, until
from tallystick.roles import ops as serve_ops
from tallystick.version import VERSION

SHARD = "0"
"""`events` has one partition, so the log has one shard."""

PRUNE_S = 30.0


async def ledger(config: Config, say: Say, stop: asyncio.Event) -> None:
    """A store that does not keep what it locks is refused before anything is read. Raises WormProbeFailed."""
    keys = config.keys
    store, probed = await asyncio.to_thread(probed_store, config)
    bus = await open_kafka(config) if config.kafka_servers else LocalBus(config.data)
    service = LedgerService(
        bus,
        store,
        keyfiles.load_signer(keys, "ledger"),
        keyfiles.origin(keys, SHARD),
        keyfiles.enrolled(keys),
        SHARD,
        clock=now_us,
        version=VERSION,
        cut=Cut(soon_s=min(1.0, config.batch_seconds), late_s=config.batch_seconds),
        probed=probed,
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
        say(f"ready {config.store.partition('?')[0]}")
        if isinstance(bus, LocalBus):
            pruning = asyncio.create_task(_prune(bus))
        else:
            pruning = asyncio.create_task(prune_for_ever(bus, partial(_covered, service), config.kafka.kept_hours))
        await until(stop, task, pruning)
        pruning.cancel()
        service.stop()
        await task
    await bus.close()


def probed_store(config: Config) -> tuple[Store, WormProbe | None]:
    """For a writer. Raises ConfigInvalid, StoreBroken, WormProbeFailed."""
    if config.store_dir is not None:
        return open_store(config), None
    bucket = open_bucket(config)
    from ledger.worm import probe

    return open_store(config), probe(bucket, now_us)


def _covered(service: LedgerService) -> int:
    """The last offset of `events` that is under a checkpoint."""
    consumed = service.head.consumed
    return -1 if consumed is None else consumed.offset


async def _prune(bus: LocalBus) -> None:
    """Messages that every reader is done with."""
    while True:
        await asyncio.sleep(PRUNE_S)
        await bus.prune()
