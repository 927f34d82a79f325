"""The stream workers: separate processes. Those on the journal alone open raw traffic, and have the keys for it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import uvicorn

from approvals.votes import Directory
from bus.local import LocalBus
from bus.topics import APPROVALS, ASK_GROUP, JOURNAL, MASK_GROUP, Bus
from mask.masker import engine, masker_for
from policy.signals import table as signal_table
from seal import keyfiles
from seal.content import ContentKeys
from stream.approvals_door import Door
from stream.approvals_stage import ApprovalsStage
from stream.ask_stage import Asked
from stream.mask_stage import Done
from stream.pipeline import Tools
from stream.resume_door import resume_route
from stream.resuming import Resuming
from stream.runner import Stage
from stream.workers import ApprovalsWorker, Worker, ask_stages, mask_stages
from tallystick.backends import kafka_settings, now_us, open_bus
from tallystick.config import Config
from tallystick.door import server_context
from tallystick.metrics import Value
from tallystick.roles import Say, bus_fault, read_rules, until
from tallystick.roles import ops as serve_ops

if TYPE_CHECKING:
    from stream.faust_app import FaustWorker
    from stream.faust_approvals import FaustApprovalsWorker

OPS = {"mask": 1, "approvals": 2, "ask": 3, "notify": 4, "behaviour": 5}
"""Ports after that of the config's `ops`, which is the ledger's."""


async def mask_worker(config: Config, say: Say, stop: asyncio.Event) -> None:
    done = Done()

    def figures() -> dict[str, Value]:
        return {
            "tallystick_mask_bytes_total": done.size,
            "tallystick_mask_exchanges_total": done.exchanges,
            "tallystick_mask_undecoded_total": done.undecoded,
            "tallystick_mask_failed_values_total": done.failed,
        }

    await _on_journal(config, say, stop, "mask", MASK_GROUP, partial(mask_stages, done=done), figures)


async def ask_worker(config: Config, say: Say, stop: asyncio.Event) -> None:
    asked = Asked()

    def figures() -> dict[str, Value]:
        return {"tallystick_ask_messages_total": asked.messages}

    await _on_journal(config, say, stop, "ask", ASK_GROUP, partial(ask_stages, asked=asked), figures)


async def _on_journal(
    config: Config,
    say: Say,
    stop: asyncio.Event,
    role: str,
    group: str,
    stages: Callable[[Tools, keyfiles.MaskerKeys, keyfiles.Enrolled, ContentKeys], Callable[[], Stage]],
    more: Callable[[], Mapping[str, Value]],
) -> None:
    """A step that opens the journal: it has the masker's keys."""
    rules = read_rules(config)
    keys = config.keys
    content = ContentKeys(config.content_keys, keyfiles.load_secret(keys, "content"))
    tools = Tools(
        signer=keyfiles.load_signer(keys, "pipeline"),
        rules=rules,
        masker=masker_for(keyfiles.load_secret(keys, "token"), rules.field_rules, rules.detect),
        fingerprint_secret=keyfiles.load_secret(keys, "fingerprint"),
        content_key=lambda session: None,
        mask_engine=engine(rules.detect),
    )
    new = stages(tools, keyfiles.load_masker(keys), keyfiles.enrolled(keys), content)
    bus = await open_bus(config)
    worker: Worker | FaustWorker
    if isinstance(bus, LocalBus):
        worker = Worker(bus, group, JOURNAL, new)
    else:
        from stream.faust_app import FaustWorker

        worker = FaustWorker(kafka_settings(config), new, JOURNAL, group)

    async def figures() -> Mapping[str, Value]:
        local = {"tallystick_worker_lag_bytes": bus.journal_left()} if isinstance(bus, LocalBus) else {}
        return {**worker_figures(worker), **local, **more()}

    async with serve_ops(role, config.ops_at(OPS[role]), figures, partial(fault, worker, bus, JOURNAL)):
        task = asyncio.create_task(worker.run())
        await begun(worker, task)
        say("ready")
        await until(stop, task)
        worker.stop()
        await task
    content.close()
    await bus.close()


def worker_figures(worker: Worker | FaustWorker) -> dict[str, Value]:
    found: dict[str, Value] = {"tallystick_worker_messages_total": worker.handled}
    if not isinstance(worker, Worker):
        found["tallystick_worker_lag_messages"] = sum(worker.lag().values())
    return found


async def fault(worker: Worker | FaustWorker, bus: Bus, topic: str) -> str:
    """A worker without a partition is ready: it waits to take over."""
    return await bus_fault(bus, topic) if worker.ready else "starting, or its partitions are being moved"


async def begun(worker: Worker | FaustWorker, task: asyncio.Task[None]) -> None:
    """Until it has its state, or has ended."""
    while not worker.ready and not task.done():  # noqa: ASYNC110  (Faust tells of no event)
        await asyncio.sleep(0.05)
    if task.done():
        task.result()


class _DoorServer(uvicorn.Server):
    """Signals are the role's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


async def approvals_worker(config: Config, say: Say, stop: asyncio.Event) -> None:
    rules = read_rules(config)
    keys = config.keys
    directory = Directory(rules.reviewers)
    content = ContentKeys(config.content_keys, keyfiles.load_secret(keys, "content"))
    signer = keyfiles.load_signer(keys, "approvals")
    resuming = Resuming(keyfiles.enrolled(keys), directory, rules.behaviour.resume)
    bus = await open_bus(config)
    worker: ApprovalsWorker | FaustApprovalsWorker
    if isinstance(bus, LocalBus):
        worker = ApprovalsWorker(bus, signer, directory, resuming=resuming)
    else:
        from stream.faust_approvals import FaustApprovalsWorker

        worker = FaustApprovalsWorker(kafka_settings(config), lambda: ApprovalsStage(signer, directory, resuming))
    meanings = {s.id: s for s in signal_table().values()}

    def explain(signal: str) -> dict[str, str]:
        known = meanings.get(signal)
        if known is None:
            return {}
        told = ("reason", "instead", "false_positives", "reference")
        return {part: getattr(known, part) for part in told}

    resume = resume_route(resuming, bus.producer(), now_us)
    door = Door(lambda: worker.state, bus.producer(), directory, content.get, explain, more=(resume,))
    serving_as = uvicorn.Config(door.app, log_config=None, access_log=False, lifespan="off")
    serving_as.load()
    serving_as.ssl = server_context(config.approvals_tls) if config.approvals_tls else None
    listening = socket.create_server((config.approvals.host, config.approvals.port), backlog=128)
    host, port = listening.getsockname()[:2]
    server = _DoorServer(serving_as)

    async def figures() -> Mapping[str, Value]:
        waiting = [r for r in worker.state.requests.values() if r.waiting]
        due = [r.review for r in worker.state.requests.values() if r.review is not None and r.unreviewed]
        oldest_us = min((r.opened_us for r in waiting), default=now_us())
        return {
            **worker_figures(worker),
            "tallystick_approvals_requests_open": sum(r.live for r in worker.state.requests.values()),
            "tallystick_approvals_holds_waiting": sum(len(r.waiting) for r in waiting),
            "tallystick_approvals_oldest_seconds": max(0, now_us() - oldest_us) / 1_000_000,
            "tallystick_approvals_reviews_due": len(due),
            "tallystick_approvals_reviews_overdue": sum(review.overdue for review in due),
        }

    async with serve_ops("approvals", config.ops_at(OPS["approvals"]), figures, partial(fault, worker, bus, APPROVALS)):
        task = asyncio.create_task(worker.run())
        await begun(worker, task)
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        say(f"ready http{'s' * bool(config.approvals_tls)}://{host}:{port}")
        await until(stop, task, serving)
        server.should_exit = True
        worker.stop()
        await asyncio.gather(task, serving)
    content.close()
    await bus.close()
