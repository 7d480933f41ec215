"""Follows pipelines and schedule states, wakes at the instant of the next slot and starts the due work. I/O.

Every scheduler knows all of it, and does its share (``share``). The timer is set to the exact instant. It also fires
every ``TICK_S``, so that a change of the wall clock is noticed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing, suppress
from datetime import datetime, timedelta
from typing import TypeVar

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.bucket import Bucket, Change
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.decoding import note_unreadable
from fastflow_contracts.bus.errors import BusError, RevisionConflict, Unavailable
from fastflow_contracts.bus.subjects import JobRef
from fastflow_contracts.clock import now as wall_clock
from fastflow_contracts.errors import FastFlowError
from fastflow_contracts.log import get_logger
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.pauses import NOT_PAUSED, PauseSet, pause_sets
from fastflow_contracts.pipelines.records import PipelineRecord
from fastflow_contracts.pipelines.store import PipelineStore
from fastflow_contracts.schedules.state import ScheduleState, Switch
from fastflow_contracts.schedules.store import ScheduleStore
from fastflow_scheduler.schedules.firing import Firing, OnRestart, Starting, States
from fastflow_scheduler.schedules.peers import Peers
from fastflow_scheduler.schedules.share import Share
from fastflow_scheduler.schedules.timetable import Action, Fire, Timetable, unusable

log = get_logger(__name__)

N = TypeVar("N")
T = TypeVar("T")

TICK_S = 1.0
"""Longest pause between two readings of the wall clock."""
FIRE_MAX = 2_000
"""Schedules that fire at once; the others wait their turn. ``starter`` bounds the number of concurrent writes."""
SETTLE_MAX = 16
"""Schedules that settle at once. Many new schedules must not keep others waiting."""
TURN_MAX = 100
"""Schedules to compute the next slot of, or actions to begin, before other tasks get their turn: a few milliseconds."""
AGAIN = timedelta(seconds=1)
"""Pause after the bus did not answer."""
REFUSED_AGAIN = timedelta(seconds=30)
"""Pause after the bus refused, or returned something unreadable."""
FORGET_S = 86_400.0
"""Pause between two removals of states whose schedules are long gone."""


class Clock:
    """Fires slots on time. One per scheduler. *on_restart* carries out ``restart_interval`` at a slot."""

    def __init__(
        self,
        bus: Bus,
        starter: Starting,
        on_restart: OnRestart,
        *,
        share: Share | None = None,
        now: Callable[[], datetime] = wall_clock,
    ) -> None:
        self._bus = bus
        self._now = now
        self._pipelines = PipelineStore(bus)
        self._schedules = ScheduleStore(bus)
        self._pauses = pause_sets(bus)
        self._states = States(bus)
        self._peers = Peers(bus, share)
        self._timetable = Timetable(is_own=self._peers.share.is_own, is_alone=self._peers.share.is_alone)
        self._firing = Firing(self._timetable, starter, self._states, on_restart, clock=now)
        self._firing_at_once = asyncio.Semaphore(FIRE_MAX)
        self._settling_at_once = asyncio.Semaphore(SETTLE_MAX)
        self._changed = asyncio.Event()

    async def serve(self) -> None:
        """Fire slots until cancelled."""
        knows_pipelines, knows_states, knows_switches = asyncio.Event(), asyncio.Event(), asyncio.Event()
        knows_pauses = asyncio.Event()
        pipelines = self._follow(self._pipelines.records, self._on_pipeline, knows_pipelines)
        states = self._follow(self._schedules.states, self._on_state, knows_states)
        switches = self._follow(self._schedules.switches, self._on_switch, knows_switches)
        pauses = self._follow(self._pauses, self._on_pauses, knows_pauses)
        self._bus.wake_on_reconnect.add(self._changed)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(pipelines, name="follow-pipelines")
                group.create_task(states, name="follow-schedules")
                group.create_task(switches, name="follow-switches")
                group.create_task(pauses, name="follow-pauses")
                await knows_pipelines.wait()
                await knows_states.wait()
                await knows_switches.wait()
                await knows_pauses.wait()
                group.create_task(self._forget(), name="forget-schedules")
                group.create_task(self._peers.serve(), name="peers")
                while True:
                    await self._tick(group)
        finally:
            self._bus.wake_on_reconnect.discard(self._changed)

    async def _tick(self, group: asyncio.TaskGroup) -> None:
        """Start the due actions, then wait for the next instant or for a change."""
        self._changed.clear()
        pause_s = TICK_S
        if self._bus.is_connected:
            self._timetable.able(self._now())
            while self._timetable.arm(self._now(), most=TURN_MAX):  # noqa: ASYNC110 - yields to other tasks
                await asyncio.sleep(0)
            while due := self._timetable.actions(self._now(), most=TURN_MAX):
                for action in due:
                    group.create_task(self._do(action), name=f"slots-{subjects.job_id(action.job)}")
                await asyncio.sleep(0)
            if (instant := self._timetable.next_instant()) is not None:
                pause_s = min(TICK_S, max(0.0, (instant - self._now()).total_seconds()))
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._changed.wait()

    async def _do(self, action: Action) -> None:
        not_before: datetime | None = None
        try:
            async with self._firing_at_once if isinstance(action, Fire) else self._settling_at_once:
                await self._firing.do(action)
        except FastFlowError as error:
            not_before = self._now() + (AGAIN if isinstance(error, Unavailable | RevisionConflict) else REFUSED_AGAIN)
            log.warning(
                "schedule delayed", pipeline=action.job.pipeline, schedule=action.job.schedule, error=str(error)
            )
        except Exception:  # one schedule that no code can handle must not stop the others
            not_before = self._now() + REFUSED_AGAIN
            log.exception("schedule delayed", pipeline=action.job.pipeline, schedule=action.job.schedule)
        self._timetable.done(action.job, not_before=not_before)
        self._changed.set()

    async def _follow(self, bucket: Bucket[N, T], apply: Callable[[Change[N, T]], None], known: asyncio.Event) -> None:
        async with aclosing(bucket.follow()) as batches:
            async for batch in batches:
                for change in batch.changes:
                    apply(change)
                if batch.caught_up:
                    known.set()
                self._changed.set()

    def _on_pipeline(self, change: Change[PipelineName, PipelineRecord]) -> None:
        if change.value is not None:
            for schedule, why in unusable(change.value):
                note_unreadable("Schedule", f"{schedule.id} of {change.name}", why)
            self._timetable.see_pipeline(change.value)

    def _on_state(self, change: Change[JobRef, ScheduleState]) -> None:
        self._timetable.see_state(change.name, change.value, change.revision)

    def _on_switch(self, change: Change[JobRef, Switch]) -> None:
        self._timetable.see_switch(change.name, is_on=change.value is None or change.value.enabled)

    def _on_pauses(self, change: Change[str, PauseSet]) -> None:
        self._timetable.see_pauses(change.value or NOT_PAUSED, self._now())

    async def _forget(self) -> None:
        while True:
            for job, revision in self._timetable.forgettable(self._now()):
                with suppress(BusError):
                    await self._states.forget(job, revision)
            await asyncio.sleep(FORGET_S)
