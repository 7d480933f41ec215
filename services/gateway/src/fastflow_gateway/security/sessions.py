"""The token, and the signed sessions of browsers that know it. Pure: time is an argument.

A session is a signed cookie: ``<expiry>.<nonce>.<signature>``. Nothing is stored: every gateway with the same token
accepts it, and a new token ends all sessions. The signing keys are derived from the token.
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
    """The session of a signed-in browser. Its forms and scripts send ``csrf`` to show that they are ours."""

    expires_at: datetime
    csrf: str


class Sessions:
    """Checks the token, and makes and checks sessions. Holds the token's hash and the signing keys, never the token."""

    def __init__(self, token: str) -> None:
        self._token_hash = hashlib.sha256(token.encode()).digest()
        key = hmac.digest(token.encode(), b"fastflow gateway session v2", "sha256")
        self.cookie_name = f"ff_session_{hmac.digest(key, b'cookie name', 'sha256').hex()[:8]}"
        """Of this installation: browsers keep cookies by host, and two installations may share one on two ports."""
        self._cookies = _signer(key, "session")
        self._csrf = _signer(key, "csrf")

    def knows(self, token: str) -> bool:
        """Whether *token* is the token, in constant time."""
        given = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        return hmac.compare_digest(given, self._token_hash)

    def knows_bearer(self, authorization: str) -> bool:
        """Whether the value of an ``Authorization`` header carries the token."""
        scheme, _, token = authorization.partition(" ")
        return scheme.lower() == "bearer" and self.knows(token.strip())

    def new_session(self, now: datetime) -> str:
        """Create the value of a cookie, valid for ``SESSION_S`` seconds."""
        body = f"{int(now.timestamp()) + SESSION_S}.{secrets.token_urlsafe(18)}"
        return self._cookies.sign(body).decode()

    def session(self, cookie: str, now: datetime) -> BrowserSession | None:
        """Check a cookie.

        Args:
            cookie: The value from the browser.
            now: The time that the expiry is compared with.

        Returns:
            The session; None if the cookie is not ours or has expired.
        """
        try:
            body = self._cookies.unsign(cookie.encode("utf-8", "surrogatepass"))
        except itsdangerous.BadSignature:
            return None
        expires_at = datetime.fromtimestamp(int(body.partition(b".")[0]), now.tzinfo)
        return BrowserSession(expires_at, self._csrf.get_signature(body).decode()) if now < expires_at else None


def is_csrf_token(session: BrowserSession, given: str) -> bool:
    """Whether *given* is the CSRF token of the session."""
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), session.csrf.encode())


def _signer(key: bytes, purpose: str) -> itsdangerous.Signer:
    return itsdangerous.Signer(key, salt=purpose, key_derivation="hmac", digest_method=hashlib.sha256)


SESSIONS = web.AppKey("SESSIONS", Sessions)
