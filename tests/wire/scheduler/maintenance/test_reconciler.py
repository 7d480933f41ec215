"""Which runs a scheduler expires: those of runners that are gone, not those of runners it could not hear."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import msgspec
import pytest

from fastflow_contracts.bus import feed, streams, subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.subjects import RunRef
from fastflow_contracts.clock import now
from fastflow_contracts.runs.lease import Lease
from fastflow_contracts.runs.presence import PRESENCE
from fastflow_contracts.runs.run import RUN, RunErrorType, Running, RunStatus
from fastflow_contracts.runs.state_machine import Claim, Prepare
from fastflow_contracts.runs.store import RunStore
from fastflow_scheduler.app import serve
from fastflow_scheduler.settings import SchedulerSettings
from tests.support.records import a_presence, a_run

LEASE = Lease(lease_s=0.6, fence_s=0.6)


async def renew(bus: Bus, runner: str) -> None:
    presence = msgspec.structs.replace(a_presence(runner), seen_at=now())
    await bus.put(subjects.RUNNERS, subjects.runner_key(runner), PRESENCE.encode(presence))


async def deafen(bus: Bus) -> None:
    """Followers of presences are not told of any more, and do not look by themselves."""
    config = (await bus.stream(streams.bucket_stream(subjects.RUNNERS))).config
    await bus.js.update_stream(replace(config, republish=None))


@pytest.mark.slow
async def test_a_run_is_lost_if_its_runner_is_silent_but_not_if_its_scheduler_hears_nothing(
    own_bus_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a run expires, the scheduler reads the presence itself."""
    monkeypatch.setattr(feed, "LOOK_S", 3600.0)
    async with connect(own_bus_url, name="test") as bus:
        await _lose(own_bus_url, bus)


async def _lose(url: str, bus: Bus) -> None:
    run = a_run()
    ref, runs = RunRef(run.pipeline, run.id), RunStore(bus)
    await bus.put(subjects.RUNS, subjects.run_key(ref), RUN.encode(run))
    await renew(bus, "one")
    await runs.change(ref, Claim(attempt=1, runner="one"))
    await runs.change(ref, Prepare(epoch=1))
    await deafen(bus)
    stop, ready = asyncio.Event(), asyncio.Event()
    settings = SchedulerSettings(lease_s=LEASE.lease_s, fence_s=LEASE.fence_s)
    async with connect(url, name="scheduler") as its_bus, asyncio.TaskGroup() as group:
        group.create_task(serve(settings, its_bus, stop, ready.set))
        await ready.wait()
        loop = asyncio.get_running_loop()
        until = loop.time() + 3 * LEASE.take_over_s
        while loop.time() < until:
            await renew(bus, "one")
            assert isinstance((await runs.load(ref)).run.state, Running)
            await asyncio.sleep(LEASE.renew_s)
        async with asyncio.timeout(20):
            while not (lost := (await runs.load(ref)).run).is_over:
                await asyncio.sleep(LEASE.renew_s)
        stop.set()
    assert lost.status is RunStatus.FAILED
    assert lost.attempts[0].error_type is RunErrorType.LOST
