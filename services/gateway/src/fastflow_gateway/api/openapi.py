"""The OpenAPI 3.1 document, built from the routes and shapes, and the route that serves it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import web

from fastflow_api import shapes
from fastflow_gateway import __version__
from fastflow_gateway.http.route import Media, Route
from fastflow_gateway.readmodel.model import MODEL

_REF = "#/components/schemas/{name}"
_PATH_PARAMETERS = {
    "number": "The number of a version of a pipeline's state.",
    "path": "Path of the file, as listed.",
    "name": "The pipeline's name, which is its folder's name.",
    "id": "The run's id.",
    "job": "The job's id.",
    "link": "The trigger's id.",
    "key": "The webhook_key.",
    "runner": "The runner's id.",
}


OPENAPI = web.AppKey("OPENAPI", bytes)
"""The document, encoded."""


_REGEX = re.compile(r"{(\w+):[^}]*}")
"""A part of a path with its own pattern."""


async def show_openapi(request: web.Request) -> web.Response:
    """Answer with the OpenAPI document. A pipeline with a schema of its parameters has a path of its own."""
    described = msgspec.json.decode(request.app[OPENAPI])
    for record in request.app[MODEL].pipelines():
        if record.live is not None and (schema := record.live.parameters) is not None:
            described["paths"][f"/api/pipelines/{record.name}/run"] = {"post": _start(described, record.name, schema)}
    return web.Response(body=msgspec.json.encode(described), content_type="application/json")


def _start(described: dict[str, Any], name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Return the operation that starts one pipeline: that of every start, with the schema of its parameters."""
    start: dict[str, Any] = described["paths"]["/api/pipelines/{name}/run"]["post"]
    body = described["components"]["schemas"]["RunBody"]
    # References inside the schema begin at the place that has an $id.
    parameters = {"$id": f"urn:fastflow:parameters:{name}", **schema}
    return {
        **start,
        "operationId": f"start_run_of_{name}",
        "summary": f"Start a run of {name}.",
        "parameters": [each for each in start["parameters"] if each["in"] != "path"],
        "requestBody": {
            "required": bool(schema.get("required")),
            "content": {
                "application/json": {"schema": {**body, "properties": {**body["properties"], "parameters": parameters}}}
            },
        },
    }


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """Return the OpenAPI document of *routes* as JSON-ready data, with every schema that it refers to."""
    routes = tuple(routes)
    types: list[Any] = [shapes.Error, shapes.LogLine, shapes.PartialLine, shapes.Sample]
    for route in routes:
        types += [
            each
            for what in (*route.answers.values(), route.body)
            if what is not None and not isinstance(what, Media)
            for each in (what if isinstance(what, tuple) else (what,))
        ]
    _, schemas = msgspec.json.schema_components(dict.fromkeys(types), ref_template=_REF)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(_REGEX.sub(r"{\1}", route.path), {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Fast-Flow", "version": __version__, "description": (shapes.__doc__ or "").split("\n\n")[1]},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def _operation(route: Route) -> dict[str, Any]:
    answers = dict(route.answers)
    if not route.is_public:
        answers.setdefault(401, shapes.Error)
    if route.query:
        answers.setdefault(422, shapes.Error)
    for status in (*((400, 408, 413, 422) if route.body else ()), 500, 503):
        answers.setdefault(status, shapes.Error)
    operation: dict[str, Any] = {
        "operationId": route.handler.__name__,
        "summary": route.summary,
        "parameters": [*_path_parameters(route), *_query_parameters(route), *_headers(route)],
        "responses": {str(status): _response(status, what) for status, what in sorted(answers.items())},
    }
    if route.body is not None:
        operation["requestBody"] = {"required": False, "content": _content(route.body)}
    if route.is_public:
        operation["security"] = []
    return operation


def _response(status: int, what: Any) -> dict[str, Any]:
    response: dict[str, Any] = {
        "description": what.description if isinstance(what, Media) else HTTPStatus(status).phrase,
        "content": _content(what),
    }
    if status == 429:
        response["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
    return response


def _content(what: Any) -> dict[str, Any]:
    if isinstance(what, Media):
        return {what.type: {}}
    if isinstance(what, tuple):
        schemas, _ = msgspec.json.schema_components(what, ref_template=_REF)
        return {"application/json": {"schema": {"anyOf": list(schemas)}}}
    (schema,), _ = msgspec.json.schema_components([what], ref_template=_REF)
    return {"application/json": {"schema": schema}}


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": _PATH_PARAMETERS[name],
            "schema": {"type": "string"},
        }
        for name in re.findall(r"{(\w+)}", _REGEX.sub(r"{\1}", route.path))
    ]


def _query_parameters(route: Route) -> list[dict[str, Any]]:
    if route.query is None:
        return []
    _, components = msgspec.json.schema_components([route.query], ref_template=_REF)
    properties = components[route.query.__name__]["properties"]
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": schema.pop("description", ""),
            "schema": schema,
        }
        for name, schema in properties.items()
    ]


def _headers(route: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "header", "required": False, "description": says, "schema": {"type": "string"}}
        for name, says in route.headers.items()
    ]


ROUTES = (
    Route("GET", "/api/openapi.json", show_openapi, "This document.", {200: Media("application/json", "OpenAPI 3.1.")}),
)
