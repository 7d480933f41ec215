"""The life of a service process, seen from outside: how it reacts to a signal."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import aiohttp

from fastflow.local.nats_server import embedded_bus
from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.streams import bucket_stream
from tests.support.processes import Service

LOOK_S = 0.1
STOP_S = 45.0
"""Within this a service that is not ready must have ended, on a busy machine, too."""


async def stopped(service: Service) -> int:
    """Return its exit code after SIGTERM; kill it if it ignores the signal."""
    try:
        async with asyncio.timeout(STOP_S):
            return await service.terminate()
    finally:
        if service.is_running:
            await service.kill()


async def test_a_service_that_waits_for_its_streams_stops_on_a_signal(tmp_path: Path) -> None:
    """The bus has no streams yet."""
    async with embedded_bus(tmp_path / "bus") as url, asyncio.timeout(180):
        service = Service("scheduler", {"FASTFLOW_NATS_URL": url})
        await service.launch()
        while not any("start delayed" in line for line in service.log):
            await asyncio.sleep(LOOK_S)
        assert await stopped(service) == 0


async def test_a_service_that_waits_for_its_bus_stops_on_a_signal() -> None:
    """The server accepts the connection and sends nothing."""
    accepted = asyncio.Event()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.set()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as silent, asyncio.timeout(180):
        url = f"nats://127.0.0.1:{silent.sockets[0].getsockname()[1]}"
        service = Service("scheduler", {"FASTFLOW_NATS_URL": url})
        await service.launch()
        await accepted.wait()
        assert await stopped(service) == 0


async def test_a_gateway_that_catches_up_stops_on_a_signal(bus_url: str, bus: Bus) -> None:
    """It answers requests already but never catches up, because a stream cannot be read."""
    links = bucket_stream(subjects.LINKS)
    config = (await bus.js.stream_info(links)).config
    await bus.js.delete_stream(links)
    await bus.js.add_stream(replace(config, allow_direct=False))
    await bus.put(subjects.LINKS, "links.x", b"{}")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    gateway = Service(
        "gateway",
        {"FASTFLOW_NATS_URL": bus_url, "FASTFLOW_PORT": str(port), "FASTFLOW_ADMIN_TOKEN": "a-token-for-tests-only"},
    )
    async with aiohttp.ClientSession() as http, asyncio.timeout(180):
        await gateway.launch()
        text = ""
        while text != "still reading links":
            await asyncio.sleep(LOOK_S)
            with suppress(aiohttp.ClientConnectionError):
                async with http.get(f"http://127.0.0.1:{port}/readyz") as answer:
                    text = (await answer.json())["dependencies"].get("model", "")  # none without a bus
        assert await stopped(gateway) == 0
