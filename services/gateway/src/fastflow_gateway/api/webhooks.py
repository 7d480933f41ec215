"""Start a run by webhook: POST /api/webhooks/{name}/{key}. The key in the path replaces the API token.

Checks run in this order: recent failures of the client, the pipeline, the key, the size of the body, its signature,
its content. So a client without the key never makes this process read a body.
"""

from __future__ import annotations

import json

from aiohttp import web
from msgspec.structs import replace

from fastflow_api import shapes
from fastflow_contracts.runs.messages import Trigger
from fastflow_contracts.runs.triggers import read_webhook
from fastflow_gateway.actions import runs
from fastflow_gateway.actions.skips import kept_if_refused
from fastflow_gateway.actions.webhooks import authenticate, check_signature, take
from fastflow_gateway.api.runs.answers import STARTED, start_answer
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.http.requests import body_of, client_address, idempotency_key
from fastflow_gateway.http.route import Media, Route
from fastflow_gateway.http.waiting import PREFER_HEADERS, WaitQuery, wait_of
from fastflow_gateway.settings import SETTINGS

IDEMPOTENCY_HEADERS = ("Idempotency-Key", "webhook-id", "X-GitHub-Delivery", "X-Gitea-Delivery", "X-Forgejo-Delivery")


async def start_by_webhook(request: web.Request) -> web.Response:
    """Authenticate the webhook call and start a run with its body."""
    path = request.match_info
    opened = await authenticate(request.app, client=client_address(request), pipeline=path["name"], key=path["key"])
    body = await _body(request)
    take(request.app, opened, body)
    signed_id = check_signature(request.app, opened, request.headers, body)
    name = opened.record.name
    wanted = Trigger(triggered_by="webhook", run_config_id=opened.run_config_id)
    async with kept_if_refused(request.app, name, body, request.headers, wanted, status=400):
        wait = wait_of(request)
        _check_json(request, body)
        trigger = read_webhook(body, request.headers)
        if trigger.run_config_id not in (None, opened.run_config_id):
            raise RequestRefused(400, "the key in the address chooses the run configuration; leave out run_config_id.")
    # If there is a signed id, only that one counts: with an unsigned id, a replayed call would start a new run.
    key = idempotency_key(request, *(("webhook-id",) if signed_id else IDEMPOTENCY_HEADERS)) or trigger.key
    trigger = replace(trigger, run_config_id=opened.run_config_id, key=key)
    return await start_answer(request, await runs.start(request.app, name, trigger), wait)


async def _body(request: web.Request) -> bytes:
    """Read the raw body. Raises ``RequestRefused`` when it is too large."""
    bytes_max = request.app[SETTINGS].webhook_bytes_max
    if (request.content_length or 0) > bytes_max:
        raise _too_large(bytes_max)
    body = await body_of(request)
    if len(body) > bytes_max:
        raise _too_large(bytes_max)
    return body


def _check_json(request: web.Request, body: bytes) -> None:
    """Raise ``RequestRefused`` if the body is declared as JSON but is not JSON."""
    if body and (request.content_type == "application/json" or request.content_type.endswith("+json")):
        try:
            json.loads(body)
        except (ValueError, RecursionError) as error:
            raise RequestRefused(400, f"the body is declared to be JSON and is not: {error}.") from error


def _too_large(bytes_max: int) -> RequestRefused:
    return RequestRefused(413, f"the body is larger than {bytes_max:,} bytes; send a reference to the data instead.")


ROUTES = (
    Route(
        "POST",
        "/api/webhooks/{name}/{key}",
        start_by_webhook,
        "Start a run with the webhook_key of a pipeline or of one of its run configurations. The body becomes the file "
        "that FASTFLOW_EVENT_FILE names. A JSON object of nothing but env_vars and parameters gives variables, too. A "
        "CloudEvent that comes again is the same run. A pipeline with "
        "`webhook` in its metadata accepts only signed calls (401: not signed; 503: its secret cannot be decrypted).",
        {**STARTED, 400: shapes.Error, 401: shapes.Error},
        body=Media("*/*", "Any data, or an empty body."),
        query=WaitQuery,
        headers=dict.fromkeys(IDEMPOTENCY_HEADERS, "Requests with the same id at the same address start one run.")
        | PREFER_HEADERS,
        is_public=True,
    ),
)
