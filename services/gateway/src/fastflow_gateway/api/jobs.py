"""The scheduler's jobs: list them, switch them on or off, and show their next slots."""

from __future__ import annotations

from typing import Annotated

import msgspec
from aiohttp import web
from msgspec.structs import replace

from fastflow_api import shapes
from fastflow_contracts.clock import now
from fastflow_gateway.actions.jobs import switch
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.http.requests import answer, body_of, query
from fastflow_gateway.http.route import Route
from fastflow_gateway.readmodel import queries
from fastflow_gateway.readmodel.model import MODEL
from fastflow_gateway.views import jobs

NEXT_RUNS_MAX = 100


class NextRunsQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many slots to show."""

    count: Annotated[int, msgspec.Meta(ge=1, le=NEXT_RUNS_MAX, description=f"How many, at most {NEXT_RUNS_MAX}.")] = 5


async def list_jobs(request: web.Request) -> web.Response:
    """List all jobs, by pipeline."""
    return answer(await queries.all_jobs(request.app[MODEL]))


async def switch_job(request: web.Request) -> web.Response:
    """Switch a job on or off and return it."""
    known = await _known(request)
    try:
        wanted = msgspec.json.decode(await body_of(request), type=shapes.JobSwitch)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestRefused(422, f'the body must be {{"enabled": true}} or {{"enabled": false}}: {error}.') from error
    await switch(request.app, known.job, known.definition, is_on=wanted.enabled)
    return answer(jobs.job(replace(known, is_on=wanted.enabled), now()))


async def list_next_runs(request: web.Request) -> web.Response:
    """List the next slots of a job."""
    count = query(request, NextRunsQuery).count
    return answer(jobs.NextRuns(next_runs=jobs.next_runs(await _known(request), now(), count)))


async def _known(request: web.Request) -> jobs.KnownJob:
    return await queries.job_with_id(request.app[MODEL], request.match_info["job"])


ROUTES = (
    Route(
        "GET",
        "/api/scheduler/jobs",
        list_jobs,
        "List all jobs by pipeline, including those that are switched off or over.",
        {200: list[jobs.Job]},
    ),
    Route(
        "PUT",
        "/api/scheduler/jobs/{job}",
        switch_job,
        "Switch a job on or off. 409: the pipeline's metadata disables it.",
        {200: jobs.Job, 404: shapes.Error, 409: shapes.Error},
        body=shapes.JobSwitch,
    ),
    Route(
        "GET",
        "/api/scheduler/jobs/{job}/next-runs",
        list_next_runs,
        "List the next slots of a job.",
        {200: jobs.NextRuns, 404: shapes.Error},
        query=NextRunsQuery,
    ),
)
