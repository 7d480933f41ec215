"""Reads the stored messages of a run, once. I/O.

Reads share a budget: ``READS_MAX`` at once, each with ``BATCH`` messages in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from aiohttp import web

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.direct import StoredMessage
from fastflow_contracts.bus.errors import Unavailable
from fastflow_contracts.bus.feed import feed
from fastflow_gateway.errors import Busy

BATCH: Final = 8
"""Messages in flight for one read; one may have 256 KB."""
READS_MAX: Final = 16
"""Reads at once in this process."""
READ_S: Final = 15.0
"""How long the bus may be silent during a read, and how long a read waits for its turn."""


class StoredReads:
    """The reads of one gateway."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._places = asyncio.Semaphore(READS_MAX)

    async def last_sequence(self, stream: str) -> int:
        """The sequence of the newest message of *stream*. Raises ``BusError``."""
        return await self._bus.last_sequence(stream)

    async def messages(
        self, stream: str, subject: str, *, after: int = 0, until: int | None = None
    ) -> AsyncGenerator[StoredMessage]:
        """Yield every message of *subject* after sequence *after* that is stored now, oldest first, without repeats.

        Args:
            stream: The stream that stores them.
            subject: Their subject; may have wildcards.
            after: Sequence of the last message before the first wanted one.
            until: Sequence of the last wanted message; None: the newest.

        Raises:
            Busy: Other reads took all places for ``READ_S``.
            Unavailable: The bus is silent for ``READ_S``.
        """
        try:
            async with asyncio.timeout(READ_S):
                await self._places.acquire()
        except TimeoutError:
            raise Busy(f"{READS_MAX} logs are being read here; try again, or ask another gateway.") from None
        try:
            end = await self._bus.last_sequence(stream) if until is None else until
            async with aclosing(stored(self._bus, stream, subject, after=after, until=end)) as messages:
                async for message in messages:
                    yield message
        finally:
            self._places.release()


async def stored(bus: Bus, stream: str, subject: str, *, after: int, until: int) -> AsyncGenerator[StoredMessage]:
    """As ``StoredReads.messages``, outside the budget."""
    repeats = Repeats()
    async with aclosing(feed(bus, stream, subject, after=after, batch=BATCH)) as batches:
        while True:
            try:
                async with asyncio.timeout(READ_S):
                    batch = await anext(batches)
            except TimeoutError as error:
                raise Unavailable(f"the bus did not deliver {subject} within {READ_S:g} s.") from error
            for message in batch.messages:
                if message.sequence > until:
                    return
                if not repeats.is_repeat(message):
                    yield message
            if batch.caught_up or batch.messages[-1].sequence >= until:
                return


class Repeats:
    """Finds repeats: an unsure publisher sends again, so an exact copy of the message before it is the same message."""

    def __init__(self) -> None:
        self._last: tuple[str, bytes] | None = None

    def is_repeat(self, message: StoredMessage) -> bool:
        previous, self._last = self._last, (message.subject, message.data)
        return previous == self._last


STORED_READS = web.AppKey("STORED_READS", StoredReads)
