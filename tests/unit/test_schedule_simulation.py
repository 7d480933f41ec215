"""The promises about slots, held over months of simulated time with schedulers killed at every step."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import groupby, pairwise
from typing import NamedTuple

from msgspec.structs import replace

from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipeline import PipelineSpec, ScheduleEntry
from fastflow_contracts.schedule import Schedule
from fastflow_contracts.schedule_state import ScheduleState, definition
from fastflow_contracts.slots import between
from fastflow_contracts.subjects import JobRef
from fastflow_scheduler.backlog import LAST_WITHIN
from fastflow_scheduler.timetable import PATIENCE
from tests.support.records import T0, at
from tests.support.schedule_world import DELAY_S, Life, World, Written

DELAY = timedelta(seconds=DELAY_S)
MOMENT = PATIENCE + 3 * DELAY
"""After it, whoever lives has done what was to be done."""
SEED = int(os.environ.get("FASTFLOW_SEED") or random.SystemRandom().randrange(2**32))

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


class Stretch(NamedTuple):
    """A time through which the stored state stood for one definition. ``states``: what was written in it."""

    state: ScheduleState
    begin: datetime
    end: datetime

    def slots(self, schedule: Schedule, begin: datetime, end: datetime) -> Iterator[datetime]:
        """Those later than *begin*, up to *end*, in this stretch."""
        return between(schedule, max(begin, self.begin), end, self.state.anchor)


def stretches(world: World, job: JobRef) -> Iterator[Stretch]:
    """Those in which *job* fires."""

    def kind(written: Written) -> tuple[str, datetime, datetime | None]:
        return written.state.definition, written.state.anchor, written.state.idle_since

    firsts = [next(group) for _, group in groupby(world.written[job], key=kind)]
    ends = [first.at for first in firsts[1:]] + [world.now]
    for first, end in zip(firsts, ends, strict=True):
        if first.state.idle_since is None:
            yield Stretch(first.state, first.state.done_until, end)


def check(world: World, job: JobRef) -> int:
    """Every slot of *job* has the runs it must have; returns how many slots were looked at.

    It must have one if somebody could run it, or if it was missed and is to be caught up, before anything changed.
    """
    done = {run.slot: run.at for run in world.runs.values() if run.job == job}
    if job.schedule == "restart":
        done = {slot: slot for pipeline, slot in world.restarts if pipeline == job.pipeline}
    lives = [*world.lives, *(Life(one.born, world.now) for one in world.schedulers)]
    wishes = world.wanted[job]
    allowed: set[datetime] = set()
    for stretch in stretches(world, job):
        for wish, until in zip(wishes, [*(wish.since for wish in wishes[1:]), world.now], strict=True):
            if wish.schedule and wish.fires and definition(wish.schedule) == stretch.state.definition:
                begin, end = max(wish.since, stretch.begin), min(until, stretch.end)
                required(job, wish.schedule, stretch, begin, end, done, lives)
        schedule = next(w.schedule for w in wishes if w.schedule and definition(w.schedule) == stretch.state.definition)
        allowed.update(stretch.slots(schedule, stretch.begin, stretch.end + DELAY))
    assert not done.keys() - allowed, f"{job} ran at {sorted(done.keys() - allowed)}, which are no slots"
    return len(allowed)


def required(
    job: JobRef,
    schedule: Schedule,
    stretch: Stretch,
    begin: datetime,
    end: datetime,
    done: dict[datetime, datetime],
    lives: list[Life],
) -> None:
    missed: dict[datetime, list[datetime]] = {}
    for slot in stretch.slots(schedule, begin, end - MOMENT):
        if any(born < slot and died > slot + MOMENT for born, died in lives):
            assert slot in done, f"{job} at {slot} had a scheduler and did not run"
        else:
            returns = [born for born, died in lives if born >= slot and died > born + MOMENT]
            if returns and min(returns) < end - MOMENT:
                missed.setdefault(min(returns), []).append(slot)
    for back, group in missed.items():
        check_missed(schedule, done, group, back, sum(born <= back for born, _ in lives))


def check_missed(
    schedule: Schedule, done: dict[datetime, datetime], group: list[datetime], back: datetime, lives: int
) -> None:
    """*group*: slots that nobody could run before *back*."""
    late = [slot for slot in group if slot in done and done[slot] > slot]
    match schedule.catchup:
        case "all":
            assert all(slot in done for slot in group)
        case "last":
            if back - group[-1] < LAST_WITHIN - MOMENT:
                assert group[-1] in done, f"{schedule.id} at {group[-1]} was not caught up at {back}"
            assert len(late) <= lives
        case "none":
            assert late == []


def test_every_slot_runs_once_while_schedulers_are_killed() -> None:
    """Four months, three schedulers, four pipelines that nobody changes; then a quiet end."""
    print(f"FASTFLOW_SEED={SEED}")
    world = World(SEED)
    for name, spec in SPECS.items():
        world.sync(name, spec)
    for _ in range(3):
        world.start_scheduler()
    world.run_until(T0 + timedelta(days=120))
    world.run_until(world.now + timedelta(days=3), calm=True)
    looked_at = sum(check(world, each) for each in world.written)
    print(f"{looked_at} slots, {len(world.runs)} runs, {world.kills} kills, {world.repeats} repeats")
    assert world.kills
    assert world.repeats
    assert len({written.state.anchor for written in world.written[job("last")]}) == 1


def test_slots_follow_what_people_change_while_schedulers_are_killed() -> None:
    """Syncs, folders that vanish and return, buttons: what is off is silent, what is new never fires for the past."""
    print(f"FASTFLOW_SEED={SEED}")
    world, chance = World(SEED), random.Random(SEED)
    specs = [*SPECS.values(), replace(SPECS["last"], enabled=False), replace(SPECS["all"], description="same slots")]
    names = ["one", "two", "three"]
    for _ in range(3):
        world.start_scheduler()
    for _ in range(1000):
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
