"""Check the key of a webhook call, and its signature if the pipeline requires one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final, NamedTuple

from aiohttp import web

from fastflow_contracts.clock import now
from fastflow_contracts.log import get_logger
from fastflow_contracts.names import BadName, PipelineName, check_name
from fastflow_contracts.pipelines.records import PipelineRecord
from fastflow_contracts.secrets.sealing import BadSecret, NoKey
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.readmodel.model import MODEL
from fastflow_gateway.security import webhook_signatures
from fastflow_gateway.security.sealer import SEALER
from fastflow_gateway.security.webhook_guard import WEBHOOK_GUARD, WebhookCall
from fastflow_gateway.security.webhook_keys import match_key
from fastflow_gateway.security.webhook_signatures import BadSignature

log = get_logger(__name__)

_NO_NAME: Final = PipelineName("0")
"""Looked up instead of an invalid name, so that the answer takes as long. A match would still need its key."""


class OpenedWebhook(NamedTuple):
    """A webhook whose key the client sent."""

    call: WebhookCall
    record: PipelineRecord
    run_config_id: str | None
    """The run configuration of the key; None: the pipeline itself."""

    @property
    def key_name(self) -> str:
        """Names the key, without telling it."""
        return f"{self.call.pipeline}/{self.run_config_id or ''}"


async def authenticate(app: web.Application, *, client: str, pipeline: str, key: str) -> OpenedWebhook:
    """Check the key of a call. A pipeline that does not exist takes the same work.

    Args:
        app: The gateway.
        client: The client address.
        pipeline: The name in the URL; it may be invalid.
        key: The key in the URL.

    Returns:
        The webhook that the key opens.

    Raises:
        RequestRefused: The client failed or called too often (429), there is no such webhook (404), or the key is wrong
            (401).
        BusError: The bus did not answer.
    """
    call = WebhookCall(client, pipeline)
    model, guard, time = app[MODEL], app[WEBHOOK_GUARD], asyncio.get_running_loop().time
    if wait_s := guard.wait_s(call, time()):
        raise RequestRefused(429, "too many wrong keys; wait a moment.", headers={"Retry-After": str(wait_s)})
    guard.begin(call, time())
    name = _name(pipeline)

    found = match_key(await model.pipeline(name), key)
    if not (found.fits and found.is_enabled):  # the known copy may be old: only the bus itself may say no
        if was_wrong := found.is_wrong:
            guard.wrong(call, time())  # before the bus answers: concurrent guesses must all count
        found = match_key(await model.pipeline(name, is_fresh=True), key)
        if found.is_wrong and not was_wrong:
            guard.wrong(call, time())

    if found.fits:  # also for a disabled pipeline: a client with its key did not guess
        guard.right(call, time())
    # A start of a disabled pipeline is refused later: its sender has the key, so its message is kept.
    if found.record is None or not found.has_keys or not (found.is_enabled or found.fits):
        raise RequestRefused(404, "there is no such webhook: the pipeline is unknown, disabled, or has no webhook_key.")
    if not found.fits:
        raise RequestRefused(401, "this is not the pipeline's webhook_key; copy the address from the pipeline's page.")
    opened = OpenedWebhook(call, found.record, found.run_config_id)
    if wait_s := guard.busy_s(opened.key_name, time()):
        raise RequestRefused(
            429, "too many calls with this key; wait, or raise the limit.", headers={"Retry-After": str(wait_s)}
        )
    return opened


def take(app: web.Application, opened: OpenedWebhook, body: bytes) -> None:
    """Count a call that is taken, for the limit on its key."""
    app[WEBHOOK_GUARD].taken(opened.key_name, len(body), asyncio.get_running_loop().time())


def check_signature(app: web.Application, opened: OpenedWebhook, headers: Mapping[str, str], body: bytes) -> str | None:
    """Check the signature of a call, if the pipeline takes only signed calls.

    Args:
        app: The gateway.
        opened: The webhook.
        headers: The request's headers, with names in any case.
        body: The raw bytes.

    Returns:
        The id that the signature covers; None if it covers none.

    Raises:
        RequestRefused: The signature is missing or wrong (401), or this gateway cannot open the secret (503).
    """
    call, record, run_config_id = opened
    webhook = record.live.spec.webhook_of(run_config_id) if record.live else None
    if webhook is None:
        return None
    try:
        secret = app[SEALER].open_webhook_secret(webhook.secret, pipeline=record.name)
        return webhook_signatures.verify(webhook, secret, headers, body, now())
    except (NoKey, BadSecret) as error:
        log.warning("webhook secret rejected", pipeline=record.name, error=str(error))
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
