"""The versions of a pipeline: list them, pin one, remove the pin."""

from __future__ import annotations

import msgspec
from aiohttp import web

from fastflow_api import shapes
from fastflow_gateway.actions import versions
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.http.requests import answer, body_of
from fastflow_gateway.http.route import Route
from fastflow_gateway.http.triggered_by import triggered_by
from fastflow_gateway.readmodel import queries, version_queries
from fastflow_gateway.readmodel.model import MODEL


async def list_versions(request: web.Request) -> web.Response:
    """List the kept versions of a pipeline."""
    record = await queries.pipeline_named(request.app[MODEL], request.match_info["name"])
    return answer(await version_queries.versions(request.app[MODEL], record))


async def pin(request: web.Request) -> web.Response:
    """Pin a version and list all."""
    name = queries.pipeline_name(request.match_info["name"])
    try:
        wanted = msgspec.json.decode(await body_of(request), type=shapes.PinBody)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestRefused(
            422, f'the body must be like {{"version": "0a1b2c3d4e5f", "reason": ""}}: {error}.'
        ) from error
    record = await versions.pin(request.app, name, wanted.version, by=triggered_by(request), reason=wanted.reason)
    return answer(await version_queries.versions(request.app[MODEL], record))


async def unpin(request: web.Request) -> web.Response:
    """Remove the pin and list all."""
    name = queries.pipeline_name(request.match_info["name"])
    record = await versions.unpin(request.app, name)
    return answer(await version_queries.versions(request.app[MODEL], record))


ROUTES = (
    Route(
        "GET",
        "/api/pipelines/{name}/versions",
        list_versions,
        "List the kept versions of a pipeline, newest first, with the pin and the rollback, if any.",
        {200: shapes.PipelineVersions, 404: shapes.Error},
    ),
    Route(
        "PUT",
        "/api/pipelines/{name}/pin",
        pin,
        "Make a kept version live, and keep it live: what is pushed is listed and does not become live.",
        {200: shapes.PipelineVersions, 404: shapes.Error, 409: shapes.Error, 422: shapes.Error},
        body=shapes.PinBody,
    ),
    Route(
        "DELETE",
        "/api/pipelines/{name}/pin",
        unpin,
        "Remove the pin: the newest version becomes live, unless it was rolled back. 409: it is not pinned.",
        {200: shapes.PipelineVersions, 404: shapes.Error, 409: shapes.Error},
    ),
)
