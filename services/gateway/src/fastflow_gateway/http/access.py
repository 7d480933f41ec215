"""Who may pass: the token, a browser with a session, and whether a write comes from our own pages. I/O."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from aiohttp import web

from fastflow_contracts.clock import now
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.http.browsers import (
    CSRF_FIELD,
    CSRF_HEADER,
    SAFE_METHODS,
    SESSION,
    foreign_site,
    session_of,
    wants_page,
)
from fastflow_gateway.http.requests import client_address, form_of
from fastflow_gateway.security.client_address import is_loopback
from fastflow_gateway.security.sessions import SESSIONS, BrowserSession, is_bearer, is_csrf_token
from fastflow_gateway.security.token_guard import TOKEN_GUARD
from fastflow_gateway.settings import SETTINGS

WRONG: Final = "the token is not this installation's."
IS_SPENT: web.AppKey[Callable[[str], bool | None]] = web.AppKey("IS_SPENT")
"""Whether the session with this id was ended; None: not known yet."""


async def check_access(request: web.Request) -> None:
    """Let in the token, and a browser with a session. Sets ``SESSION`` for the latter.

    A browser that asks for a page without a session is sent to the login page. Raises ``RequestRefused`` for all
    others, and for clients that sent too many wrong tokens.
    """
    if authorization := request.headers.get("Authorization"):
        _check(request, is_right=request.app[SESSIONS].knows_bearer(authorization), wrong=WRONG)
        return
    session = _live_session(request)
    if session is None:
        if wants_page(request):
            raise web.HTTPSeeOther(f"/login?next={request.rel_url.raw_path}" if request.method == "GET" else "/login")
        raise RequestRefused(
            401, "send the header Authorization: Bearer <token>, or log in.", headers={"WWW-Authenticate": "Bearer"}
        )
    request[SESSION] = session
    if request.method not in SAFE_METHODS:
        await _check_meant(request, session)


def has_ended(request: web.Request) -> bool:
    """Whether the session that let the request in is over: an answer that is still being sent must not go on."""
    session = request.get(SESSION)
    return session is not None and (session.expires_at <= now() or request.app[IS_SPENT](session.id) is True)


def check_token(request: web.Request, token: str, *, wrong: str) -> None:
    """Check a token that was typed in.

    Raises:
        RequestRefused: It is wrong, in the words of *wrong* (401), or the client sent too many wrong ones (429).
    """
    _check(request, is_right=request.app[SESSIONS].knows(token), wrong=wrong)


async def check_metrics_access(request: web.Request) -> None:
    """Let in the token for metrics and whoever else has access; everyone where only this machine can ask.

    Raises ``RequestRefused``.
    """
    settings = request.app[SETTINGS]
    is_local = is_loopback(settings.host) and "X-Forwarded-For" not in request.headers
    if is_local and not settings.metrics_token:
        return
    if not is_bearer(request.headers.get("Authorization", ""), settings.metrics_token):
        await check_access(request)


def _check(request: web.Request, *, is_right: bool, wrong: str) -> None:
    now_s = asyncio.get_running_loop().time()
    if wait_s := request.app[TOKEN_GUARD].wait_s(client_address(request), now_s, is_right=is_right):
        raise RequestRefused(
            429, f"too many wrong tokens; wait {wait_s} seconds.", headers={"Retry-After": str(wait_s)}
        )
    if not is_right:
        raise RequestRefused(401, wrong, headers={"WWW-Authenticate": "Bearer"})


def _live_session(request: web.Request) -> BrowserSession | None:
    """The session of the request's cookie, unless it was ended. Raises ``RequestRefused`` while that is not known."""
    session = session_of(request)
    if session is None:
        return None
    is_spent = request.app[IS_SPENT](session.id)
    if is_spent is None:
        raise RequestRefused(503, "the gateway is still starting; try again.", headers={"Retry-After": "1"})
    return None if is_spent else session


async def _check_meant(request: web.Request, session: BrowserSession) -> None:
    """Raise ``RequestRefused`` unless one of our pages sent the request."""
    if reason := foreign_site(request):
        raise RequestRefused(403, f"the request did not come from a page of this site: {reason}.")
    given = request.headers.get(CSRF_HEADER)
    if given is None and request.content_type in ("application/x-www-form-urlencoded", "multipart/form-data"):
        given = dict(await form_of(request)).get(CSRF_FIELD)
    if not is_csrf_token(session, given or ""):
        raise RequestRefused(
            403, "the request did not come from a page of this site; open the page again and repeat it there."
        )
