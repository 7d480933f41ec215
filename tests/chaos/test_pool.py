"""The runner dies while sandboxes wait for work. None of them is left, and none is mistaken for a run."""

from __future__ import annotations

import asyncio

import pytest

from fastflow_contracts.runs.run import RunStatus
from fastflow_runner.sandbox.naming import is_warm
from tests.chaos.settled import settled, under_way
from tests.chaos.world import COUNT, DOCKER_S, LOOK_S, World

pytestmark = pytest.mark.docker


async def warm(world: World) -> set[str]:
    """Return the ids of the containers that wait for work."""
    return {container.id for container in await world.containers() if is_warm(container.name)}


async def some_warm(world: World, *, but: frozenset[str] = frozenset()) -> set[str]:
    """Return them once there are any, and none of *but* is among them."""
    async with asyncio.timeout(DOCKER_S):
        while not (found := await warm(world)) or found & but:
            await asyncio.sleep(LOOK_S)
    return found


async def test_a_restarted_runner_removes_what_waited_and_goes_on_with_what_ran(here: World) -> None:
    """Killed with one run in a formerly warm sandbox and other sandboxes waiting.

    The run continues in the same container, every line once; the others are removed and replaced. At the end nothing is
    left.
    """
    runner = here.runner(RUNNER_POOL_SIZE="2")
    await runner.start()
    first = await some_warm(here)
    ref = await under_way(here, COUNT.format(lines=400, pause_s=0.01), here.scheduler(), mem_hard_limit=128 * 1024**2)
    running = await here.container(ref)
    assert running.id in first, "was not started warm"
    waiting = frozenset(await some_warm(here))
    await runner.kill()
    assert await warm(here) >= waiting
    await runner.start()
    await here.adopted(ref)
    assert (await here.container(ref)).id == running.id
    await some_warm(here, but=waiting)
    (run,) = await settled(here, runner, ref, lines=400)
    assert run.status is RunStatus.SUCCESS
    assert len(run.attempts) == 1
