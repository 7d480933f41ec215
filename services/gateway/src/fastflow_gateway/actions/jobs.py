"""TODO."""

from __future__ import annotations

import uuid

import msgspec
from aiohttp import web

from fastflow_contracts.bus.subjects import SCHEDULES, schedule_switch_key
from fastflow_contracts.clock import now
from fastflow_contracts.schedules.state import SWITCH, Switch
from fastflow_gateway import app_keys
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.readmodel.model import MODEL
from fastflow_gateway.views import jobs


async def switch(app: web.Application, known: jobs.KnownJob, *, is_on: bool) -> jobs.Job:
    """Switch a job on or off, and show it as it is then. Raises ``RequestRefused``, and what the bus raises."""
    if is_on and not known.definition.enabled:
        raise RequestRefused(
            409, f"{known.job.schedule} of {known.job.pipeline} is disabled in its metadata; enable it there."
        )
    value = SWITCH.encode(Switch(enabled=is_on, at=now(), write_id=uuid.uuid4().hex))
    revision = await app[app_keys.BUS].put(SCHEDULES, schedule_switch_key(known.job), value)
    # Whoever asks next sees it, however late the feed is.
    app[MODEL].switches.put(known.job, revision, is_on=is_on)
    return jobs.job(msgspec.structs.replace(known, is_on=is_on), now())
