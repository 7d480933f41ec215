"""Where the application keeps what its handlers share. Names only.

``pages.setup(app)`` sets ``LOGIN_PAGE`` and ``ERROR_PAGE``; ``app.build_app`` sets all others before it calls it.
"""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from fastflow_contracts.wire import Bus
from fastflow_gateway.auth import Gate
from fastflow_gateway.door import Door
from fastflow_gateway.follow import Follower
from fastflow_gateway.readmodel import ReadModel
from fastflow_gateway.settings import Settings

SETTINGS = web.AppKey("SETTINGS", Settings)
BUS = web.AppKey("BUS", Bus)
MODEL = web.AppKey("MODEL", ReadModel)
DOOR = web.AppKey("DOOR", Door)
FOLLOWER = web.AppKey("FOLLOWER", Follower)
GATE = web.AppKey("GATE", Gate)

LOGIN_PAGE: web.AppKey[Callable[[web.Request, int, str | None], web.Response]] = web.AppKey("LOGIN_PAGE")
"""(request, status, what went wrong) -> the login form."""
ERROR_PAGE: web.AppKey[Callable[[web.Request, int, str], web.Response]] = web.AppKey("ERROR_PAGE")
"""(request, status, detail) -> an error for a browser; requests for the API get JSON."""
