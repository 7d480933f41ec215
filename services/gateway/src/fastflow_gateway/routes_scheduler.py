"""The scheduler's jobs: what runs when, and switching it on and off."""

from __future__ import annotations

import asyncio
import uuid
from typing import Annotated

import msgspec
from aiohttp import web

from fastflow_contracts.errors import FastFlowError
from fastflow_contracts.names import check_name
from fastflow_contracts.schedule_state import SWITCH, Switch
from fastflow_contracts.service import now
from fastflow_contracts.subjects import SCHEDULES, parse_job_id, schedule_switch_key
from fastflow_gateway import jobs, keys, shapes
from fastflow_gateway.api import Refused, Route, answer, body_of, query

NEXT_RUNS_MAX = 100


class JobSwitch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change about a job."""

    enabled: bool
    """False: it stays silent, whatever is synced, until it is switched on again. It then begins with the next slot."""


class NextRunsQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    count: Annotated[int, msgspec.Meta(ge=1, le=NEXT_RUNS_MAX, description=f"How many, at most {NEXT_RUNS_MAX}.")] = 5


async def list_jobs(request: web.Request) -> web.Response:
    return answer(await all_jobs(request.app))


async def switch_job(request: web.Request) -> web.Response:
    known = await known_job(request)
    try:
        wanted = msgspec.json.decode(await body_of(request), type=JobSwitch)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(422, f'the body must be {{"enabled": true}} or {{"enabled": false}}: {error}.') from error
    return answer(await switch(request.app, known, is_on=wanted.enabled))


async def list_next_runs(request: web.Request) -> web.Response:
    count = query(request, NextRunsQuery).count
    return answer(jobs.NextRuns(next_runs=jobs.next_runs(await known_job(request), now(), count)))


async def all_jobs(app: web.Application) -> list[jobs.Job]:
    """Every job, by pipeline."""
    model, moment = app[keys.MODEL], now()
    known = jobs.listed(jobs.known_jobs(model.pipelines(), model.schedule_states, model.switches.off), moment)
    # Ten thousand of them take half a second.
    return await asyncio.to_thread(lambda: [jobs.job(each, moment) for each in known])


async def switch(app: web.Application, known: jobs.Known, *, is_on: bool) -> jobs.Job:
    """Switch a job on or off, and show it as it is then. Raises ``Refused``, and what the bus raises."""
    if is_on and not known.definition.enabled:
        raise Refused(
            409, f"{known.job.schedule} of {known.job.pipeline} is disabled in its metadata; enable it there."
        )
    value = SWITCH.encode(Switch(enabled=is_on, at=now(), write_id=uuid.uuid4().hex))
    revision = await app[keys.BUS].put(SCHEDULES, schedule_switch_key(known.job), value)
    # Whoever asks next sees it, however late the feed is.
    app[keys.MODEL].switches.put(known.job, revision, is_on=is_on)
    return jobs.job(msgspec.structs.replace(known, is_on=is_on), now())


async def known_job(request: web.Request) -> jobs.Known:
    """The job that the path names. Raises ``Refused``."""
    model = request.app[keys.MODEL]
    try:
        wanted = parse_job_id(request.match_info["job"])
        record = await model.pipeline(check_name(wanted.pipeline))
    except FastFlowError:
        record = None
    jobs_of_it = jobs.known_jobs([record] if record else [], model.schedule_states, model.switches.off)
    for known in jobs.listed(jobs_of_it, now()):
        if known.job == wanted:
            return known
    raise Refused(404, f"there is no job {request.match_info['job'][:200]!r}; GET /api/scheduler/jobs lists them.")


ROUTES = (
    Route(
        "GET",
        "/api/scheduler/jobs",
        list_jobs,
        "What runs when, by pipeline; also what is switched off, and what is over.",
        {200: list[jobs.Job]},
    ),
    Route(
        "PUT",
        "/api/scheduler/jobs/{job}",
        switch_job,
        "Switch a job on or off. 409: its pipeline's metadata disable it.",
        {200: jobs.Job, 404: shapes.Error, 409: shapes.Error},
        body=JobSwitch,
    ),
    Route(
        "GET",
        "/api/scheduler/jobs/{job}/next-runs",
        list_next_runs,
        "The next slots of a job.",
        {200: jobs.NextRuns, 404: shapes.Error},
        query=NextRunsQuery,
    ),
)
