"""Who may come in: the token, browser sessions, and proof that a browser's request is meant. Pure: time is an argument.

A session is a cookie that this installation signed: ``<expiry>.<nonce>.<signature>``. Nothing is stored, so any gateway
with the same token knows it, and a new token ends all of them. The signing key is derived from the token.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from aiohttp import web

SESSION_S: Final = 12 * 3600
COOKIE: Final = "ff_session"
CSRF_HEADER: Final = "X-CSRF-Token"
CSRF_FIELD: Final = "csrf_token"
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class BrowserSession(NamedTuple):
    """A browser that proved itself. ``csrf``: what its forms and scripts send along to show that they are ours."""

    expires_at: datetime
    csrf: str


class Sessions:
    """Holds the token's hash and the signing key, never the token."""

    def __init__(self, token: str) -> None:
        self._token_hash = hashlib.sha256(token.encode()).digest()
        self._key = hmac.digest(token.encode(), b"fastflow gateway session v1", "sha256")

    def knows(self, token: str) -> bool:
        """Is this the token? Takes the same time whatever is given."""
        given = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        return hmac.compare_digest(given, self._token_hash)

    def knows_bearer(self, authorization: str) -> bool:
        """Does the value of an ``Authorization`` header carry the token?"""
        scheme, _, token = authorization.partition(" ")
        return scheme.lower() == "bearer" and self.knows(token.strip())

    def new_session(self, now: datetime) -> str:
        """A cookie's value, good for ``SESSION_S``."""
        body = f"{int(now.timestamp()) + SESSION_S}.{secrets.token_urlsafe(18)}"
        return f"{body}.{self._sign('session', body)}"

    def session(self, cookie: str, now: datetime) -> BrowserSession | None:
        """None if the cookie is not ours, or too old."""
        body, _, signature = cookie.rpartition(".")
        if not hmac.compare_digest(signature.encode("utf-8", "surrogatepass"), self._sign("session", body).encode()):
            return None
        expires_at = datetime.fromtimestamp(int(body.partition(".")[0]), now.tzinfo)
        return BrowserSession(expires_at, self._sign("csrf", body)) if now < expires_at else None

    def _sign(self, purpose: str, body: str) -> str:
        return hmac.new(self._key, f"{purpose}:{body}".encode("utf-8", "surrogatepass"), "sha256").hexdigest()


def is_same_origin(headers: Mapping[str, str]) -> bool:
    """Was the request sent by a page of ours, as far as the browser says? No word from it counts as no."""
    if site := headers.get("Sec-Fetch-Site"):
        return site in ("same-origin", "none")
    return urlsplit(headers.get("Origin", "")).netloc == headers.get("Host")


def is_csrf_token(session: BrowserSession, given: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), session.csrf.encode())


def local_path(target: str | None) -> str:
    """*target* if it is a path of this site, else the front page: a login must not send people elsewhere."""
    if target and re.fullmatch(r"/(?![/\\])[^\\\x00-\x20\x7f]*", target):
        return target
    return "/"


SESSIONS = web.AppKey("SESSIONS", Sessions)

SESSION = web.RequestKey("SESSION", BrowserSession)
"""Set on requests of a logged-in browser; its ``csrf`` belongs into every form as ``csrf_token``."""
