"""Login codes: a program with the token makes a link that signs in a browser, once."""

from __future__ import annotations

from aiohttp import web

from fastflow_api import shapes
from fastflow_gateway.actions.sign_in import new_login_code
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.http.browsers import SESSION
from fastflow_gateway.http.requests import answer
from fastflow_gateway.http.route import Route


async def make_login_code(request: web.Request) -> web.Response:
    """Make a code. Only for the token: a session must not outlive its end by another one."""
    if SESSION in request:
        raise RequestRefused(403, "only the token makes login codes; send Authorization: Bearer <token>.")
    code, expires_at = new_login_code(request.app)
    return answer(shapes.LoginCode(code=code, expires_at=expires_at))


ROUTES = (
    Route(
        "POST",
        "/api/login-codes",
        make_login_code,
        "Make a code for the address `/login?code=…`, which signs in one browser, once. Needs the token itself, not "
        "a session.",
        {200: shapes.LoginCode, 403: shapes.Error},
    ),
)
