"""Pages that look at everything from one side: which pipeline starts which, what starts when, and where it runs. I/O:
requests in, pages and redirects out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from aiohttp import web

from fastflow_contracts.ids import RunId
from fastflow_contracts.links import HOPS_MAX
from fastflow_contracts.messages import PipelineRecord
from fastflow_contracts.run import Run
from fastflow_contracts.service import now
from fastflow_gateway import api, jobs, keys, pages_graph, pages_schedules, routes_runners, routes_scheduler
from fastflow_gateway.pages_render import RENDERER
from fastflow_gateway.readmodel import ReadModel
from fastflow_gateway.routes_links import whole_graph

JOBS_MAX: Final = 500
"""On the page of schedules: those that come next."""


def setup(app: web.Application) -> None:
    """Add the pages."""
    app.router.add_get("/graph", graph_page)
    app.router.add_get("/runners", runners_page)
    app.router.add_get("/schedules", schedules_page)
    app.router.add_post("/schedules/{job}", switch_schedule)


async def graph_page(request: web.Request) -> web.Response:
    graph = whole_graph(request.app[keys.MODEL])
    linked = {name for edge in graph.edges for name in (edge.upstream, edge.downstream)}
    return request.app[RENDERER].page(
        request,
        "graph.html",
        here="graph",
        live="/live",
        graph=graph,
        drawing=pages_graph.drawing(graph),
        alone=[node.name for node in graph.nodes if node.name not in linked],
        existing={node.name for node in graph.nodes if node.exists},
        hops_max=HOPS_MAX,
    )


async def runners_page(request: web.Request) -> web.Response:
    found = routes_runners.alive(request.app[keys.MODEL])
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


async def job_views(model: ReadModel, records: Iterable[PipelineRecord]) -> list[pages_schedules.JobView]:
    """The jobs of these pipelines, as they are shown now."""
    at = now()
    known = jobs.listed(jobs.known_jobs(records, model.schedule_states, model.switches.off), at)

    def run_of(run_id: RunId) -> Run | None:
        found = model.history.get(run_id)
        return found.run if found else None

    # Slots of many jobs take a while to compute.
    return await asyncio.to_thread(pages_schedules.job_views, known, at, run_of=run_of)


async def switch_schedule(request: web.Request) -> web.Response:
    """Switch a job on or off and show all of them again."""
    is_on = dict(await api.form_of(request)).get("enabled") == "true"
    try:
        await routes_scheduler.switch(request.app, await routes_scheduler.known_job(request), is_on=is_on)
    except api.Refused as error:
        return await _schedules(request, flash=str(error), status=error.status)
    raise web.HTTPSeeOther("/schedules")


async def _schedules(request: web.Request, *, flash: str | None = None, status: int = 200) -> web.Response:
    model = request.app[keys.MODEL]
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
        summary=pages_schedules.summary(views),
    )
