"""Reading what a stream holds now, once through. I/O only."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.feed import feed
from fastflow_contracts.bus.pull import Message


async def newest(bus: Bus, stream: str, subject: str) -> AsyncGenerator[Message, None]:
    """The newest message of each subject that *subject* matches; empty data marks a deleted one.

    Some may come again when the connection is lost on the way: the last one counts. Waits for the bus as long as
    that takes, so the caller sets the bound.
    """
    async with aclosing(feed(bus, stream, subject)) as batches:
        async for batch in batches:
            for message in batch.messages:
                yield message
            if batch.caught_up:
                return
