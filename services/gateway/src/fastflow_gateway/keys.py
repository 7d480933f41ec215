"""Where the application and its requests keep what handlers share. Names only.

``pages.setup(app)`` sets ``LOGIN_PAGE`` and ``ERROR_PAGE``; ``app.build_app`` sets all others before it calls it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from aiohttp import web

from fastflow_contracts.wire import Bus
from fastflow_gateway.auth import Gate, Session
from fastflow_gateway.callers import Callers
from fastflow_gateway.door import Door
from fastflow_gateway.files import Shelf
from fastflow_gateway.follow import Follower
from fastflow_gateway.guesses import Guesses
from fastflow_gateway.readmodel import ReadModel
from fastflow_gateway.sealing import Sealer
from fastflow_gateway.settings import Settings
from fastflow_gateway.throttle import Throttle

SETTINGS = web.AppKey("SETTINGS", Settings)
BUS = web.AppKey("BUS", Bus)
MODEL = web.AppKey("MODEL", ReadModel)
DOOR = web.AppKey("DOOR", Door)
FOLLOWER = web.AppKey("FOLLOWER", Follower)
SHELF = web.AppKey("SHELF", Shelf)
GATE = web.AppKey("GATE", Gate)
CALLERS = web.AppKey("CALLERS", Callers)
THROTTLE = web.AppKey("THROTTLE", Throttle)
"""Of wrong tokens, by caller."""
GUESSES = web.AppKey("GUESSES", Guesses)
"""Of wrong webhook keys."""
SEALER = web.AppKey("SEALER", Sealer)
REQUESTS: web.AppKey[Counter[int]] = web.AppKey("REQUESTS", Counter)
"""Answers so far, by status."""
OPENAPI = web.AppKey("OPENAPI", bytes)
"""The OpenAPI document."""
PUBLIC: web.AppKey[frozenset[str]] = web.AppKey("PUBLIC", frozenset)
"""Paths, as they are declared, that need no token."""

LOGIN_PAGE: web.AppKey[Callable[[web.Request, int, str | None], web.Response]] = web.AppKey("LOGIN_PAGE")
"""(request, status, what went wrong) -> the login form."""
ERROR_PAGE: web.AppKey[Callable[[web.Request, int, str], web.Response]] = web.AppKey("ERROR_PAGE")
"""(request, status, detail) -> an error for a browser; requests for the API get JSON."""

SESSION = web.RequestKey("SESSION", Session)
"""Set on requests of a logged-in browser; its ``csrf`` belongs into every form as ``csrf_token``."""
