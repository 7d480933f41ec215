"""Reads pipelines, runs and runners from the bus, for ``up`` and for tests. I/O."""

from __future__ import annotations

from datetime import datetime

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.pipelines.records import PipelineRecord
from fastflow_contracts.pipelines.store import PipelineStore
from fastflow_contracts.runs.presence import Presence, is_gone
from fastflow_contracts.runs.run import Running, RunRecord
from fastflow_contracts.runs.runners import presences
from fastflow_contracts.runs.store import RunStore


async def runs(bus: Bus) -> list[RunRecord]:
    """Every recorded run, newest first."""
    found = await RunStore(bus).records.items(subjects.RUN_KEYS)
    return sorted((record.value for record in found), key=lambda run: run.created_at, reverse=True)


async def running(bus: Bus, runner_id: str) -> list[RunRecord]:
    """The unfinished runs of this runner, newest first."""
    return [run for run in await runs(bus) if isinstance(run.state, Running) and run.state.runner == runner_id]


async def runners(bus: Bus, *, now: datetime) -> list[Presence]:
    """The live runners. Their silence is the time from the bus's timestamp to *now*."""
    return [
        record.value
        for record in await presences(bus).items()
        if record.stored_at and not is_gone(record.value, silent_s=(now - record.stored_at).total_seconds())
    ]


async def pipelines(bus: Bus) -> list[PipelineRecord]:
    """Every listed pipeline, by name."""
    return await PipelineStore(bus).listed()


async def refused(bus: Bus) -> list[str]:
    """Names that the last sync refused: pipelines with problems, and entries that are not folders."""
    status = (await PipelineStore(bus).sync_status.load(subjects.SYNC_STATUS_KEY)).value
    changes = status.last.changes if status is not None else ()
    return [change.pipeline for change in changes if change.action == "refused"]
