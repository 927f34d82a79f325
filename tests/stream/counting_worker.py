"""A small stage with state to lose, and a worker process around it that dies where it is told.

Run as a program: `python counting_worker.py '{"servers": …}'`, one JSON object as argument. It says on stdout, a
JSON object a line, which partitions it has, and when told to stop (SIGTERM) the rows its stages stand for.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import structlog

from bus.topics import Message
from stream.pipeline import Output

TOPIC, OUT, GROUP = "numbers", "counts", "counting"
CLOSE = b"close"
BIG = b"big/"  # a key that begins so has a row of as many bytes as it goes on to say
_APPLIED = b"applied"


class CountingStage:
    """Counts a partition's messages by key; `close` forgets its key. The position applied is in a row of its own, with
    the topic that it is of."""

    def __init__(self) -> None:
        self.counts: dict[bytes, int] = {}
        self.applied = -1
        self.topic = ""
        self._touched: set[bytes] = set()

    def restore(self, rows: dict[bytes, bytes], topic: str) -> None:
        self.topic = topic
        self.counts = {key[4:]: int(value.split(b"\xff")[1]) for key, value in rows.items() if key != _APPLIED}
        known, _, applied = rows.get(_APPLIED, b"").rpartition(b" ")
        self.applied = int(applied) if known.decode() == topic and applied else -1

    def apply(self, message: Message) -> Sequence[Output]:
        if message.offset <= self.applied:
            return ()
        self.applied = message.offset
        self._touched.add(message.key)
        count = self.counts.get(message.key, 0) + 1
        if message.value == CLOSE:
            self.counts.pop(message.key, None)
        else:
            self.counts[message.key] = count
        said = f"{message.partition}:{message.offset}:{message.key.decode()}:{count}"
        return (Output(OUT, message.key, said.encode()),)

    def changes(self) -> dict[bytes, bytes | None]:
        touched, self._touched = self._touched, set()
        if not touched:
            return {}
        return {b"key/" + key: self._row(key) for key in sorted(touched)} | {_APPLIED: self._stands()}

    def rows(self) -> dict[bytes, bytes]:
        found = {b"key/" + key: self._row(key) for key in self.counts}
        return {**found, _APPLIED: self._stands()} if self.applied >= 0 else {}

    def _stands(self) -> bytes:
        return f"{self.topic} {self.applied}".encode()

    def _row(self, key: bytes) -> bytes | None:
        """Not text: what is no UTF-8 must come back too."""
        count = self.counts.get(key)
        size = int(key.removeprefix(BIG)) if key.startswith(BIG) else 0
        return None if count is None else b"\x00\xff%d\xff\x80" % count + bytes(size)


def _at(given: dict[str, Any]) -> Callable[[str], None]:
    """`die` or `sleep` at [place, turn]: the process ends, or stops until it is told to go on."""
    seen = 0

    def at(now: str) -> None:
        nonlocal seen
        for deed in given.keys() & {"die", "sleep"}:
            place, turn = given[deed]
            seen += now == place
            if now == place and seen == turn:
                if deed == "die":
                    os._exit(9)
                os.kill(os.getpid(), signal.SIGSTOP)

    return at


def _raise_at(module: str, line: int, visit: int) -> None:
    """From here on, the `visit`-th time that `line` of `module` is reached, it raises."""
    left = visit

    def local(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        if event == "line" and frame.f_lineno == line:
            left -= 1
            if left == 0:
                raise RuntimeError("raised by the test")
        return local

    sys.settrace(lambda frame, event, _: local if frame.f_code.co_filename.endswith(module) else None)


def _stand_still(where: str, patience_s: float) -> None:
    """Faust never says that a recovery is done with, or gives nothing to read, or is only watched so closely."""
    from faust.streams import Stream

    from stream import faust_app

    async def never(*_: Any, **__: Any) -> None:
        await asyncio.Event().wait()

    async def nothing(*_: Any, **__: Any) -> Any:
        await never()
        yield

    faust_app.STANDS_S = patience_s
    if where == "recovery":
        faust_app.RowTable.on_recovery_completed = never  # type: ignore[method-assign]
    if where == "reading":
        Stream.noack_take = nothing  # type: ignore[method-assign]


def _slow_start() -> None:
    """A machine that is busy at the worst times: when the state is there, and before reading begins where it has to."""
    from faust.transport.consumer import Consumer

    from stream import faust_app

    recovered, seek = faust_app.RowTable.on_recovery_completed, Consumer.perform_seek

    async def late(*args: Any) -> None:
        await asyncio.sleep(1.0)
        await recovered(*args)

    async def later(self: Consumer) -> None:
        await asyncio.sleep(1.5)
        await seek(self)

    faust_app.RowTable.on_recovery_completed = late  # type: ignore[method-assign]
    Consumer.perform_seek = later  # type: ignore[method-assign]


def _say(**what: Any) -> None:
    print(json.dumps(what), flush=True)


async def main(given: dict[str, Any]) -> None:
    from bus.kafka_client import KafkaSettings
    from stream.faust_app import FaustWorker

    settings = KafkaSettings((given["servers"],), given["prefix"], replication=1, min_insync=1)
    worker = FaustWorker(settings, CountingStage, TOPIC, GROUP, _at(given))
    if "approvals" in given:
        worker = _approvals(settings)
    if "stands" in given:
        _stand_still(*given["stands"])
    if "slow_start" in given:
        _slow_start()
    if "raise" in given:
        _raise_at("stream/faust_app.py", *given["raise"])
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, worker.stop)
    before = _process()
    running = asyncio.create_task(worker.run())
    told: object = None
    stages: dict[int, Any] = {}
    while not running.done():
        await asyncio.wait({running}, timeout=0.02)
        stages = dict(worker.stages) or stages
        now = {"ready": worker.ready, "assigned": worker.assigned, "handled": worker.handled}
        if worker.ready and "debug" in given:
            for name in ("faust", "mode", "aiokafka"):
                logging.getLogger(name).setLevel(logging.DEBUG)
        if now != told:
            told = now
            _say(**now, lag=worker.lag(), large_rows=worker.large_rows)
    await running
    counted = {partition: stage for partition, stage in stages.items() if isinstance(stage, CountingStage)}
    rows = {partition: {k.hex(): v.hex() for k, v in stage.rows().items()} for partition, stage in counted.items()}
    _say(rows=rows, untouched=_process() == before)


def _approvals(settings: Any) -> Any:
    from approvals.votes import Directory
    from seal.sign import Signer
    from stream.approvals_stage import ApprovalsStage
    from stream.faust_approvals import FaustApprovalsWorker

    return FaustApprovalsWorker(settings, lambda: ApprovalsStage(Signer("approvals", b"a" * 32), Directory([])))


def _process() -> tuple[object, ...]:
    """What belongs to the role and not to a library: the root logger, signals, arguments, the working directory."""
    root = logging.getLogger()
    signals = tuple(signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    return root.level, tuple(root.handlers), signals, tuple(sys.argv), tuple(sorted(os.listdir()))


if __name__ == "__main__":
    import uvloop

    from tallystick.logs import place_only

    logging.basicConfig(level=logging.DEBUG)  # a role that says everything
    processors = [structlog.processors.add_log_level, place_only, structlog.processors.JSONRenderer()]
    structlog.configure(processors=processors, logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(json.loads(sys.argv[1])))
