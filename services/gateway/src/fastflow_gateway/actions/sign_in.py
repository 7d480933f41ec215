"""Sign in: a browser sends the token and gets a session."""

from __future__ import annotations

import asyncio

from aiohttp import web

from fastflow_contracts.clock import now
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.security.rate_limit import SIGN_IN_LIMIT
from fastflow_gateway.security.sessions import SESSIONS

WRONG = "this is not the token; it was printed when Fast-Flow was started, or is in FASTFLOW_ADMIN_TOKEN."


def sign_in(app: web.Application, token: str, *, client: str) -> str:
    """Create a session for a browser that knows the token.

    Args:
        app: The gateway.
        token: The token from the browser.
        client: The client address. Wrong tokens are limited by address.

    Returns:
        The value of the session cookie.

    Raises:
        RequestRefused: The token is wrong (401), or there were too many wrong tokens (429).
    """
    limit, now_s = app[SIGN_IN_LIMIT], asyncio.get_running_loop().time()
    if wait_s := limit.wait_s(client, now_s):
        raise RequestRefused(
            429, f"too many wrong tokens; wait {wait_s} seconds.", headers={"Retry-After": str(wait_s)}
        )
    sessions = app[SESSIONS]
    if not sessions.knows(token):
        limit.failed(client, now_s)
        raise RequestRefused(401, WRONG)
    return sessions.new_session(now())
