"""What only browsers have: the session cookie, the site a request comes from, redirects after a login."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from fastflow_gateway.security.sessions import SESSION_S, BrowserSession

COOKIE: Final = "ff_session"
CSRF_HEADER: Final = "X-CSRF-Token"
CSRF_FIELD: Final = "csrf_token"
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})

SESSION = web.RequestKey("SESSION", BrowserSession)
"""Set on requests of a signed-in browser. Every form sends its ``csrf`` as ``csrf_token``."""


def keep_session(request: web.Request, response: web.StreamResponse, value: str) -> None:
    """Set the session cookie to *value*."""
    is_secure = "https" in (request.scheme, request.headers.get("X-Forwarded-Proto", ""))
    response.set_cookie(COOKIE, value, max_age=SESSION_S, path="/", httponly=True, samesite="Lax", secure=is_secure)


def end_session(response: web.StreamResponse) -> None:
    """Delete the session cookie."""
    response.del_cookie(COOKIE, path="/")


def is_same_origin(headers: Mapping[str, str]) -> bool:
    """Whether a page of this site sent the request, by what the browser says. Silence counts as no."""
    if site := headers.get("Sec-Fetch-Site"):
        return site in ("same-origin", "none")
    return urlsplit(headers.get("Origin", "")).netloc == headers.get("Host")


def wants_page(request: web.Request) -> bool:
    """Whether a browser asks for a page, not a program for the API."""
    return not request.path.startswith("/api/") and "text/html" in request.headers.get("Accept", "")


def local_path(target: str | None) -> str:
    """*target* if it is a path of this site, else the front page: a login must not redirect to another site."""
    if target and re.fullmatch(r"/(?![/\\])[^\\\x00-\x20\x7f]*", target):
        return target
    return "/"
