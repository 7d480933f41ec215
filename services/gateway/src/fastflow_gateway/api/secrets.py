"""Encrypt secrets for a pipeline.json (nothing is stored), and serve the schema of that file."""

from __future__ import annotations

import msgspec
from aiohttp import web

from fastflow_api import shapes
from fastflow_contracts.pipelines.format.json_schema import pipeline_schema
from fastflow_gateway.actions.secrets import seal
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.http.requests import answer, body_of
from fastflow_gateway.http.route import Media, Route

SCHEMA = msgspec.json.format(msgspec.json.encode(pipeline_schema()), indent=2)


async def encrypt_for_pipeline(request: web.Request) -> web.Response:
    """Encrypt a value and return the token."""
    try:
        body = msgspec.json.decode(await body_of(request), type=shapes.SecretBody)
    except msgspec.ValidationError as error:
        raise RequestRefused(422, f"the body cannot be used: {error}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise RequestRefused(
            422, 'the body must be JSON such as {"value": "…", "pipeline": null, "name": null}.'
        ) from None
    token = seal(request.app, body.value, pipeline=body.pipeline, name=body.name)
    return answer(shapes.Encrypted(encrypted=token))


async def show_schema(request: web.Request) -> web.Response:
    """Answer with the JSON Schema of pipeline.json."""
    return web.Response(body=SCHEMA, content_type="application/schema+json")


ROUTES = (
    Route(
        "POST",
        "/api/secrets/encrypt-for-pipeline",
        encrypt_for_pipeline,
        "Encrypt a value for encrypted_env or webhook.secret. With pipeline and name, the token is valid only there. "
        "409: no ENCRYPTION_KEY is set.",
        {200: shapes.Encrypted, 409: shapes.Error, 422: shapes.Error},
        body=shapes.SecretBody,
    ),
    Route(
        "GET",
        "/api/schema/pipeline.json",
        show_schema,
        "The JSON Schema of pipeline.json, for editors.",
        {200: Media("application/schema+json", "JSON Schema 2020-12.")},
        is_public=True,
    ),
)
