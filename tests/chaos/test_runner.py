"""The runner dies in the middle of a run. The run ends once, correctly, with a complete log."""

from __future__ import annotations

import asyncio
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import fastflow_runner.app
from fastflow_contracts.bus.errors import Unavailable
from fastflow_contracts.bus.streams import HINT_S
from fastflow_contracts.bus.subjects import RunRef
from fastflow_contracts.runs.lease import Lease
from fastflow_contracts.runs.run import RunErrorType, Running, RunStatus
from fastflow_contracts.runs.state_machine import Claim, Command
from fastflow_contracts.runs.store import Changed, RunStore
from fastflow_contracts.starting.hint_queue import REHINT_S
from tests.chaos.settled import settled, under_way
from tests.chaos.world import COUNT, PATIENT, World, world
from tests.support.system import system
from tests.support.tripwire import Moment, Tripwire

docker = pytest.mark.docker

LAST_WORDS = "import time\nprint('0')\ntime.sleep(2)\nprint('1')\nraise SystemExit(7)\n"
RECORD = b'"state":{"type":"'


@docker
async def test_a_restarted_runner_goes_on_with_the_same_container(here: World) -> None:
    """Killed in the middle and restarted: one container, one attempt, every line once."""
    runner = here.runner()
    ref = await under_way(here, COUNT.format(lines=300, pause_s=0.01), here.scheduler(), runner)
    before = await here.container(ref)
    await runner.kill()
    await runner.start()
    await here.adopted(ref)
    assert await here.container(ref) == before
    (run,) = await settled(here, runner, ref, lines=300)
    assert run.status is RunStatus.SUCCESS
    assert len(run.attempts) == 1


@docker
async def test_a_flood_of_output_survives_two_kills(here: World) -> None:
    """Three hundred thousand lines, none of them lost, doubled or out of order."""
    runner = here.runner()
    ref = await under_way(here, "for n in range(300_000):\n    print(n)\n", here.scheduler(), runner)
    for epoch in (1, 2):
        await runner.kill()
        await runner.start()
        await here.adopted(ref, epoch=epoch)
    (run,) = await settled(here, runner, ref, lines=300_000)
    assert run.status is RunStatus.SUCCESS


@docker
async def test_an_end_without_a_runner_is_found_in_the_container(here: World) -> None:
    """The script ends while no runner is alive: the next one records its last line and its exit code."""
    runner = here.runner()
    ref = await under_way(here, LAST_WORDS, here.scheduler(), runner)
    await runner.kill()
    await here.script_ended(ref)
    await runner.start()
    (run,) = await settled(here, runner, ref)
    (attempt,) = run.attempts
    assert (run.status, attempt.exit_code, attempt.error_type) == (RunStatus.FAILED, 7, RunErrorType.SCRIPT_ERROR)
    assert await here.text(run) == "0\n1"


@docker
async def test_a_run_whose_environment_was_being_prepared_is_given_back(here: World) -> None:
    """None of its code has run, so it uses up no attempt."""
    runner = here.runner()
    await here.running(here.scheduler(), runner)
    await here.pipeline("script", "print('0')", requirements="--no-index  # an environment of its own\n")
    ref = await here.start("script")
    await here.claimed(ref)
    await runner.kill()
    await runner.start()
    await here.until(ref, lambda run: run.releases == 1)
    (run,) = await settled(here, runner, ref, lines=1)
    assert run.status is RunStatus.SUCCESS
    assert [attempt.number for attempt in run.attempts] == [1]


@docker
async def test_a_cancel_while_the_runner_is_down_takes_effect_when_it_is_back(here: World) -> None:
    """The record keeps the request."""
    runner = here.runner()
    ref = await under_way(here, PATIENT, here.scheduler(), runner)
    await runner.kill()
    await here.cancel(ref)
    await here.until(ref, lambda run: isinstance(run.state, Running) and run.state.cancel_requested_at is not None)
    await runner.start()
    (run,) = await settled(here, runner, ref)
    assert run.status is RunStatus.INTERRUPTED


@docker
async def test_a_runner_that_is_asked_to_stop_leaves_its_container_to_the_next_one(here: World) -> None:
    """SIGTERM is not a reason to lose work that outlives the process."""
    runner = here.runner(FASTFLOW_LEAVE_RUNNING="yes", FASTFLOW_GRACE_S="0")
    ref = await under_way(here, COUNT.format(lines=1500, pause_s=0.01), here.scheduler(), runner)
    before = await here.container(ref)
    assert await runner.terminate() == 0
    assert await here.container(ref) == before
    await runner.start()
    await here.adopted(ref)
    assert (await here.container(ref)).id == before.id
    (run,) = await settled(here, runner, ref, lines=1500)
    assert run.status is RunStatus.SUCCESS


async def test_a_process_sandbox_dies_with_its_runner(here: World) -> None:
    """No process outlives the runner, so the run is lost, and its log has the output until then."""
    runner = here.runner(sandbox="process")
    ref = await under_way(here, PATIENT, here.scheduler(), runner)
    await runner.kill()
    await runner.start()
    (run,) = await settled(here, runner, ref)
    (attempt,) = run.attempts
    assert (run.status, attempt.error_type) == (RunStatus.FAILED, RunErrorType.LOST)
    assert await here.text(run) == "0"


async def test_a_claim_that_was_stored_without_a_response_is_carried_out(
    bus_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runner is alive, so no other service would handle the run."""

    class Deaf(RunStore):
        heard = False

        async def change(self, ref: RunRef, command: Command, **options: Any) -> Changed:
            changed = await super().change(ref, command, **options)
            if isinstance(command, Claim) and not self.heard:
                self.heard = True
                raise Unavailable("the bus did not answer")
            return changed

    monkeypatch.setattr(fastflow_runner.app, "RunStore", Deaf)
    async with system(bus_url, tmp_path, sandbox="dummy") as here:
        await here.pipeline("script", "print('0')")
        run = await here.run("script")
    assert (run.status, run.epoch, len(run.attempts)) == (RunStatus.SUCCESS, 2, 1)


async def test_a_hint_that_died_with_its_runner_is_soon_given_to_another_one(here: World) -> None:
    """Between hint and claim only the runner knows of the run: the bus delivers the hint again, before any scheduler
    misses the claim.
    """
    one, two, scheduler = here.runner("one", sandbox="process"), here.runner("two", sandbox="process"), here.scheduler()
    await scheduler.start()
    await here.pipeline("script", "print('0')")
    async with Tripwire(here.url, one.die, STEPS["the claim"], "before").url() as url:
        await one.start(FASTFLOW_NATS_URL=url)
        ref = await here.start("script")
        await one.ended()
    died_at = asyncio.get_running_loop().time()
    await two.start()
    await here.claimed(ref)
    waited_s = asyncio.get_running_loop().time() - died_at
    print(f"claimed {waited_s:.1f} s after the first one died")
    assert HINT_S - 1 < waited_s < REHINT_S
    (run,) = await settled(here, two, ref)
    assert (run.status, len(run.attempts)) == (RunStatus.SUCCESS, 1)


@docker
@pytest.mark.parametrize("step", ["the claim", "the environment", "the first output", "the end of the log"])
async def test_a_runner_that_is_asked_to_stop_at_any_step_loses_nothing(here: World, step: str) -> None:
    """Without any grace. A neighbour adopts started containers; runs that have not started are given back."""
    one, two, scheduler = here.runner("one", FASTFLOW_GRACE_S="0"), here.runner("two"), here.scheduler()
    await scheduler.start()
    await here.pipeline("script", "print('0')", requirements="--no-index\n")
    ask_to_stop = partial(one.signal, signal.SIGTERM)
    async with Tripwire(here.url, ask_to_stop, STEPS[step], "passing").url() as url:
        await one.start(FASTFLOW_NATS_URL=url)
        ref = await here.start("script")
        assert await one.ended() == 0
    ended_at = asyncio.get_running_loop().time()
    await two.start()
    await here.end(ref)
    assert asyncio.get_running_loop().time() - ended_at < Lease().lease_s
    (run,) = await settled(here, two, ref, lines=1)
    assert (run.status, len(run.attempts)) == (RunStatus.SUCCESS, 1)


STEPS = {
    "the claim": RECORD + b'running"',
    "the environment": b'"prepared_at"',
    "the first output": b'"lines":[[',
    "the end of the log": b'"eof":true',
    "the end of the run": RECORD + b'ended"',
}


@docker
@pytest.mark.parametrize("step", STEPS)
async def test_a_run_succeeds_if_its_runner_dies_at_any_step(tmp_path: Path, store_volume: str, step: str) -> None:
    """Just before the step is stored, or just after, before the runner learns of it."""

    async def die(moment: Moment) -> None:
        async with world(tmp_path / moment, store_volume) as here:
            runner, scheduler = here.runner(RUNNER_POOL_SIZE="1"), here.scheduler()
            await scheduler.start()
            await here.pipeline("script", "print('0')", requirements="--no-index\n")
            async with Tripwire(here.url, runner.die, STEPS[step], moment).url() as url:
                await runner.start(FASTFLOW_NATS_URL=url)
                ref = await here.start("script")
                await runner.ended()
            await runner.start()
            (run,) = await settled(here, runner, ref, lines=1)
            assert run.status is RunStatus.SUCCESS, run.attempts
            assert len(run.attempts) == 1

    async with asyncio.TaskGroup() as group:
        group.create_task(die("before"))
        group.create_task(die("after"))
