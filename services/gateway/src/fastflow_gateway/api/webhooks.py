"""Starting a run by webhook: POST /api/webhooks/{name}/{key}, for callers that have the key and nothing else.

The order of the checks: how often the caller failed lately, the pipeline, the key, the body's size, its signature, the
body. So nobody without the key makes this process read a body. The same work is done for pipelines that do not exist.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging

from aiohttp import web
from msgspec.structs import replace

from fastflow_api import shapes
from fastflow_contracts.clock import now
from fastflow_contracts.names import BadName, PipelineName, check_name
from fastflow_contracts.pipelines.records import PipelineRecord
from fastflow_contracts.pipelines.spec import PipelineSpec
from fastflow_contracts.runs.triggers import BadTrigger, read_webhook_body
from fastflow_gateway import app_keys
from fastflow_gateway.actions import runs
from fastflow_gateway.api.runs import STARTED, run_answer
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.http.requests import body_of, caller_of
from fastflow_gateway.http.route import Media, Route
from fastflow_gateway.readmodel.model import MODEL
from fastflow_gateway.security import webhook_signatures
from fastflow_gateway.security.secrets import SEALER, BadSecret, NoKey
from fastflow_gateway.security.webhook_guard import WEBHOOK_GUARD, WebhookCall
from fastflow_gateway.security.webhook_signatures import BadSignature

log = logging.getLogger(__name__)

_NO_NAME = PipelineName("0")
"""Looked up when the name cannot be one. A match would still need that pipeline's key."""
_NO_KEY: dict[str | None, str] = {None: ""}
"""Compared with when there is no pipeline or no key."""
IDEMPOTENCY_HEADERS = ("Idempotency-Key", "webhook-id", "X-GitHub-Delivery", "X-Gitea-Delivery", "X-Forgejo-Delivery")


async def start_by_webhook(request: web.Request) -> web.Response:
    record, run_config_id = await _authenticated(request)
    body = await _body(request)
    signed_id = _signed_id(request, record, run_config_id, body)
    _check_json(request, body)
    try:
        trigger = read_webhook_body(body, _media_type(request))
    except BadTrigger as error:
        raise RequestRefused(400, str(error)) from error
    # An id that is signed counts alone: with another header beside it, a copied call would be a new one.
    key = runs.idempotency_key(request, *(("webhook-id",) if signed_id else IDEMPOTENCY_HEADERS))
    outcome = await runs.start(request.app, record.name, replace(trigger, run_config_id=run_config_id, key=key))
    return run_answer(request, outcome)


async def _authenticated(request: web.Request) -> tuple[PipelineRecord, str | None]:
    """The pipeline, and the run configuration whose key was given. Raises ``RequestRefused``."""
    guard, loop = request.app[WEBHOOK_GUARD], asyncio.get_running_loop()
    attempt = _attempt(request)
    if wait_s := guard.wait_s(attempt, loop.time()):
        raise RequestRefused(429, "too many wrong keys; wait a moment.", headers={"Retry-After": str(wait_s)})
    guard.knock(attempt, loop.time())
    try:
        name = check_name(request.match_info["name"])
    except BadName:
        name = _NO_NAME
    model, given = request.app[MODEL], _digest(request.match_info["key"])
    is_counted = False
    for is_fresh in (False, True):  # only the bus itself may say no: what is known here may be a moment old
        record = await model.pipeline(name, is_fresh=is_fresh)
        spec = record.live.spec if record and record.live else PipelineSpec(enabled=False)
        webhook_keys = spec.webhook_keys()
        # Every key is compared, whether or not one before it fitted.
        digests = {run_config_id: _digest(key) for run_config_id, key in (webhook_keys or _NO_KEY).items()}
        fitting = [run_config_id for run_config_id, each in digests.items() if hmac.compare_digest(given, each)]
        is_known = bool(webhook_keys and fitting)
        if record is not None and is_known and spec.enabled:
            guard.right(attempt, loop.time())
            return record, fitting[0]
        if webhook_keys and not is_known and not is_counted:
            guard.wrong(attempt, loop.time())
            is_counted = True
    if is_known:
        guard.right(attempt, loop.time())  # who knows the key of a disabled pipeline did not guess
    if not (webhook_keys and spec.enabled):
        raise RequestRefused(404, "there is no such webhook: the pipeline is unknown, disabled, or has no webhook_key.")
    raise RequestRefused(401, "this is not the pipeline's webhook_key; compare it with the address its page shows.")


def _signed_id(request: web.Request, record: PipelineRecord, run_config_id: str | None, body: bytes) -> str | None:
    """The id that the signature of the call covers, if it does. Raises ``RequestRefused`` without a good signature."""
    spec: PipelineSpec | None = record.live.spec if record.live else None
    webhook = spec.webhook_of(run_config_id) if spec else None
    if webhook is None:
        return None
    try:
        secret = request.app[SEALER].open_webhook_secret(webhook.secret, pipeline=record.name)
        return webhook_signatures.verify(webhook, secret, request.headers, body, now())
    except (NoKey, BadSecret) as error:
        log.warning("webhook of %s: %s", record.name, error)
        raise RequestRefused(503, str(error), headers={"Retry-After": "60"}) from error
    except BadSignature as error:
        guard, now_s = request.app[WEBHOOK_GUARD], asyncio.get_running_loop().time()
        guard.knock(_attempt(request), now_s)
        guard.wrong(_attempt(request), now_s)
        raise RequestRefused(401, str(error)) from error


def _attempt(request: web.Request) -> WebhookCall:
    return WebhookCall(caller_of(request), request.match_info["name"])


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


async def _body(request: web.Request) -> bytes:
    """The raw bytes. Raises ``RequestRefused`` when they are too many."""
    bytes_max = request.app[app_keys.SETTINGS].webhook_bytes_max
    if (request.content_length or 0) > bytes_max:
        raise _too_large(bytes_max)
    body = await body_of(request)
    if len(body) > bytes_max:
        raise _too_large(bytes_max)
    return body


def _check_json(request: web.Request, body: bytes) -> None:
    """Raises ``RequestRefused`` for a body that is not the JSON it is declared to be."""
    if body and (request.content_type == "application/json" or request.content_type.endswith("+json")):
        try:
            json.loads(body)
        except (ValueError, RecursionError) as error:
            raise RequestRefused(400, f"the body is declared to be JSON and is not: {error}.") from error


def _media_type(request: web.Request) -> str | None:
    """What the sender says of the body; what is no text in it is replaced."""
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
