"""The stream workers: separate processes, separate keys. The masker alone opens raw traffic."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

import uvicorn

from approvals.votes import Directory
from bus.local import LocalBus
from mask.masker import masker_for
from policy.signals import table as signal_table
from seal import keyfiles
from seal.content import ContentKeys
from stream.approvals_door import Door
from stream.pipeline import Tools
from stream.workers import ApprovalsWorker, MaskWorker
from tallystick.config import Config
from tallystick.roles import Say, read_rules, until
from tallystick.roles import ops as serve_ops


async def mask_worker(config: Config, say: Say, stop: asyncio.Event) -> None:
    rules = read_rules(config)
    keys = config.keys
    bus, content = LocalBus(config.data), ContentKeys(config.content_keys, keyfiles.load_secret(keys, "content"))
    tools = Tools(
        signer=keyfiles.load_signer(keys, "pipeline"),
        rules=rules,
        masker=masker_for(keyfiles.load_secret(keys, "token"), rules.field_rules),
        fingerprint_secret=keyfiles.load_secret(keys, "fingerprint"),
        content_key=lambda session: None,
    )
    worker = MaskWorker(bus, tools, keyfiles.load_masker(keys), keyfiles.enrolled(keys), content)
    async with serve_ops(
        "mask",
        config.ops_at(1),
        lambda: {"segments_masked": worker.handled},
        lambda: "" if worker.ready else "starting",
    ):
        task = asyncio.create_task(worker.run())
        say("ready")
        await until(stop, task)
        worker.stop()
        await task
    content.close()
    await bus.close()


class _DoorServer(uvicorn.Server):
    """Signals are the role's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


async def approvals_worker(config: Config, say: Say, stop: asyncio.Event) -> None:
    rules = read_rules(config)
    keys = config.keys
    directory = Directory(rules.reviewers)
    bus, content = LocalBus(config.data), ContentKeys(config.content_keys, keyfiles.load_secret(keys, "content"))
    worker = ApprovalsWorker(bus, keyfiles.load_signer(keys, "approvals"), directory)
    meanings = {s.id: s for s in signal_table().values()}

    def explain(signal: str) -> dict[str, str]:
        known = meanings.get(signal)
        if known is None:
            return {}
        return {"reason": known.reason, "instead": known.instead, "false_positives": known.false_positives}

    door = Door(lambda: worker.state, bus.producer(), directory, content.get, explain)
    listening = socket.create_server((config.approvals.host, config.approvals.port), backlog=128)
    host, port = listening.getsockname()[:2]
    server = _DoorServer(uvicorn.Config(door.app, log_config=None, access_log=False, lifespan="off"))
    ops = serve_ops(
        "approvals",
        config.ops_at(2),
        lambda: {"requests_open": sum(r.live for r in worker.state.requests.values()), "messages": worker.handled},
        lambda: "" if worker.ready else "starting",
    )
    async with ops:
        task = asyncio.create_task(worker.run())
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        say(f"ready http://{host}:{port}")
        await until(stop, task, serving)
        server.should_exit = True
        worker.stop()
        await asyncio.gather(task, serving)
    content.close()
    await bus.close()
