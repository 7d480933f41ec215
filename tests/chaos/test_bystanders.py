"""Other processes die beside a run: the bus server, the gateway, the syncer, a runner of another name."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastflow_contracts.runs.run import RunStatus
from tests.chaos.settled import settled, under_way
from tests.chaos.world import COUNT, World

pytestmark = pytest.mark.docker


async def test_a_run_outlives_its_bus(here: World) -> None:
    """nats-server is killed and restarted on its store: the script is not affected, and its log is complete."""
    runner = here.runner()
    ref = await under_way(here, COUNT.format(lines=800, pause_s=0.01), here.scheduler(), runner)
    before = await here.container(ref)
    await here.server.kill()
    await here.server.start()
    print(f"the log goes on {await here.goes_on_after(ref):.1f} s after the bus is back")
    assert await here.container(ref) == before
    (run,) = await settled(here, runner, ref, lines=800)
    assert run.status is RunStatus.SUCCESS
    assert run.epoch == 1


async def test_output_waits_in_the_container_while_the_bus_is_down(here: World) -> None:
    """The script ends while the bus is down; all its output and its end are recorded afterwards."""
    runner = here.runner()
    ref = await under_way(here, COUNT.format(lines=100, pause_s=0.01), here.scheduler(), runner)
    await here.server.kill()
    await here.script_ended(ref)
    await here.server.start()
    (run,) = await settled(here, runner, ref, lines=100)
    assert run.status is RunStatus.SUCCESS


async def test_gateways_and_syncers_may_die_at_any_time(here: World, tmp_path: Path) -> None:
    """A run does not depend on them."""
    folder = tmp_path / "pipelines" / "script"
    folder.mkdir(parents=True)
    (folder / "main.py").write_text(COUNT.format(lines=300, pause_s=0.01))
    runner, gateway, syncer = here.runner(), here.gateway(), here.syncer(folder.parent)
    await here.running(here.scheduler(), runner, gateway, syncer)
    ref = await here.start("script")
    await here.first_output(ref)
    await gateway.kill()
    await syncer.kill()
    await here.running(gateway, syncer)
    (run,) = await settled(here, runner, ref, lines=300)
    assert run.status is RunStatus.SUCCESS
    assert run.epoch == 1


async def test_a_neighbour_on_the_same_daemon_adopts_what_a_dead_runner_left(here: World) -> None:
    """After a lease, well before the container would end by itself."""
    patience = {"FASTFLOW_LEASE_S": "2"}
    one, two = here.runner("one", **patience), here.runner("two", **patience)
    ref = await under_way(here, COUNT.format(lines=600, pause_s=0.01), here.scheduler(**patience), one)
    before = await here.container(ref)
    await two.start()
    await one.kill()
    await here.adopted(ref)
    assert await here.container(ref) == before
    (run,) = await settled(here, two, ref, lines=600)
    assert run.status is RunStatus.SUCCESS
    assert run.attempts[0].runner == "two"
