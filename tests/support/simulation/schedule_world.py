"""Months of schedules in seconds: a world with its own clock, in which schedulers are killed at every step.

The simulation covers what surrounds schedulers: time, the stored states with their compare-and-set, runs with their
unique ids, the feed that reports changes late. The schedulers' own code decides and acts. An action is a coroutine that
stops before and after each of its effects on the world. The world then continues any of them, and a kill drops all
coroutines of one scheduler at that point.
"""

from __future__ import annotations

import random
from collections.abc import Coroutine, Generator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import coroutine
from typing import Any, NamedTuple

from fastflow_contracts.bus.errors import RevisionConflict
from fastflow_contracts.bus.subjects import JobRef
from fastflow_contracts.ids import RunId, run_id_for_slot
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.format.spec import PipelineSpec
from fastflow_contracts.pipelines.records import PipelineRecord, Version
from fastflow_contracts.runs.messages import Decision, Started, Trigger
from fastflow_contracts.schedules.schedule import PipelineSchedule
from fastflow_contracts.schedules.state import ScheduleState, definition
from fastflow_contracts.starting.admission import Cause
from fastflow_scheduler.schedules.firing import Firing
from fastflow_scheduler.schedules.timetable import Timetable
from tests.support.records import T0

KILL_P = 0.004
"""Chance that a scheduler is killed, at each step of each action."""
DELAY_S = 1.0
"""How late a change may reach a scheduler."""
OWN_P = 0.5
"""Chance that a scheduler takes an action for its own, at each look: a wrong view of who lives only costs time."""
DOWN_S = (3, 60, 600, 5 * 3600, 30 * 3600)
"""How long a killed scheduler stays away, one of these plus up to half of it."""


class Created(NamedTuple):
    job: JobRef
    slot: datetime
    at: datetime


class Life(NamedTuple):
    """The time in which one scheduler lived."""

    born: datetime
    died: datetime


class Written(NamedTuple):
    at: datetime
    state: ScheduleState


class Wanted(NamedTuple):
    since: datetime
    schedule: PipelineSchedule | None
    """None: the folder is gone."""
    fires: bool


@dataclass
class World:
    """Everything outside of the schedulers. Times are simulated."""

    seed: int
    now: datetime = T0
    records: dict[PipelineName, PipelineRecord] = field(default_factory=dict)
    states: dict[JobRef, tuple[ScheduleState, int]] = field(default_factory=dict)
    switched_off: set[JobRef] = field(default_factory=set)
    runs: dict[RunId, Created] = field(default_factory=dict)
    restarts: set[tuple[str, datetime]] = field(default_factory=set)
    written: dict[JobRef, list[Written]] = field(default_factory=dict)
    wanted: dict[JobRef, list[Wanted]] = field(default_factory=dict)
    """What people wanted of each schedule, from when on."""
    lives: list[Life] = field(default_factory=list)
    kills: int = 0
    repeats: int = 0
    """Starts of runs that already existed."""

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.schedulers: list[Replica] = []
        self._coming_back: list[datetime] = []
        self._revision = 0

    def sync(self, name: str, spec: PipelineSpec | None) -> None:
        """Publish a new version; None removes the folder."""
        pipeline = PipelineName(name)
        live = Version(bundle="b" * 64, spec=spec, live_since=self.now) if spec else None
        removed_at = None if spec else self.now
        self.records[pipeline] = PipelineRecord(name=pipeline, live=live, seen_at=self.now, removed_at=removed_at)
        self._note_wanted(pipeline)
        for one in self.schedulers:
            one.tell(pipeline)

    def switch(self, job: JobRef) -> None:
        """Press the button."""
        self.switched_off ^= {job}
        self._note_wanted(job.pipeline)
        for one in self.schedulers:
            one.tell((job, job not in self.switched_off))

    def put(self, job: JobRef, state: ScheduleState, expect: int) -> int:
        if self.states.get(job, (None, 0))[1] != expect:
            raise RevisionConflict("another writer was first")
        wish = self.wanted[job][-1].schedule
        assert wish is None or state.definition == definition(wish), f"{job} is settled for what it was before"
        self._revision += 1
        self.states[job] = state, self._revision
        self.written.setdefault(job, []).append(Written(self.now, state))
        for one in self.schedulers:
            one.tell((job, state, self._revision))
        return self._revision

    def start_scheduler(self) -> None:
        self.schedulers.append(Replica(self))

    def kill(self, victim: Replica) -> None:
        self.kills += 1
        self.schedulers.remove(victim)
        victim.die()
        self.lives.append(Life(victim.born, self.now))
        down_s = self.random.choice(DOWN_S) * self.random.uniform(1, 1.5)
        self._coming_back.append(self.now + timedelta(seconds=down_s))

    def run_until(self, end: datetime, *, calm: bool = False) -> None:
        """Let time pass. *calm*: without kills."""
        while True:
            instants = [one.next_instant() for one in self.schedulers]
            ahead = [at for at in (*instants, *self._coming_back) if at is not None and at <= end]
            arrived = max(self.now, min(ahead, default=end))
            for one in self.schedulers:
                one.live_on(arrived)
            self.now = arrived
            for at in [at for at in self._coming_back if at <= arrived]:
                self._coming_back.remove(at)
                self.start_scheduler()
            self._act(calm=calm)
            if not ahead:
                return

    def _note_wanted(self, pipeline: PipelineName) -> None:
        live = self.records[pipeline].live
        schedules = {JobRef(pipeline, s.id): s for s in all_schedules(live.spec)} if live else {}
        for job in schedules.keys() | {job for job in self.wanted if job.pipeline == pipeline}:
            schedule = schedules.get(job)
            is_on = schedule is not None and schedule.enabled and job not in self.switched_off
            self.wanted.setdefault(job, []).append(Wanted(self.now, schedule, is_on))

    def _act(self, *, calm: bool) -> None:
        while busy := [one for one in self.schedulers if one.has_work()]:
            one = self.random.choice(busy)
            if not calm and self.random.random() < KILL_P:
                self.kill(one)
            else:
                one.step()


def all_schedules(spec: PipelineSpec) -> tuple[PipelineSchedule, ...]:
    restart = spec.restart_schedule()
    return (*spec.schedule_list(), *((restart,) if restart else ()))


class Replica:
    """One scheduler: its timetable, its running actions, and the changes that it has not received yet."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.born = world.now
        self._news: list[tuple[datetime, Any]] = []
        self._timetable = Timetable(
            is_own=lambda _: world.random.random() < OWN_P, is_alone=lambda: len(world.schedulers) == 1
        )
        self._firing = Firing(self._timetable, self, self, self._restart, clock=lambda: world.now)
        self._under_way: list[tuple[JobRef, Coroutine[Any, Any, None]]] = []
        for record in world.records.values():
            self._timetable.see_pipeline(record)
        for job, (state, revision) in world.states.items():
            self._timetable.see_state(job, state, revision)
        for job in world.switched_off:
            self._timetable.see_switch(job, is_on=False)
        self._look()

    def tell(self, news: Any) -> None:
        """Queue a change. Changes of one kind arrive in order, those of two kinds in any order: their feeds differ."""
        kind = type(news)
        heard_at = self.world.now + timedelta(
            seconds=self.world.random.choice((0, 0, DELAY_S)) * self.world.random.random()
        )
        heard_at = max([heard_at, *(at for at, former in self._news if type(former) is kind)])
        self._news.append((heard_at, news))

    def next_instant(self) -> datetime | None:
        instant = self._timetable.next_instant()
        heard = min([at for at, _ in self._news], default=None)
        return instant if heard is None or (instant is not None and instant < heard) else heard

    def live_on(self, until: datetime) -> None:
        """Continue as if it had been ticking all along."""
        self._timetable._able_at = until

    def has_work(self) -> bool:
        instant = self.next_instant()
        return bool(self._under_way or (instant is not None and instant <= self.world.now))

    def step(self) -> None:
        choice = self.world.random
        for heard in [each for each in self._news if each[0] <= self.world.now]:
            self._news.remove(heard)
            self._hear(heard[1])
        self._look()
        for action in self._timetable.actions(self.world.now):
            self._under_way.append((action.job, self._firing.do(action)))
        if self._under_way:
            job, doing = choice.choice(self._under_way)
            try:
                doing.send(None)
            except StopIteration:
                self._under_way.remove((job, doing))
                self._timetable.done(job)
                self._look()

    def die(self) -> None:
        for _, doing in self._under_way:
            doing.close()
        self._under_way.clear()

    async def start(self, name: PipelineName, trigger: Trigger, run_id: RunId, *, cause: Cause) -> Decision:
        await _step()
        slot = cause.scheduled_for
        assert slot is not None
        (job,) = (
            each for each in self.world.states if each.pipeline == name and run_id_for_slot(*each, slot) == run_id
        )
        if run_id in self.world.runs:
            self.world.repeats += 1
        else:
            self.world.runs[run_id] = Created(job, slot, self.world.now)
        await _step()
        return Started(run_id=run_id)

    async def _restart(self, pipeline: PipelineName, slot: datetime) -> None:
        await _step()
        self.world.restarts.add((pipeline, slot))
        await _step()

    async def pipeline(self, name: PipelineName) -> PipelineRecord | None:
        await _step()
        return self.world.records.get(name)

    async def load(self, job: JobRef) -> tuple[ScheduleState | None, int]:
        await _step()
        return self.world.states.get(job, (None, 0))

    async def store(self, job: JobRef, state: ScheduleState, revision: int) -> int:
        await _step()
        stored = self.world.put(job, state, revision)
        await _step()
        return stored

    def _look(self) -> None:
        self._timetable.able(self.world.now)
        while self._timetable.arm(self.world.now, most=100):
            pass

    def _hear(self, news: Any) -> None:
        match news:
            case (job, ScheduleState() as state, revision):
                self._timetable.see_state(job, state, revision)
            case (job, is_on):
                self._timetable.see_switch(job, is_on=is_on)
            case name:
                self._timetable.see_pipeline(self.world.records[name])


@coroutine
def _step() -> Generator[None, None, None]:
    yield
