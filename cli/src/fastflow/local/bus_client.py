"""What ``up`` and tests read of the bus: pipelines, runs, runners. I/O; what is printed is not decided here."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.feed import newest
from fastflow_contracts.bus.subjects import PIPELINES, RUNS
from fastflow_contracts.pipelines.records import PIPELINE, SYNC_STATUS, PipelineRecord
from fastflow_contracts.runs.presence import PRESENCE, PRESENCE_S, Presence
from fastflow_contracts.runs.run import RUN, Run, Running

ABSENT_S: Final = 6 * PRESENCE_S
"""A runner that was silent for longer counts as gone."""


async def runs(bus: Bus) -> list[Run]:
    """Every run that is recorded, newest first."""
    found = [RUN.decode(message.data) for message in await newest(bus, RUNS, subjects.RUN_KEYS)]
    return sorted(found, key=lambda run: run.created_at, reverse=True)


async def running(bus: Bus, runner_id: str) -> list[Run]:
    """What this runner has begun and not ended, newest first."""
    return [run for run in await runs(bus) if isinstance(run.state, Running) and run.state.runner == runner_id]


async def runners(bus: Bus, *, now: datetime) -> list[Presence]:
    """The runners that are alive. Their age is judged by the bus's clock, as far as *now* agrees with it."""
    heard = [
        PRESENCE.decode(message.data)
        for message in await newest(bus, subjects.RUNNERS, subjects.RUNNER_KEYS)
        if (now - message.stored_at).total_seconds() < ABSENT_S
    ]
    return [presence for presence in heard if not presence.gone]


async def pipelines(bus: Bus) -> list[PipelineRecord]:
    """Every pipeline that is listed, by name."""
    found = [PIPELINE.decode(message.data) for message in await newest(bus, PIPELINES, subjects.PIPELINE_KEYS)]
    return sorted((record for record in found if record.removed_at is None), key=lambda record: record.name)


async def refused(bus: Bus) -> list[str]:
    """What the last sync refused: pipelines with problems, and what is in a folder's place and cannot be one."""
    entry = await bus.get(PIPELINES, subjects.SYNC_STATUS_KEY)
    changes = SYNC_STATUS.decode(entry.value).last.changes if entry is not None else ()
    return [change.pipeline for change in changes if change.action == "refused"]
