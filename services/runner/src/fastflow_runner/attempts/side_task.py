"""A task that runs beside a block and ends with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

T = TypeVar("T")


@asynccontextmanager
async def side_task(steps: Coroutine[Any, Any, T], name: str) -> AsyncIterator[asyncio.Task[T]]:
    """Run *steps* as a task while the block runs.

    At the end of the block the task is cancelled and awaited. The block can see the task's exception by awaiting the
    task; otherwise the exception is dropped.
    """
    task = asyncio.create_task(steps, name=name)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)  # unlike suppressing, this loses no cancellation of ours
