"""Which messages wait for quiet: the newest one of each key. Pure.

A message starts a run if no other one of its key follows within the time. That follows from the messages alone, so a
scheduler that reads them again decides the same. Only their places wait; the messages are read again once they are due.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Final, NamedTuple

from fastflow_contracts.bus.foreign import EventMessage

KEYS_MAX: Final = 10_000


class QuietPlace(NamedTuple):
    """Where a message is."""

    sequence: int
    stored_at: datetime


class Quiet:
    """The places that wait, the oldest first."""

    def __init__(self) -> None:
        self._waiting: dict[bytes, QuietPlace] = {}

    def add(self, key: str, message: EventMessage) -> None:
        """Take in the next message in the order of the stream."""
        digest = blake2b(key.encode(errors="surrogatepass"), digest_size=16).digest()  # a key may be long
        self._waiting.pop(digest, None)
        self._waiting[digest] = QuietPlace(message.sequence, message.stored_at)

    def due(self, at: datetime, wait: timedelta) -> Iterator[QuietPlace]:
        """Take out what has waited *wait* at the time *at*, and the oldest while there are too many."""
        while self._waiting:
            key, oldest = next(iter(self._waiting.items()))
            if len(self._waiting) <= KEYS_MAX and oldest.stored_at + wait > at:
                return
            del self._waiting[key]
            yield oldest

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def first(self) -> QuietPlace | None:
        """The oldest one."""
        return next(iter(self._waiting.values()), None)
