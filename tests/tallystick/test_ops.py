"""The three pages an operator's tools ask for."""

import asyncio
import re
from pathlib import Path

import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families

from tallystick import logs
from tallystick.metrics import ALARMS, METRICS, Histogram, Value
from tallystick.ops import OpsServer

ROOT = Path(__file__).parents[2]


async def get(address: tuple[str, int], request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(request)
    await writer.drain()
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    return answer


async def test_health_ready_metrics_and_what_else() -> None:
    why = "the bus is down"

    async def figures() -> dict[str, Value]:
        return {"tallystick_ledger_lag_messages": 3}

    async def ready() -> str:
        return why

    server = OpsServer("ledger", figures, ready)
    address = await server.start("127.0.0.1", 0)
    try:
        assert b"200 OK" in await get(address, b"GET /healthz HTTP/1.1\r\n\r\n")
        down = await get(address, b"GET /readyz HTTP/1.1\r\n\r\n")
        assert b"503" in down
        assert b"the bus is down" in down
        assert b'tallystick_ready{role="ledger"} 0.0' in await get(address, b"GET /metrics HTTP/1.1\r\n\r\n")
        why = ""
        assert b"200 OK" in await get(address, b"GET /readyz HTTP/1.1\r\n\r\n")
        metrics = await get(address, b"GET /metrics HTTP/1.1\r\n\r\n")
        assert b'tallystick_ledger_lag_messages{role="ledger"} 3.0' in metrics
        assert b'tallystick_ready{role="ledger"} 1.0' in metrics
        assert b'tallystick_alarms_total{alarm="gap",role="ledger"} ' in metrics
        assert b"404" in await get(address, b"GET /etc/passwd HTTP/1.1\r\n\r\n")
        assert b"404" in await get(address, b"POST /metrics HTTP/1.1\r\n\r\n")
        assert await get(address, b"x" * 10_000) == b""
    finally:
        await server.close()


async def test_each_metric_has_its_type_and_its_words() -> None:
    took = Histogram()
    for seconds in (0.005, 0.006, 99.0):
        took.observe(seconds)
    values: dict[str, Value] = {
        "tallystick_commands_total": 5,
        "tallystick_refused_total": {"policy": 2, "journal": 0},
        "tallystick_ledger_commit_seconds": took,
    }

    async def figures() -> dict[str, Value]:
        return values

    async def ready() -> str:
        return ""

    server = OpsServer("ledger", figures, ready)
    address = await server.start("127.0.0.1", 0)
    try:
        page = (await get(address, b"GET /metrics HTTP/1.1\r\n\r\n")).partition(b"\r\n\r\n")[2].decode()
    finally:
        await server.close()
    found = {f.name: f for f in text_string_to_metric_families(page)}
    assert found["tallystick_commands"].type == "counter"
    assert found["tallystick_commands"].documentation == METRICS["tallystick_commands_total"].text
    assert {s.labels["reason"]: s.value for s in found["tallystick_refused"].samples} == {"policy": 2, "journal": 0}
    commit = found["tallystick_ledger_commit_seconds"]
    assert commit.type == "histogram"
    buckets = {s.labels["le"]: s.value for s in commit.samples if s.name.endswith("_bucket")}
    assert (buckets["0.005"], buckets["0.01"], buckets["30.0"], buckets["+Inf"]) == (1, 2, 2, 3)
    assert {s.value for s in commit.samples if s.name.endswith("_count")} == {3}


@pytest.mark.parametrize("name", METRICS)
def test_names_are_as_prometheus_wants_them(name: str) -> None:
    metric = METRICS[name]
    assert re.fullmatch(r"tallystick_[a-z_]+", name)
    assert name.endswith("_total") == (metric.kind == "counter"), "counters end in _total, and nothing else does"


def test_an_alarm_in_the_log_is_counted() -> None:
    before = logs.alarms["gap"]
    logs.configure("test")
    try:
        structlog.get_logger().error("alarm", alarm="gap")
        structlog.get_logger().error("something else")
    finally:
        structlog.reset_defaults()
    assert logs.alarms["gap"] == before + 1


def test_every_alarm_that_the_code_can_raise_is_there_from_the_start() -> None:
    rooms = [p for p in ROOT.iterdir() if (p / "__init__.py").exists() and p.name not in ("tests", "bench", "tools")]
    said = {
        word
        for room in rooms
        for path in room.rglob("*.py")
        for word in re.findall(r'"alarm", alarm="([^"]+)"', path.read_text())
    }
    assert said == set(ALARMS)
