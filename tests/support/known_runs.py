"""The active runs as a scheduler knows them, followed on a real bus without the rest of a scheduler."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.runs.lease import Lease
from fastflow_contracts.runs.store import RunStore
from fastflow_contracts.starting.active_runs import ActiveRuns
from fastflow_scheduler.maintenance.due_work import DueWork
from fastflow_scheduler.maintenance.reconciler import Reconciler
from fastflow_scheduler.starting.dispatcher import Dispatcher


@asynccontextmanager
async def known_runs(bus: Bus) -> AsyncIterator[ActiveRuns]:
    """Follow the runs on *bus* until the block ends."""
    active = ActiveRuns()
    reconciler = Reconciler(bus, RunStore(bus), active=active, dispatcher=Dispatcher(bus), due_work=DueWork(Lease()))
    following = asyncio.create_task(reconciler.serve(), name="reconciler")
    try:
        while not active.is_complete:
            await asyncio.sleep(0.01)
        yield active
    finally:
        following.cancel()
        await asyncio.wait({following})
