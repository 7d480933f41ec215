"""Encrypting a secret for a pipeline.json, and the schema of that file. Nothing of either is kept."""

from __future__ import annotations

import re

import msgspec
from aiohttp import web

from fastflow_contracts.names import BadName, check_name
from fastflow_contracts.schema import pipeline_schema
from fastflow_gateway import keys, shapes
from fastflow_gateway.api import Media, Refused, Route, answer, body_of
from fastflow_gateway.sealing import BadSecret, NoKey

_NAME = re.compile(r"[^=\x00]{1,256}")
SCHEMA = msgspec.json.format(msgspec.json.encode(pipeline_schema()), indent=2)


class SecretBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to encrypt, and for which place."""

    value: str
    pipeline: str | None = None
    """With ``name``: the token opens for this pipeline only."""
    name: str | None = None
    """The variable, or ``webhook.secret``."""


async def encrypt_for_pipeline(request: web.Request) -> web.Response:
    try:
        body = msgspec.json.decode(await body_of(request), type=SecretBody)
    except msgspec.ValidationError as error:
        raise Refused(422, f"the body cannot be used: {error}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Refused(422, 'the body must be JSON such as {"value": "…", "pipeline": null, "name": null}.') from None
    return answer(shapes.Encrypted(encrypted=seal(request, body)))


def seal(request: web.Request, body: SecretBody) -> str:
    """The token. Raises ``Refused`` with a message that does not hold the value."""
    try:
        return request.app[keys.SEALER].seal(body.value, place=_place(body))
    except NoKey as error:
        raise Refused(409, str(error)) from None
    except BadSecret as error:
        raise Refused(422, str(error)) from None


async def show_schema(request: web.Request) -> web.Response:
    return web.Response(body=SCHEMA, content_type="application/schema+json")


def _place(body: SecretBody) -> tuple[str, str] | None:
    if not body.pipeline and not body.name:
        return None
    if not body.pipeline or not body.name:
        raise Refused(422, "pipeline and name belong together; give both, or neither for a token that opens anywhere.")
    try:
        pipeline = check_name(body.pipeline)
    except BadName as error:
        raise Refused(422, str(error)) from None
    if not _NAME.fullmatch(body.name):
        raise Refused(422, "the name cannot be one of a variable: at most 256 characters, and no '=' in it.")
    return pipeline, body.name


ROUTES = (
    Route(
        "POST",
        "/api/secrets/encrypt-for-pipeline",
        encrypt_for_pipeline,
        "Encrypt a value for encrypted_env, or for webhook.secret. With pipeline and name, the token opens nowhere "
        "else. 409: there is no ENCRYPTION_KEY here.",
        {200: shapes.Encrypted, 409: shapes.Error, 422: shapes.Error},
        body=SecretBody,
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
