"""Pause and resume the installation, or one pipeline."""

from __future__ import annotations

from typing import Literal

import msgspec
from aiohttp import web

from fastflow_api import shapes
from fastflow_contracts.names import PipelineName
from fastflow_gateway.actions import pauses
from fastflow_gateway.errors import RequestRefused, no_pipeline
from fastflow_gateway.http.browsers import SESSION
from fastflow_gateway.http.requests import answer, body_of
from fastflow_gateway.http.route import Route
from fastflow_gateway.readmodel import queries
from fastflow_gateway.readmodel.model import MODEL
from fastflow_gateway.views import pauses as shown


async def list_pauses(request: web.Request) -> web.Response:
    """Return what is paused."""
    return answer(shown.pauses(request.app[MODEL].pauses.now))


async def pause_installation(request: web.Request) -> web.Response:
    """Pause the installation, or change the reason."""
    return await _pause(request, None)


async def pause_pipeline(request: web.Request) -> web.Response:
    """Pause one pipeline, or change the reason."""
    record = await queries.pipeline_named(request.app[MODEL], request.match_info["name"])
    return await _pause(request, record.name)


async def resume_installation(request: web.Request) -> web.Response:
    """End the pause of the installation."""
    return answer(shown.pauses(await pauses.resume(request.app, None)))


async def resume_pipeline(request: web.Request) -> web.Response:
    """End the pause of one pipeline. It may be gone meanwhile."""
    model, name = request.app[MODEL], queries.pipeline_name(request.match_info["name"])
    if model.pauses.now.own(name) is None and await model.pipeline(name) is None:
        raise no_pipeline(name)
    return answer(shown.pauses(await pauses.resume(request.app, name)))


async def _pause(request: web.Request, pipeline: PipelineName | None) -> web.Response:
    try:
        body = msgspec.json.decode(await body_of(request), type=shapes.PauseBody)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestRefused(422, f'the body must be JSON such as {{"reason": "maintenance"}}: {error}.') from error
    via: Literal["manual", "api"] = "manual" if SESSION in request else "api"
    return answer(shown.pause(await pauses.pause(request.app, pipeline, reason=body.reason, by=body.by, via=via)))


_PAUSED = "Runs that have begun go on, with their retries; starts are accepted and wait."
_ERRORS = dict.fromkeys((404, 409, 422), shapes.Error)
ROUTES = (
    Route("GET", "/api/pause", list_pauses, "List what is paused.", {200: shapes.Pauses}),
    Route(
        "PUT",
        "/api/pause",
        pause_installation,
        f"Pause the installation: once this is answered, no run begins. {_PAUSED}",
        {200: shapes.Pause, 422: shapes.Error},
        body=shapes.PauseBody,
    ),
    Route(
        "DELETE",
        "/api/pause",
        resume_installation,
        "Resume the installation: the runs that wait begin, the oldest first. Answers with what is still paused.",
        {200: shapes.Pauses},
    ),
    Route(
        "PUT",
        "/api/pipelines/{name}/pause",
        pause_pipeline,
        f"Pause one pipeline: once this is answered, none of its runs begins. {_PAUSED}",
        {200: shapes.Pause, **_ERRORS},
        body=shapes.PauseBody,
    ),
    Route(
        "DELETE",
        "/api/pipelines/{name}/pause",
        resume_pipeline,
        "Resume one pipeline. Answers with what is still paused: a pause of the installation holds it, too.",
        {200: shapes.Pauses, 404: shapes.Error},
    ),
)
