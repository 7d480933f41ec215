"""The promises about slots, over simulated weeks or months, with schedulers killed at every step."""

from __future__ import annotations

import os
import random
from datetime import timedelta
from itertools import pairwise

import pytest
from msgspec.structs import replace

from fastflow_contracts.bus.subjects import JobRef
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.format.spec import PipelineSpec, ScheduleEntry
from tests.support.profile import lasting
from tests.support.records import T0, at
from tests.support.simulation.schedule_world import World
from tests.support.simulation.slot_promises import check

pytestmark = pytest.mark.simulation

SETTLED_BY_AN_OLD_VIEW = 3699042322
"""In this world a scheduler settles a new schedule for a definition that is not the newest any more."""
SEED = int(os.environ.get("FASTFLOW_SEED") or random.SystemRandom().randrange(2**32))
WORLDS = lasting(1, long=3)
"""Number of worlds, each with its own seed."""
DAYS = lasting(24, long=120)
CHANGES = lasting(200, long=1000)

SPECS = {
    "none": PipelineSpec(schedule_cron="*/40 * * * *", catchup="none"),
    "last": PipelineSpec(schedule_interval_seconds=2400),
    "all": PipelineSpec(schedule_cron="20 */2 * * *", timezone="Europe/Berlin", catchup="all"),
    "several": PipelineSpec(
        run_once_at=at(20 * 86_400),
        restart_interval="0 3 * * *",
        schedules=(
            ScheduleEntry(id="bounded", schedule_interval_seconds=7200, schedule_start=at(3e5), schedule_end=at(2e6)),
            ScheduleEntry(id="off", schedule_cron="* * * * *", enabled=False),
        ),
    ),
}


@pytest.mark.parametrize("number", range(WORLDS))
def test_every_slot_runs_once_while_schedulers_are_killed(number: int) -> None:
    """Three schedulers, four unchanged pipelines; then a quiet end."""
    print(f"FASTFLOW_SEED={SEED + number}")
    world = World(SEED + number)
    for name, spec in SPECS.items():
        world.sync(name, spec)
    for _ in range(3):
        world.start_scheduler()
    world.run_until(T0 + timedelta(days=DAYS))
    world.run_until(world.now + timedelta(days=3), calm=True)
    looked_at = sum(check(world, each) for each in world.written)
    print(f"{looked_at} slots, {len(world.runs)} runs, {world.kills} kills, {world.repeats} repeats")
    assert world.kills
    assert world.repeats
    assert len({written.state.anchor for written in world.written[job("last")]}) == 1


@pytest.mark.parametrize(
    "seed",
    [SETTLED_BY_AN_OLD_VIEW, *range(SEED, SEED + WORLDS)],
    ids=["settled by an old view", *map(str, range(WORLDS))],
)
def test_slots_follow_what_people_change_while_schedulers_are_killed(seed: int) -> None:
    """Syncs, vanishing folders, buttons: a disabled schedule is silent, a new one never fires for the past."""
    print(f"FASTFLOW_SEED={seed}")
    world, chance = World(seed), random.Random(seed)
    specs = [*SPECS.values(), replace(SPECS["last"], enabled=False), replace(SPECS["all"], description="same slots")]
    names = ["one", "two", "three"]
    for _ in range(3):
        world.start_scheduler()
    for _ in range(CHANGES):
        name = chance.choice(names)
        if name not in world.records or chance.random() < 0.6:
            world.sync(name, chance.choice(specs))
        elif chance.random() < 0.3:
            world.sync(name, None)
        else:
            world.switch(job(name))
        world.run_until(world.now + timedelta(seconds=chance.choice((0.001, 1, 2400, 40_000)) * chance.uniform(0.5, 1)))
    world.run_until(world.now + timedelta(days=2), calm=True)
    looked_at = sum(check(world, each) for each in world.written)
    print(f"{looked_at} slots, {len(world.runs)} runs, {world.kills} kills, {world.repeats} repeats")
    for written in world.written.values():
        for former, state in pairwise(one.state for one in written):
            assert (former.anchor == state.anchor) or (former.definition != state.definition)


def job(pipeline: str) -> JobRef:
    return JobRef(PipelineName(pipeline), "schedule")
