"""The page that lists the schedules and switches them on and off."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from aiohttp import web

from fastflow_contracts.clock import now
from fastflow_contracts.ids import RunId
from fastflow_contracts.pipelines.records import PipelineRecord
from fastflow_contracts.runs.run import RunRecord
from fastflow_gateway.actions.jobs import switch
from fastflow_gateway.dashboard.rendering import RENDERER
from fastflow_gateway.dashboard.view import schedules
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.http.requests import form_of
from fastflow_gateway.http.route import Route
from fastflow_gateway.readmodel import queries
from fastflow_gateway.readmodel.model import MODEL, ReadModel

JOBS_MAX: Final = 500
"""Jobs on the page: those that fire next."""


async def schedules_page(request: web.Request) -> web.Response:
    return await _page(request)


async def switch_schedule(request: web.Request) -> web.Response:
    """Switch a job on or off and show the list again."""
    is_on = dict(await form_of(request)).get("enabled") == "true"
    try:
        known = await queries.job_with_id(request.app[MODEL], request.match_info["job"])
        await switch(request.app, known.job, known.definition, is_on=is_on)
    except RequestRefused as error:
        return await _page(request, flash=str(error), status=error.status)
    raise web.HTTPSeeOther("/schedules")


async def job_views(model: ReadModel, records: Iterable[PipelineRecord]) -> list[schedules.JobView]:
    """The jobs of these pipelines, as the page shows them now."""

    def run_of(run_id: RunId) -> RunRecord | None:
        found = model.runs.get(run_id)
        return found.run if found else None

    # Slots of many jobs take a while to compute.
    return await asyncio.to_thread(schedules.job_views, queries.known_jobs(model, records), now(), run_of=run_of)


async def _page(request: web.Request, *, flash: str | None = None, status: int = 200) -> web.Response:
    model = request.app[MODEL]
    views = await job_views(model, model.pipelines())
    return request.app[RENDERER].page(
        request,
        "schedules.html",
        status=status,
        here="schedules",
        live="/live",
        address="/schedules" if flash else None,
        flash=flash,
        views=views[:JOBS_MAX],
        more=len(views[JOBS_MAX:]),
        summary=schedules.summary(views),
    )


ROUTES = (
    Route("GET", "/schedules", schedules_page),
    Route("POST", "/schedules/{job}", switch_schedule),
)
