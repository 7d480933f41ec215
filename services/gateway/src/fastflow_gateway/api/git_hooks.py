"""Sync when a git host reports a push: POST /api/hooks/git. A signature of the host replaces the API token.

Checks run in this order: recent failures of the client, whether there is a signature at all, the size of the body, the
signature, the content.
"""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web

from fastflow_api import shapes
from fastflow_contracts.clock import now
from fastflow_contracts.log import get_logger
from fastflow_gateway.actions.push_events import read_event
from fastflow_gateway.actions.sync import sync_soon
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.http.requests import answer, body_of, client_address
from fastflow_gateway.http.route import Media, Route
from fastflow_gateway.readmodel.model import MODEL
from fastflow_gateway.security.push_signatures import check_push, is_signed
from fastflow_gateway.security.webhook_guard import WEBHOOK_GUARD, WebhookCall
from fastflow_gateway.security.webhook_signatures import BadSignature
from fastflow_gateway.settings import SETTINGS

log = get_logger(__name__)

PATH: Final = "/api/hooks/git"
"""Also the name of the one key, beside those of pipelines."""


async def sync_after_push(request: web.Request) -> web.Response:
    """Check the signature, and sync if the push concerns the pipelines."""
    body = await _signed_body(request)
    push = read_event(request.headers, body)
    model = request.app[MODEL]
    source, branch = (model.sync.last.source, model.sync.last.branch) if model.sync else ("", None)
    reason = push if isinstance(push, str) else push.reason_to_ignore(source, branch)
    if reason is not None:
        return answer(shapes.PushAnswer(action="nothing", detail=f"{reason}."))
    report = await sync_soon(request.app)
    log.info("push reported", synced=report is not None and report.ok)
    if report is None:
        detail = "the sync goes on; GET /api/sync/status shows its result."
        return answer(shapes.PushAnswer(action="requested", detail=detail), status=202)
    if not report.ok:  # not an error of this call: hosts stop to call an address that answers with errors
        return answer(shapes.PushAnswer(action="failed", detail=f"the sync failed: {report.error}"))
    changed = sum(change.action not in ("unchanged", "refused") for change in report.changes)
    at = f" at commit {report.commit}" if report.commit else ""
    return answer(shapes.PushAnswer(action="synced", detail=f"{changed} pipelines changed{at}."))


async def _signed_body(request: web.Request) -> bytes:
    """Return the body of a call that a holder of the secret sent. Raises ``RequestRefused`` for all others."""
    secrets = request.app[SETTINGS].git_hook_secrets
    if not secrets:
        raise RequestRefused(404, "there is no push hook here; FASTFLOW_GIT_HOOK_SECRET of the gateway makes it.")
    call = WebhookCall(client_address(request), PATH)
    guard, time = request.app[WEBHOOK_GUARD], asyncio.get_running_loop().time
    if wait_s := guard.wait_s(call, time()):
        raise RequestRefused(429, "too many wrong signatures; wait a moment.", headers={"Retry-After": str(wait_s)})
    guard.begin(call, time())
    body = b""
    try:
        if is_signed(request.headers):
            body = await body_of(request)
        check_push(secrets, request.headers, body, now())
    except BadSignature as error:
        guard.wrong(call, time())
        raise RequestRefused(
            401, f"{error} Set the same secret at the host and in FASTFLOW_GIT_HOOK_SECRET."
        ) from error
    guard.right(call, time())
    if wait_s := guard.busy_s(PATH, time()):
        raise RequestRefused(429, "too many pushes are reported; wait.", headers={"Retry-After": str(wait_s)})
    guard.taken(PATH, 0, time())
    return body


ROUTES = (
    Route(
        "POST",
        PATH,
        sync_after_push,
        "The push hook for GitHub, GitLab, Gitea, Forgejo and Bitbucket: sync at once. Needs no token, but the host's "
        "signature with FASTFLOW_GIT_HOOK_SECRET (401: it is missing or wrong). 202: the sync goes on. A push to "
        "another branch or repository, a tag or a ping is answered with 200 and leads to nothing.",
        {
            200: shapes.PushAnswer,
            202: shapes.PushAnswer,
            **dict.fromkeys((400, 401, 404, 413, 429, 503), shapes.Error),
        },
        body=Media("*/*", "The event, as the host sends it."),
        is_public=True,
    ),
)
