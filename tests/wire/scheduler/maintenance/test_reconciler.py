"""Which runs a scheduler expires: those of runners that are gone, not those of runners it could not hear."""

from __future__ import annotations

import asyncio
import json

import msgspec

from fastflow_contracts.bus import streams, subjects
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
PAUSE_UNTIL = "2999-01-01T00:00:00Z"


async def renew(bus: Bus, runner: str) -> None:
    presence = msgspec.structs.replace(a_presence(runner), seen_at=now())
    await bus.put(subjects.RUNNERS, subjects.runner_key(runner), PRESENCE.encode(presence))


async def deafen(bus: Bus) -> None:
    """Followers of presences still learn that the bus is there, but get no more presences."""
    stream = streams.bucket_stream(subjects.RUNNERS)
    followers = await bus.js.consumers_info(stream)
    assert followers
    for follower in followers:
        request = json.dumps({"pause_until": PAUSE_UNTIL}).encode()
        answer = json.loads(await bus.ask(f"$JS.API.CONSUMER.PAUSE.{stream}.{follower.name}", request))
        assert answer["paused"]


async def test_a_run_is_lost_if_its_runner_is_silent_but_not_if_its_scheduler_hears_nothing(
    bus_url: str, bus: Bus
) -> None:
    """Before a run expires, the scheduler reads the presence itself."""
    run = a_run()
    ref, runs = RunRef(run.pipeline, run.id), RunStore(bus)
    await bus.put(subjects.RUNS, subjects.run_key(ref), RUN.encode(run))
    await renew(bus, "one")
    await runs.change(ref, Claim(attempt=1, runner="one"))
    await runs.change(ref, Prepare(epoch=1))
    stop, ready = asyncio.Event(), asyncio.Event()
    settings = SchedulerSettings(lease_s=LEASE.lease_s, fence_s=LEASE.fence_s)
    async with connect(bus_url, name="scheduler") as its_bus, asyncio.TaskGroup() as group:
        group.create_task(serve(settings, its_bus, stop, ready.set))
        await ready.wait()
        while not await bus.js.consumers_info(streams.bucket_stream(subjects.RUNNERS)):
            await asyncio.sleep(0.01)
        await deafen(bus)
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
