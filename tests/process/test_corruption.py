"""Corrupt records in every bucket and stream, while real services run and the bus dies: all of them live.

``make verify`` writes a thousand of each kind and kills the bus after each hundred.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

import aiohttp
import pytest

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.errors import Rejected
from fastflow_contracts.bus.streams import ensure
from fastflow_contracts.runs.run import RunStatus
from tests.support.corruption import Corrupt, corrupt, fresh_dice
from tests.support.gateway import TOKEN, Client
from tests.support.ports import free_port
from tests.support.processes import BusServer, Service
from tests.support.profile import lasting
from tests.support.system import System

ROUNDS: Final = lasting(2, long=4)
RECORDS: Final = lasting(15, long=40)
"""Of each kind, in each round."""
AT_ONCE: Final = 50
WITHIN_S: Final = 60.0
SHORT_LEASE: Final = {"FASTFLOW_LEASE_S": "3", "FASTFLOW_FENCE_S": "3"}
PAGES: Final = (
    *("/readyz", "/metrics", "/", "/runs", "/runners", "/schedules", "/skipped", "/graph", "/simulation"),
    *("/api/pipelines", "/api/runs?limit=100", "/api/scheduler/jobs", "/api/sync/status", "/api/sync/logs"),
    *("/api/skipped", "/api/pipelines/graph", "/api/runners", "/api/pipelines/good", "/api/pipelines/good/stats"),
)
OF_A_RUN: Final = ("", "/logs", "/logs?tail=5", "/metrics", "/cells", "/notebook")


class World(NamedTuple):
    """Everything that runs."""

    system: System
    server: BusServer
    gateway: Client
    services: tuple[Service, ...]

    @property
    def bus(self) -> Bus:
        return self.system.bus

    def check(self) -> None:
        """Every service lives, and none of its parts met an error that nobody expects."""
        for service in self.services:
            assert service.is_running, f"the {service.name} ended:\n" + "\n".join(service.log)
            failed = [line for line in service.log if '"part failed"' in line and "exception" in json.loads(line)]
            assert not failed, failed[-1]


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    """A bus that can be killed, a service of each kind as a process, and a pipeline ``good``."""
    server = BusServer(folder / "bus")
    url = await server.start()
    port = free_port()
    root = folder / "pipelines"
    (root / "good").mkdir(parents=True)
    (root / "good" / "main.py").write_text("print('good')\n")
    (root / "good" / "pipeline.json").write_text('{"max_instances": 3}')
    settings = {
        "syncer": {"PIPELINES_DIR": str(root)},
        "scheduler": SHORT_LEASE,
        "runner": {
            **SHORT_LEASE,
            "FASTFLOW_SANDBOX": "process",
            "FASTFLOW_RUNNER_ID": "the-runner",
            "FASTFLOW_DATA_DIR": str(folder / "runner"),
        },
        "gateway": {"FASTFLOW_PORT": str(port), "FASTFLOW_ADMIN_TOKEN": TOKEN},
    }
    services = tuple(
        Service(name, {"FASTFLOW_NATS_URL": url, "FASTFLOW_NATS_CREDENTIALS": server.credentials(name), **environ})
        for name, environ in settings.items()
    )
    async with connect(url, name="test") as bus, aiohttp.ClientSession() as http:
        await ensure(bus.js)
        try:
            for service in services:
                await service.start()
            yield World(System(bus), server, Client(f"http://127.0.0.1:{port}", http), services)
        finally:
            for service in services:
                await service.remove()
                (folder / f"{service.name}.log").write_text("\n".join(service.log))
            await server.end()


@pytest.mark.simulation
@pytest.mark.slow
async def test_corrupt_records_everywhere_stop_no_service_and_no_run(tmp_path: Path) -> None:
    """A good pipeline runs after each round, every page answers, and the operator's command removes the rest."""
    dice = fresh_dice()
    async with world(tmp_path) as here:
        victim = (await here.system.run("good")).ref
        for number in range(ROUNDS):
            async with asyncio.timeout(WITHIN_S):
                await write(here.bus, corrupt(dice, RECORDS, victim))
            if number:
                await here.server.kill()
                await asyncio.sleep(dice.uniform(0, 2))
                await here.server.start()
            here.check()
            ended = await here.system.run("good")
            assert ended.status is RunStatus.SUCCESS
            for path in (*PAGES, *(f"/api/runs/{victim.run_id}{part}" for part in OF_A_RUN)):
                await answered(here.gateway, path)
        health = (await here.gateway.get("/readyz")).json
        assert health["status"] == "degraded"
        assert health["unreadable"]["runs"]
        here.check()


async def answered(gateway: Client, path: str) -> None:
    """Ask until the gateway has its bus again. It never fails otherwise."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            with suppress(aiohttp.ClientConnectionError):  # it opens its address again with a new connection
                answer = await gateway.get(path)
                if answer.status != 503:
                    break
            await asyncio.sleep(0.2)
    assert answer.status < 500, (path, answer)


async def write(bus: Bus, records: Iterable[Corrupt]) -> None:
    """Store all of *records*, many at once."""
    at_once = asyncio.Semaphore(AT_ONCE)

    async def store(record: Corrupt) -> None:
        async with at_once:
            with suppress(Rejected):  # it is too large for anyone, or a scheduler has published a hint there
                await one(record)

    async def one(record: Corrupt) -> None:
        if record.bucket is not None:
            await bus.put(record.bucket, record.key, record.data)
        else:
            await bus.publish(record.key, record.data)

    async with asyncio.TaskGroup() as group:
        for record in records:
            group.create_task(store(record))
