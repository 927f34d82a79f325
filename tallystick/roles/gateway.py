"""The gateway role: in the data path."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict

from bus.local import LocalBus
from bus.publisher import Publisher
from bus.topics import COVERED, GRANTS
from ingest.gateway import Gateway
from ingest.recorder import Recorder
from seal import keyfiles
from tallystick.backends import open_bus
from tallystick.config import Config
from tallystick.config import Gateway as GatewayConfig
from tallystick.gateway_settings import settings_of
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
        congested=congested,
        covered=await bus.consumer(f"gateway-{chosen.name}", [COVERED]),
        prune=prune,
    )
    grants = await bus.consumer("", [GRANTS])
    door = Gateway(settings, recorder, rules, grants, match, config.data / f"used-{chosen.name}")
    running.append(door)
    if not isinstance(bus, LocalBus):  # there the journal's files are the topic
        publishers.append(Publisher(bus, config.journal / recorder.recorder))

    def figures() -> Mapping[str, float]:
        found: dict[str, float] = {}
        for publisher in publishers:
            lag = publisher.lag()
            found |= {"journal_unpublished_bytes": lag.size, "journal_unpublished_seconds": lag.seconds}
        return {
            **found,
            **{name: float(value) for name, value in asdict(door.metrics).items()},
            "journal_chunks": recorder.chunks,
            "journal_bytes": recorder.bytes,
            "journal_writable": float(not recorder.fault),
        }

    await recorder.start()
    publishing = [asyncio.create_task(publisher.run()) for publisher in publishers]
    try:
        async with serve_ops("gateway", chosen.ops, figures, lambda: recorder.fault):
            await door.serve()
            host, port = door.address
            say(f"ready {host}:{port}")
            await until(stop, *publishing)
            await door.drain()
    finally:
        await recorder.stop()
        for publisher in publishers:
            publisher.stop()
        await asyncio.gather(*publishing)
        await bus.close()
