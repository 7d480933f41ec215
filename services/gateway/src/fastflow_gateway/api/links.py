"""The downstream triggers of a pipeline, and the graph of all pipelines."""

from __future__ import annotations

import msgspec
from aiohttp import web

from fastflow_api import shapes
from fastflow_contracts.pipelines.records import PipelineRecord
from fastflow_gateway.actions import links
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.http.requests import answer, body_of
from fastflow_gateway.http.route import Route
from fastflow_gateway.readmodel import queries
from fastflow_gateway.readmodel.model import MODEL
from fastflow_gateway.views import graph


async def list_downstream_triggers(request: web.Request) -> web.Response:
    """List what follows the runs of a pipeline."""
    record = await _record(request)
    return answer([graph.downstream_trigger(link) for link in request.app[MODEL].links.of(record)])


async def make_downstream_trigger(request: web.Request) -> web.Response:
    """Store a downstream trigger: 201 if it is new, 200 if it existed."""
    record = await _record(request)
    try:
        body = msgspec.json.decode(await body_of(request), type=shapes.LinkBody)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestRefused(422, f'the body must be JSON such as {{"pipeline": "name"}}: {error}.') from error
    link, is_new = await links.make(
        request.app,
        record,
        body.pipeline,
        body.run_config_id or None,
        on_route=body.on_route,
        needs_artifacts=body.needs_artifacts,
        success=body.on_success,
        failure=body.on_failure,
    )
    return answer(graph.downstream_trigger(link), status=201 if is_new else 200)


async def remove_downstream_trigger(request: web.Request) -> web.Response:
    """Remove a downstream trigger and list the remaining ones."""
    record = await _record(request)
    await links.remove(request.app, record, request.match_info["link"])
    return answer([graph.downstream_trigger(link) for link in request.app[MODEL].links.of(record)])


async def show_graph(request: web.Request) -> web.Response:
    """Return the graph of all pipelines."""
    return answer(queries.whole_graph(request.app[MODEL]))


async def _record(request: web.Request) -> PipelineRecord:
    return await queries.pipeline_named(request.app[MODEL], request.match_info["name"])


_PATH = "/api/pipelines/{name}/downstream-triggers"
ROUTES = (
    Route(
        "GET",
        "/api/pipelines/graph",
        show_graph,
        "The graph of which pipeline starts which, including missing pipelines and cycles.",
        {200: graph.Graph},
    ),
    Route(
        "GET",
        _PATH,
        list_downstream_triggers,
        "List what follows the runs of a pipeline, set by its metadata or by the API.",
        {200: list[graph.DownstreamTrigger], 404: shapes.Error},
    ),
    Route(
        "POST",
        _PATH,
        make_downstream_trigger,
        "Start another pipeline after this one. 200: the trigger existed and now has these conditions.",
        {
            200: graph.DownstreamTrigger,
            201: graph.DownstreamTrigger,
            404: shapes.Error,
            409: shapes.Error,
            422: shapes.Error,
        },
        body=shapes.LinkBody,
    ),
    Route(
        "DELETE",
        _PATH + "/{link}",
        remove_downstream_trigger,
        "Remove a trigger made by the API, and list the remaining ones. 409: the metadata sets it.",
        {200: list[graph.DownstreamTrigger], 404: shapes.Error, 409: shapes.Error},
    ),
)
