"""The form on a pipeline's page that resets its state."""

from __future__ import annotations

from aiohttp import web

from fastflow_gateway.actions import states
from fastflow_gateway.dashboard.pipelines_page import show_pipeline
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.http.route import Route
from fastflow_gateway.readmodel import queries


async def reset(request: web.Request) -> web.Response:
    """Reset the state and show the page."""
    name = queries.pipeline_name(request.match_info["name"])
    try:
        await states.reset(request.app, name, by="manual")
    except RequestRefused as error:
        return await show_pipeline(request, flash=str(error), status=error.status)
    raise web.HTTPSeeOther(f"/pipelines/{name}#state")


ROUTES = (Route("POST", "/pipelines/{name}/state/reset", reset),)
