"""Removes runs from the bus, for an operator whose buckets are full. I/O. A removal needs no room.

Runs that are over go like those that the schedulers remove: see ``maintenance.retention`` of the scheduler. Runs that
have not begun can go, too: a flood of them would otherwise stay until it is cancelled one by one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.names import PipelineName
from fastflow_contracts.runs.run import Ended, Pending, RunRecord
from fastflow_contracts.runs.store import RunStore, Stored

AT_ONCE_MAX = 16


async def removable(
    bus: Bus, *, ended_before: datetime, pipeline: PipelineName | None, waiting: bool
) -> AsyncIterator[Stored]:
    """Yield the runs that may go.

    Args:
        bus: The bus.
        ended_before: Runs that ended before this.
        pipeline: Only its runs; None: those of all pipelines.
        waiting: Also runs that have not begun.
    """
    keys = subjects.run_keys_of(pipeline) if pipeline is not None else ""
    for record in await RunStore(bus).records.items(keys):
        if _is_removable(record.value, ended_before, waiting=waiting):
            yield Stored(record.value, record.revision)


async def remove(bus: Bus, runs: list[Stored]) -> None:
    """Remove *runs*, unless they have changed. Raises ``BusError``."""
    store, queue = RunStore(bus), iter(runs)

    async def work() -> None:
        for stored in queue:
            await (store.remove(stored) if stored.run.is_over else store.withdraw(stored))

    async with asyncio.TaskGroup() as group:
        for number in range(AT_ONCE_MAX):
            group.create_task(work(), name=f"purge-{number}")


def _is_removable(run: RunRecord, ended_before: datetime, *, waiting: bool) -> bool:
    match run.state:
        case Ended(at=at):
            return at < ended_before
        case Pending():
            return waiting and not run.attempts
        case _:
            return False
