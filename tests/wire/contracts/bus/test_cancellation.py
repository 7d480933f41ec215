"""Cancelling a task that talks to the bus always ends it."""

from __future__ import annotations

import asyncio

from fastflow_contracts.bus.client import Bus


async def test_a_cancellation_that_meets_a_response_is_not_lost(bus: Bus) -> None:
    """Whenever it comes, the current request is the last one."""
    answers = 0

    async def ask_for_ever() -> None:
        nonlocal answers
        while True:
            await bus.get("ff_runs", "run.a.1")
            answers += 1

    for turn in range(300):
        task = asyncio.create_task(ask_for_ever(), name="ask")
        before = answers
        # In the same pass of the event loop in which a response comes, or close to it.
        while answers == before:
            await asyncio.sleep(0)
        for _ in range(turn % 12):
            await asyncio.sleep(0)
        seen = answers
        task.cancel()
        await asyncio.wait({task}, timeout=30)
        assert task.cancelled()
        assert answers <= seen + 1


async def test_a_cancellation_that_meets_a_flush_is_not_lost(bus: Bus) -> None:
    """As at the start of a gateway whose runner cannot start: nothing else would end it."""
    done = 0

    async def flush_for_ever() -> None:
        nonlocal done
        while True:
            await bus.client.flush()
            done += 1

    for turn in range(120):
        task = asyncio.create_task(flush_for_ever(), name="flush")
        before = done
        while done == before:
            await asyncio.sleep(0)
        for _ in range(turn % 12):
            await asyncio.sleep(0)
        seen = done
        task.cancel()
        await asyncio.wait({task}, timeout=30)
        assert task.cancelled()
        assert done <= seen + 1
