"""Carries out the timetable's actions: starts the runs of slots and stores how far a schedule is done.

I/O happens through the objects it receives; timers and feeds live elsewhere.

Each slot runs exactly once. The slot determines the id of its run, so a second start, by another scheduler or by this
one after a crash, creates nothing. The state is written after the start: a crash between the two repeats a start that
changes nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Protocol

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.errors import BusError, RevisionConflict
from fastflow_contracts.bus.subjects import JobRef
from fastflow_contracts.codec import Malformed
from fastflow_contracts.errors import FastFlowError
from fastflow_contracts.ids import RunId, run_id_for_slot
from fastflow_contracts.log import get_logger
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.records import PipelineRecord
from fastflow_contracts.pipelines.store import PipelineStore
from fastflow_contracts.runs.messages import Decision, Trigger
from fastflow_contracts.schedules.schedule import RESTART_ID
from fastflow_contracts.schedules.state import ScheduleState
from fastflow_contracts.schedules.store import ScheduleStore
from fastflow_contracts.starting.admission import Cause
from fastflow_scheduler.schedules.timetable import Action, Fire, Settle, Timetable

log = get_logger(__name__)

CONFLICTS_MAX = 5
"""After this many conflicts in a row, give up on the state; the write of the next slot makes up for it."""

OnRestart = Callable[[PipelineName, datetime], Awaitable[None]]
"""Restarts a pipeline for a slot of its ``restart_interval``. Must be safe to call again for the same slot."""


class Starting(Protocol):
    """The part of ``starter.Starter`` that slots need."""

    async def start(self, name: PipelineName, trigger: Trigger, run_id: RunId, *, cause: Cause) -> Decision: ...


class Remembering(Protocol):
    """Where states are stored. All methods raise ``BusError``."""

    async def pipeline(self, name: PipelineName) -> PipelineRecord | None:
        """The record as it is stored now."""

    async def load(self, job: JobRef) -> tuple[ScheduleState | None, int]:
        """The state as it is stored now, with its revision. Revision 0: there is none.

        An unreadable state is None with its revision, so that it can be replaced.
        """

    async def store(self, job: JobRef, state: ScheduleState, revision: int) -> int:
        """Replace *revision* and return the new one. Raises ``RevisionConflict``."""


class States:
    """The states on one bus."""

    def __init__(self, bus: Bus) -> None:
        self._pipelines = PipelineStore(bus)
        self._schedules = ScheduleStore(bus)

    async def pipeline(self, name: PipelineName) -> PipelineRecord | None:
        return await self._pipelines.get(name)

    async def load(self, job: JobRef) -> tuple[ScheduleState | None, int]:
        return await self._schedules.states.load(job)

    async def store(self, job: JobRef, state: ScheduleState, revision: int) -> int:
        return await self._schedules.states.put(job, state, expect=revision)

    async def forget(self, job: JobRef, revision: int) -> None:
        """Remove the state, unless it has changed, and the switch that belongs to it. Raises ``RevisionConflict``."""
        await self._schedules.states.delete(job, expect=revision)
        await self._schedules.switches.delete(job)


class Firing:
    """Carries out the actions of one timetable, any number of them at once."""

    def __init__(
        self,
        timetable: Timetable,
        starter: Starting,
        states: Remembering,
        on_restart: OnRestart,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._timetable = timetable
        self._starter = starter
        self._states = states
        self._on_restart = on_restart
        self._clock = clock

    async def do(self, action: Action) -> None:
        """Carry out one action. Safe to interrupt anywhere and to repeat. Raises ``BusError``."""
        match action:
            case Settle(job):
                await self._settle(job)
            case Fire():
                await self._fire(action)

    async def _settle(self, job: JobRef) -> None:
        # Another scheduler may have settled it for a definition that has not reached us yet. So read the definition
        # again, after fixing the revision to replace: an old view then cannot undo a newer one.
        revision = self._timetable.revision(job)
        record = await self._states.pipeline(job.pipeline)
        if record is not None:
            self._timetable.see_pipeline(record)
        wanted = self._timetable.settlement(job, self._clock())
        if wanted is None:
            return
        try:
            stored = await self._states.store(job, wanted, revision)
        except RevisionConflict:
            await self._reload(job)
        else:
            self._timetable.see_state(job, wanted, stored)

    async def _fire(self, fire: Fire) -> None:
        if fire.backlog.has_missed:  # as far as we know, which may be outdated
            await self._reload(fire.job)
            current = self._timetable.fire(fire.job, self._clock())
            if current is None:
                return
            fire = current
            log.info(
                "slots missed",
                pipeline=fire.job.pipeline,
                schedule=fire.job.schedule,
                running=len(fire.backlog.slots),
            )
        for slot in fire.backlog.slots:
            if self._timetable.stands(fire, slot):
                await self._start(fire, slot)
                await self._advance(fire, slot, slot)
        await self._advance(fire, fire.backlog.until, None)

    async def _start(self, fire: Fire, slot: datetime) -> None:
        pipeline, schedule = fire.job
        try:
            if schedule == RESTART_ID:
                await self._on_restart(pipeline, slot)
                return
            await self._starter.start(
                pipeline,
                Trigger(triggered_by="schedule", run_config_id=fire.schedule.run_config_id),
                run_id_for_slot(pipeline, schedule, slot),
                cause=Cause(schedule=schedule, scheduled_for=slot),
            )
        except (BusError, Malformed):  # another version may read a record that this one cannot
            raise
        except FastFlowError as error:  # trying again would fail the same way
            log.warning(
                "slot not started",
                pipeline=pipeline,
                schedule=schedule,
                slot=slot.isoformat(),
                error=str(error),
            )

    async def _advance(self, fire: Fire, until: datetime, slot: datetime | None) -> None:
        for _ in range(CONFLICTS_MAX):
            wanted = self._timetable.advanced(fire, until, slot)
            if wanted is None:
                return
            try:
                stored = await self._states.store(fire.job, wanted.state, wanted.revision)
            except RevisionConflict:
                await self._reload(fire.job)
            else:
                self._timetable.see_state(fire.job, wanted.state, stored)
                return

    async def _reload(self, job: JobRef) -> None:
        state, revision = await self._states.load(job)
        if revision:
            self._timetable.see_state(job, state, revision, is_read=True)
