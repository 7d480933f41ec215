"""Switching schedules on and off."""

from __future__ import annotations

import uuid

from aiohttp import web

from fastflow_contracts.bus.subjects import SCHEDULES, JobRef, schedule_switch_key
from fastflow_contracts.clock import now
from fastflow_contracts.schedules.schedule import PipelineSchedule
from fastflow_contracts.schedules.state import SWITCH, Switch
from fastflow_gateway import app_keys
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.readmodel.model import MODEL


async def switch(app: web.Application, job: JobRef, definition: PipelineSchedule, *, is_on: bool) -> None:
    """Switch a job on or off.

    Args:
        app: The gateway.
        job: Which job.
        definition: The schedule in the pipeline's metadata.
        is_on: True: the job fires from its next slot on. False: it does not fire, also after a sync.

    Raises:
        RequestRefused: *is_on* is true, but the metadata disable the job.
        BusError: The bus did not store it.
    """
    if is_on and not definition.enabled:
        raise RequestRefused(409, f"{job.schedule} of {job.pipeline} is disabled in its metadata; enable it there.")
    value = SWITCH.encode(Switch(enabled=is_on, at=now(), write_id=uuid.uuid4().hex))
    revision = await app[app_keys.BUS].put(SCHEDULES, schedule_switch_key(job), value)
    # The next reader sees the change even if the feed is late.
    app[MODEL].switches.put(job, revision, is_on=is_on)
