"""A scheduler and a runner on a bus with garbage records and messages: they skip them and continue."""

from __future__ import annotations

import asyncio
from pathlib import Path

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.decoding import unreadable
from fastflow_contracts.bus.subjects import JobRef
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.format.spec import DownstreamRule
from fastflow_contracts.runs.lease import Lease
from fastflow_contracts.runs.run import RunStatus
from fastflow_contracts.runs.runners import presences
from fastflow_contracts.runs.state_machine import Claim, Prepare
from fastflow_contracts.runs.store import RunStore
from fastflow_scheduler.app import serve
from fastflow_scheduler.settings import SchedulerSettings
from tests.support.garbage import litter
from tests.support.records import a_bundle, a_run, publish_pipeline
from tests.support.system import system

KINDS = {"RunRecord", "PipelineRecord", "Presence", "ScheduleState", "Switch", "LinkSet", "LimitSet", "Hint", "Cancel"}


async def test_garbage_stops_no_run(bus_url: str, bus: Bus, tmp_path: Path) -> None:
    """Triggers start runs under both limits, a slot fires, a chain continues, and skipped messages are counted."""
    unreadable.clear()
    await litter(bus, "demo")
    async with system(bus_url, tmp_path, sandbox="process", concurrent_runs_max=1) as world:
        await world.pipeline("next", "print('next')")
        await world.pipeline(
            "demo",
            "print('demo')",
            max_instances=1,
            downstream_triggers=(DownstreamRule(pipeline="next"),),
        )
        assert (await world.run("demo")).status is RunStatus.SUCCESS
        await litter(bus, "demo")
        assert (await world.run("demo")).status is RunStatus.SUCCESS
        async with asyncio.timeout(30):
            while len(await RunStore(bus).all_of(PipelineName("next"))) < 2:
                await asyncio.sleep(0.05)
            while (await presences(bus).load("runner-0")).value is None:
                await asyncio.sleep(0.05)
    assert set(unreadable) >= KINDS, f"never met: {KINDS - set(unreadable)}"


async def test_a_schedule_with_an_unreadable_state_starts_again(bus_url: str, bus: Bus) -> None:
    """Its state and its switch are unreadable: it is on, and its next slots fire."""
    await litter(bus, "clock")
    await publish_pipeline(bus, "clock", a_bundle(main_py="print(1)"), schedule_interval_seconds=1)
    stop, ready = asyncio.Event(), asyncio.Event()
    async with connect(bus_url, name="scheduler") as its_bus, asyncio.TaskGroup() as group:
        group.create_task(serve(SchedulerSettings(), its_bus, stop, ready.set))
        async with asyncio.timeout(30):
            while not await RunStore(bus).all_of(PipelineName("clock")):
                await asyncio.sleep(0.1)
        stop.set()


async def test_a_record_with_impossible_values_stops_no_other(bus_url: str, bus: Bus) -> None:
    """A schedule whose zone is not known never fires, an interval of 0 and a time without a zone are unreadable;
    another schedule fires.
    """
    seen, name = b'"seen_at":"2026-01-01T00:00:00Z"', b"odd"
    for spec in (
        b'{"schedule_interval_seconds":0}',
        b'{"schedule_interval_seconds":-5}',
        b'{"schedule_cron":"* * * * *","timezone":"Mars/X"}',
        b'{"schedule_cron":"* * * * *","schedule_start":"2026-01-01T00:00:00"}',
    ):
        live = b'"live":{"bundle":"b","live_since":"2026-01-01T00:00:00Z","spec":' + spec + b"}"
        value = b'{"name":"' + name + b'",' + seen + b"," + live + b"}"
        await bus.put(subjects.PIPELINES, f"pipeline.{name.decode()}", value)
        name += b"-"
    state = b'{"definition":"every 1 s","anchor":"2026-01-01T00:00:00","done_until":"2026-01-01T00:00:00"}'
    job = JobRef(PipelineName("clock"), "schedule")
    await bus.put(subjects.SCHEDULES, subjects.schedule_state_key(job), state)
    await publish_pipeline(bus, "clock", a_bundle(main_py="print(1)"), schedule_interval_seconds=1)
    stop, ready = asyncio.Event(), asyncio.Event()
    async with connect(bus_url, name="scheduler") as its_bus, asyncio.TaskGroup() as group:
        group.create_task(serve(SchedulerSettings(), its_bus, stop, ready.set))
        async with asyncio.timeout(30):
            while not await RunStore(bus).all_of(PipelineName("clock")):
                await asyncio.sleep(0.1)
        stop.set()


async def test_a_scheduler_survives_a_run_that_became_garbage_after_its_runner_was_lost(bus_url: str, bus: Bus) -> None:
    """The run cannot be expired; the next one is."""
    lease, runs = Lease(lease_s=0.6, fence_s=0.6), RunStore(bus)
    lost, other = a_run(), a_run()
    for run in (lost, other):
        await runs.create(run, None)
        await runs.change(run.ref, Claim(attempt=1, runner="gone"))
        await runs.change(run.ref, Prepare(epoch=1))
    stop, ready = asyncio.Event(), asyncio.Event()
    settings = SchedulerSettings(lease_s=lease.lease_s, fence_s=lease.fence_s)
    async with connect(bus_url, name="scheduler") as its_bus, asyncio.TaskGroup() as group:
        group.create_task(serve(settings, its_bus, stop, ready.set))
        await ready.wait()
        await bus.put(subjects.RUNS, subjects.run_key(lost.ref), b"garbage")
        async with asyncio.timeout(20):
            while not (await runs.load(other.ref)).run.is_over:
                await asyncio.sleep(0.05)
        stop.set()
