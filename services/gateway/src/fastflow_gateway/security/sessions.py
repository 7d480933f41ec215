"""The token, and the signed sessions of browsers that proved to know it. Pure: time is an argument.

A session is a cookie that this installation signed: ``<expiry>.<nonce>.<signature>``. Nothing is stored, so any gateway
with the same token knows it, and a new token ends all of them. The signing keys are derived from the token.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import datetime
from typing import Final, NamedTuple

import itsdangerous
from aiohttp import web

SESSION_S: Final = 12 * 3600


class BrowserSession(NamedTuple):
    """A browser that proved itself. ``csrf``: what its forms and scripts send along to show that they are ours."""

    expires_at: datetime
    csrf: str


class Sessions:
    """Holds the token's hash and the signing keys, never the token."""

    def __init__(self, token: str) -> None:
        self._token_hash = hashlib.sha256(token.encode()).digest()
        key = hmac.digest(token.encode(), b"fastflow gateway session v2", "sha256")
        self._cookies = _signer(key, "session")
        self._csrf = _signer(key, "csrf")

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
        return self._cookies.sign(body).decode()

    def session(self, cookie: str, now: datetime) -> BrowserSession | None:
        """The session of a cookie.

        Args:
            cookie: Its value, as the browser sent it.
            now: A session that has ended by then is none.

        Returns:
            None if the cookie is not ours, or too old.
        """
        try:
            body = self._cookies.unsign(cookie.encode("utf-8", "surrogatepass"))
        except itsdangerous.BadSignature:
            return None
        expires_at = datetime.fromtimestamp(int(body.partition(b".")[0]), now.tzinfo)
        return BrowserSession(expires_at, self._csrf.get_signature(body).decode()) if now < expires_at else None


def is_csrf_token(session: BrowserSession, given: str) -> bool:
    """Did this come from a form or script of the session's own pages?"""
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), session.csrf.encode())


def _signer(key: bytes, purpose: str) -> itsdangerous.Signer:
    return itsdangerous.Signer(key, salt=purpose, key_derivation="hmac", digest_method=hashlib.sha256)


SESSIONS = web.AppKey("SESSIONS", Sessions)
