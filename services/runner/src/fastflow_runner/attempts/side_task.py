"""A task beside a block, which ends with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

T = TypeVar("T")


@asynccontextmanager
async def side_task(steps: Coroutine[Any, Any, T], name: str) -> AsyncIterator[asyncio.Task[T]]:
    """Run *steps* as a task while the block runs.

    At the block's end it is cancelled and awaited: nothing of it is left behind. What it raises is for the block to
    see, by way of the task; else it does not matter any more.
    """
    task = asyncio.create_task(steps, name=name)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)  # unlike suppressing, this loses no cancellation of ours
