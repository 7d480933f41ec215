"""Which messages wait for quiet: the newest one of each key. Pure.

A message starts a run if no other one of its key follows within the time. That follows from the messages alone, so a
scheduler that reads them again decides the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from fastflow_contracts.bus.foreign import EventMessage

KEYS_MAX: Final = 10_000
BYTES_MAX: Final = 64 * 1024 * 1024


class Quiet:
    """The messages that wait, the oldest first."""

    def __init__(self) -> None:
        self._waiting: dict[str, EventMessage] = {}
        self._bytes = 0

    def add(self, key: str, message: EventMessage) -> None:
        """Take in the next message in the order of the stream."""
        if (former := self._waiting.pop(key, None)) is not None:
            self._bytes -= len(former.data)
        self._waiting[key] = message
        self._bytes += len(message.data)

    def due(self, at: datetime, wait: timedelta) -> Iterator[EventMessage]:
        """Take out what has waited *wait* at the time *at*, and the oldest while there are too many."""
        while self._waiting:
            key, oldest = next(iter(self._waiting.items()))
            is_over = len(self._waiting) > KEYS_MAX or self._bytes > BYTES_MAX
            if not is_over and oldest.stored_at + wait > at:
                return
            del self._waiting[key]
            self._bytes -= len(oldest.data)
            yield oldest

    @property
    def first(self) -> EventMessage | None:
        """The oldest one."""
        return next(iter(self._waiting.values()), None)
