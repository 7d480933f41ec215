"""Runs in the simulated world: from slot, trigger or edge to the end, with schedulers and runners killed at every step.

The services' own code decides and changes records: admission, the run state machine through ``RunStore``, ``Starter``,
``Restarter``, ``DueWork``, ``rules``. What surrounds it is in memory: buckets, queues, sandboxes, people.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import chain, islice
from random import Random
from typing import Any, TypeAlias, cast

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.errors import Rejected, RevisionConflict
from fastflow_contracts.bus.streams import DEDUP_S
from fastflow_contracts.bus.subjects import JobRef, RunRef
from fastflow_contracts.ids import RunId, run_id_for_child, run_id_for_key, run_id_for_slot
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.format.spec import PipelineSpec
from fastflow_contracts.pipelines.records import PIPELINE
from fastflow_contracts.runs import messages
from fastflow_contracts.runs.concurrency import Limit
from fastflow_contracts.runs.messages import Decision, Hint, SkipRecord, Trigger
from fastflow_contracts.runs.room import Room
from fastflow_contracts.runs.run import RUN, Pending, RunErrorType, Running, RunRecord
from fastflow_contracts.runs.state_machine import Cancel, Expire
from fastflow_contracts.runs.store import RunStore, Stored
from fastflow_contracts.schedules.schedule import RESTART_ID
from fastflow_contracts.schedules.state import ScheduleState
from fastflow_contracts.starting.active_runs import ActiveRuns
from fastflow_contracts.starting.admission import Cause, Defaults
from fastflow_contracts.starting.followups import Follow, react
from fastflow_contracts.starting.hint_queue import REHINT_S, HintQueue
from fastflow_scheduler.followups.restarter import Restarter
from fastflow_scheduler.maintenance.due_work import Action, DueWork, ExpireRun, RenewRun
from fastflow_scheduler.starting.dispatcher import Dispatcher
from fastflow_scheduler.starting.starter import Starter
from tests.support.records import T0
from tests.support.simulation.bus_twin import BusTwin, Queue, step
from tests.support.simulation.runner_twin import LEASE, STOP_S, RunnerTwin, Sandbox, Tasks, monotonic
from tests.support.simulation.schedule_world import Life, Replica, World

KILL_P = 0.002
DOWN_S = (3, 60, 400, 5000)
"""How long a killed process stays away, one of these plus up to half of it."""
LOST_P = 0.03
"""Chance that a hint is lost."""
DUPLICATE_P = 0.05
NEWEST = 50
"""Runs of a pipeline that are checked to restart it: far more than can matter, but not those of months."""

Fate: TypeAlias = Callable[[Random], tuple[float, RunErrorType | None]]
"""How long an attempt takes, in seconds, and how it ends."""
Request: TypeAlias = tuple[PipelineName, Trigger] | RunRef
"""Actions of people: start this, or cancel that."""

Actor: TypeAlias = Replica | RunnerTwin


@dataclass
class RunWorld(World):
    """A world with runs. ``history``: every record ever written, with its time."""

    fates: dict[PipelineName, Fate] = field(default_factory=dict)
    history: list[tuple[datetime, RunRecord]] = field(default_factory=list)
    active: dict[RunId, RunRecord] = field(default_factory=dict)
    records_of: dict[RunId, RunRecord] = field(default_factory=dict)
    runs_of: dict[PipelineName, dict[RunId, RunRecord]] = field(default_factory=lambda: defaultdict(dict))
    skipped: dict[RunId, SkipRecord] = field(default_factory=dict)
    """Skipped starts, by the run that each would have been."""
    letters: dict[RunId, bytes] = field(default_factory=dict)
    """Their messages."""
    hints: list[Hint] = field(default_factory=list)
    requests: Queue[Request] = field(default_factory=Queue)
    asked: list[Request] = field(default_factory=list)
    """All that were ever among ``requests``."""
    ends: Queue[RunRecord] = field(default_factory=Queue)
    sandboxes: dict[tuple[RunId, int], Sandbox] = field(default_factory=dict)
    died_at: dict[str, datetime] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.runners: list[RunnerTwin] = []
        self.bus = BusTwin(self._on_write, self._on_publish, self._outstanding)
        self._ids: dict[str, datetime] = {}
        """Message ids of hints, by when they came."""
        self._back: list[tuple[datetime, str | None]] = []

    def sync(self, name: str, spec: PipelineSpec | None) -> None:
        super().sync(name, spec)
        pipeline = PipelineName(name)
        value = PIPELINE.encode(self.records[pipeline])
        self.bus.write(subjects.PIPELINES, subjects.pipeline_key(pipeline), value)

    def put(self, job: JobRef, state: ScheduleState, expect: int) -> int:
        revision = super().put(job, state, expect)
        if (slot := state.last_slot) and job.schedule != RESTART_ID:
            is_there = run_id_for_slot(*job, slot) in self.records_of
            assert is_there or run_id_for_slot(*job, slot) in self.skipped, f"{slot} of {job} is lost"
        return revision

    def ask(self, request: Request) -> None:
        """Request a start."""
        self.asked.append(request)
        self.requests.put(request, self.now)

    def store(self) -> RunStore:
        store = _Store(cast(Bus, self.bus), clock=lambda: self.now)
        store.world = self
        return store

    def start_scheduler(self) -> None:
        self.schedulers.append(SchedulerTwin(self))

    def start_runner(self, name: str) -> None:
        self.died_at.pop(name, None)
        self.runners.append(RunnerTwin(self, name))
        for one in self.schedulers:
            cast(SchedulerTwin, one).hear_of_runners()

    def open_sandbox(self, run: RunRecord) -> None:
        assert isinstance(run.state, Running)
        for attempt in range(1, run.state.attempt + 1):
            other = self.sandboxes.get((run.id, attempt))
            assert other is None or other.gone_at <= self.now, f"two attempts of {run.id} at once"
        duration_s, error = self.fates[run.pipeline](self.random)
        sandbox = Sandbox(run, self.now, self.now + timedelta(seconds=duration_s), error)
        if run.state.cancel_requested_at is not None:
            sandbox.stop(self.now)
        self.sandboxes[run.id, run.state.attempt] = sandbox

    def sandboxes_of(self, runner: str) -> list[Sandbox]:
        found = []
        for sandbox in self.sandboxes.values():
            run = self.active.get(sandbox.run.id)
            if run is not None and isinstance(run.state, Running) and run.state.runner == runner:
                found.append(sandbox)
        return found

    def run_until(self, end: datetime, *, calm: bool = False) -> None:
        while True:
            actors: list[Actor] = [*self.schedulers, *self.runners]
            instants = chain((actor.next_instant() for actor in actors), (at for at, _ in self._back))
            ahead = [at for at in instants if at is not None and at <= end]
            self.now = max(self.now, min(ahead, default=end))
            for one in self.schedulers:
                one.live_on(self.now)
            for back in [back for back in self._back if back[0] <= self.now]:
                self._back.remove(back)
                self.start_scheduler() if back[1] is None else self.start_runner(back[1])
            self._act(calm=calm)
            if not ahead:
                return

    def _act(self, *, calm: bool) -> None:
        """Run rounds, in which every living actor with work takes one step, in any order, until all rest."""
        went_on = True
        while went_on:
            went_on = False
            actors: list[Actor] = [*self.schedulers, *self.runners]
            self.random.shuffle(actors)
            for actor in actors:
                if actor.has_work():
                    went_on = True
                    if calm or self.random.random() >= KILL_P:
                        actor.step()
                    else:
                        self._kill(actor)

    def _kill(self, victim: Actor) -> None:
        self.kills += 1
        back = self.now + timedelta(seconds=self.random.choice(DOWN_S) * self.random.uniform(1, 1.5))
        if isinstance(victim, RunnerTwin):
            for one in self.schedulers:
                cast(SchedulerTwin, one).hear_of_runners()
            self.runners.remove(victim)
            self._back.append((back, victim.name))
            victim.die()
        else:
            self.schedulers.remove(victim)
            self._back.append((back, None))
            victim.die()
            self.lives.append(Life(victim.born, self.now))

    def _on_write(self, key: str, value: bytes, revision: int) -> None:
        if not key.startswith("run."):
            return
        run = RUN.decode(value)
        self.history.append((self.now, run))
        self.records_of[run.id] = self.runs_of[run.pipeline][run.id] = run
        if run.is_over:
            self.active.pop(run.id, None)
            self.ends.put(run, self.now)
        else:
            self.active[run.id] = run
        if isinstance(run.state, Running) and run.state.cancel_requested_at is not None:
            sandbox = self.sandboxes.get((run.id, run.state.attempt))
            if sandbox is not None:
                sandbox.stop(self.now + timedelta(seconds=self.random.uniform(0, STOP_S)))
        for one in self.schedulers:
            one.tell(Stored(run, revision))

    def _on_publish(self, subject: str, data: bytes, message_id: str | None) -> None:
        if subject.startswith("ff.dead."):
            self.letters[RunId(subject.rpartition(".")[2])] = data
            return
        if subject.startswith("ff.skipped."):
            skip = messages.SKIP.decode(data)
            assert skip.id in self.letters, "a skip without its message"
            self.skipped[skip.id] = skip
            return
        assert message_id is not None
        hint = messages.HINT.decode(data)
        is_outstanding = any((each.run_id, each.attempt) == (hint.run_id, hint.attempt) for each in self.hints)
        if is_outstanding:
            raise Rejected("the bus refused it: maximum messages per subject exceeded.")
        if self._ids.get(message_id, T0) > self.now - timedelta(seconds=DEDUP_S):
            return
        self._ids[message_id] = self.now
        if self.random.random() >= LOST_P:
            self.hints += [hint] * (2 if self.random.random() < DUPLICATE_P else 1)

    def _outstanding(self) -> set[str]:
        return {subjects.work("script", RunRef(hint.pipeline, hint.run_id), hint.attempt) for hint in self.hints}


class _Store(RunStore):
    world: RunWorld

    async def all_of(self, pipeline: PipelineName) -> list[RunRecord]:
        await step()
        return list(islice(reversed(self.world.runs_of[pipeline].values()), NEWEST))

    async def _step_aside(self) -> None:
        await step()


class _ActiveRuns(ActiveRuns):
    twin: SchedulerTwin

    async def up_to(self, revision: int) -> None:
        while self.position < revision:
            await step()
            self.twin.hear_next_run()


class _Starter(Starter):
    @asynccontextmanager
    async def _turns(self, limits: Sequence[Limit]) -> AsyncIterator[None]:
        """Let starts under one limit collide, as those of two schedulers do."""
        yield


class _Ample(Room):
    async def complaint(self) -> str:
        """The simulated bus never fills."""
        return ""


class _Dispatcher(Dispatcher):
    world: RunWorld

    def _monotonic(self) -> float:
        return monotonic(self.world.now)


class SchedulerTwin(Replica):
    """A scheduler that also handles requests and ends of runs, and does due work."""

    world: RunWorld

    def __init__(self, world: RunWorld) -> None:
        self.world = world
        self._tasks = Tasks()
        self._runs = world.store()
        bus = cast(Bus, world.bus)
        self._active = _ActiveRuns()
        self._active.twin = self
        self._dispatcher = _Dispatcher(bus, HintQueue(), clock=lambda: world.now)
        self._dispatcher.world = world
        self._dispatcher._runs = self._runs
        self._starter = _Starter(
            bus,
            self._runs,
            Defaults(),
            active=self._active,
            dispatcher=self._dispatcher,
            room=_Ample(bus),
            clock=lambda: world.now,
        )
        self._restarter = Restarter(bus, self._runs, self._starter)
        self._due_work = DueWork(LEASE)
        self._due_at: datetime | None = world.now
        self._dispatcher.free_slots = lambda: self._due_work.free_slots(at=monotonic(world.now))
        for run in world.active.values():
            self._see(Stored(run, world.bus.buckets[subjects.RUNS, subjects.run_key(run.ref)][1]))
        self._active.pass_over(world.bus.revision)
        self._active.complete()
        self._dispatcher.queue.is_following = True
        super().__init__(world)

    def hear_of_runners(self) -> None:
        """Receive a heartbeat of every living runner."""
        for runner in self.world.runners:
            self._due_work.see_runner(runner.presence, at=monotonic(self.world.now))
        self._due_at = self.world.now

    def next_instant(self) -> datetime | None:
        instants = (
            super().next_instant(),
            self._tasks.next_instant(self.world.now),
            self._due_at,
            self.world.requests.next_instant(),
            self.world.ends.next_instant(),
        )
        return min([at for at in instants if at is not None], default=None)

    def step(self) -> None:
        now = self.world.now
        super().step()
        if self._due_at is not None and self._due_at <= now:
            self._do_due_work()
        if (request := self.world.requests.take(self, now)) is not None:
            self._tasks.add(self._serve(request))
        if (end := self.world.ends.take(self, now)) is not None:
            self._tasks.add(self._react(end))
        if due := self._tasks.due(now):
            self._tasks.go_on(self.world.random.choice(due))

    def die(self) -> None:
        super().die()
        self._tasks.drop()
        self.world.requests.give_back(self, self.world.now)
        self.world.ends.give_back(self, self.world.now)

    async def start(self, name: PipelineName, trigger: Trigger, run_id: RunId, *, cause: Cause) -> Decision:
        return await self._starter.start(name, trigger, run_id, cause=cause)

    async def _restart(self, pipeline: PipelineName, slot: datetime) -> None:
        await self._restarter.restart(pipeline, slot)

    def _hear(self, news: Any) -> None:
        if isinstance(news, Stored):
            self._see(news)
            self._due_at = self.world.now
        else:
            super()._hear(news)

    def hear_next_run(self) -> None:
        """Wait until the next change of a run arrives. For others no time passes: a late change is a random one."""
        at, news = next(each for each in self._news if isinstance(each[1], Stored))
        self._news.remove((at, news))
        self._hear(news)

    def _see(self, stored: Stored) -> None:
        self._due_work.see_run(stored.run, at=monotonic(self.world.now), stored_at=self.world.now)
        self._dispatcher.see(*stored)
        self._active.see(*stored)

    def _do_due_work(self) -> None:
        """Do due work. The next check is at the time when something can be due."""
        self.hear_of_runners()
        now = self.world.now
        for action in self._due_work.actions(now=now, at=monotonic(now)):
            self._tasks.add(self._do(action))
        self._tasks.add(self._hint())
        ahead = [self._dispatcher.queue.next_due_s(now=now)]
        for run in self._due_work._runs.values():
            if isinstance(run.state, Pending) and run.state.not_before <= now:
                ahead.append(REHINT_S)
            elif isinstance(run.state, Running) and run.state.runner in self.world.died_at:
                silent_s = monotonic(now) - self._due_work._heard_at[run.state.runner]
                ahead.append(max(1.0, LEASE.take_over_s - silent_s))
        self._due_at = None if min(ahead) == float("inf") else now + timedelta(seconds=max(0.001, min(ahead)))

    async def _hint(self) -> None:
        for run in self._dispatcher.queue.replaced():
            self._tasks.add(self._dispatcher._replace(run))
        for hint in await self._dispatcher.look():
            self._tasks.add(self._dispatcher.hint(hint))

    async def _do(self, action: Action) -> None:
        match action:
            case RenewRun(run):
                await self._runs.renew(run.ref)
            case ExpireRun(run, epoch, reason):
                await self._runs.change(run.ref, Expire(epoch=epoch, reason=reason))

    async def _serve(self, message: Any) -> None:
        match message.payload:
            case RunRef() as ref:
                await self._runs.change(ref, Cancel())
            case (name, trigger):
                await self._starter.start(name, trigger, run_id_for_key(name, trigger.key))
        self.world.requests.ack(message)

    async def _react(self, message: Any) -> None:
        run: RunRecord = message.payload
        given = await self._runs.input(run)
        for one in react(run, self.world.records.get(run.pipeline), (), given):
            if isinstance(one, Follow):
                with suppress(RevisionConflict):
                    run_id = run_id_for_child(run.id, one.edge)
                    await self._starter.start(one.pipeline, one.trigger, run_id, cause=one.cause)
        self.world.ends.ack(message)
