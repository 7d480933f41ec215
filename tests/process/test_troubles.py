"""A part that fails in a scheduler or syncer of its own process: gateways say so until it is well again."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.bucket import Record
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.permissions import User, inbox
from fastflow_contracts.bus.streams import ensure
from fastflow_contracts.bus.subjects import ServiceRef
from fastflow_contracts.service.troubles import ServiceTroubles, troubles
from tests.support.command import fastflow
from tests.support.gateway import TOKEN, running_gateway
from tests.support.processes import BusServer, Service

WITHIN_S = 240.0
FAULT = """
from pathlib import Path
import fastflow_contracts.service.parts as parts
from {module} import {part}
parts.STEADY_S = 3.0
serve = {part}.serve

async def faulty(self):
    if Path({sign!r}).exists():
        raise LookupError
    await serve(self)

{part}.serve = faulty
"""
"""Python runs it in the service's process before the service: one part fails as long as a file is there."""
PARTS = {
    "scheduler": ("fastflow_scheduler.command_consumer", "CommandConsumer", "scheduler/commands"),
    "syncer": ("fastflow_syncer.retire", "Retirement", "syncer/retire"),
}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[tuple[BusServer, str]]:
    """A bus with the users of an installation and all streams, and its URL without a user."""
    server = BusServer(tmp_path / "bus")
    url = await server.start()
    try:
        async with connect(url, name="setup") as admin:
            await ensure(admin.js)
        yield server, url
    finally:
        await server.end()


@pytest.mark.slow
@pytest.mark.parametrize("name", PARTS)
async def test_a_failing_part_of_a_service_is_shown_until_it_is_well(
    server: tuple[BusServer, str], tmp_path: Path, name: str
) -> None:
    """By /readyz, the runners page and the doctor, with the permissions of an installation."""
    module, part, label = PARTS[name]
    bus_server, url = server
    bare = f"nats://{url.rpartition('@')[2]}"
    sign, root = tmp_path / "broken", tmp_path / "pipelines"
    sign.touch()
    root.mkdir()
    (tmp_path / "sitecustomize.py").write_text(FAULT.format(module=module, part=part, sign=str(sign)))
    service = Service(
        name,
        {
            "PYTHONPATH": str(tmp_path),
            "FASTFLOW_NATS_URL": bare,
            "FASTFLOW_NATS_CREDENTIALS": bus_server.credentials(name),
            **({"PIPELINES_DIR": str(root)} if name == "syncer" else {}),
        },
    )
    seed = Path(bus_server.credentials("gateway")).read_text().strip()
    async with (
        asyncio.timeout(WITHIN_S),
        connect(bare, name="gateway", seed=seed, inbox=inbox(User.GATEWAY)) as bus,
        running_gateway(bus) as gateway,
    ):
        await service.start()
        try:
            while not (shown := (await gateway.get("/readyz", anonymous=True)).json["degraded"]):
                await asyncio.sleep(0.1)
            assert len(shown) == 1
            assert shown[0].startswith(f"{label} failed ")
            assert socket.gethostname() not in shown[0]
            assert f"{socket.gethostname()}: {label} failed " in (await gateway.get("/runners")).text
            assert "fastflow_degraded_parts 1.0" in (await gateway.get("/metrics")).text
            where = {"FASTFLOW_URL": gateway.url, "FASTFLOW_TOKEN": TOKEN}
            doctor = await asyncio.to_thread(fastflow, "doctor", cwd=tmp_path / "pipelines", **where)
            assert f"degraded   {label} failed " in doctor.stdout
            sign.unlink()
            while (health := (await gateway.get("/readyz", anonymous=True)).json)["degraded"]:
                await asyncio.sleep(0.1)
            assert health["status"] == "ok"
            assert "Degraded" not in (await gateway.get("/runners")).text
            async with connect(url, name="look") as admin:
                assert [record.value.parts for record in await told(admin)] == [()]
        finally:
            assert await service.terminate() == 0


async def test_a_service_that_is_well_writes_nothing(server: tuple[BusServer, str]) -> None:
    """The bus holds no record of it, from its start to its end."""
    bus_server, url = server
    credentials = bus_server.credentials("scheduler")
    service = Service(
        "scheduler",
        {"FASTFLOW_NATS_URL": f"nats://{url.rpartition('@')[2]}", "FASTFLOW_NATS_CREDENTIALS": credentials},
    )
    async with asyncio.timeout(WITHIN_S):
        await service.start()
        assert await service.terminate() == 0
        async with connect(url, name="look") as admin:
            assert await told(admin) == []


async def told(bus: Bus) -> list[Record[ServiceRef, ServiceTroubles]]:
    """Return every record of a service's parts."""
    return await troubles(bus).items(subjects.SERVICE_KEYS)
