"""Check that a call of the push hook comes from a git host that has the secret. A refusal is ``RequestRefused``."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final, NamedTuple

from aiohttp import web

from fastflow_contracts.clock import now
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.security.push_signatures import check_push, is_signed
from fastflow_gateway.security.webhook_guard import WEBHOOK_GUARD, WebhookCall
from fastflow_gateway.security.webhook_signatures import BadSignature
from fastflow_gateway.settings import SETTINGS

PATH: Final = "/api/hooks/git"
"""Also what the limits on guessing and on calls count under; no pipeline has such a name."""


class PushCall(NamedTuple):
    """A call whose signature is not checked yet."""

    call: WebhookCall
    wait_s: int
    """How long its client must wait if the signature is wrong; 0: it need not."""


def admit(app: web.Application, client: str, headers: Mapping[str, str]) -> PushCall:
    """Decide whether the body of a call is worth reading.

    Args:
        app: The gateway.
        client: The client address.
        headers: The headers of the request, with names in any case.

    Returns:
        The call, for ``check``. It counts as a wrong one until then.

    Raises:
        RequestRefused: There is no push hook (404), the client failed too often (429), or nothing is signed (401).
    """
    if not app[SETTINGS].git_hook_secrets:
        raise RequestRefused(404, "there is no push hook here; FASTFLOW_GIT_HOOK_SECRET of the gateway makes it.")
    call, guard, now_s = WebhookCall(client, PATH), app[WEBHOOK_GUARD], asyncio.get_running_loop().time()
    if wait_s := guard.wait_s(call, now_s):
        if not is_signed(headers) or not guard.may_be_late(PATH, now_s):
            raise _waits(wait_s)
        return PushCall(call, wait_s)
    guard.begin(call, now_s)
    if not is_signed(headers):
        raise _refused(app, call, "the signature is missing.")
    return PushCall(call, 0)


def check(app: web.Application, admitted: PushCall, headers: Mapping[str, str], body: bytes) -> None:
    """Check the signature of a call, and count it.

    Raises:
        RequestRefused: The signature is wrong (401, or 429 if its client must wait), or too many calls come (429).
    """
    call = admitted.call
    try:
        check_push(app[SETTINGS].git_hook_secrets, headers, body, now())
    except BadSignature as error:
        if admitted.wait_s:
            raise _waits(admitted.wait_s) from error
        raise _refused(app, call, str(error)) from error
    guard, now_s = app[WEBHOOK_GUARD], asyncio.get_running_loop().time()
    if admitted.wait_s:
        guard.right_though_late(PATH, now_s)
    else:
        guard.right(call, now_s)
    if wait_s := guard.busy_s(PATH, now_s):
        raise RequestRefused(429, "too many pushes are reported; wait.", headers={"Retry-After": str(wait_s)})
    guard.taken(PATH, 0, now_s)


def _waits(wait_s: int) -> RequestRefused:
    return RequestRefused(429, "too many wrong signatures; wait a moment.", headers={"Retry-After": str(wait_s)})


def _refused(app: web.Application, call: WebhookCall, why: str) -> RequestRefused:
    app[WEBHOOK_GUARD].wrong(call, asyncio.get_running_loop().time())
    return RequestRefused(401, f"{why} Set the same secret at the host and in FASTFLOW_GIT_HOOK_SECRET.")
