"""What only browsers have: the session cookie, the site a request comes from, redirects after a login."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import SplitResult, urlsplit

from aiohttp import web

from fastflow_contracts.clock import now
from fastflow_gateway.security.sessions import SESSION_S, SESSIONS, BrowserSession

CSRF_HEADER: Final = "X-CSRF-Token"
CSRF_FIELD: Final = "csrf_token"
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})

PUBLIC_URL = web.AppKey("PUBLIC_URL", str)
"""The address that browsers use; empty: the one in their requests."""
SESSION = web.RequestKey("SESSION", BrowserSession)
"""Set on requests of a signed-in browser. Every form sends its ``csrf`` as ``csrf_token``."""


def is_over_tls(request: web.Request) -> bool:
    """Whether the browser came over TLS, by what the proxy before us says.

    Any proxy is believed, and so is a client that writes the header itself: it changes only its own cookie and answer.
    """
    forwarded = request.headers.get("X-Forwarded-Proto", "").partition(",")[0].strip()
    public = urlsplit(request.app[PUBLIC_URL])
    return "https" in (request.scheme, forwarded) or (public.scheme == "https" and public.netloc == request.host)


def keep_session(request: web.Request, response: web.StreamResponse, value: str) -> None:
    """Set the session cookie to *value*."""
    is_secure = is_over_tls(request)
    name = _cookie_name(request)
    response.set_cookie(name, value, max_age=SESSION_S, path="/", httponly=True, samesite="Lax", secure=is_secure)


def session_of(request: web.Request) -> BrowserSession | None:
    """The session of the request's cookie; None if there is none that is valid."""
    return request.app[SESSIONS].session(request.cookies.get(_cookie_name(request), ""), now())


def end_session(request: web.Request, response: web.StreamResponse) -> None:
    """Delete the session cookie."""
    response.del_cookie(_cookie_name(request), path="/", secure=is_over_tls(request) or None)


def _cookie_name(request: web.Request) -> str:
    """Over TLS with the prefix that keeps other hosts of the same domain from setting it, and plain HTTP too."""
    name = request.app[SESSIONS].cookie_name
    return f"__Host-{name}" if is_over_tls(request) else name


def foreign_site(request: web.Request) -> str | None:
    """Why the request does not come from a page of this site, by what the browser says; None: it does.

    A proxy may pass its own ``Host``: then ``X-Forwarded-Host``, which no other site's page can set, or the public
    address in our settings names this site.
    """
    headers, public = request.headers, request.app[PUBLIC_URL]
    if site := headers.get("Sec-Fetch-Site"):
        return None if site in ("same-origin", "none") else f"the browser says that it comes from another site ({site})"
    origin = _origin(request)
    forwarded = headers.get("X-Forwarded-Host", "").partition(",")[0]
    ours = (headers.get("Host", ""), forwarded, urlsplit(public).netloc)
    if origin.netloc and _place(origin.scheme, origin.netloc) in {_place(origin.scheme, each) for each in ours}:
        return None
    if not origin.netloc:
        return "the browser does not say which page it comes from"
    return (
        f"the browser sent it from a page of {origin.netloc}, and it arrived for the Host {ours[0]}; "
        "if a proxy stands between them, let it pass on the Host header, or set FASTFLOW_PUBLIC_URL to the address "
        "that browsers use"
    )


def _origin(request: web.Request) -> SplitResult:
    """Where the browser says that the request comes from; empty if it does not, or names no address."""
    try:
        return urlsplit(request.headers.get("Origin", ""))
    except ValueError:
        return urlsplit("")


def _place(scheme: str, netloc: str) -> tuple[str, str]:
    """Host and port, with the default port of *scheme* filled in."""
    host, colon, port = netloc.strip().lower().rpartition(":")
    if not colon or port.endswith("]"):
        host, port = netloc.strip().lower(), ""
    return host, port or {"http": "80", "https": "443"}.get(scheme, "")


def public_address(request: web.Request) -> str:
    """The address under which this site is reached, without a slash at the end.

    The browser that sends a form says it; else our settings do, or the request.
    """
    origin = _origin(request)
    if origin.netloc:
        return f"{origin.scheme}://{origin.netloc}"
    return request.app[PUBLIC_URL].rstrip("/") or f"{request.scheme}://{request.host}"


def wants_page(request: web.Request) -> bool:
    """Whether a browser asks for a page, not a program for the API."""
    return not request.path.startswith("/api/") and "text/html" in request.headers.get("Accept", "")


def local_path(target: str | None) -> str:
    """*target* if it is a path of this site, else the front page: a login must not redirect to another site."""
    if target and re.fullmatch(r"/(?![/\\])[^\\\x00-\x20\x7f]*", target):
        return target
    return "/"
