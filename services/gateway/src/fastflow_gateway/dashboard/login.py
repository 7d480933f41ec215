"""Browser sessions: /login with a link or a form, /logout."""

from __future__ import annotations

from aiohttp import web

from fastflow_gateway.actions.sign_in import sign_in
from fastflow_gateway.dashboard.rendering import RENDERER
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.http.browsers import end_session, foreign_site, keep_session, local_path
from fastflow_gateway.http.requests import client_address, form_of
from fastflow_gateway.http.route import Route


async def show_login(request: web.Request) -> web.StreamResponse:
    """Show the form. With ``?token=`` sign in at once; the redirect removes the token from the address."""
    if token := request.query.get("token"):
        return _log_in(request, token, request.query.get("next"))
    return _form(request, 200, None)


async def log_in(request: web.Request) -> web.StreamResponse:
    says_where = "Origin" in request.headers or "Sec-Fetch-Site" in request.headers
    if says_where and (reason := foreign_site(request)):
        raise RequestRefused(403, f"log in on this site's own page, /login: {reason}.")
    form = dict(await form_of(request))
    return _log_in(request, form.get("token", "").strip(), form.get("next", ""))


async def log_out(request: web.Request) -> web.StreamResponse:
    response = web.Response(status=303, headers={"Location": "/login"})
    end_session(request, response)
    return response


def _log_in(request: web.Request, token: str, target: str | None) -> web.StreamResponse:
    try:
        session = sign_in(request.app, token, client=client_address(request))
    except RequestRefused as error:
        form = _form(request, error.status, str(error))
        form.headers.update(error.headers)
        return form
    response = web.Response(status=303, headers={"Location": local_path(target)})
    keep_session(request, response, session)
    return response


def _form(request: web.Request, status: int, error: str | None) -> web.Response:
    target = request.query.get("next") if request.path == "/login" else request.path_qs
    return request.app[RENDERER].page(
        request, "login.html", status=status, signed_in=False, error=error, next=local_path(target)
    )


ROUTES = (
    Route("GET", "/login", show_login, is_public=True),
    Route("POST", "/login", log_in, is_public=True),
    Route("POST", "/logout", log_out),
)
