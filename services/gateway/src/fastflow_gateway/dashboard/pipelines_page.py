"""The list of pipelines, with its search, and the page of one pipeline."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from aiohttp import web

from fastflow_api import shapes
from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.errors import BusError
from fastflow_contracts.pipelines.records import PipelineRecord
from fastflow_gateway.actions.states import state_of
from fastflow_gateway.actions.sync import sync
from fastflow_gateway.dashboard.rendering import RENDERER
from fastflow_gateway.dashboard.schedules_page import job_views
from fastflow_gateway.dashboard.view import facts
from fastflow_gateway.dashboard.view import models as drawn
from fastflow_gateway.dashboard.view.link_form import LinkForm, link_rows
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.http.browsers import public_address
from fastflow_gateway.http.requests import query
from fastflow_gateway.http.route import Route
from fastflow_gateway.readmodel import queries, version_queries
from fastflow_gateway.readmodel.bundle_files import BUNDLE_FILES
from fastflow_gateway.readmodel.filters import PipelinesQuery
from fastflow_gateway.readmodel.model import MODEL
from fastflow_gateway.settings import SETTINGS

STRIP_RUNS: Final = 20
RECENT_RUNS: Final = 10
SKIPS_SHOWN: Final = 5


async def pipelines_page(request: web.Request) -> web.Response:
    return show_pipelines(request)


async def pipeline_page(request: web.Request) -> web.Response:
    return await show_pipeline(request)


async def show_webhooks(request: web.Request) -> web.Response:
    """Show the page with the webhooks' addresses, keys included. The plain page does not contain them."""
    return await show_pipeline(request, webhook_base=public_address(request))


async def show_pipeline(
    request: web.Request,
    *,
    webhook_base: str | None = None,
    flash: str | None = None,
    link_form: LinkForm | None = None,
    status: int = 200,
) -> web.Response:
    """The page of one pipeline, with what went wrong and a form as it was sent, if any."""
    model = request.app[MODEL]
    record = await queries.pipeline_named(model, request.match_info["name"])
    pipeline = await queries.pipeline_detail(
        model, request.app[BUNDLE_FILES], record, last_runs=STRIP_RUNS, skips=SKIPS_SHOWN
    )
    state, state_problem = await _state(request.app, record)
    return request.app[RENDERER].page(
        request,
        "pipeline.html",
        status=status,
        here="pipelines",
        live="/live",
        address=f"/pipelines/{quote(record.name)}" if webhook_base or flash or link_form else None,
        flash=flash,
        pipeline=pipeline,
        versions=await version_queries.versions(model, record),
        state=state,
        state_problem=state_problem,
        webhook_base=webhook_base,
        runs=queries.runs(model, model.runs.latest(record.name, RECENT_RUNS)),
        files=drawn.files(pipeline),
        jobs=await job_views(model, [record]),
        settings=facts.pipeline_settings(pipeline, request.app[SETTINGS].policy),
        environment=facts.pipeline_environment(pipeline),
        trigger_subject=subjects.trigger(record.name),
        links=link_rows(model.links.of(record), {each.name: each for each in model.pipelines()}),
        link_form=link_form or LinkForm(),
        pipeline_names=[each.name for each in model.pipelines()],
    )


async def _state(app: web.Application, record: PipelineRecord) -> tuple[shapes.PipelineState | None, str]:
    """The state of a pipeline, None if it keeps none; and why its history cannot be shown now."""
    if record.live is None or not record.live.spec.state:
        return None, ""
    try:
        return await state_of(app, record.name), ""
    except (RequestRefused, BusError) as error:
        return shapes.PipelineState(pipeline_name=record.name, is_kept=True, versions=()), str(error)


async def start_sync(request: web.Request) -> web.Response:
    try:
        report = await sync(request.app)
    except RequestRefused as error:
        return show_pipelines(request, flash=str(error), status=error.status)
    if not report.ok:
        return show_pipelines(request, flash=f"The sync failed: {report.error}", status=502)
    raise web.HTTPSeeOther("/")


def show_pipelines(request: web.Request, *, flash: str | None = None, status: int = 200) -> web.Response:
    """The list, with what went wrong, if anything did."""
    model, wanted = request.app[MODEL], query(request, PipelinesQuery)
    q, tags = wanted.q, wanted.wanted_tags
    listed = queries.pipelines(model, last_runs=STRIP_RUNS)
    return request.app[RENDERER].page(
        request,
        "pipelines.html",
        status=status,
        here="pipelines",
        live="/live",
        address="/" if flash else None,
        flash=flash,
        pipelines=queries.search(listed, q=q, tags=tags),
        summary=drawn.summary(listed),
        q=q,
        tags=tags,
        all_tags=drawn.tag_links(listed, q, tags),
        sync=model.sync.last if model.sync else None,
    )


ROUTES = (
    Route("GET", "/", pipelines_page),
    Route("GET", "/pipelines/{name}", pipeline_page),
    Route("POST", "/pipelines/{name}/webhooks", show_webhooks),
    Route("POST", "/sync", start_sync),
)
