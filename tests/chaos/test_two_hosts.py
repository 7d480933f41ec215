"""Two Docker hosts that share only the bus: this machine's daemon, and a second one with its own disk."""

from __future__ import annotations

from datetime import datetime

import pytest

from fastflow_contracts.pipelines.format.retry import FixedDelay
from fastflow_contracts.runs.lease import Lease
from fastflow_contracts.runs.run import RunErrorType, RunStatus
from tests.chaos.evidence import gather
from tests.chaos.settled import under_way
from tests.chaos.verdict import wrongs
from tests.chaos.world import COUNT, World, docker
from tests.support.docker_host import DockerHost

pytestmark = pytest.mark.docker

LEASE = Lease(lease_s=3, fence_s=3)
PATIENCE = {"FASTFLOW_LEASE_S": str(LEASE.lease_s), "FASTFLOW_FENCE_S": str(LEASE.fence_s)}
SLOTS = 2
RUNNING_MAX = 3
LONG = COUNT.format(lines=100_000, pause_s=0.05)
STUCK_ONCE = """\
import os, time
for n in range({lines}):
    print(n)
    time.sleep(600 if os.environ["FASTFLOW_ATTEMPT"] == "1" else 0.05)
"""
"""A script whose first attempt ends only with its host, however long the rest of the test takes."""


async def test_runs_spread_over_two_hosts_and_each_prepares_for_itself(
    here: World, other_host: DockerHost, store_volume: str
) -> None:
    """Logs are complete, and the limit on running runs covers both."""
    slots = {"RUNNER_SLOTS": str(SLOTS)}
    near, far = here.runner("here", **slots), here.runner("there", DOCKER_HOST=other_host.url, **slots)
    await here.running(here.scheduler(MAX_CONCURRENT_RUNS=str(RUNNING_MAX)), near, far)
    lines = 20
    own = "--no-index  # an environment of its own\n"
    await here.pipeline("script", COUNT.format(lines=lines, pause_s=0.05), requirements=own)
    refs = [await here.start("script") for _ in range(9)]
    runs = [await here.end(ref) for ref in refs]
    assert {run.status for run in runs} == {RunStatus.SUCCESS}
    assert {attempt.runner for run in runs for attempt in run.attempts} == {"here", "there"}
    held = [(attempt.claimed_at, attempt.finished_at) for run in runs for attempt in run.attempts]
    assert max(sum(start <= began < end for start, end in held) for began, _ in held) <= RUNNING_MAX
    for runner in (near, far):
        assert await runner.terminate() == 0
    assert wrongs(await gather(here), refs, lines={"script": lines}) == []
    assert other_host.docker("ps", "--all", "--quiet") == ""
    image = other_host.docker("images", "--quiet").split()[0]
    look = ("run", "--rm", "--volume", f"{store_volume}:/store:ro", "--entrypoint", "ls", image, "/store/envs")
    (environment,) = other_host.docker(*look).split()
    assert environment in (await docker(*look)).split()


async def test_runs_of_a_dead_host_are_lost_and_the_other_host_continues(here: World, other_host: DockerHost) -> None:
    """Its run is lost when its fence is over, and retried on the remaining host, where other runs continue."""
    lines = 60
    far = here.runner("there", DOCKER_HOST=other_host.url, RUNNER_SLOTS="1", **PATIENCE)
    again = {"retry_attempts": 1, "retry_strategy": FixedDelay(delay=0.5)}
    on_far = await under_way(here, STUCK_ONCE.format(lines=lines), here.scheduler(**PATIENCE), far, **again)
    near = here.runner("here", **PATIENCE)
    await near.start()
    await here.pipeline("steady", COUNT.format(lines=lines, pause_s=0.05))
    on_near = await here.start("steady")
    await here.first_output(on_near)
    await here.pipeline("quick", "print('0')")
    far.die()
    other_host.kill()
    await far.ended()
    meanwhile = await here.run("quick")
    untouched = await here.end(on_near)
    retried = await here.end(on_far)
    for run in (untouched, meanwhile):
        assert [(run.status, attempt.runner) for attempt in run.attempts] == [(RunStatus.SUCCESS, "here")]
    lost, second = retried.attempts
    assert (retried.status, lost.error_type, second.runner) == (RunStatus.SUCCESS, RunErrorType.LOST, "here")
    assert meanwhile.attempts[0].finished_at < lost.finished_at < second.claimed_at
    assert await near.terminate() == 0
    printed = {"script": lines, "steady": lines, "quick": 1}
    assert wrongs(await gather(here), [on_near, on_far, meanwhile.ref], lines=printed) == []


async def test_a_runner_of_the_same_id_elsewhere_waits_until_the_sandbox_it_cannot_see_has_stopped(
    here: World, other_host: DockerHost
) -> None:
    """It must not mark a run lost whose script still runs on the host of its previous life."""
    there = here.runner("one", DOCKER_HOST=other_host.url, **PATIENCE)
    ref = await under_way(here, LONG, here.scheduler(**PATIENCE), there)
    await there.kill()
    moved = here.runner("one", **PATIENCE)
    await moved.start()
    run = await here.end(ref)
    (attempt,) = run.attempts
    assert (run.status, attempt.error_type) == (RunStatus.FAILED, RunErrorType.LOST)
    (container,) = other_host.docker("ps", "--all", "--quiet", "--filter", f"name={ref.run_id}").split()
    state = ("inspect", "--format", "{{.State.Status}} {{.State.FinishedAt}}", container)
    status, finished_at = other_host.docker(*state).split()
    assert status == "exited"
    assert datetime.fromisoformat(finished_at) < attempt.finished_at
    other_host.clear()
    assert await moved.terminate() == 0
