"""Reads the stored messages of a run, once. I/O."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.direct import StoredMessage
from fastflow_contracts.bus.errors import Unavailable
from fastflow_contracts.bus.feed import feed

BATCH: Final = 32
"""Messages in flight for one feed; one may have 256 KB."""
READ_S: Final = 15.0
"""How long the bus may be silent during a read."""


async def stored(bus: Bus, stream: str, subject: str, *, after: int = 0) -> AsyncGenerator[StoredMessage]:
    """Yield every message of *subject* after sequence *after* that is stored now, oldest first, without repeats.

    Raises ``Unavailable`` if the bus is silent for ``READ_S``.
    """
    end, repeats = await bus.last_sequence(stream), Repeats()
    async with aclosing(feed(bus, stream, subject, after=after, batch=BATCH)) as batches:
        while True:
            try:
                async with asyncio.timeout(READ_S):
                    batch = await anext(batches)
            except TimeoutError as error:
                raise Unavailable(f"the bus did not deliver {subject} within {READ_S:g} s.") from error
            for message in batch.messages:
                if not repeats.is_repeat(message):
                    yield message
            if batch.caught_up or batch.messages[-1].sequence >= end:
                return


class Repeats:
    """Finds repeats: an unsure publisher sends again, so an exact copy of the message before it is the same message."""

    def __init__(self) -> None:
        self._last: tuple[str, bytes] | None = None

    def is_repeat(self, message: StoredMessage) -> bool:
        previous, self._last = self._last, (message.subject, message.data)
        return previous == self._last
