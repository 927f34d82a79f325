"""/healthz (the process is alive), /readyz (it can do its job), /metrics (Prometheus text)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

LARGEST_REQUEST = 4096
ANSWER_WITHIN_S = 5.0
HEAD = b"HTTP/1.0 %s\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: %d\r\n\r\n"

Figures = Callable[[], Mapping[str, float]]
Ready = Callable[[], str]
"""Why the role cannot do its job, or "" if it can."""


class _Figures(Collector):
    def __init__(self, role: str, figures: Figures) -> None:
        self.role, self.figures = role, figures

    def collect(self) -> list[Metric]:
        found: list[Metric] = []
        for name, value in self.figures().items():
            family = GaugeMetricFamily(f"tallystick_{name}", name.replace("_", " "), labels=["role"])
            family.add_metric([self.role], value)
            found.append(family)
        return found


class OpsServer:
    """A tiny HTTP/1.0 answerer: three GETs, no bodies, nothing of a request is logged."""

    def __init__(self, role: str, figures: Figures, ready: Ready) -> None:
        self._ready = ready
        self._registry = CollectorRegistry()
        self._registry.register(_Figures(role, figures))
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
                status, body = self._page(head.split(b" ", 2)[1] if head.startswith(b"GET ") else b"")
                writer.write(HEAD % (status, len(body)) + body)
                await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass  # the asker went away or sent no request: nobody is owed an answer
        finally:
            writer.close()

    def _page(self, path: bytes) -> tuple[bytes, bytes]:
        if path == b"/healthz":
            return b"200 OK", b"ok\n"
        if path == b"/readyz":
            why = self._ready()
            return (b"503 Service Unavailable", why.encode() + b"\n") if why else (b"200 OK", b"ready\n")
        if path == b"/metrics":
            return b"200 OK", generate_latest(self._registry)
        return b"404 Not Found", b"there are /healthz, /readyz and /metrics\n"
