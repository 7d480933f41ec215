"""A runner without containers: it claims, prepares, opens sandboxes, adopts, and finishes."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from fastflow_contracts.bus.subjects import RunRef
from fastflow_contracts.runs.concurrency import Full, turn_limit
from fastflow_contracts.runs.lease import Lease
from fastflow_contracts.runs.messages import Hint
from fastflow_contracts.runs.presence import Presence
from fastflow_contracts.runs.run import RunErrorType, Running, RunRecord
from fastflow_contracts.runs.state_machine import (
    Adopt,
    AttemptOutcome,
    Claim,
    Finish,
    NotYet,
    Prepare,
    Release,
)
from tests.support.records import T0, a_presence
from tests.support.simulation.bus_twin import Due, step

if TYPE_CHECKING:
    from tests.support.simulation.run_world import RunWorld

SLOTS = 6
PREPARE_S = 20.0
RELEASE_P = 0.03
STOP_S = 10.0
LEASE = Lease()


@dataclass
class Sandbox:
    """User code that runs, wherever its runner is. ``fence_at``: when it stops itself without a runner."""

    run: RunRecord
    began: datetime
    at: datetime
    error: RunErrorType | None
    stopped: bool = False
    fence_at: datetime | None = None

    @property
    def gone_at(self) -> datetime:
        """When none of it runs any more."""
        return min(self.at, self.fence_at) if self.fence_at else self.at

    def stop(self, at: datetime) -> None:
        if at < self.at:
            self.at, self.stopped = at, True


@dataclass
class Moment:
    at: datetime


@dataclass
class Task:
    """A coroutine, and what it waits for."""

    doing: Coroutine[Any, Any, None]
    wake: Due | None = None


@dataclass
class Tasks:
    """The coroutines of one actor; any that is due may continue."""

    tasks: list[Task] = field(default_factory=list)

    def add(self, doing: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(Task(doing))

    def due(self, now: datetime) -> list[Task]:
        return [task for task in self.tasks if task.wake is None or task.wake.at <= now]

    def next_instant(self, now: datetime) -> datetime | None:
        if not self.tasks:
            return None
        return min([task.wake.at if task.wake else now for task in self.tasks])

    def go_on(self, task: Task) -> None:
        try:
            task.wake = task.doing.send(None)
        except StopIteration:
            self.tasks.remove(task)

    def drop(self) -> None:
        for task in self.tasks:
            task.doing.close()
        self.tasks.clear()


class RunnerTwin:
    """One life of runner *name*."""

    def __init__(self, world: RunWorld, name: str) -> None:
        self.world = world
        self.name = name
        self._tasks = Tasks()
        self._runs = world.store()
        for run in list(world.active.values()):
            if isinstance(run.state, Running) and run.state.runner == name:
                self._tasks.add(self._adopt(run, run.state.epoch))

    @property
    def presence(self) -> Presence:
        return a_presence(self.name, slots=SLOTS, busy=len(self._tasks.tasks))

    def next_instant(self) -> datetime | None:
        if self.world.hints and len(self._tasks.tasks) < SLOTS:
            return self.world.now
        return self._tasks.next_instant(self.world.now)

    def has_work(self) -> bool:
        instant = self.next_instant()
        return instant is not None and instant <= self.world.now

    def step(self) -> None:
        chance = self.world.random
        due = self._tasks.due(self.world.now)
        if self.world.hints and len(self._tasks.tasks) < SLOTS and (not due or chance.random() < 0.5):
            self._tasks.add(self._attempt(self.world.hints.pop(0)))
        elif due:
            self._tasks.go_on(chance.choice(due))

    def die(self) -> None:
        self._tasks.drop()
        self.world.died_at[self.name] = self.world.now
        for sandbox in self.world.sandboxes_of(self.name):
            if sandbox.fence_at is None:
                sandbox.fence_at = self.world.now + timedelta(seconds=LEASE.dead_s)

    async def _attempt(self, hint: Hint) -> None:
        ref = RunRef(hint.pipeline, hint.run_id)
        try:
            known = await self._runs.load(ref)
            limits = [limit] if (limit := turn_limit(known.run)) else []
            command = Claim(attempt=hint.attempt, runner=self.name)
            changed = await self._runs.change(ref, command, known=known, limits=limits)
        except (NotYet, Full):
            return
        if changed.events:
            await self._carry_out(changed.run)

    async def _adopt(self, run: RunRecord, epoch: int) -> None:
        changed = await self._runs.change(run.ref, Adopt(runner=self.name, epoch=epoch))
        if changed.events:
            await self._carry_out(changed.run)

    async def _carry_out(self, run: RunRecord) -> None:
        assert isinstance(run.state, Running)
        epoch, attempt = run.state.epoch, run.state.attempt
        if run.state.prepared_at is None:
            await step(Moment(self.world.now + timedelta(seconds=self.world.random.uniform(0, PREPARE_S))))
            if self.world.random.random() < RELEASE_P:
                await self._runs.change(run.ref, Release(epoch=epoch, reason="no disk"))
                return
            run = (await self._runs.change(run.ref, Prepare(epoch=epoch))).run
            if not isinstance(run.state, Running) or run.state.epoch != epoch:
                return
            self.world.open_sandbox(run)
        sandbox = self.world.sandboxes.get((run.id, attempt))
        outcome = AttemptOutcome(finished_at=self.world.now, error_type=RunErrorType.LOST)
        if sandbox is not None:
            if sandbox.fence_at is not None and sandbox.fence_at > self.world.now:
                sandbox.fence_at = None
            if sandbox.fence_at is None or sandbox.at < sandbox.fence_at:
                await step(sandbox)
                outcome = AttemptOutcome(
                    started_at=sandbox.began,
                    finished_at=sandbox.at,
                    exit_code=1 if sandbox.error else 0,
                    error_type=sandbox.error,
                    stopped=sandbox.stopped,
                )
        await self._runs.change(run.ref, Finish(epoch=epoch, outcome=outcome))


def monotonic(at: datetime) -> float:
    return (at - T0).total_seconds()
