"""Does what the timetable says: starts the runs of slots, remembers how far a schedule is done. I/O, through what it
is given; no timer and no feed lives here.

Exactly once. A slot's run has an id of its own, so whoever comes second, another scheduler or this one after a crash,
creates nothing. The state is written after the start: a crash between the two repeats a start that changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Protocol

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.errors import BusError, Conflict
from fastflow_contracts.bus.subjects import JobRef
from fastflow_contracts.codec import Malformed
from fastflow_contracts.errors import FastFlowError
from fastflow_contracts.ids import RunId, run_id_for_slot
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.records import PipelineRecord
from fastflow_contracts.pipelines.store import PipelineStore
from fastflow_contracts.runs.messages import Decision, Trigger
from fastflow_contracts.schedules.schedule import RESTART_ID
from fastflow_contracts.schedules.state import ScheduleState
from fastflow_contracts.schedules.store import ScheduleStore
from fastflow_scheduler.schedules.timetable import Action, Fire, Settle, Timetable
from fastflow_scheduler.starting.admission import Cause

log = logging.getLogger(__name__)

CONFLICTS_MAX = 5
"""A state that cannot be written this often in a row is left; the next slot's write makes up for it."""

ADVANCING_MAX = 8
"""States that are written at once: when many slots share an instant, their runs come first."""

OnRestart = Callable[[PipelineName, datetime], Awaitable[None]]
"""Restart this pipeline for this slot of its ``restart_interval``. May be called again for the same slot."""


class Starting(Protocol):
    """``starter.Starter``, as far as slots need it."""

    async def start(
        self, name: PipelineName, trigger: Trigger, run_id: RunId, *, cause: Cause, identity: str
    ) -> Decision: ...


class Remembering(Protocol):
    """Where states are kept. Both raise what the bus raises."""

    async def pipeline(self, name: PipelineName) -> PipelineRecord | None:
        """The record as it is stored now."""

    async def load(self, job: JobRef) -> tuple[ScheduleState | None, int]:
        """The state as it is stored now, with its revision; revision 0: there is none. A state that cannot be read
        is None and has one: it is to be replaced."""

    async def store(self, job: JobRef, state: ScheduleState, revision: int) -> int:
        """Replace *revision* and return the new one. Raises ``Conflict``."""


class States:
    """The states of one bus."""

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
        """Remove the state, unless it has changed, and with it what people switched. Raises as ``store``."""
        await self._schedules.states.delete(job, expect=revision)
        await self._schedules.switches.delete(job)


class Firing:
    """Does the actions of one timetable, any number of them at once."""

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
        self._advancing = asyncio.Semaphore(ADVANCING_MAX)

    async def do(self, action: Action) -> None:
        """May be cut short anywhere and done again. Raises what the bus raises."""
        match action:
            case Settle(job):
                await self._settle(job)
            case Fire():
                await self._fire(action)

    async def _settle(self, job: JobRef) -> None:
        # Another scheduler may have settled it for a definition that has not reached us yet. So the definition is
        # read anew, after the revision that is to be replaced is fixed: an old view cannot undo a newer one.
        revision = self._timetable.revision(job)
        if revision:
            record = await self._states.pipeline(job.pipeline)
            if record is not None:
                self._timetable.see_pipeline(record)
        wanted = self._timetable.settlement(job, self._clock())
        if wanted is None:
            return
        try:
            stored = await self._states.store(job, wanted, revision)
        except Conflict:
            await self._reload(job)
        else:
            self._timetable.see_state(job, wanted, stored)

    async def _fire(self, fire: Fire) -> None:
        if fire.backlog.has_missed:  # by what we know, which may be old
            await self._reload(fire.job)
            current = self._timetable.fire(fire.job, self._clock())
            if current is None:
                return
            fire = current
            log.info("%s of %s missed slots; running %d", *reversed(fire.job), len(fire.backlog.slots))
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
                identity=f"{subjects.job_id(fire.job)}-{slot.isoformat()}",
            )
        except (BusError, Malformed):  # a record that this version cannot read, another one can
            raise
        except FastFlowError as error:  # it would say so again
            log.warning("slot %s of %s of %s starts nothing: %s", slot.isoformat(), schedule, pipeline, error)

    async def _advance(self, fire: Fire, until: datetime, slot: datetime | None) -> None:
        async with self._advancing:
            for _ in range(CONFLICTS_MAX):
                wanted = self._timetable.advanced(fire, until, slot)
                if wanted is None:
                    return
                try:
                    stored = await self._states.store(fire.job, wanted.state, wanted.revision)
                except Conflict:
                    await self._reload(fire.job)
                else:
                    self._timetable.see_state(fire.job, wanted.state, stored)
                    return

    async def _reload(self, job: JobRef) -> None:
        state, revision = await self._states.load(job)
        if revision:
            self._timetable.see_state(job, state, revision, is_read=True)
