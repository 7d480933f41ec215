"""Sign in and out: a browser sends the token or a login code and gets a session, and later ends it."""

from __future__ import annotations

from datetime import datetime

from aiohttp import web

from fastflow_contracts.clock import now
from fastflow_contracts.sessions.spent import SpentStore
from fastflow_gateway import app_keys
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.security.sessions import SESSIONS, BrowserSession

WRONG = "this is not the token; it is in the data folder's file named token, or in FASTFLOW_ADMIN_TOKEN."
USED = "this link was used, or it is too old; sign in with the token, or make a new link with: fastflow open."


def new_session(app: web.Application) -> str:
    """Make a session for a browser that knows the token. Returns the value of its cookie."""
    return app[SESSIONS].new_session(now())


def new_login_code(app: web.Application) -> tuple[str, datetime]:
    """Make a code that signs in one browser, once. Returns the code, and until when it is valid."""
    return app[SESSIONS].new_code(now())


async def sign_in_with_code(app: web.Application, code: str) -> str:
    """Use a login code.

    Args:
        app: The gateway.
        code: The code from the browser.

    Returns:
        The value of the session cookie.

    Raises:
        RequestRefused: The code is not ours, too old, or was used (401).
        BusError: The bus does not answer.
    """
    sessions, at = app[SESSIONS], now()
    code_id = sessions.code_id(code, at)
    if code_id is None or not await SpentStore(app[app_keys.BUS]).use_code(code_id, at):
        raise RequestRefused(401, USED)
    return sessions.new_session(at)


async def sign_out(app: web.Application, session: BrowserSession) -> None:
    """End *session* on all gateways: its cookie counts no more, whoever has it. Raises ``BusError``."""
    await SpentStore(app[app_keys.BUS]).end_session(session.id, now())
