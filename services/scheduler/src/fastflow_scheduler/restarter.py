"""A daemon's regular restart: stop what runs, or start what does not. I/O.

The stopped run's end makes the reactor start the next one after the cooldown, so there are never two. Runs that are
younger than the slot belong to it already: a late or repeated call leaves them alone.
"""

from __future__ import annotations

import logging
from datetime import datetime

from fastflow_contracts import messages, subjects
from fastflow_contracts.ids import run_id_for_slot
from fastflow_contracts.machine import Cancel
from fastflow_contracts.messages import Trigger
from fastflow_contracts.names import PipelineName, token
from fastflow_contracts.pull import newest
from fastflow_contracts.run import RESTART, Run
from fastflow_contracts.runs import RunStore
from fastflow_contracts.wire import Bus
from fastflow_scheduler.admission import Cause
from fastflow_scheduler.starter import Starter

log = logging.getLogger(__name__)

SCHEDULE_ID = "restart"


class Restarter:
    """What ``restart_interval`` does at a slot."""

    def __init__(self, bus: Bus, runs: RunStore, starter: Starter) -> None:
        self._bus = bus
        self._runs = runs
        self._starter = starter

    async def restart(self, pipeline: PipelineName, slot: datetime) -> None:
        """Restart *pipeline* for *slot*. May be repeated. Raises what the bus raises, ``UnknownPipeline``."""
        active = await self._active(pipeline)
        for run in active:
            if run.created_at < slot:
                log.info("run %s of %s is stopped to be started anew", run.id, pipeline)
                await self._runs.change(run.ref, Cancel(reason=RESTART))
        if active:
            return
        run_id = run_id_for_slot(pipeline, SCHEDULE_ID, slot)
        trigger = Trigger(triggered_by="daemon_restart")
        identity = f"{pipeline}-{SCHEDULE_ID}-{slot.isoformat()}"
        await self._starter.start(pipeline, trigger, run_id, cause=Cause(scheduled_for=slot), identity=identity)

    async def _active(self, pipeline: PipelineName) -> list[Run]:
        records = await newest(self._bus, subjects.RUNS, f"run.{token(pipeline)}.*")
        runs = [messages.RUN.decode(record.data) for record in records]
        return [run for run in runs if not run.is_over]
