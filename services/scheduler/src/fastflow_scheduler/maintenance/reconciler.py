"""Follows runs, runners and pauses, tells the others, and does the due work: runs of lost runners, old records. I/O.

Every scheduler does all of it: repeating an action of another scheduler changes nothing.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.clock import now
from fastflow_contracts.errors import FastFlowError
from fastflow_contracts.log import get_logger
from fastflow_contracts.pipelines.pauses import NOT_PAUSED, pause_sets
from fastflow_contracts.runs.run import Running, RunRecord
from fastflow_contracts.runs.runners import presences
from fastflow_contracts.runs.state_machine import Expire
from fastflow_contracts.runs.store import RunStore
from fastflow_contracts.starting.active_runs import ActiveRuns
from fastflow_scheduler.maintenance.due_work import Action, DueWork, ExpireRun, RenewRun
from fastflow_scheduler.starting.dispatcher import Dispatcher

log = get_logger(__name__)

ROUND_S = 2.0
"""Pause between two checks for due work."""
LOOK_S = 5.0
"""How long reading one presence may take."""


class Reconciler:
    """Follows runs, runners and pauses. One per scheduler."""

    def __init__(
        self, bus: Bus, runs: RunStore, *, active: ActiveRuns, dispatcher: Dispatcher, due_work: DueWork
    ) -> None:
        self._bus = bus
        self._runs = runs
        self._presences = presences(bus)
        self._pauses = pause_sets(bus)
        self._active = active
        self._dispatcher = dispatcher
        self._due_work = due_work
        dispatcher.free_slots = lambda: due_work.free_slots(at=_monotonic())
        self._caught_up = asyncio.Event()
        self._knows_pauses = asyncio.Event()
        self._generation = bus.generation

    async def serve(self) -> None:
        """Do due work until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_runs(), name="follow-runs")
            group.create_task(self._follow_runners(), name="follow-runners")
            group.create_task(self._follow_pauses(), name="follow-pauses")
            group.create_task(self._dispatch(), name="dispatch")
            group.create_task(self._act(), name="act")

    async def _follow_runs(self) -> None:
        self._active.begin()
        self._dispatcher.begin()
        async with aclosing(self._runs.records.follow()) as batches:
            async for batch in batches:
                for ref, run, revision, stored_at in batch.changes:
                    if run is not None:
                        self._due_work.see_run(run, at=_monotonic(), stored_at=stored_at)
                        self._dispatcher.see(run, revision)
                        self._active.see(run, revision)
                    else:
                        self._due_work.forget(ref.run_id)
                        self._dispatcher.forget(ref.run_id)
                        self._active.forget(ref.run_id, revision)
                if batch.unread:
                    self._active.pass_over(batch.unread[-1].revision)
                if batch.caught_up:
                    self._active.complete()
                    self._caught_up.set()

    async def _follow_runners(self) -> None:
        async with aclosing(self._presences.follow()) as batches:
            async for batch in batches:
                for runner, presence, _, _ in batch.changes:
                    if presence is None:
                        self._due_work.lose_runner(runner)
                    else:
                        self._due_work.see_runner(presence, at=_monotonic())
                self._dispatcher.wake()

    async def _follow_pauses(self) -> None:
        async with aclosing(self._pauses.follow()) as batches:
            async for batch in batches:
                for change in batch.changes:
                    self._dispatcher.hold(change.value or NOT_PAUSED)
                if batch.caught_up:
                    self._knows_pauses.set()

    async def _dispatch(self) -> None:
        await self._caught_up.wait()
        await self._knows_pauses.wait()
        await self._dispatcher.serve()

    async def _act(self) -> None:
        await self._caught_up.wait()
        while True:
            if self._bus.generation != self._generation or not self._bus.is_connected:
                self._generation = self._bus.generation
                self._due_work.forget_silence(at=_monotonic())
            for action in self._due_work.actions(now=now(), at=_monotonic()):
                await self._do(action)
            await asyncio.sleep(ROUND_S)

    async def _do(self, action: Action) -> None:
        match action:
            case RenewRun(run):
                try:
                    await self._runs.renew(run.ref)
                except FastFlowError as error:
                    log.warning("old record not renewed", run=run.id, error=str(error))
            case ExpireRun(run, epoch, reason):
                try:
                    if await self._lives(run):
                        return
                    changed = await self._runs.change(run.ref, Expire(epoch=epoch, reason=reason))
                except (FastFlowError, TimeoutError) as error:
                    log.warning("run not expired", run=run.id, error=str(error))
                else:
                    if changed.events:
                        log.warning("run expired", run=run.id, reason=reason)

    async def _lives(self, run: RunRecord) -> bool:
        """Whether its runner renewed its presence unnoticed. Raises ``TimeoutError``.

        A feed misses changes while its server dies; the stored record does not.
        """
        assert isinstance(run.state, Running)
        if not subjects.is_runner_id(run.state.runner):
            return False  # nobody: no presence can have this name
        async with asyncio.timeout(LOOK_S):
            found = await self._presences.items(subjects.runner_key(run.state.runner))
        renewed = [record.value for record in found if self._due_work.is_renewed(record.value)]
        for presence in renewed:
            self._due_work.see_runner(presence, at=_monotonic())
        return bool(renewed)


def _monotonic() -> float:
    return asyncio.get_running_loop().time()
