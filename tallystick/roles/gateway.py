"""The gateway role: in the data path."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict

from bus.local import LocalBus
from bus.topics import COVERED, GRANTS
from ingest.gateway import Gateway
from ingest.recorder import Recorder
from seal import keyfiles
from tallystick.config import Config
from tallystick.config import Gateway as GatewayConfig
from tallystick.gateway_settings import settings_of
from tallystick.roles import Say, read_rules
from tallystick.roles import ops as serve_ops
from tallystick.version import VERSION


async def gateway(config: Config, chosen: GatewayConfig, say: Say, stop: asyncio.Event) -> None:
    """Boot registered on the bus, then the port opens; at the end sessions first, the journal last."""
    rules = read_rules(config)
    settings = settings_of(chosen, config)
    signer, masker = keyfiles.load_signer(config.keys, "gateway"), keyfiles.load_masker_public(config.keys)
    match = keyfiles.load_secret(config.keys, "match")
    bus = LocalBus(config.data)
    running: list[Gateway] = []

    def congested(now: bool) -> None:
        for one in running:
            one.congested(now)

    recorder = Recorder(
        f"{chosen.name}.0",
        bus.journal_dir,
        signer,
        masker,
        bus.producer(),
        VERSION,
        rules.version,
        congested=congested,
        covered=await bus.consumer(f"gateway-{chosen.name}", [COVERED]),
        prune=bus.prune_journal,
    )
    grants = await bus.consumer("", [GRANTS])
    door = Gateway(settings, recorder, rules, grants, match, config.data / f"used-{chosen.name}")
    running.append(door)

    def figures() -> Mapping[str, float]:
        return {
            **{name: float(value) for name, value in asdict(door.metrics).items()},
            "journal_chunks": recorder.chunks,
            "journal_bytes": recorder.bytes,
            "journal_writable": float(not recorder.fault),
        }

    await recorder.start()
    try:
        async with serve_ops("gateway", chosen.ops, figures, lambda: recorder.fault):
            await door.serve()
            host, port = door.address
            say(f"ready {host}:{port}")
            await stop.wait()
            await door.drain()
    finally:
        await recorder.stop()
        await bus.close()
