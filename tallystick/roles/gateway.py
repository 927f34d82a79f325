"""The gateway role: in the data path."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from approvals.votes import Directory
from bus.local import LocalBus
from bus.publisher import Publisher
from bus.topics import COVERED, GRANTS
from ingest.gateway import Gateway
from ingest.recorder import Recorder
from ingest.suspensions import Suspensions
from schemas.records import Refusing, ReviewerInForce
from seal import keyfiles
from tallystick.backends import now_us, open_bus
from tallystick.config import Config
from tallystick.config import Gateway as GatewayConfig
from tallystick.gateway_settings import settings_of
from tallystick.metrics import Value
from tallystick.roles import Say, read_rules, until
from tallystick.roles import ops as serve_ops
from tallystick.version import VERSION


async def gateway(config: Config, chosen: GatewayConfig, say: Say, stop: asyncio.Event) -> None:
    """Boot registered on the bus, then the port opens; at the end sessions first, the journal last."""
    rules = read_rules(config)
    settings = settings_of(chosen, config)
    signer, masker = keyfiles.load_signer(config.keys, "gateway"), keyfiles.load_masker_public(config.keys)
    match = keyfiles.load_secret(config.keys, "match")
    bus = await open_bus(config)
    config.journal.mkdir(mode=0o700, parents=True, exist_ok=True)
    running: list[Gateway] = []
    publishers: list[Publisher] = []

    def congested(now: bool) -> None:
        for one in running:
            one.congested(now)

    async def prune(recorder: str, covered_epoch: int) -> None:
        for keeper in [bus] if isinstance(bus, LocalBus) else publishers:
            await keeper.prune_journal(recorder, covered_epoch)

    recorder = Recorder(
        f"{chosen.name}.0",
        config.journal,
        signer,
        masker,
        bus.producer(),
        VERSION,
        rules.version,
        tuple(ReviewerInForce(r.name, r.public_key, r.groups, r.identities, r.break_glass) for r in rules.reviewers),
        congested=congested,
        covered=await bus.consumer(f"gateway-{chosen.name}", [COVERED]),
        prune=prune,
    )
    grants = await bus.consumer("", [GRANTS])
    suspensions = Suspensions(
        await bus.consumer("", [GRANTS]),
        keyfiles.enrolled(config.keys),
        Directory(rules.reviewers),
        rules.behaviour.resume,
        now_us,
    )
    used = config.data / f"used-{chosen.name}"
    door = Gateway(settings, recorder, rules, grants, match, used, suspensions=suspensions)
    running.append(door)
    if not isinstance(bus, LocalBus):  # there the journal's files are the topic
        publishers.append(Publisher(bus, config.journal / recorder.recorder))

    async def figures() -> Mapping[str, Value]:
        found = _figures(door, recorder, config.journal / recorder.recorder, publishers)
        return {**found, "tallystick_suspended": suspensions.lasting()}

    async def ready() -> str:
        """Kafka down is no reason: commands are recorded, and go on."""
        return "draining" if stop.is_set() else recorder.fault

    await recorder.start()
    publishing = [asyncio.create_task(publisher.run()) for publisher in publishers]
    alone = asyncio.create_task(recorder.alone())
    following: asyncio.Task[None] | None = None
    try:
        await suspensions.learn(await bus.end(GRANTS, 0))
        following = asyncio.create_task(suspensions.follow())
        async with serve_ops("gateway", chosen.ops, figures, ready):
            await door.serve()
            host, port = door.address
            say(f"ready {host}:{port}")
            await until(stop, *publishing, alone, following)
            await door.drain()
    finally:
        alone.cancel()
        if following is not None:
            following.cancel()
        await recorder.stop()
        for publisher in publishers:
            publisher.stop()
        await asyncio.gather(*publishing)
        await bus.close()


def _figures(door: Gateway, recorder: Recorder, place: Path, publishers: list[Publisher]) -> dict[str, Value]:
    now, free = door.metrics, os.statvfs(place)
    found: dict[str, Value] = {
        "tallystick_sessions_active": now.sessions_opened - now.sessions_closed,
        "tallystick_sessions_opened_total": now.sessions_opened,
        "tallystick_sessions_closed_total": now.sessions_closed,
        "tallystick_logins_refused_total": now.logins_refused,
        "tallystick_commands_total": now.commands,
        "tallystick_refused_total": {why.value: now.refused[why] for why in Refusing},
        "tallystick_holds_total": now.holds,
        "tallystick_holds_released_total": now.released,
        "tallystick_holds_waiting": now.waiting,
        "tallystick_hold_oldest_seconds": now.oldest_s,
        "tallystick_judgements_cached_total": now.cache_hits,
        "tallystick_judgements_made_total": now.cache_misses,
        "tallystick_journal_writable": float(not recorder.fault),
        "tallystick_journal_congested": float(recorder.congested),
        "tallystick_journal_chunks_total": recorder.chunks,
        "tallystick_journal_recorded_bytes_total": recorder.bytes,
        "tallystick_journal_disk_bytes": _size(place),
        "tallystick_journal_free_bytes": free.f_bavail * free.f_frsize,
    }
    for publisher in publishers:
        lag = publisher.lag()
        found |= {
            "tallystick_journal_unpublished_bytes": lag.size,
            "tallystick_journal_unpublished_seconds": lag.seconds,
        }
    return found


def _size(place: Path) -> int:
    """Of the files in it."""
    size = 0
    for path in place.iterdir():
        with contextlib.suppress(FileNotFoundError):  # pruned between the two looks
            size += path.stat().st_size
    return size
