"""Who may start a run by webhook: who has the pipeline's key, and who signed the call if the pipeline wants that."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Final, NamedTuple

from aiohttp import web

from fastflow_contracts.clock import now
from fastflow_contracts.names import BadName, PipelineName, check_name
from fastflow_contracts.pipelines.records import PipelineRecord
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.readmodel.model import MODEL
from fastflow_gateway.security import webhook_signatures
from fastflow_gateway.security.secrets import SEALER, BadSecret, NoKey
from fastflow_gateway.security.webhook_guard import WEBHOOK_GUARD, WebhookCall
from fastflow_gateway.security.webhook_keys import match_key
from fastflow_gateway.security.webhook_signatures import BadSignature

log = logging.getLogger(__name__)

_NO_NAME: Final = PipelineName("0")
"""Looked up when the name cannot be one, so that the answer takes as long. A match would still need that one's key."""


class OpenedWebhook(NamedTuple):
    """A webhook whose key was given."""

    call: WebhookCall
    record: PipelineRecord
    run_config_id: str | None
    """The run configuration whose key it was; None: the pipeline's own."""


async def authenticate(app: web.Application, *, caller: str, pipeline: str, key: str) -> OpenedWebhook:
    """Check the key of a call. The same work is done for pipelines that do not exist.

    Args:
        app: The gateway.
        caller: The client's address.
        pipeline: What the address says; it need not be a name.
        key: What the address says.

    Returns:
        The webhook that the key opens.

    Raises:
        RequestRefused: The caller failed too often (429), there is no such webhook (404), or the key is wrong (401).
        BusError: The bus did not answer.
    """
    call = WebhookCall(caller, pipeline)
    model, guard, time = app[MODEL], app[WEBHOOK_GUARD], asyncio.get_running_loop().time
    if wait_s := guard.wait_s(call, time()):
        raise RequestRefused(429, "too many wrong keys; wait a moment.", headers={"Retry-After": str(wait_s)})
    guard.begin(call, time())
    name = _name(pipeline)

    found = match_key(await model.pipeline(name), key)
    if not (found.fits and found.is_enabled):  # the known copy may be a moment old: only the bus itself may say no
        if was_wrong := found.is_wrong:
            guard.wrong(call, time())  # before the bus is asked: guesses that come at once must all count
        found = match_key(await model.pipeline(name, is_fresh=True), key)
        if found.is_wrong and not was_wrong:
            guard.wrong(call, time())

    if found.fits:  # also of a disabled pipeline: who knows its key did not guess
        guard.right(call, time())
    if found.record is None or not (found.has_keys and found.is_enabled):
        raise RequestRefused(404, "there is no such webhook: the pipeline is unknown, disabled, or has no webhook_key.")
    if not found.fits:
        raise RequestRefused(401, "this is not the pipeline's webhook_key; compare it with the address its page shows.")
    return OpenedWebhook(call, found.record, found.run_config_id)


def check_signature(app: web.Application, opened: OpenedWebhook, headers: Mapping[str, str], body: bytes) -> str | None:
    """Check the signature of a call, if the pipeline takes signed calls only.

    Args:
        app: The gateway.
        opened: Which webhook.
        headers: Of the request; names in any case.
        body: As it came.

    Returns:
        The id that the signature covers, if it covers one.

    Raises:
        RequestRefused: It is not signed as it must be (401), or the secret cannot be opened here (503).
    """
    call, record, run_config_id = opened
    webhook = record.live.spec.webhook_of(run_config_id) if record.live else None
    if webhook is None:
        return None
    try:
        secret = app[SEALER].open_webhook_secret(webhook.secret, pipeline=record.name)
        return webhook_signatures.verify(webhook, secret, headers, body, now())
    except (NoKey, BadSecret) as error:
        log.warning("webhook secret unusable pipeline=%s reason=%s", record.name, error)
        raise RequestRefused(503, str(error), headers={"Retry-After": "60"}) from error
    except BadSignature as error:
        guard, now_s = app[WEBHOOK_GUARD], asyncio.get_running_loop().time()
        guard.begin(call, now_s)
        guard.wrong(call, now_s)
        raise RequestRefused(401, str(error)) from error


def _name(text: str) -> PipelineName:
    try:
        return check_name(text)
    except BadName:
        return _NO_NAME
