"""Many schedules that share an instant, on a real bus."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.clock import now
from fastflow_contracts.names import PipelineName, check_name
from fastflow_contracts.pipelines.format.spec import PipelineSpec, ScheduleEntry
from fastflow_contracts.pipelines.records import PipelineRecord, Version
from fastflow_contracts.pipelines.store import PipelineStore
from fastflow_contracts.runs.store import RunStore
from fastflow_contracts.schedules.store import ScheduleStore
from tests.support.records import a_bundle

WITHIN_S = 240.0
DAY_S = 86_400


def once_a_day(slot: datetime) -> PipelineSpec:
    return PipelineSpec(schedule_interval_seconds=DAY_S, schedule_start=slot)


def many_times_a_day(slot: datetime, count: int, **settings: Any) -> PipelineSpec:
    """One pipeline with *count* schedules, all with their first slot at *slot*."""
    entries = (
        ScheduleEntry(id=f"s{number}", schedule_interval_seconds=DAY_S, schedule_start=slot) for number in range(count)
    )
    return PipelineSpec(schedules=tuple(entries), **settings)


async def publish(bus: Bus, specs: Sequence[PipelineSpec]) -> list[PipelineName]:
    """Publish a live pipeline for each of *specs*."""
    bundle, store = a_bundle(main_py="print()"), PipelineStore(bus)
    names = [check_name(f"p{number}") for number in range(len(specs))]
    room = asyncio.Semaphore(256)

    async def one(name: PipelineName, spec: PipelineSpec) -> None:
        async with room:
            live = Version(bundle=bundle.sha256, spec=spec, live_since=now())
            await store.records.put(name, PipelineRecord(name=name, live=live, seen_at=now()), expect=0)

    await asyncio.gather(*map(one, names, specs))
    return names


async def settled(bus: Bus, count: int, *, done_until: datetime | None = None) -> None:
    """Return when *count* schedules are settled, or done."""
    done = set()
    async with asyncio.timeout(WITHIN_S), aclosing(ScheduleStore(bus).states.follow()) as batches:
        async for batch in batches:
            for change in batch.changes:
                if change.value is not None and (done_until is None or change.value.done_until >= done_until):
                    done.add(change.name)
            if len(done) == count:
                return


async def some_created(bus: Bus) -> None:
    """Return when the first run exists."""
    async with asyncio.timeout(WITHIN_S), aclosing(RunStore(bus).records.follow()) as batches:
        async for batch in batches:
            if batch.changes:
                return
