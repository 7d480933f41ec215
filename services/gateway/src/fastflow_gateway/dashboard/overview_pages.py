"""Pages that look at everything from one side: which pipeline starts which, what starts when, and where it runs. I/O:
requests in, pages and redirects out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from aiohttp import web

from fastflow_contracts.clock import now
from fastflow_contracts.ids import RunId
from fastflow_contracts.pipelines.links import HOPS_MAX
from fastflow_contracts.pipelines.records import PipelineRecord
from fastflow_contracts.runs.run import Run
from fastflow_gateway.actions.jobs import switch
from fastflow_gateway.dashboard.rendering import RENDERER
from fastflow_gateway.dashboard.view import graph_drawing, schedules
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.http import requests
from fastflow_gateway.http.requests import known_job
from fastflow_gateway.readmodel.model import MODEL, ReadModel
from fastflow_gateway.readmodel.queries import alive, whole_graph
from fastflow_gateway.views import jobs

JOBS_MAX: Final = 500
"""On the page of schedules: those that come next."""


def setup(app: web.Application) -> None:
    """Add the pages."""
    app.router.add_get("/graph", graph_page)
    app.router.add_get("/runners", runners_page)
    app.router.add_get("/schedules", schedules_page)
    app.router.add_post("/schedules/{job}", switch_schedule)


async def graph_page(request: web.Request) -> web.Response:
    graph = whole_graph(request.app[MODEL])
    linked = {name for edge in graph.edges for name in (edge.upstream, edge.downstream)}
    return request.app[RENDERER].page(
        request,
        "graph.html",
        here="graph",
        live="/live",
        graph=graph,
        drawing=graph_drawing.drawing(graph),
        alone=[node.name for node in graph.nodes if node.name not in linked],
        existing={node.name for node in graph.nodes if node.exists},
        hops_max=HOPS_MAX,
    )


async def runners_page(request: web.Request) -> web.Response:
    found = alive(request.app[MODEL])
    staying = [runner for runner in found if not runner.leaving]
    return request.app[RENDERER].page(
        request,
        "runners.html",
        here="runners",
        live="/live",
        runners=found,
        busy=sum(runner.busy for runner in staying),
        slots=sum(runner.slots for runner in staying),
    )


async def schedules_page(request: web.Request) -> web.Response:
    return await _schedules(request)


async def job_views(model: ReadModel, records: Iterable[PipelineRecord]) -> list[schedules.JobView]:
    """The jobs of these pipelines, as they are shown now."""
    at = now()
    known = jobs.listed(jobs.known_jobs(records, model.schedule_states, model.switches.off), at)

    def run_of(run_id: RunId) -> Run | None:
        found = model.runs.get(run_id)
        return found.run if found else None

    # Slots of many jobs take a while to compute.
    return await asyncio.to_thread(schedules.job_views, known, at, run_of=run_of)


async def switch_schedule(request: web.Request) -> web.Response:
    """Switch a job on or off and show all of them again."""
    is_on = dict(await requests.form_of(request)).get("enabled") == "true"
    try:
        await switch(request.app, await known_job(request), is_on=is_on)
    except RequestRefused as error:
        return await _schedules(request, flash=str(error), status=error.status)
    raise web.HTTPSeeOther("/schedules")


async def _schedules(request: web.Request, *, flash: str | None = None, status: int = 200) -> web.Response:
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
