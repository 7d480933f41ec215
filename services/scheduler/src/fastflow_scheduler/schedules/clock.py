"""Time: follows pipelines and states, wakes at the instant of the next slot, hands out what is due then. I/O.

Every scheduler does all of it. The timer is set to the very instant; it also goes off every ``TICK_S``, so that a wall
clock that was set is noticed.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import aclosing, suppress
from datetime import datetime, timedelta

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.errors import BusError, Conflict, Unavailable
from fastflow_contracts.bus.feed import feed
from fastflow_contracts.bus.pull import Message
from fastflow_contracts.bus.streams import bucket_stream
from fastflow_contracts.bus.subjects import SCHEDULE_STATES, SCHEDULE_SWITCHES, SCHEDULES
from fastflow_contracts.clock import now as wall_clock
from fastflow_contracts.errors import FastFlowError
from fastflow_contracts.pipelines.records import PIPELINE
from fastflow_contracts.schedules.state import SCHEDULE_STATE, SWITCH
from fastflow_scheduler.schedules.firing import Firing, OnRestart, Starting, States
from fastflow_scheduler.schedules.timetable import Action, Fire, Timetable

log = logging.getLogger(__name__)

TICK_S = 1.0
"""Longest pause between two looks at the wall clock."""
FIRE_MAX = 1_000
"""Schedules that are fired at once; the others wait their turn. ``starter`` bounds what is written at once."""
SETTLE_MAX = 16
"""Schedules that are settled at once. Many that are new must not keep others waiting."""
ARM_MAX = 100
"""Schedules whose next slot is computed before other tasks get their turn: some milliseconds."""
AGAIN = timedelta(seconds=1)
"""After the bus did not answer."""
REFUSED_AGAIN = timedelta(seconds=30)
"""After it refused, or gave what cannot be read."""
FORGET_S = 86_400.0
"""How often states of schedules that are long gone are looked for."""


class Clock:
    """One per scheduler. *on_restart*: what ``restart_interval`` does at a slot."""

    def __init__(
        self, bus: Bus, starter: Starting, on_restart: OnRestart, *, now: Callable[[], datetime] = wall_clock
    ) -> None:
        self._bus = bus
        self._now = now
        self._states = States(bus)
        self._timetable = Timetable()
        self._firing = Firing(self._timetable, starter, self._states, on_restart, clock=now)
        self._room_to_fire = asyncio.Semaphore(FIRE_MAX)
        self._room_to_settle = asyncio.Semaphore(SETTLE_MAX)
        self._changed = asyncio.Event()

    async def serve(self) -> None:
        """Work until cancelled."""
        knows_pipelines, knows_states = asyncio.Event(), asyncio.Event()
        pipelines = self._follow(subjects.PIPELINES, subjects.PIPELINE_KEYS, self._on_pipeline, knows_pipelines)
        states = self._follow(SCHEDULES, ">", self._on_schedule, knows_states)
        self._bus.wake_on_reconnect.add(self._changed)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(pipelines, name="follow-pipelines")
                group.create_task(states, name="follow-schedules")
                await knows_pipelines.wait()
                await knows_states.wait()
                group.create_task(self._forget(), name="forget-schedules")
                while True:
                    await self._tick(group)
        finally:
            self._bus.wake_on_reconnect.discard(self._changed)

    async def _tick(self, group: asyncio.TaskGroup) -> None:
        """Hand out what is due, then wait for the next instant or for news."""
        self._changed.clear()
        pause_s = TICK_S
        if self._bus.is_connected:
            self._timetable.able(self._now())
            while self._timetable.arm(self._now(), most=ARM_MAX):  # noqa: ASYNC110 - no event: it is others' turn
                await asyncio.sleep(0)
            due = self._timetable.actions(self._now())
            random.shuffle(due)  # so that schedulers do not all begin with the same one
            for action in due:
                group.create_task(self._do(action), name=f"slots-{subjects.job_id(action.job)}")
            if (instant := self._timetable.next_instant()) is not None:
                pause_s = min(TICK_S, max(0.0, (instant - self._now()).total_seconds()))
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._changed.wait()

    async def _do(self, action: Action) -> None:
        not_before: datetime | None = None
        try:
            async with self._room_to_fire if isinstance(action, Fire) else self._room_to_settle:
                await self._firing.do(action)
        except FastFlowError as error:
            not_before = self._now() + (AGAIN if isinstance(error, Unavailable | Conflict) else REFUSED_AGAIN)
            log.warning("%s of %s waits: %s", *reversed(action.job), error)
        self._timetable.done(action.job, not_before=not_before)
        self._changed.set()

    async def _follow(self, bucket: str, keys: str, apply: Callable[[Message], None], known: asyncio.Event) -> None:
        async with aclosing(feed(self._bus, bucket_stream(bucket), f"$KV.{bucket}.{keys}")) as changes:
            async for batch in changes:
                for message in batch.messages:
                    try:
                        apply(message)
                    except FastFlowError as error:
                        log.error("record %s is left alone: %s", message.subject, error)
                if batch.caught_up:
                    known.set()
                self._changed.set()

    def _on_pipeline(self, message: Message) -> None:
        if message.data:
            self._timetable.see_pipeline(PIPELINE.decode(message.data))

    def _on_schedule(self, message: Message) -> None:
        key = message.subject.removeprefix(f"$KV.{SCHEDULES}.")
        if key.startswith(SCHEDULE_STATES):
            job = subjects.parse_job_id(key.removeprefix(SCHEDULE_STATES))
            state = SCHEDULE_STATE.decode(message.data) if message.data else None
            self._timetable.see_state(job, state, message.sequence)
        elif key.startswith(SCHEDULE_SWITCHES):
            job = subjects.parse_job_id(key.removeprefix(SCHEDULE_SWITCHES))
            self._timetable.see_switch(job, is_on=not message.data or SWITCH.decode(message.data).enabled)

    async def _forget(self) -> None:
        while True:
            for job, revision in self._timetable.forgettable(self._now()):
                with suppress(BusError):
                    await self._states.forget(job, revision)
            await asyncio.sleep(FORGET_S)
