"""What only browsers have: the session's cookie, the site a request comes from, pages to go on to."""

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
"""Set on requests of a browser that is signed in; its ``csrf`` belongs into every form as ``csrf_token``."""


def keep_session(request: web.Request, response: web.StreamResponse, value: str) -> None:
    """Let the browser that asked keep *value*, a new session, as its cookie."""
    is_secure = "https" in (request.scheme, request.headers.get("X-Forwarded-Proto", ""))
    response.set_cookie(COOKIE, value, max_age=SESSION_S, path="/", httponly=True, samesite="Lax", secure=is_secure)


def end_session(response: web.StreamResponse) -> None:
    """Let the browser forget its cookie."""
    response.del_cookie(COOKIE, path="/")


def is_same_origin(headers: Mapping[str, str]) -> bool:
    """Was the request sent by a page of ours, as far as the browser says? No word from it counts as no."""
    if site := headers.get("Sec-Fetch-Site"):
        return site in ("same-origin", "none")
    return urlsplit(headers.get("Origin", "")).netloc == headers.get("Host")


def wants_page(request: web.Request) -> bool:
    """Is this a browser on a page, rather than a program on the API?"""
    return not request.path.startswith("/api/") and "text/html" in request.headers.get("Accept", "")


def local_path(target: str | None) -> str:
    """*target* if it is a path of this site, else the front page: a login must not send people elsewhere."""
    if target and re.fullmatch(r"/(?![/\\])[^\\\x00-\x20\x7f]*", target):
        return target
    return "/"
