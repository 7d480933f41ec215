"""A daemon's regular restart: stop the active run, or start one if none is active. I/O.

When the stopped run ends, ``run_ended_consumer`` starts the next one after the cooldown, so two never run at once. Runs
that are younger than the slot, or have not begun yet, already belong to the slot: a late or repeated call leaves them
alone. So a cooldown that is longer than the interval still comes to an end. If a run ended just before the slot,
``run_ended_consumer`` may not have restarted it yet: the restart then starts here, under the same id, so that no second
run appears.
"""

from __future__ import annotations

from datetime import datetime

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.decoding import Unreadable
from fastflow_contracts.ids import RunId, run_id_for_child, run_id_for_slot
from fastflow_contracts.log import get_logger
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.store import PipelineStore
from fastflow_contracts.runs.messages import Started, Trigger
from fastflow_contracts.runs.run import RESTART, Ended, RunInput, RunRecord
from fastflow_contracts.runs.state_machine import Cancel
from fastflow_contracts.runs.store import NoSuchRun, RunStore
from fastflow_contracts.schedules.schedule import RESTART_ID
from fastflow_contracts.starting.admission import Cause
from fastflow_contracts.starting.followups import RESTART_EDGE, Follow, react, stops_for_restart
from fastflow_scheduler.starting.starter import Starter

log = get_logger(__name__)


class Restarter:
    """Carries out ``restart_interval`` at a slot."""

    def __init__(self, bus: Bus, runs: RunStore, starter: Starter) -> None:
        self._pipelines = PipelineStore(bus)
        self._runs = runs
        self._starter = starter

    async def restart(self, pipeline: PipelineName, slot: datetime) -> None:
        """Restart *pipeline* for *slot*. Safe to repeat. Raises ``BusError``."""
        runs = await self._runs.all_of(pipeline)
        while active := [run for run in runs if not run.is_over]:
            if not await self._stop(active, slot):
                return
            runs = await self._runs.all_of(pipeline)
        last = max((run for run in runs if isinstance(run.state, Ended)), key=_ended_at, default=None)
        successor = await self._start_successor(last) if last else None
        if successor and successor not in {run.id for run in runs}:
            return
        run_id = run_id_for_slot(pipeline, RESTART_ID, slot)
        trigger = Trigger(triggered_by="daemon_restart")
        cause = Cause(schedule=RESTART_ID, scheduled_for=slot)
        await self._starter.start(pipeline, trigger, run_id, cause=cause)

    async def _stop(self, active: list[RunRecord], slot: datetime) -> bool:
        """Stop runs that are older than *slot*. Returns whether one of them had already ended by itself."""
        had_ended = False
        for run in active:
            if stops_for_restart(run, slot):
                log.info("run stopped for restart", run=run.id, pipeline=run.pipeline)
                changed = await self._runs.change(run.ref, Cancel(reason=RESTART))
                had_ended = had_ended or (changed.run.is_over and not changed.events)
        return had_ended

    async def _start_successor(self, run: RunRecord) -> RunId | None:
        """Start the restart that follows from the end of *run*. None if there is none or the start is refused."""
        record = await self._pipelines.get(run.pipeline)
        try:
            given = await self._runs.input(run)
        except (NoSuchRun, Unreadable):
            given = RunInput()
        for step in react(run, record, (), given):
            if isinstance(step, Follow) and step.edge == RESTART_EDGE:
                run_id = run_id_for_child(run.id, step.edge)
                decision = await self._starter.start(step.pipeline, step.trigger, run_id, cause=step.cause)
                return run_id if isinstance(decision, Started) else None
        return None


def _ended_at(run: RunRecord) -> datetime:
    assert isinstance(run.state, Ended)
    return run.state.at
