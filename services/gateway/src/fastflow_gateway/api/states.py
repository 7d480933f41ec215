"""The state of a pipeline: its history, the files of a version, and a reset."""

from __future__ import annotations

from aiohttp import web

from fastflow_api import shapes
from fastflow_gateway.actions import states
from fastflow_gateway.http.requests import answer
from fastflow_gateway.http.route import Media, Route
from fastflow_gateway.http.triggered_by import triggered_by
from fastflow_gateway.readmodel import queries


async def show_state(request: web.Request) -> web.Response:
    """List the kept versions of a pipeline's state."""
    return answer(await states.state_of(request.app, queries.pipeline_name(request.match_info["name"])))


async def download_state(request: web.Request) -> web.Response:
    """Return the files of one version."""
    name, number = queries.pipeline_name(request.match_info["name"]), request.match_info["number"]
    data = await states.archive(request.app, name, number)
    disposition = f'attachment; filename="state-{number}.tar.gz"'
    return web.Response(body=data, content_type="application/gzip", headers={"Content-Disposition": disposition})


async def reset_state(request: web.Request) -> web.Response:
    """Make an empty state current and list all."""
    name = queries.pipeline_name(request.match_info["name"])
    return answer(await states.reset(request.app, name, by=triggered_by(request)))


ROUTES = (
    Route(
        "GET",
        "/api/pipelines/{name}/state",
        show_state,
        "List the kept versions of a pipeline's state, newest first. Also works for a removed pipeline.",
        {200: shapes.PipelineState, 404: shapes.Error, 409: shapes.Error},
    ),
    Route(
        "GET",
        "/api/pipelines/{name}/state/{number}",
        download_state,
        "The files of one version of a pipeline's state. 404: it is not kept, or has no files.",
        {200: Media("application/gzip", "A compressed tar."), 404: shapes.Error, 409: shapes.Error},
    ),
    Route(
        "DELETE",
        "/api/pipelines/{name}/state",
        reset_state,
        "Empty a pipeline's state: the next run begins without files, and one that is at work starts over. Older "
        "versions stay in the history.",
        {200: shapes.PipelineState, 404: shapes.Error},
    ),
)
