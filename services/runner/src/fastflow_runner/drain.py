"""Listens for the request to drain: take no more work, finish the runs under way, and leave. I/O."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import nats.errors
from nats.aio.msg import Msg

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus


@asynccontextmanager
async def drain_asked(bus: Bus, runner_id: str) -> AsyncIterator[asyncio.Event]:
    """Yield an event that is set when the request comes. The presence record shows that it was received."""
    asked = asyncio.Event()

    async def receive(_: Msg) -> None:
        asked.set()

    subscription = await bus.client.subscribe(subjects.drain(runner_id), cb=receive)
    try:
        yield asked
    finally:
        with suppress(nats.errors.Error):
            await subscription.unsubscribe()
