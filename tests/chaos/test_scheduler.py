"""The scheduler dies between a trigger and its run, or while runs are active."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from fastflow_contracts.runs.run import RunErrorType, RunStatus
from tests.chaos.settled import settled, under_way
from tests.chaos.world import COUNT, PATIENT, World, world
from tests.support.tripwire import Moment, Tripwire

pytestmark = pytest.mark.docker

STEPS: list[tuple[bytes, Moment]] = [
    (b"PUB $KV.ff_runs.run.", "before"),
    (b"PUB $KV.ff_runs.run.", "after"),
    (b"PUB ff.work.", "before"),
]


async def test_a_trigger_whose_scheduler_dies_over_it_still_starts_one_run(tmp_path: Path, store_volume: str) -> None:
    """Before the run is recorded, before the scheduler learns of that, or before any runner learns of the run.

    All in parallel, because each waits until the bus delivers again or the run seems forgotten.
    """

    async def die(number: int, step: bytes, moment: Moment) -> None:
        async with world(tmp_path / str(number), store_volume) as here:
            scheduler, runner = here.scheduler(), here.runner()
            await runner.start()
            await here.pipeline("script", "print('0')")
            async with Tripwire(here.url, scheduler.die, step, moment).url() as url:
                await scheduler.start(FASTFLOW_NATS_URL=url)
                ref = await here.start("script")
                await scheduler.ended()
            await scheduler.start()
            (run,) = await settled(here, runner, ref, lines=1)
            assert run.status is RunStatus.SUCCESS

    async with asyncio.TaskGroup() as group:
        for number, (step, moment) in enumerate(STEPS):
            group.create_task(die(number, step, moment))


async def test_triggers_wait_while_no_scheduler_is_there(here: World) -> None:
    """The bus has accepted them, so each becomes one run, also the one that was sent twice."""
    scheduler, runner = here.scheduler(), here.runner()
    await here.running(scheduler, runner)
    await scheduler.kill()
    await here.pipeline("script", "print('0')")
    refs = [await here.start("script") for _ in range(2)]
    refs += {await here.start("script", key="twice"), await here.start("script", key="twice")}
    await scheduler.start()
    runs = await settled(here, runner, *refs, lines=1)
    assert [run.status for run in runs] == [RunStatus.SUCCESS] * 3


async def test_a_run_does_not_need_the_scheduler_that_started_it(here: World) -> None:
    """It ends, recorded and with its complete log, while no scheduler is alive."""
    scheduler, runner = here.scheduler(), here.runner()
    ref = await under_way(here, COUNT.format(lines=100, pause_s=0.01), scheduler, runner)
    await scheduler.kill()
    (run,) = await settled(here, runner, ref, lines=100)
    assert run.status is RunStatus.SUCCESS


async def test_a_run_whose_runner_never_comes_back_is_lost_after_its_container_has_ended(here: World) -> None:
    """Without heartbeats the container ends by itself first; then the run is marked lost."""
    patience = {"FASTFLOW_LEASE_S": "3", "FASTFLOW_FENCE_S": "1"}
    scheduler, runner = here.scheduler(**patience), here.runner(**patience)
    ref = await under_way(here, PATIENT, scheduler, runner)
    await runner.kill()
    await here.container_ended(ref)
    assert not (await here.until(ref, lambda run: True)).is_over
    run = await here.end(ref)
    (attempt,) = run.attempts
    assert (run.status, attempt.error_type) == (RunStatus.FAILED, RunErrorType.LOST)
    await runner.start()
    await settled(here, runner, ref)
