"""How often a client may fail before it has to wait. Pure: time is an argument (seconds, from any clock).

A token bucket for each client. Bounded: beyond ``CLIENTS_MAX`` the least recently seen client is forgotten.
"""

from __future__ import annotations

import math
from typing import Final

from cachetools import LRUCache

CLIENTS_MAX: Final = 10_000


class RateLimit:
    """Allows *burst* failures at once, and one more every ``60 / per_minute`` seconds."""

    def __init__(self, *, burst: int, per_minute: float) -> None:
        self._burst = burst
        self._per_s = per_minute / 60
        self._spent: LRUCache[str, tuple[float, float]] = LRUCache(CLIENTS_MAX)
        """By client: the failures that count, and at which time."""

    def wait_s(self, client: str, now_s: float) -> int:
        """Whole seconds until *client* may try again; 0 = now."""
        spent = self._spent_at(client, now_s)
        return 0 if spent <= self._burst - 1 else math.ceil((spent - self._burst + 1) / self._per_s)

    def failed(self, client: str, now_s: float) -> None:
        """Count a failure."""
        self._spent[client] = (self._spent_at(client, now_s) + 1, now_s)

    def forgive(self, client: str, now_s: float) -> None:
        """Take back one failure."""
        if (spent := self._spent_at(client, now_s) - 1) > 0:
            self._spent[client] = (spent, now_s)
        else:
            self._spent.pop(client, None)

    def _spent_at(self, client: str, now_s: float) -> float:
        spent, at_s = self._spent.get(client, (0.0, now_s))
        return max(0.0, spent - (now_s - at_s) * self._per_s)
