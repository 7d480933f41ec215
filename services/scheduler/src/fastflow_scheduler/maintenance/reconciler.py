"""Keeps the agenda true and does what it says: repeat lost hints, start due retries, expire runs of lost runners. I/O.

Every scheduler replica does all of it: an action that another one did already changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.errors import BusError
from fastflow_contracts.bus.feed import feed, newest
from fastflow_contracts.bus.pull import Message
from fastflow_contracts.bus.streams import bucket_stream
from fastflow_contracts.clock import now
from fastflow_contracts.codec import Malformed
from fastflow_contracts.runs.presence import PRESENCE, Presence
from fastflow_contracts.runs.run import RUN, Run, Running
from fastflow_contracts.runs.state_machine import Expire, Refused
from fastflow_contracts.runs.store import NoSuchRun, RunStore
from fastflow_scheduler.maintenance.agenda import Action, Agenda, ExpireRun, HintRun, RenewRun
from fastflow_scheduler.starting.starter import Starter

log = logging.getLogger(__name__)

ROUND_S = 2.0
"""Longest pause between two looks at the agenda."""
REST = 4
"""Times as long as a look took are spent otherwise before the next: many runs must not take all the time there is."""
LOOK_S = 5.0
"""How long the bus may take to show one presence."""


class Reconciler:
    """One per scheduler."""

    def __init__(self, bus: Bus, runs: RunStore, starter: Starter, agenda: Agenda) -> None:
        self._bus = bus
        self._runs = runs
        self._starter = starter
        self._agenda = agenda
        self._changed = asyncio.Event()
        self._caught_up = asyncio.Event()
        self._generation = bus.generation

    async def serve(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_runs(), name="follow-runs")
            group.create_task(self._follow_runners(), name="follow-runners")
            group.create_task(self._act(), name="act")

    async def _follow_runs(self) -> None:
        subject = f"$KV.{subjects.RUNS}.{subjects.RUN_KEYS}"
        async with aclosing(feed(self._bus, bucket_stream(subjects.RUNS), subject)) as changes:
            async for batch in changes:
                for message in batch.messages:
                    if message.data:
                        try:
                            run = RUN.decode(message.data)
                        except Malformed as error:
                            log.error("record %s is left alone: %s", message.subject, error)
                            continue
                        self._agenda.see_run(run, at=_monotonic(), stored_at=message.stored_at)
                if batch.caught_up:
                    self._caught_up.set()
                self._changed.set()

    async def _follow_runners(self) -> None:
        prefix = f"$KV.{subjects.RUNNERS}."
        async with aclosing(feed(self._bus, bucket_stream(subjects.RUNNERS), prefix + subjects.RUNNER_KEYS)) as changes:
            async for batch in changes:
                for message in batch.messages:
                    if message.data:
                        self._agenda.see_runner(_presence(message), at=_monotonic())
                    else:
                        self._agenda.lose_runner(message.subject.removeprefix(prefix).removeprefix("runner."))
                self._changed.set()

    async def _act(self) -> None:
        await self._caught_up.wait()
        while True:
            self._changed.clear()
            if self._bus.generation != self._generation or not self._bus.is_connected:
                self._generation = self._bus.generation
                self._agenda.forget_silence(at=_monotonic())
            begun = _monotonic()
            actions = self._agenda.actions(now=now(), at=begun)
            rest_s = REST * (_monotonic() - begun)
            for action in actions:
                await self._do(action)
            await asyncio.sleep(rest_s)
            pause_s = max(0.0, min(ROUND_S, self._agenda.next_due_s(now=now())))
            try:
                async with asyncio.timeout(pause_s):
                    await self._changed.wait()
            except TimeoutError:
                pass

    async def _do(self, action: Action) -> None:
        match action:
            case HintRun(run):
                await self._starter.hint(run)
            case RenewRun(run):
                try:
                    await self._runs.renew(run.ref)
                except (NoSuchRun, BusError) as error:
                    log.warning("the record of run %s, which is old, could not be written again: %s", run.id, error)
            case ExpireRun(run, epoch, reason):
                try:
                    if await self._lives(run):
                        return
                    changed = await self._runs.change(run.ref, Expire(epoch=epoch, reason=reason))
                except (NoSuchRun, Refused, BusError, TimeoutError) as error:
                    log.warning("run %s could not be expired: %s", run.id, error)
                else:
                    if changed.events:
                        log.warning("run %s expired: %s", run.id, reason)

    async def _lives(self, run: Run) -> bool:
        """Whether its runner renewed its presence and we did not hear it: a feed is deaf while its server dies, the
        record is not. Raises ``TimeoutError``.
        """
        assert isinstance(run.state, Running)
        async with asyncio.timeout(LOOK_S):
            found = await newest(self._bus, subjects.RUNNERS, subjects.runner_key(run.state.runner))
        news = [each for each in map(_presence, found) if self._agenda.is_news(each)]
        for each in news:
            self._agenda.see_runner(each, at=_monotonic())
        return bool(news)


def _presence(message: Message) -> Presence:
    return PRESENCE.decode(message.data)


def _monotonic() -> float:
    return asyncio.get_running_loop().time()
