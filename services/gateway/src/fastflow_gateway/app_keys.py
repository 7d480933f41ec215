"""Where the application and its requests keep what handlers share. Names only.

``pages.setup(app)`` sets ``LOGIN_PAGE`` and ``ERROR_PAGE``; ``app.build_app`` sets all others before it calls it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from aiohttp import web

from fastflow_contracts.bus.client import Bus
from fastflow_gateway.settings import Settings

SETTINGS = web.AppKey("SETTINGS", Settings)
BUS = web.AppKey("BUS", Bus)
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
