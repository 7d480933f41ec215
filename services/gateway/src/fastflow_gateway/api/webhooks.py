"""Starting a run by webhook: POST /api/webhooks/{name}/{key}, for callers that have the key and nothing else.

The order of the checks: how often the caller failed lately, the pipeline, the key, the body's size, its signature, the
body. So a caller without the key never makes this process read a body.
"""

from __future__ import annotations

import json

from aiohttp import web
from msgspec.structs import replace

from fastflow_api import shapes
from fastflow_contracts.runs.triggers import BadTrigger, read_webhook_body
from fastflow_gateway.actions import runs
from fastflow_gateway.actions.webhooks import authenticate, check_signature
from fastflow_gateway.api.runs import STARTED, run_answer
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.http.requests import body_of, caller_of, idempotency_key
from fastflow_gateway.http.route import Media, Route
from fastflow_gateway.settings import SETTINGS

IDEMPOTENCY_HEADERS = ("Idempotency-Key", "webhook-id", "X-GitHub-Delivery", "X-Gitea-Delivery", "X-Forgejo-Delivery")


async def start_by_webhook(request: web.Request) -> web.Response:
    path = request.match_info
    opened = await authenticate(request.app, caller=caller_of(request), pipeline=path["name"], key=path["key"])
    body = await _body(request)
    signed_id = check_signature(request.app, opened, request.headers, body)
    _check_json(request, body)
    try:
        trigger = read_webhook_body(body, _media_type(request))
    except BadTrigger as error:
        raise RequestRefused(400, str(error)) from error
    # Only a signed id counts if there is one: with an unsigned header, a copied call would be a new one.
    key = idempotency_key(request, *(("webhook-id",) if signed_id else IDEMPOTENCY_HEADERS))
    trigger = replace(trigger, run_config_id=opened.run_config_id, key=key)
    return run_answer(request, await runs.start(request.app, opened.record.name, trigger))


async def _body(request: web.Request) -> bytes:
    """The raw bytes. Raises ``RequestRefused`` when they are too many."""
    bytes_max = request.app[SETTINGS].webhook_bytes_max
    if (request.content_length or 0) > bytes_max:
        raise _too_large(bytes_max)
    body = await body_of(request)
    if len(body) > bytes_max:
        raise _too_large(bytes_max)
    return body


def _check_json(request: web.Request, body: bytes) -> None:
    """Raise ``RequestRefused`` if the body is declared as JSON and is not."""
    if body and (request.content_type == "application/json" or request.content_type.endswith("+json")):
        try:
            json.loads(body)
        except (ValueError, RecursionError) as error:
            raise RequestRefused(400, f"the body is declared to be JSON and is not: {error}.") from error


def _media_type(request: web.Request) -> str | None:
    """The sender's media type; bytes that are not text are replaced."""
    return request.headers.get("Content-Type", "").encode(errors="replace").decode() or None


def _too_large(bytes_max: int) -> RequestRefused:
    return RequestRefused(413, f"the body is larger than {bytes_max:,} bytes; send a reference to the data instead.")


ROUTES = (
    Route(
        "POST",
        "/api/webhooks/{name}/{key}",
        start_by_webhook,
        "Start a run with the pipeline's webhook_key, or a run configuration with its own. The body becomes the file "
        "that FASTFLOW_EVENT_FILE names; a JSON object's env_vars and parameters become variables. A pipeline with a "
        "`webhook` in its metadata takes signed calls only (401 without; 503 if its secret cannot be opened here).",
        {**STARTED, 400: shapes.Error, 401: shapes.Error},
        body=Media("*/*", "Anything, or nothing."),
        headers=dict.fromkeys(
            IDEMPOTENCY_HEADERS, "The same id at the same address is the same run, however often it is sent."
        ),
        is_public=True,
    ),
)
