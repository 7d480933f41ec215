"""A runner is frozen or cut off while its container lives: the container ends before another runner may take over.

Times are those of a short lease; ``contracts/lease.py`` derives them.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

import pytest

from fastflow_contracts.bus.subjects import RunRef
from fastflow_contracts.clock import now
from fastflow_contracts.runs.lease import Lease
from fastflow_contracts.runs.run import RunErrorType, RunRecord, RunStatus
from tests.chaos.evidence import gather
from tests.chaos.settled import settled, under_way
from tests.chaos.verdict import wrongs
from tests.chaos.world import COUNT, DOCKER_S, LOOK_S, World, docker
from tests.support.relay import Relay

pytestmark = pytest.mark.docker

LEASE = Lease(lease_s=3, fence_s=3)
PATIENCE = {"FASTFLOW_LEASE_S": str(LEASE.lease_s), "FASTFLOW_FENCE_S": str(LEASE.fence_s)}
LONG = COUNT.format(lines=100_000, pause_s=0.05)
"""It would run for more than an hour."""


async def script_over_at(world: World, ref: RunRef) -> datetime:
    """Return when no process of the script was alive any more, and what its container waits for."""
    container = await world.container(ref)
    async with asyncio.timeout(LEASE.take_over_s * 3):
        while True:
            try:
                processes = (await docker("top", container.id)).splitlines()[1:]
            except AssertionError:  # the container has ended, or is gone
                return now()
            if len(processes) == 1:
                return now()
            await asyncio.sleep(LOOK_S)


async def containers_gone(world: World) -> None:
    """Wait until the runner has removed unneeded containers."""
    async with asyncio.timeout(DOCKER_S):
        while await world.containers():
            await asyncio.sleep(LOOK_S)


async def is_lost_after_its_script_was_over(world: World, ref: RunRef, began_at: float) -> RunRecord:
    """Return the run after checking the order of events; print how long each took."""
    loop = asyncio.get_running_loop()
    script_over = await script_over_at(world, ref)
    stopped_s = loop.time() - began_at
    run = await world.end(ref)
    print(f"stopped after {stopped_s:.1f} s (promised {LEASE.dead_s:g}), free after {loop.time() - began_at:.1f} s")
    (attempt,) = run.attempts
    assert (run.status, attempt.error_type) == (RunStatus.FAILED, RunErrorType.LOST)
    assert script_over < attempt.finished_at
    return run


async def test_a_frozen_runner_loses_its_run_after_the_container_has_stopped_itself(here: World) -> None:
    """Without heartbeats the supervisor ends the script. The thawed runner cannot change the decision."""
    scheduler, runner = here.scheduler(**PATIENCE), here.runner(**PATIENCE)
    ref = await under_way(here, LONG, scheduler, runner)
    began_at = asyncio.get_running_loop().time()
    runner.signal(signal.SIGSTOP)
    run = await is_lost_after_its_script_was_over(here, ref, began_at)
    runner.signal(signal.SIGCONT)
    await containers_gone(here)
    (again,) = await settled(here, runner, ref)
    assert again == run


@asynccontextmanager
async def cut_off_runner(world: World) -> AsyncIterator[tuple[RunRef, Relay]]:
    """A run whose runner reaches the bus through a relay that can be cut."""
    scheduler, runner = world.scheduler(**PATIENCE), world.runner(**PATIENCE)
    async with Relay(world.url) as relay:
        await scheduler.start()
        await runner.start(FASTFLOW_NATS_URL=relay.url)
        await world.pipeline("script", LONG)
        ref = await world.start("script")
        await world.first_output(ref)
        yield ref, relay
        await runner.terminate()


async def test_a_runner_that_is_cut_off_from_the_bus_stops_its_container_itself(here: World) -> None:
    """It cannot renew its presence, so it stops its runs before another runner may start them."""
    async with cut_off_runner(here) as (ref, relay):
        began_at = asyncio.get_running_loop().time()
        relay.cut()
        await is_lost_after_its_script_was_over(here, ref, began_at)
        relay.mend()
        await containers_gone(here)
    assert wrongs(await gather(here), [ref], lines={}) == []


async def test_a_runner_that_lost_the_bus_for_seconds_loses_nothing(here: World) -> None:
    """The script continues, its output waits, and every line arrives."""
    scheduler, runner = here.scheduler(**PATIENCE), here.runner(**PATIENCE)
    async with Relay(here.url) as relay:
        await here.running(scheduler)
        await runner.start(FASTFLOW_NATS_URL=relay.url)
        await here.pipeline("script", COUNT.format(lines=600, pause_s=0.01))
        ref = await here.start("script")
        await here.first_output(ref)
        relay.cut()
        await asyncio.sleep(LEASE.lease_s * 2 / 3)
        relay.mend()
        print(f"the log goes on {await here.goes_on_after(ref):.1f} s after the runner has the bus back")
        (run,) = await settled(here, runner, ref, lines=600)
    assert (run.status, run.epoch) == (RunStatus.SUCCESS, 1)


async def test_a_bus_that_was_frozen_for_seconds_ends_no_run(here: World) -> None:
    """A silent bus does not mean a dead runner: the same attempt, the same holder, every line."""
    runner = here.runner(**PATIENCE)
    main = COUNT.format(lines=600, pause_s=0.01)
    ref = await under_way(here, main, here.scheduler(**PATIENCE), runner)
    here.server.signal(signal.SIGSTOP)
    await asyncio.sleep(LEASE.lease_s * 2 / 3)
    here.server.signal(signal.SIGCONT)
    print(f"the log goes on {await here.goes_on_after(ref):.1f} s after the bus thawed")
    (run,) = await settled(here, runner, ref, lines=600)
    assert (run.status, run.epoch) == (RunStatus.SUCCESS, 1)


async def test_a_frozen_runner_s_neighbour_takes_the_container_over_as_it_is(here: World) -> None:
    """On the same daemon no runner needs to wait for the fence; the thawed one releases what it no longer owns."""
    one, two = here.runner("one", **PATIENCE), here.runner("two", **PATIENCE)
    ref = await under_way(here, COUNT.format(lines=600, pause_s=0.015), here.scheduler(**PATIENCE), one)
    await two.start()
    before = await here.container(ref)
    began_at = asyncio.get_running_loop().time()
    one.signal(signal.SIGSTOP)
    await here.adopted(ref)
    print(f"adopted after {asyncio.get_running_loop().time() - began_at:.1f} s")
    assert await here.container(ref) == before
    one.signal(signal.SIGCONT)
    (run,) = await settled(here, two, ref, lines=600)
    assert (run.status, run.attempts[0].runner) == (RunStatus.SUCCESS, "two")
