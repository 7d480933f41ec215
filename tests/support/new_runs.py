"""The runs that a test starts, as they appear on the bus."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from nats.aio.msg import Msg

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.runs.run import RUN, RunRecord
from tests.support.gateway import ANSWER_S


@asynccontextmanager
async def new_runs(bus: Bus) -> AsyncIterator[Callable[[], Awaitable[RunRecord]]]:
    """Yield a function that returns the next run that is created while the block runs."""
    created: asyncio.Queue[RunRecord] = asyncio.Queue()
    known = set()

    async def receive(message: Msg) -> None:
        run = RUN.decode(message.data)
        if run.id not in known:
            known.add(run.id)
            created.put_nowait(run)

    async def following() -> RunRecord:
        return await asyncio.wait_for(created.get(), ANSWER_S)

    subscription = await bus.client.subscribe(subjects.RUN_EVENTS, cb=receive)
    await bus.client.flush()
    try:
        yield following
    finally:
        await subscription.unsubscribe()
