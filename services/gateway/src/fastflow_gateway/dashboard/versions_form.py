"""The forms on a pipeline's page that pin a version and remove the pin."""

from __future__ import annotations

from aiohttp import web

from fastflow_contracts.names import PipelineName
from fastflow_gateway.actions import versions
from fastflow_gateway.dashboard.pipelines_page import show_pipeline
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.http.requests import form_of
from fastflow_gateway.http.route import Route
from fastflow_gateway.readmodel import queries

REASON_CHARACTERS_MAX = 500


async def pin(request: web.Request) -> web.Response:
    """Pin the version and show the page."""
    name = queries.pipeline_name(request.match_info["name"])
    fields = dict(await form_of(request))
    reason = fields.get("reason", "")[:REASON_CHARACTERS_MAX]
    try:
        await versions.pin(request.app, name, fields.get("version", ""), by="manual", reason=reason)
    except RequestRefused as error:
        return await show_pipeline(request, flash=str(error), status=error.status)
    raise _back(name)


async def unpin(request: web.Request) -> web.Response:
    """Remove the pin and show the page."""
    name = queries.pipeline_name(request.match_info["name"])
    try:
        await versions.unpin(request.app, name)
    except RequestRefused as error:
        return await show_pipeline(request, flash=str(error), status=error.status)
    raise _back(name)


def _back(name: PipelineName) -> web.HTTPSeeOther:
    return web.HTTPSeeOther(f"/pipelines/{name}#versions")


ROUTES = (
    Route("POST", "/pipelines/{name}/pin", pin),
    Route("POST", "/pipelines/{name}/unpin", unpin),
)
