"""The Docker daemon goes away and comes back. Runs that have not started wait for it, or go to another runner."""

from __future__ import annotations

import asyncio

import pytest

from fastflow_contracts.runs.run import RunStatus
from fastflow_runner.work.runner import DAEMON_S
from tests.chaos.evidence import gather
from tests.chaos.verdict import wrongs
from tests.chaos.world import World
from tests.support.docker_host import DockerHost

pytestmark = pytest.mark.docker


@pytest.mark.parametrize("requirements", [None, "--no-index  # an environment of its own\n"])
async def test_what_is_started_while_the_daemon_is_away_runs_when_it_is_back(
    here: World, other_host: DockerHost, requirements: str | None
) -> None:
    """The run is given back instead of failed, also before its environment is made, and the runner takes no other."""
    await here.running(here.scheduler(), here.runner(DOCKER_HOST=other_host.url))
    await here.pipeline("script", "print('0')", requirements=requirements)
    other_host.kill()
    ref = await here.start("script")
    given_back = await here.until(ref, lambda run: run.releases == 1)
    await asyncio.sleep(DAEMON_S)  # no wait for something: nothing may happen in this time
    assert await here.until(ref, lambda run: True) == given_back
    other_host.start()
    run = await here.end(ref)
    assert (run.status, run.epoch, len(run.attempts)) == (RunStatus.SUCCESS, 2, 1)
    assert wrongs(await gather(here), [ref], lines={"script": 1}) == []
