"""The three pages an operator's tools ask for."""

import asyncio

from tallystick.ops import OpsServer


async def get(address: tuple[str, int], request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(request)
    await writer.drain()
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    return answer


async def test_health_ready_metrics_and_what_else() -> None:
    why = "the bus is down"
    server = OpsServer("ledger", lambda: {"lag_entries": 3.0}, lambda: why)
    address = await server.start("127.0.0.1", 0)
    try:
        assert b"200 OK" in await get(address, b"GET /healthz HTTP/1.1\r\n\r\n")
        down = await get(address, b"GET /readyz HTTP/1.1\r\n\r\n")
        assert b"503" in down
        assert b"the bus is down" in down
        why = ""
        assert b"200 OK" in await get(address, b"GET /readyz HTTP/1.1\r\n\r\n")
        assert b'tallystick_lag_entries{role="ledger"} 3.0' in await get(address, b"GET /metrics HTTP/1.1\r\n\r\n")
        assert b"404" in await get(address, b"GET /etc/passwd HTTP/1.1\r\n\r\n")
        assert b"404" in await get(address, b"POST /metrics HTTP/1.1\r\n\r\n")
        assert await get(address, b"x" * 10_000) == b""
    finally:
        await server.close()
