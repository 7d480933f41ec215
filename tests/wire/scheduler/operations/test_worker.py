"""One scheduler at a time carries an operation on. Whatever is killed when, each item is done once, in order."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial

import pytest
from msgspec.structs import replace

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.subjects import ItemsRef
from fastflow_contracts.clock import now
from fastflow_contracts.ids import RunId, run_id_for_slot
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.store import PipelineStore
from fastflow_contracts.runs.lease import Lease
from fastflow_contracts.runs.operations.records import CHUNK_ITEMS, OperationItem, OperationRecord
from fastflow_contracts.runs.operations.store import OperationStore
from fastflow_contracts.runs.run import RunRecord
from fastflow_contracts.runs.store import RunStore
from fastflow_contracts.starting.active_runs import ActiveRuns
from fastflow_contracts.starting.admission import Defaults
from fastflow_scheduler.maintenance.due_work import DueWork
from fastflow_scheduler.maintenance.reconciler import Reconciler
from fastflow_scheduler.operations.step import OperationStep
from fastflow_scheduler.operations.worker import OperationWorker
from fastflow_scheduler.starting.dispatcher import Dispatcher
from fastflow_scheduler.starting.starter import Starter
from tests.support.gateway import claim, finish
from tests.support.ids import fresh_run_id
from tests.support.records import T0, a_bundle, publish_pipeline

DEMO = PipelineName("demo")
LEFT_S = 0.5
SLOTS = 30


@asynccontextmanager
async def working(bus: Bus, *, left_s: float = LEFT_S) -> AsyncIterator[asyncio.Task[None]]:
    """The parts of a scheduler that an operation needs."""
    runs, active, dispatcher = RunStore(bus), ActiveRuns(), Dispatcher(bus)
    starter = Starter(bus, runs, Defaults(), active=active, dispatcher=dispatcher)
    step = OperationStep(runs, PipelineStore(bus), starter, active)
    reconciler = Reconciler(bus, runs, active=active, dispatcher=dispatcher, due_work=DueWork(Lease()))
    feed = asyncio.create_task(reconciler.serve())
    task = asyncio.create_task(OperationWorker(bus, step, left_s=left_s).serve())
    try:
        yield task
    finally:
        for each in (task, feed):
            each.cancel()
        await asyncio.gather(task, feed, return_exceptions=True)


async def a_backfill(bus: Bus, count: int = SLOTS) -> OperationRecord:
    await publish_pipeline(bus, "demo", a_bundle(main_py="1"), schedule_cron="* * * * *")
    slots = [T0 + timedelta(minutes=minute) for minute in range(count)]
    items = tuple(
        OperationItem(pipeline=DEMO, run_id=run_id_for_slot(DEMO, "schedule", slot), slot=slot) for slot in slots
    )
    record = OperationRecord(
        id=fresh_run_id(),
        kind="backfill",
        created_at=now(),
        triggered_by="api",
        total=count,
        pipeline=DEMO,
        schedule="schedule",
    )
    await OperationStore(bus).create(record, items)
    return record


async def stored(bus: Bus, operation: RunId) -> OperationRecord:
    found = await OperationStore(bus).records.get(operation)
    assert found is not None
    return found.value


async def runs_of(bus: Bus) -> list[RunRecord]:
    return sorted(await RunStore(bus).all_of(DEMO), key=lambda run: run.created_at)


async def finish_waiting(bus: Bus) -> None:
    for run in await runs_of(bus):
        if not run.is_over:
            await finish(bus, await claim(bus, run))


async def until_over(bus: Bus, operation: RunId) -> OperationRecord:
    async with asyncio.timeout(120):
        while (record := await stored(bus, operation)).ended_at is None:
            await finish_waiting(bus)
            await asyncio.sleep(0.02)
    return record


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
async def test_schedulers_that_are_killed_at_any_step_lose_and_repeat_nothing(bus: Bus, seed: int) -> None:
    """Three share the work; one after the other is killed at a random moment, and another takes its place."""
    dice = random.Random(seed)
    record = await a_backfill(bus)

    async def lives() -> None:
        while True:
            async with working(bus) as task:
                await asyncio.wait([task], timeout=dice.uniform(0.05, 1.5))

    lived = [asyncio.create_task(lives()) for _ in range(3)]
    try:
        ended = await until_over(bus, record.id)
    finally:
        for each in lived:
            each.cancel()
        await asyncio.gather(*lived, return_exceptions=True)
    assert (ended.state, ended.changed, ended.unchanged, ended.refused) == ("done", SLOTS, 0, 0)
    runs = await runs_of(bus)
    assert [run.order.scheduled_for for run in runs] == [T0 + timedelta(minutes=minute) for minute in range(SLOTS)]


async def test_a_scheduler_that_comes_later_goes_on_where_the_record_says(bus: Bus) -> None:
    """Nobody is left in between: the progress is on the bus."""
    record = await a_backfill(bus)
    async with working(bus):
        async with asyncio.timeout(60):
            while len(await runs_of(bus)) < 4:
                await asyncio.sleep(0.02)
    assert (await stored(bus, record.id)).ended_at is None
    async with working(bus):
        ended = await until_over(bus, record.id)
    assert (ended.changed, len(await runs_of(bus))) == (SLOTS, SLOTS)


async def test_a_cancel_while_nobody_works_counts_later(bus: Bus) -> None:
    record = await a_backfill(bus)
    async with working(bus):
        async with asyncio.timeout(60):
            while len(await runs_of(bus)) < 4:
                await asyncio.sleep(0.02)
    await OperationStore(bus).records.change(
        record.id, lambda known: replace(known, cancel_requested=True) if known else None
    )
    async with working(bus), asyncio.timeout(60):
        while (ended := await stored(bus, record.id)).ended_at is None:
            await asyncio.sleep(0.05)
    runs = await runs_of(bus)
    assert (ended.state, len(runs), {run.status for run in runs}) == ("cancelled", 4, {"INTERRUPTED"})


async def test_only_one_of_three_holds_it(bus: Bus) -> None:
    record = await a_backfill(bus, 12)
    patient = partial(working, bus, left_s=600)  # on a busy machine the holder may be late to say that it lives
    async with patient(), patient(), patient():
        holders = set()
        async with asyncio.timeout(60):
            while (found := await stored(bus, record.id)).ended_at is None:
                holders |= {found.holder} - {""}
                await finish_waiting(bus)
                await asyncio.sleep(0.02)
    assert len(holders) == 1
    assert found.changed == 12


async def test_items_of_several_chunks_are_carried_out(bus: Bus) -> None:
    """Their runs do not exist: each is counted, and none stops the others."""
    count = CHUNK_ITEMS + 3
    items = tuple(OperationItem(pipeline=DEMO, run_id=fresh_run_id()) for _ in range(count))
    record = OperationRecord(id=fresh_run_id(), kind="cancel", created_at=now(), triggered_by="api", total=count)
    await OperationStore(bus).create(record, items)
    async with working(bus):
        ended = await until_over(bus, record.id)
    assert (ended.state, ended.position, ended.unchanged) == ("done", count, count)


@pytest.mark.parametrize("is_garbage", [False, True])
async def test_items_that_are_gone_or_unreadable_end_the_operation_with_the_reason(
    bus: Bus, *, is_garbage: bool
) -> None:
    record = OperationRecord(id=fresh_run_id(), kind="cancel", created_at=now(), triggered_by="api", total=5)
    await OperationStore(bus).create(record, ())
    if is_garbage:
        await bus.put(subjects.OPERATIONS, subjects.operation_items_key(ItemsRef(record.id, 0)), b"\xffgarbage")
    async with working(bus):
        ended = await until_over(bus, record.id)
    assert (ended.state, ended.position, len(ended.reasons)) == ("done", 0, 1)
    assert "not stored any more" in ended.reasons[0]
