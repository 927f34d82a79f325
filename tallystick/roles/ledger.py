"""The ledger role: events in, signed batches out."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from bus.local import LocalBus
from bus.topics import EVENTS, BusDown
from ledger.service import Cut, LedgerService
from ledger.store import Store
from schemas.records import WormProbe
from seal import keyfiles
from tallystick.backends import now_us, open_bucket, open_kafka, open_store
from tallystick.config import Config
from tallystick.metrics import Histogram, Value
from tallystick.pruning import prune_for_ever
from tallystick.roles import ASK_S, Say, bus_fault, until
from tallystick.roles import ops as serve_ops
from tallystick.version import VERSION

if TYPE_CHECKING:
    from bus.kafka import KafkaBus

SHARD = "0"
"""`events` has one partition, so the log has one shard."""

PRUNE_S = 30.0


async def ledger(config: Config, say: Say, stop: asyncio.Event) -> None:
    """A store that does not keep what it locks is refused before anything is read. Raises WormProbeFailed."""
    keys = config.keys
    store, probed = await asyncio.to_thread(probed_store, config)
    bus = await open_kafka(config) if config.kafka_servers else LocalBus(config.data)
    commits = _Commits()
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
        at_step=commits,
    )

    async def figures() -> Mapping[str, Value]:
        return {**_probe(probed), **commits.figures(), **(await _figures(service, bus))}

    async def ready() -> str:
        return await bus_fault(bus, EVENTS) if service.ready.is_set() else "recovering"

    async with serve_ops("ledger", config.ops_at(0), figures, ready):
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


class _Commits:
    """How long commits took: the ledger tells of its steps, in the thread that commits."""

    def __init__(self) -> None:
        self._took = Histogram()
        self._began = self._last_s = self._made_s = 0.0

    def __call__(self, step: str) -> None:
        if step == "encoded":
            self._began = time.monotonic()
        elif step == "checkpoint":
            self._last_s, self._made_s = time.monotonic() - self._began, time.time()
            self._took.observe(self._last_s)

    def figures(self) -> dict[str, Value]:
        """Without a time before the first: 0 would be an age of decades."""
        return {
            "tallystick_ledger_commit_seconds": self._took,
            **({"tallystick_ledger_commit_last_seconds": self._last_s} if self._made_s else {}),
            **({"tallystick_ledger_checkpoint_timestamp_seconds": self._made_s} if self._made_s else {}),
        }


def _probe(probed: WormProbe | None) -> dict[str, Value]:
    """Nothing of a file store: it has no lock."""
    if probed is None:
        return {}
    return {
        "tallystick_worm_probe_success": 1.0,
        "tallystick_worm_probe_timestamp_seconds": probed.at_us / 1_000_000,
    }


async def _figures(service: LedgerService, bus: KafkaBus | LocalBus) -> dict[str, Value]:
    if not service.ready.is_set():
        return {}
    found: dict[str, Value] = {
        "tallystick_ledger_entries": service.head.tree.size,
        "tallystick_ledger_batches": service.head.seq + 1,
        "tallystick_ledger_lag_seconds": service.waiting_s,
    }
    with contextlib.suppress(BusDown, TimeoutError):  # then it is not known, and /readyz says why
        async with asyncio.timeout(ASK_S):
            behind = await bus.end(EVENTS, 0) - 1 - service.taken
            found["tallystick_ledger_lag_messages"] = max(0, behind)
    return found


def _covered(service: LedgerService) -> int:
    """The last offset of `events` that is under a checkpoint."""
    consumed = service.head.consumed
    return -1 if consumed is None else consumed.offset


async def _prune(bus: LocalBus) -> None:
    """Messages that every reader is done with."""
    while True:
        await asyncio.sleep(PRUNE_S)
        await bus.prune()
