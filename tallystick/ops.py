"""/healthz (the process is alive), /readyz (it can do its job), /metrics (Prometheus text)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from prometheus_client import generate_latest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from tallystick import logs
from tallystick.metrics import ALARMS, Value, family
from tallystick.version import VERSION

LARGEST_REQUEST = 4096
ANSWER_WITHIN_S = 5.0
HEAD = b"HTTP/1.0 %s\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: %d\r\n\r\n"

Figures = Callable[[], Awaitable[Mapping[str, Value]]]
"""Values of `tallystick.metrics.METRICS`, as they are now."""
Ready = Callable[[], Awaitable[str]]
"""Why the role cannot do its job, or "" if it can."""


@dataclass(frozen=True, slots=True)
class _Found(Collector):
    families: list[Family]

    def collect(self) -> list[Family]:
        return self.families


class OpsServer:
    """A tiny HTTP/1.0 answerer: three GETs, no bodies, nothing of a request is logged."""

    def __init__(self, role: str, figures: Figures, ready: Ready) -> None:
        self._role, self._figures, self._ready = role, figures, ready
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> tuple[str, int]:
        self._server = await asyncio.start_server(self._answer, host, port, limit=LARGEST_REQUEST)
        bound = self._server.sockets[0].getsockname()
        return bound[0], bound[1]

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                head = await reader.readuntil(b"\r\n\r\n")
                status, body = await self._page(head.split(b" ", 2)[1] if head.startswith(b"GET ") else b"")
                writer.write(HEAD % (status, len(body)) + body)
                await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass  # the asker went away or sent no request: nobody is owed an answer
        finally:
            writer.close()

    async def _page(self, path: bytes) -> tuple[bytes, bytes]:
        if path == b"/healthz":
            return b"200 OK", b"ok\n"
        if path == b"/readyz":
            why = await self._ready()
            return (b"503 Service Unavailable", why.encode() + b"\n") if why else (b"200 OK", b"ready\n")
        if path == b"/metrics":
            return b"200 OK", await self._metrics()
        return b"404 Not Found", b"there are /healthz, /readyz and /metrics\n"

    async def _metrics(self) -> bytes:
        why, figures = await asyncio.gather(self._ready(), self._figures())
        values: dict[str, Value] = {
            "tallystick_build_info": {VERSION: 1.0},
            "tallystick_ready": float(not why),
            "tallystick_alarms_total": {name: float(logs.alarms[name]) for name in ALARMS},
            **figures,
        }
        return generate_latest(_Found([family(name, value, self._role) for name, value in values.items()]))
