"""What a gateway keeps of a log, and what it reads again, on a real bus."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.direct import StoredMessage
from fastflow_contracts.bus.feed import Batch
from fastflow_gateway.streaming import broadcast
from fastflow_gateway.streaming.broadcast import ITEM_BYTES, Broadcast
from tests.support.records import a_run


def render(message: StoredMessage) -> bytes:
    return message.data


async def test_chunks_dropped_during_a_read_from_the_bus_are_not_skipped(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log grows far beyond the kept part just when a follower has read the older part from the bus."""
    monkeypatch.setattr(broadcast, "KEPT_BYTES_MAX", 10 * (ITEM_BYTES + 2))
    subject = subjects.log(a_run().ref, 1)
    channel = Broadcast(bus, streams.LOGS, subject, render, is_settled=False)
    wake = asyncio.Event()
    channel.wakes.add(wake)
    sent: list[int] = []

    async def grow() -> None:
        """Store more than is kept, and wait until the channel has it."""
        for _ in range(50):
            sent.append(await bus.publish(subject, f"{len(sent)}".encode()))
        while [item.sequence async for item in channel.items(sent[-1] - 1)] != sent[-1:]:
            await wake.wait()
            wake.clear()

    original = broadcast.feed

    async def slow_to_close(*arguments: Any, **named: Any) -> AsyncGenerator[Batch]:
        try:
            async with aclosing(original(*arguments, **named)) as batches:
                async for batch in batches:
                    yield batch
        finally:
            if len(sent) == 50:
                await grow()

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        serving = group.create_task(channel.serve())
        await grow()
        monkeypatch.setattr(broadcast, "feed", slow_to_close)
        told = [item.sequence async for item in channel.items(0)]
        serving.cancel()
    assert len(sent) == 100
    assert told == sent
