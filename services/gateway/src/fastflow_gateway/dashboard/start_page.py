"""The form that starts a run."""

from __future__ import annotations

from aiohttp import web

from fastflow_contracts.pipelines.records import PipelineRecord
from fastflow_contracts.runs.triggers import BadTrigger
from fastflow_gateway.actions import runs
from fastflow_gateway.dashboard.rendering import RENDERER
from fastflow_gateway.dashboard.run_page import fresh_key, to_run
from fastflow_gateway.dashboard.view.start_form import StartForm, read_form, trigger_of
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.http.requests import form_of
from fastflow_gateway.http.route import Route
from fastflow_gateway.readmodel import queries, version_queries
from fastflow_gateway.readmodel.model import MODEL


async def start_page(request: web.Request) -> web.Response:
    chosen = request.query.get("version", "")
    return await _page(request, await _record(request), StartForm(key=fresh_key(), version=chosen))


async def start(request: web.Request) -> web.Response:
    """Start the run and go to its page. If the start is refused, show the form again."""
    record = await _record(request)
    form = read_form(await form_of(request))
    try:
        started = await runs.start(request.app, record.name, trigger_of(form))
    except (BadTrigger, RequestRefused) as error:
        return await _page(request, record, form.refused(str(error), fresh_key()), status=error.status)
    raise to_run(started)


async def _record(request: web.Request) -> PipelineRecord:
    return await queries.pipeline_named(request.app[MODEL], request.match_info["name"])


async def _page(request: web.Request, record: PipelineRecord, form: StartForm, *, status: int = 200) -> web.Response:
    pipeline = queries.pipeline(request.app[MODEL], record, last_runs=1)
    return request.app[RENDERER].page(
        request,
        "start.html",
        status=status,
        here="pipelines",
        pipeline=pipeline,
        form=form,
        versions=(await version_queries.versions(request.app[MODEL], record)).versions,
    )


ROUTES = (
    Route("GET", "/pipelines/{name}/start", start_page),
    Route("POST", "/pipelines/{name}/start", start),
)
