"""Browser sessions: /login by address or form, /logout. The form itself is a page's."""

from __future__ import annotations

import asyncio

from aiohttp import web

from fastflow_contracts.clock import now
from fastflow_gateway import app_keys
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.http.requests import caller_of, form_of
from fastflow_gateway.security.rate_limit import SIGN_IN_LIMIT
from fastflow_gateway.security.sessions import COOKIE, SESSION_S, SESSIONS, is_same_origin, local_path

WRONG = "this is not the token; it was printed when Fast-Flow was started, or is in FASTFLOW_ADMIN_TOKEN."


async def show_login(request: web.Request) -> web.StreamResponse:
    """With ``?token=`` the login itself: the redirect takes the token out of the address."""
    if token := request.query.get("token"):
        return _log_in(request, token, request.query.get("next"))
    return _form(request, 200, None)


async def log_in(request: web.Request) -> web.StreamResponse:
    if not is_same_origin(request.headers) and ("Origin" in request.headers or "Sec-Fetch-Site" in request.headers):
        raise RequestRefused(403, "log in on this site's own page: /login.")
    form = dict(await form_of(request))
    return _log_in(request, form.get("token", "").strip(), form.get("next", ""))


async def log_out(request: web.Request) -> web.StreamResponse:
    response = web.Response(status=303, headers={"Location": "/login"})
    response.del_cookie(COOKIE, path="/")
    return response


def _log_in(request: web.Request, token: str, target: str | None) -> web.StreamResponse:
    limit, caller, now_s = (
        request.app[SIGN_IN_LIMIT],
        f"login {caller_of(request)}",
        asyncio.get_running_loop().time(),
    )
    if wait_s := limit.wait_s(caller, now_s):
        response = _form(request, 429, f"too many wrong tokens; wait {wait_s} seconds.")
        response.headers["Retry-After"] = str(wait_s)
        return response
    gate = request.app[SESSIONS]
    if not gate.knows(token):
        limit.failed(caller, now_s)
        return _form(request, 401, WRONG)
    response = web.Response(status=303, headers={"Location": local_path(target)})
    is_secure = "https" in (request.scheme, request.headers.get("X-Forwarded-Proto", ""))
    response.set_cookie(
        COOKIE, gate.new_session(now()), max_age=SESSION_S, path="/", httponly=True, samesite="Lax", secure=is_secure
    )
    return response


def _form(request: web.Request, status: int, error: str | None) -> web.Response:
    return request.app[app_keys.LOGIN_PAGE](request, status, error)


def setup(app: web.Application) -> None:
    """Add the routes. They are for people, so the API's document does not list them."""
    app.router.add_get("/login", show_login)
    app.router.add_post("/login", log_in)
    app.router.add_post("/logout", log_out)
