"""A runner with labels dies after it removed a hint, and so do schedulers: another hint comes."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest
from msgspec.structs import replace

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.subjects import parse_work
from fastflow_contracts.clock import now
from fastflow_contracts.names import PipelineName
from fastflow_contracts.runs.presence import PRESENCE
from fastflow_contracts.runs.run import Pending, Running
from fastflow_contracts.runs.state_machine import Claim
from fastflow_contracts.runs.store import RunStore
from tests.support.processes import BusServer, Service
from tests.support.records import a_bundle, a_presence, publish_pipeline

NAME = PipelineName("train")
WITHIN_S = 120.0


async def be_there(bus: Bus) -> None:
    """Renew the presence of a runner with the label."""
    while True:
        presence = replace(a_presence("gpu-runner"), labels=("gpu",), seen_at=now())
        await bus.put(subjects.RUNNERS, subjects.runner_key(presence.runner), PRESENCE.encode(presence))
        await asyncio.sleep(1)


async def hint(bus: Bus) -> tuple[str, int]:
    """Wait for the one hint, and return its subject and sequence."""
    async with asyncio.timeout(WITHIN_S):
        while not (found := await bus.subjects_in(streams.WORK, subjects.LABELLED_WORK)):
            await asyncio.sleep(0.05)
    (subject,) = found
    return subject, await bus.last_sequence(streams.WORK)


@pytest.mark.slow
async def test_a_hint_whose_taker_died_comes_again_though_schedulers_are_killed(tmp_path: Path) -> None:
    """One is killed when the hint is there, one when it is lost. The last one repeats it, and the run begins once."""
    server = BusServer(tmp_path / "bus")
    url = await server.start()
    try:
        async with connect(url, name="setup") as admin:
            await streams.ensure(admin.js)
        environ = {"FASTFLOW_NATS_URL": url, "FASTFLOW_NATS_CREDENTIALS": server.credentials("scheduler")}
        schedulers = [Service("scheduler", environ) for _ in range(3)]
        async with connect(url, name="test") as bus:
            await publish_pipeline(bus, NAME, a_bundle(main_py="1"), runs_on=("gpu",))
            presence = asyncio.create_task(be_there(bus))
            try:
                for scheduler in schedulers:
                    await scheduler.start()
                await bus.publish("ff.trigger.train", b"{}")
                subject, first = await hint(bus)
                await schedulers[0].kill()
                assert await bus.take(streams.WORK, first)
                await schedulers[1].kill()
                again, second = await hint(bus)
                assert (again, second > first) == (subject, True)
                assert await bus.take(streams.WORK, second)
                runs = RunStore(bus)
                (run,) = await runs.all_of(NAME)
                assert (run.id, 1) == parse_work(subject)
                assert isinstance(run.state, Pending)
                claimed = (await runs.change(run.ref, Claim(attempt=1, runner="gpu-runner"))).run
                assert isinstance(claimed.state, Running)
            finally:
                presence.cancel()
                with suppress(asyncio.CancelledError):
                    await presence
                for scheduler in schedulers:
                    await scheduler.remove()
    finally:
        await server.end()
