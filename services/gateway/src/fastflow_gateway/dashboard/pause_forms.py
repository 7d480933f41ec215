"""The forms that pause and resume the installation or one pipeline."""

from __future__ import annotations

from urllib.parse import quote

from aiohttp import web

from fastflow_gateway.actions import pauses
from fastflow_gateway.dashboard.pipelines_page import show_pipeline, show_pipelines
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.http.requests import form_of
from fastflow_gateway.http.route import Route
from fastflow_gateway.readmodel import queries
from fastflow_gateway.readmodel.model import MODEL


async def pause_installation(request: web.Request) -> web.Response:
    form = dict(await form_of(request))
    try:
        await pauses.pause(request.app, None, reason=form.get("reason", ""), by=form.get("by", ""), via="manual")
    except RequestRefused as error:
        return show_pipelines(request, flash=str(error), status=error.status)
    raise web.HTTPSeeOther("/")


async def resume_installation(request: web.Request) -> web.Response:
    await pauses.resume(request.app, None)
    raise web.HTTPSeeOther("/")


async def pause_pipeline(request: web.Request) -> web.Response:
    record = await queries.pipeline_named(request.app[MODEL], request.match_info["name"])
    form = dict(await form_of(request))
    try:
        await pauses.pause(request.app, record.name, reason=form.get("reason", ""), by=form.get("by", ""), via="manual")
    except RequestRefused as error:
        return await show_pipeline(request, flash=str(error), status=error.status)
    raise web.HTTPSeeOther(f"/pipelines/{quote(record.name)}")


async def resume_pipeline(request: web.Request) -> web.Response:
    """Go to the page of the pipeline, or to the list if it is gone."""
    model, name = request.app[MODEL], queries.pipeline_name(request.match_info["name"])
    await pauses.resume(request.app, name)
    raise web.HTTPSeeOther(f"/pipelines/{quote(name)}" if await model.pipeline(name) else "/")


ROUTES = (
    Route("POST", "/pause", pause_installation),
    Route("POST", "/resume", resume_installation),
    Route("POST", "/pipelines/{name}/pause", pause_pipeline),
    Route("POST", "/pipelines/{name}/resume", resume_pipeline),
)
