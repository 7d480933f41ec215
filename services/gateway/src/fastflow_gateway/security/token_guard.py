"""Limits the guessing of the token, by client address, wherever it is sent. Pure: time is an argument.

A client that sent too many wrong tokens waits, even with the right one: else it could go on guessing. An address from
which the right token came within the last day does not wait with the right one: behind it there may be many
clients, and one with an old token must not shut out the others.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web
from cachetools import LRUCache

from fastflow_gateway.security.rate_limit import CLIENTS_MAX, RateLimit

BURST: Final = 10
PER_MINUTE: Final = 10.0
PROVEN_S: Final = 24 * 3600.0
"""How long an address counts as one of those that have the token."""


class TokenGuard:
    """Counts wrong tokens."""

    def __init__(self) -> None:
        self._limit = RateLimit(burst=BURST, per_minute=PER_MINUTE)
        self._proven: LRUCache[str, float] = LRUCache(CLIENTS_MAX)

    def wait_s(self, client: str, now_s: float, *, is_right: bool) -> int:
        """Judge a token that *client* sent.

        Returns:
            Whole seconds until the client may try again; 0: it may go on, if the token is right.
        """
        wait_s = self._limit.wait_s(client, now_s)
        if not is_right:
            if not wait_s:
                self._limit.failed(client, now_s)
            return wait_s
        if wait_s and now_s - self._proven.get(client, float("-inf")) >= PROVEN_S:
            return wait_s
        self._proven[client] = now_s
        return 0


TOKEN_GUARD = web.AppKey("TOKEN_GUARD", TokenGuard)
