"""A backup taken under load and restored to an empty bus: accepted work is neither lost nor doubled, and continues."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastflow.local import bus_client
from fastflow.local.nats_server import embedded_bus
from fastflow_contracts.bus import streams
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.subjects import RunRef
from fastflow_contracts.runs.run import RunRecord, RunStatus
from tests.support.installation import fastflow
from tests.support.system import System, system

COUNTS = "for n in range(50):\n    print(n)\n"


async def command(*arguments: str, folder: Path, url: str) -> tuple[int, str]:
    """``fastflow bus …`` beside the services in this process."""
    done = await asyncio.to_thread(fastflow, "bus", *arguments, "--nats-url", url, cwd=folder)
    return done.returncode, done.stdout + done.stderr


async def code(*arguments: str, folder: Path, url: str) -> int:
    return (await command(*arguments, folder=folder, url=url))[0]


async def all_over(bus: Bus) -> list[RunRecord]:
    """Return the runs, once each is over."""
    while True:
        found = await bus_client.runs(bus)
        if all(run.is_over for run in found):
            return found
        await asyncio.sleep(0.1)


@asynccontextmanager
async def starting(world: System) -> AsyncIterator[None]:
    """Start runs all the time."""

    async def start() -> None:
        while True:
            await world.start("quick")
            await asyncio.sleep(0.1)

    task = asyncio.create_task(start(), name="starting")
    try:
        yield
    finally:
        task.cancel()


async def test_accepted_work_survives_a_backup_and_continues(tmp_path: Path) -> None:
    """Records and complete logs, code, waiting triggers and the state of schedules, from a busy bus."""
    copy = tmp_path / "copy"
    async with embedded_bus(tmp_path / "one", sync="2m") as url, connect(url, name="test") as bus:
        await streams.ensure(bus.js)
        async with system(url, tmp_path / "data", sandbox="process", runners=1) as world:
            await world.pipeline("quick", COUNTS)
            await world.pipeline("timed", COUNTS, schedule_interval_seconds=1)
            before = {run.id: run for run in [await world.run("quick") for _ in range(5)]}
            texts = {run.id: await world.text(run) for run in before.values()}
            async with starting(world):
                accepted: set[RunRef] = {await world.start("quick") for _ in range(20)}
                assert await code("backup", str(copy), folder=tmp_path, url=url) == 0
        waiting = await System(bus).start("quick", key="asked while no service ran")
        second = tmp_path / "second"
        assert await code("backup", str(second), folder=tmp_path, url=url) == 0
        assert await code("backup", str(second), folder=tmp_path, url=url) == 1
        last = {run.id for run in await bus_client.runs(bus)}
    async with embedded_bus(tmp_path / "two", sync="2m") as url, connect(url, name="test") as bus:
        assert await code("restore", str(copy), folder=tmp_path, url=url) == 0
        assert await code("restore", str(copy), folder=tmp_path, url=url) == 1
        await streams.verify(bus.js)
        async with system(url, tmp_path / "data", sandbox="process", runners=1) as world:
            for run in before.values():
                stored = await world.end(run.ref)
                assert stored == run
                assert await world.text(stored) == texts[run.id]
            async with asyncio.timeout(60):
                runs = await all_over(bus)
            assert accepted <= {run.ref for run in runs}
            assert (await world.run("quick")).status is RunStatus.SUCCESS
            slots = Counter(run.order.scheduled_for for run in runs if run.pipeline == "timed")
            assert slots
            assert set(slots.values()) == {1}
    async with embedded_bus(tmp_path / "three", sync="2m") as url, connect(url, name="test") as bus:
        assert await code("restore", str(second), "--replicas", "1", folder=tmp_path, url=url) == 0
        assert {run.id for run in await bus_client.runs(bus)} == last
        async with system(url, tmp_path / "data", sandbox="process", runners=1) as world:
            assert (await world.end(waiting)).status is RunStatus.SUCCESS


async def test_half_a_backup_is_refused(bus_url: str, tmp_path: Path) -> None:
    """An interrupted backup is not a backup, and the error is clear."""
    (tmp_path / "half").mkdir()
    exit_code, said = await command("restore", str(tmp_path / "half"), folder=tmp_path, url=bus_url)
    assert exit_code == 1
    assert "holds no complete backup" in said
