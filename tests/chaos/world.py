"""A whole installation of processes on its own bus, with helpers for tests. ``verdict`` has what must hold."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.errors import Unavailable
from fastflow_contracts.bus.feed import feed
from fastflow_contracts.bus.streams import ensure
from fastflow_contracts.bus.subjects import RunRef
from fastflow_contracts.ids import RunId
from fastflow_contracts.runs import messages
from fastflow_contracts.runs.run import Running, RunRecord
from fastflow_contracts.runs.state_machine import Cancel
from tests.support.processes import BusServer, Service
from tests.support.system import RUN_S, System

DOCKER_S = 60.0
LOOK_S = 0.1
COUNT = "import time\nfor n in range({lines}):\n    print(n)\n    time.sleep({pause_s})\n"
"""A script whose log is complete if its lines are 0, 1, 2, …"""
PATIENT = "import time\nprint('0')\ntime.sleep(60)\n"


class Container(NamedTuple):
    """One container of this installation."""

    id: str
    state: str
    name: str


class World(System):
    """``bus`` is the test's own connection. At first only the bus runs."""

    def __init__(self, url: str, bus: Bus, server: BusServer, installation: str, directory: Path, volume: str) -> None:
        super().__init__(bus)
        self.url = url
        self.server = server
        self._installation = installation
        self.directory = directory
        self._volume = volume
        self.services: list[Service] = []
        self._has_containers = False

    def scheduler(self, **settings: str) -> Service:
        return self._service("scheduler", settings)

    def runner(self, name: str = "one", *, sandbox: str = "docker", **settings: str) -> Service:
        """Create a runner without warm sandboxes: they cost too much for a runner that lives for a second."""
        self._has_containers = self._has_containers or sandbox == "docker"
        own = {
            "FASTFLOW_RUNNER_ID": name,
            "FASTFLOW_SANDBOX": sandbox,
            "FASTFLOW_DATA_DIR": str(self.directory / name),
            "FASTFLOW_STORE_VOLUME": self._volume,
            "FASTFLOW_NETWORK": "none",
            "RUNNER_POOL_SIZE": "0",
        }
        return self._service("runner", own | settings)

    def gateway(self, **settings: str) -> Service:
        own = {"FASTFLOW_PORT": "0", "FASTFLOW_ADMIN_TOKEN": secrets.token_urlsafe(24)}
        return self._service("gateway", own | settings)

    def syncer(self, pipelines: Path) -> Service:
        return self._service("syncer", {"PIPELINES_DIR": str(pipelines)})

    async def running(self, *services: Service) -> None:
        """Start *services*, all at once."""
        async with asyncio.TaskGroup() as group:
            for service in services:
                group.create_task(service.start(), name=f"start-{service.name}")

    async def cancel(self, ref: RunRef) -> None:
        """Request the end of a run."""
        await self.bus.publish(subjects.command(ref), messages.CANCEL.encode(Cancel()))

    async def adopted(self, ref: RunRef, *, epoch: int = 1) -> RunRecord:
        """Return the run once another runner has taken it over from the holder of *epoch*, or it is over."""
        return await self.until(ref, lambda run: run.epoch > epoch or run.is_over)

    async def claimed(self, ref: RunRef) -> RunRecord:
        """Return the run once a runner holds it."""
        return await self.until(ref, lambda run: isinstance(run.state, Running))

    async def goes_on_after(self, ref: RunRef) -> float:
        """Return the seconds until the bus has more of the run's log than now."""
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        async with asyncio.timeout(RUN_S):
            known = await self._log_sequence()
            async with aclosing(feed(self.bus, streams.LOGS, subjects.logs_of(ref), after=known)) as log:
                async for batch in log:
                    if batch.messages:
                        break
        return loop.time() - asked_at

    async def _log_sequence(self) -> int:
        while True:  # the bus may have just come back
            try:
                return await self.bus.last_sequence(streams.LOGS)
            except Unavailable:
                await asyncio.sleep(LOOK_S)

    async def containers(self, run_id: RunId | None = None) -> list[Container]:
        """Return the containers of this installation, or of one run, in any state."""
        if not self._has_containers:
            return []
        filters = [f"label=fastflow.scope={self._installation}"]
        if run_id is not None:
            filters.append(f"name={run_id}")
        arguments = [word for each in filters for word in ("--filter", each)]
        shown = await docker("ps", "--all", "--no-trunc", *arguments, "--format", "{{.ID}} {{.State}} {{.Names}}")
        return [Container(*line.split()) for line in shown.splitlines()]

    async def container(self, ref: RunRef) -> Container:
        """Return the single container of a run."""
        (found,) = await self.containers(ref.run_id)
        return found

    async def script_ended(self, ref: RunRef) -> None:
        """Wait until only the supervisor is alive in the run's container."""
        container = await self.container(ref)
        async with asyncio.timeout(DOCKER_S):
            while len((await docker("top", container.id)).splitlines()) > 2:
                await asyncio.sleep(LOOK_S)

    async def container_ended(self, ref: RunRef) -> None:
        """Wait until the run's container has ended by itself."""
        await docker("wait", (await self.container(ref)).id)

    def _service(self, name: str, settings: Mapping[str, str]) -> Service:
        credentials = self.server.credentials(name)
        service = Service(name, {"FASTFLOW_NATS_URL": self.url, "FASTFLOW_NATS_CREDENTIALS": credentials, **settings})
        self.services.append(service)
        return service


@asynccontextmanager
async def world(directory: Path, volume: str) -> AsyncIterator[World]:
    """Start a bus; afterwards remove all that the test started on it, containers included."""
    async with AsyncExitStack() as stack:
        server = BusServer(directory / "bus")
        url = await server.start()
        stack.push_async_callback(server.end)
        bus = await stack.enter_async_context(connect(url, name="test"))
        await ensure(bus.js)
        entry = await bus.get(subjects.PIPELINES, subjects.INSTALLATION_KEY)
        assert entry is not None
        made = World(url, bus, server, entry.value.decode(), directory, volume)
        stack.push_async_callback(_clear, made)
        yield made


async def _clear(made: World) -> None:
    for service in made.services:
        if service.is_running:
            await service.kill()
        print(f"--- the log of the {service.name}:", *service.log, sep="\n")
    async with asyncio.timeout(DOCKER_S):
        while left := await made.containers():
            # The daemon may still be carrying out a removal that a killed service asked for.
            with contextlib.suppress(AssertionError):
                await docker("rm", "--force", "--volumes", *(container.id for container in left))


async def docker(*words: str) -> str:
    """Run the docker command; return its output."""
    process = await asyncio.create_subprocess_exec(
        "docker", *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(DOCKER_S):
        out, complaint = await process.communicate()
    assert process.returncode == 0, f"docker {words[0]}: {complaint.decode()}"
    return out.decode()
