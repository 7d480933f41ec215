"""Services that start while the bus is away, silent, without streams or dying: they wait for it and say so."""

from __future__ import annotations

import asyncio
import json
import random
import socket
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.errors import Unavailable
from fastflow_contracts.bus.streams import ensure
from fastflow_contracts.service.lifecycle import EXIT_FAILURE
from tests.support.gateway import TOKEN
from tests.support.ports import free_port
from tests.support.processes import BusServer, Service
from tests.support.profile import lasting

NAMES = ("syncer", "scheduler", "runner", "gateway")
WITHIN_S = 300.0
KILLS = lasting(3, long=20)
LOOK_S = 0.05


def a_service(name: str, url: str, folder: Path, **environ: str) -> Service:
    """A service of that name with all it needs but a bus."""
    (folder / "pipelines").mkdir(exist_ok=True)
    own = {
        "syncer": {"PIPELINES_DIR": str(folder / "pipelines")},
        "scheduler": {},
        "runner": {"FASTFLOW_SANDBOX": "process", "FASTFLOW_DATA_DIR": str(folder / "runner")},
        "gateway": {"FASTFLOW_PORT": environ.pop("port", "0"), "FASTFLOW_ADMIN_TOKEN": TOKEN},
    }[name]
    return Service(name, {"FASTFLOW_NATS_URL": url, **own, **environ})


def said(service: Service, event: str) -> list[str]:
    """The errors of all log lines with that event."""
    lines = [json.loads(line) for line in service.log if line.startswith("{")]
    return [line.get("error", "") for line in lines if line["event"] == event]


async def until_said(service: Service, event: str) -> None:
    while not said(service, event):
        assert service.is_running, "\n".join(service.log)
        await asyncio.sleep(LOOK_S)


@pytest.mark.slow
async def test_every_service_that_starts_before_its_bus_waits_for_it(tmp_path: Path) -> None:
    """First no server, then one without streams: each says once what it waits for, and is ready when all is there."""
    server = BusServer(tmp_path / "bus")
    url = await server.start()
    await server.end()
    services = [a_service(name, url, tmp_path, FASTFLOW_NATS_CREDENTIALS=server.credentials(name)) for name in NAMES]
    try:
        async with asyncio.timeout(WITHIN_S):
            for service in services:
                await service.launch()
            for service in services:
                await until_said(service, "start delayed")
                assert "no NATS server answers" in said(service, "start delayed")[0]
            await server.start()
            async with connect(url, name="test") as bus:
                await asyncio.sleep(1)  # some of them look at a bus without streams
                await ensure(bus.js)
            for service in services:
                await service.ready()
                assert len(said(service, "start delayed")) == 1
                assert not [line for line in service.log if "Traceback" in line]
    finally:
        for service in services:
            await service.remove()
        await server.end()


async def test_a_gateway_without_a_bus_is_alive_and_not_ready(tmp_path: Path) -> None:
    """Its page says so too. Once the bus is there, it is ready on the same port."""
    server, port = BusServer(tmp_path / "bus"), free_port()
    url = await server.start()
    await server.end()
    gateway = a_service("gateway", url, tmp_path, port=str(port))
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http, asyncio.timeout(WITHIN_S):
            await gateway.launch()
            seen: dict[str, int] = {}
            while len(seen) < 3:
                for path in ("/healthz", "/readyz", "/api/runs"):
                    with suppress(aiohttp.ClientConnectionError):
                        async with http.get(path) as answer:
                            seen[path] = answer.status
                            assert (await answer.json())["dependencies"] == {"bus": "not connected yet"}
                await asyncio.sleep(LOOK_S)
            assert seen == {"/healthz": 200, "/readyz": 503, "/api/runs": 503}
            await server.start()
            async with connect(url, name="test") as bus:
                await ensure(bus.js)
            await gateway.ready()
            async with http.get("/readyz") as answer:
                assert answer.status == 200
    finally:
        await gateway.remove()
        await server.end()


@pytest.mark.simulation
@pytest.mark.parametrize("name", NAMES)
async def test_a_bus_that_dies_at_any_moment_of_a_start_ends_no_service(name: str, tmp_path: Path) -> None:
    """It is killed at random moments after the service began; in the end the service is ready, in its first life."""
    dice = random.Random()
    server = BusServer(tmp_path / "bus")
    url = await server.start()
    async with connect(url, name="test") as bus:
        await ensure(bus.js)
    service = a_service(name, url, tmp_path, FASTFLOW_NATS_CREDENTIALS=server.credentials(name))
    try:
        async with asyncio.timeout(WITHIN_S):
            for number in range(KILLS):
                if not service.is_running:
                    await service.launch()
                await asyncio.sleep(dice.uniform(0, 2.0 if number == 0 else 0.6))
                await server.kill()
                await asyncio.sleep(dice.uniform(0, 0.5))
                assert service.is_running, "\n".join(service.log)
                await server.start()
            await service.ready()
            assert service.is_running
            assert not [line for line in service.log if "Traceback" in line]
    finally:
        await service.remove()
        with suppress(Unavailable):
            await server.end()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
async def test_a_service_with_wrong_credentials_ends_with_a_sentence(name: str, tmp_path: Path) -> None:
    """Nobody but a person can mend that."""
    server = BusServer(tmp_path / "bus")
    url = await server.start()
    try:
        service = a_service(name, url.replace("@", "wrong@"), tmp_path)
        await service.launch()
        assert await service.ended() == EXIT_FAILURE
        (sentence,) = said(service, "service failed")
        assert "refuses these credentials" in sentence
        assert not [line for line in service.log if "Traceback" in line]
    finally:
        await server.end()


async def test_a_gateway_whose_port_is_taken_ends_with_a_sentence(bus_url: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        gateway = a_service("gateway", bus_url, tmp_path, port=str(taken.getsockname()[1]))
        await gateway.launch()
        assert await gateway.ended() == EXIT_FAILURE
    (sentence,) = said(gateway, "service failed")
    assert "choose another FASTFLOW_HOST or FASTFLOW_PORT" in sentence
