"""Starting a run by webhook: POST /api/webhooks/{name}/{key}, for callers that have the key and nothing else.

The order of the checks: how often the caller failed lately, the pipeline, the key, the body's size, the body. So nobody
without the key makes this process read a body. The same work is done for pipelines that do not exist.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json

from aiohttp import web
from msgspec.structs import replace

from fastflow_contracts.messages import PipelineRecord
from fastflow_contracts.names import BadName, PipelineName, check_name
from fastflow_contracts.triggers import BadTrigger, read_webhook_body
from fastflow_gateway import actions, keys, shapes
from fastflow_gateway.api import Media, Refused, Route
from fastflow_gateway.routes_runs import run_answer
from fastflow_gateway.routes_start import STARTED

_NO_NAME = PipelineName("0")
"""Looked up when the name cannot be one. A match would still need that pipeline's key."""
_NO_KEY: dict[str | None, str] = {None: ""}
"""Compared with when there is no pipeline or no key."""
IDEMPOTENCY_HEADERS = ("Idempotency-Key", "webhook-id", "X-GitHub-Delivery")


async def start_by_webhook(request: web.Request) -> web.Response:
    record, run_config_id = await _authenticated(request)
    body = await _body(request)
    try:
        trigger = read_webhook_body(body, request.headers.get("Content-Type"))
    except BadTrigger as error:
        raise Refused(400, str(error)) from error
    key = actions.idempotency_key(request, *IDEMPOTENCY_HEADERS)
    outcome = await actions.start(request.app, record.name, replace(trigger, run_config_id=run_config_id, key=key))
    return run_answer(request, outcome)


async def _authenticated(request: web.Request) -> tuple[PipelineRecord, str | None]:
    """The pipeline, and the run configuration whose key was given. Raises ``Refused``."""
    throttle, caller = request.app[keys.THROTTLE], f"webhook {request.remote} {request.match_info['name']}"
    loop = asyncio.get_running_loop()
    if wait_s := throttle.wait_s(caller, loop.time()):
        raise Refused(429, "too many wrong keys; wait a moment.", headers={"Retry-After": str(wait_s)})
    try:
        name = check_name(request.match_info["name"])
    except BadName:
        name = _NO_NAME
    model, given = request.app[keys.MODEL], _digest(request.match_info["key"])
    for is_fresh in (False, True):  # only the bus itself may say no: what is known here may be a moment old
        record = await model.pipeline(name, is_fresh=is_fresh)
        webhook_keys = record.live.spec.webhook_keys() if record and record.live and record.live.spec.enabled else {}
        # Every key is compared, whether or not one before it fitted.
        digests = {run_config_id: _digest(key) for run_config_id, key in (webhook_keys or _NO_KEY).items()}
        fitting = [run_config_id for run_config_id, each in digests.items() if hmac.compare_digest(given, each)]
        if record is not None and webhook_keys and fitting:
            return record, fitting[0]
    throttle.failed(caller, loop.time())
    if not webhook_keys:
        raise Refused(404, "there is no such webhook: the pipeline is unknown, disabled, or has no webhook_key.")
    raise Refused(401, "this is not the pipeline's webhook_key; compare it with the address its page shows.")


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


async def _body(request: web.Request) -> bytes:
    """The raw bytes. Raises ``Refused`` when they are too many, or not the JSON they are declared to be."""
    bytes_max = request.app[keys.SETTINGS].webhook_bytes_max
    if (request.content_length or 0) > bytes_max:
        raise _too_large(bytes_max)
    body = await request.read()
    if len(body) > bytes_max:
        raise _too_large(bytes_max)
    if body and (request.content_type == "application/json" or request.content_type.endswith("+json")):
        try:
            json.loads(body)
        except (ValueError, RecursionError) as error:
            raise Refused(400, f"the body is declared to be JSON and is not: {error}.") from error
    return body


def _too_large(bytes_max: int) -> Refused:
    return Refused(413, f"the body is larger than {bytes_max:,} bytes; send a reference to the data instead.")


ROUTES = (
    Route(
        "POST",
        "/api/webhooks/{name}/{key}",
        start_by_webhook,
        "Start a run with the pipeline's webhook_key, or a run configuration with its own. The body becomes the file "
        "that FASTFLOW_EVENT_FILE names; a JSON object's env_vars and parameters become variables.",
        {**STARTED, 400: shapes.Error, 401: shapes.Error},
        body=Media("*/*", "Anything, or nothing."),
        headers=dict.fromkeys(IDEMPOTENCY_HEADERS, "The same id is the same run, however often it is sent."),
        is_public=True,
    ),
)
