"""What must be true of the slots of a simulated world, given what people wanted and which schedulers lived when."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import groupby
from typing import NamedTuple

from fastflow_contracts.bus.subjects import JobRef
from fastflow_contracts.schedules.schedule import PipelineSchedule
from fastflow_contracts.schedules.slots import between
from fastflow_contracts.schedules.state import ScheduleState, definition
from fastflow_scheduler.schedules.backlog import LAST_WITHIN
from fastflow_scheduler.schedules.timetable import LEFT, PATIENCE
from tests.support.simulation.schedule_world import DELAY_S, Life, World, Written

DELAY = timedelta(seconds=DELAY_S)
MOMENT = LEFT + PATIENCE + 3 * DELAY
"""After this time, any living scheduler has done what was due."""


def check(world: World, job: JobRef) -> int:
    """Check that every slot of *job* has the runs it must have; return the number of slots checked.

    A slot must have one if a scheduler could run it, or if it was missed and must be caught up before anything changed.
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
    assert not done.keys() - allowed, f"{job} ran at {sorted(done.keys() - allowed)}, which are not slots"
    return len(allowed)


class Stretch(NamedTuple):
    """A time in which the stored state stood for one definition. ``states``: what was written in it."""

    state: ScheduleState
    begin: datetime
    end: datetime

    def slots(self, schedule: PipelineSchedule, begin: datetime, end: datetime) -> Iterator[datetime]:
        """Return those later than *begin*, up to *end*, in this stretch."""
        return between(schedule, max(begin, self.begin), end, self.state.anchor)


def stretches(world: World, job: JobRef) -> Iterator[Stretch]:
    """Return those in which *job* fires."""

    def kind(written: Written) -> tuple[str, datetime, datetime | None]:
        return written.state.definition, written.state.anchor, written.state.idle_since

    firsts = [next(group) for _, group in groupby(world.written[job], key=kind)]
    ends = [first.at for first in firsts[1:]] + [world.now]
    for first, end in zip(firsts, ends, strict=True):
        if first.state.idle_since is None:
            yield Stretch(first.state, first.state.done_until, end)


def required(
    job: JobRef,
    schedule: PipelineSchedule,
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
    schedule: PipelineSchedule, done: dict[datetime, datetime], group: list[datetime], back: datetime, lives: int
) -> None:
    """Check slots that no scheduler lived long enough to run before *back*; one that died soon may have run them.

    Args:
        group: The missed slots.
    """
    late = [slot for slot in group if slot in done and done[slot] > slot + MOMENT]
    match schedule.catchup:
        case "all":
            assert all(slot in done for slot in group)
        case "last":
            if back - group[-1] < LAST_WITHIN - MOMENT:
                assert group[-1] in done, f"{schedule.id} at {group[-1]} was not caught up at {back}"
            assert len(late) <= lives
        case "none":
            assert late == []
