"""Sync when a git host reports a push: POST /api/hooks/git. A signature of the host replaces the API token.

Checks run in this order: recent failures of the client, whether there is a signature at all, the size of the body, the
signature, the content.
"""

from __future__ import annotations

from aiohttp import web

from fastflow_api import shapes
from fastflow_contracts.log import get_logger
from fastflow_gateway.actions import git_hooks
from fastflow_gateway.actions.push_events import read_event
from fastflow_gateway.actions.sync import sync_soon
from fastflow_gateway.http.requests import answer, body_of, client_address
from fastflow_gateway.http.route import Media, Route
from fastflow_gateway.readmodel.model import MODEL

log = get_logger(__name__)


async def sync_after_push(request: web.Request) -> web.Response:
    """Check the signature, and sync if the push concerns the pipelines."""
    call = git_hooks.admit(request.app, client_address(request), request.headers)
    body = await body_of(request)
    git_hooks.check(request.app, call, request.headers, body)
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


ROUTES = (
    Route(
        "POST",
        git_hooks.PATH,
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
