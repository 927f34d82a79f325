"""An operator lets a shard go on under a new name: the bus is asked what it has seen, the store what is left."""

from __future__ import annotations

import asyncio

from bus.topics import EVENTS
from ledger.batch import Consumed
from ledger.succession import adopt
from schemas.records import LedgerAdopted
from seal import keyfiles
from tallystick.backends import now_us, open_bus
from tallystick.config import Config
from tallystick.roles.ledger import SHARD, probed_store


def adopt_shard(config: Config, reason: str) -> LedgerAdopted:
    """Raises NothingToAdopt, CannotRecover, StoreBroken, Fenced, BusDown, KeysUnusable, ConfigInvalid."""
    store, _ = probed_store(config)
    seen, nothing = asyncio.run(_bus(config))
    return adopt(
        store,
        SHARD,
        keyfiles.origin(config.keys, SHARD),
        keyfiles.load_signer(config.keys, "ledger"),
        seen=seen,
        nothing=nothing,
        reason=reason,
        at_us=now_us(),
    )


async def _bus(config: Config) -> tuple[str, Consumed]:
    """What the bus has seen of the shard, and where its reading begins."""
    bus = await open_bus(config)
    try:
        consumer = await bus.consumer(f"ledger-{SHARD}", [EVENTS], [0])
        known = await consumer.committed(EVENTS, 0)
        return known[1] if known else "", Consumed(await bus.identity(EVENTS), EVENTS, 0, -1)
    finally:
        await bus.close()
