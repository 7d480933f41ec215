"""The token, and the signed sessions of browsers that know it. Pure: time is an argument.

A session is a signed cookie: ``<expiry>.<id>.<signature>``. Every gateway with the same token accepts it until its id
is spent, and a new token ends all sessions. A login code is the same with another key: it signs in one browser, and is
spent then. The signing keys are derived from the token.
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
CODE_S: Final = 15 * 60
"""How long a login code is valid."""


class BrowserSession(NamedTuple):
    """The session of a signed-in browser. Its forms and scripts send a ``csrf_token`` to show that they are
    ours.
    """

    id: str
    """What ends with it: see ``SpentStore``."""
    expires_at: datetime
    csrf: bytes

    def csrf_token(self) -> str:
        """A CSRF token of the session, another one each time.

        The lengths of compressed pages tell something about a text that is the same in all of them (BREACH).
        """
        mask = secrets.token_bytes(len(self.csrf))
        return (mask + _xor(mask, self.csrf)).hex()


class Sessions:
    """Checks the token, and makes and checks sessions. Holds the token's hash and the signing keys, never the token."""

    def __init__(self, token: str) -> None:
        self._token_hash = hashlib.sha256(token.encode()).digest()
        key = hmac.digest(token.encode(), b"fastflow gateway session v2", "sha256")
        self.cookie_name = f"ff_session_{hmac.digest(key, b'cookie name', 'sha256').hex()[:8]}"
        """Of this installation: browsers keep cookies by host, and two installations may share one on two ports."""
        self._cookies = _signer(key, "session")
        self._csrf = _signer(key, "csrf")
        self._codes = _signer(key, "login code")

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
        return _signed(self._cookies, int(now.timestamp()) + SESSION_S)

    def new_code(self, now: datetime) -> tuple[str, datetime]:
        """Create a login code. Returns it, and when it expires."""
        expires_s = int(now.timestamp()) + CODE_S
        return _signed(self._codes, expires_s), datetime.fromtimestamp(expires_s, now.tzinfo)

    def code_id(self, code: str, now: datetime) -> str | None:
        """Check a login code. Returns its id; None if it is not ours or has expired."""
        found = _checked(self._codes, code, now)
        return found.id if found is not None else None

    def session(self, cookie: str, now: datetime) -> BrowserSession | None:
        """Check a cookie.

        Args:
            cookie: The value from the browser.
            now: The time that the expiry is compared with.

        Returns:
            The session; None if the cookie is not ours or has expired.
        """
        found = _checked(self._cookies, cookie, now)
        if found is None:
            return None
        return BrowserSession(found.id, found.expires_at, self._csrf.get_signature(found.body))


def is_bearer(authorization: str, token: str) -> bool:
    """Whether the value of an ``Authorization`` header carries *token*; never, if that is empty."""
    given = authorization.partition(" ")[2].strip().encode("utf-8", "surrogatepass")
    return bool(token) and hmac.compare_digest(given, token.encode())


def is_csrf_token(session: BrowserSession, given: str) -> bool:
    """Whether *given* is a CSRF token of the session."""
    length = len(session.csrf)
    if len(given) != 4 * length:
        return False
    try:
        mask, masked = (bytes.fromhex(half) for half in (given[: 2 * length], given[2 * length :]))
    except ValueError:
        return False
    return hmac.compare_digest(_xor(mask, masked), session.csrf)


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=False))


class _Checked(NamedTuple):
    body: bytes
    id: str
    expires_at: datetime


def _signed(signer: itsdangerous.Signer, expires_s: int) -> str:
    return signer.sign(f"{expires_s}.{secrets.token_urlsafe(18)}").decode()


def _checked(signer: itsdangerous.Signer, text: str, now: datetime) -> _Checked | None:
    """Read a signed text; None if it is not ours or has expired."""
    try:
        body = signer.unsign(text.encode("utf-8", "surrogatepass"))
    except itsdangerous.BadSignature:
        return None
    expires, _, text_id = body.decode().partition(".")
    expires_at = datetime.fromtimestamp(int(expires), now.tzinfo)
    return _Checked(body, text_id, expires_at) if now < expires_at else None


def _signer(key: bytes, purpose: str) -> itsdangerous.Signer:
    return itsdangerous.Signer(key, salt=purpose, key_derivation="hmac", digest_method=hashlib.sha256)


SESSIONS = web.AppKey("SESSIONS", Sessions)
