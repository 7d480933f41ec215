"""Schedules on a real bus: exactly one run for each slot, with any number of schedulers that come and go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.feed import feed
from fastflow_contracts.bus.subjects import SCHEDULES, JobRef
from fastflow_contracts.ids import run_id_for_slot
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.format.spec import PipelineSpec, ScheduleEntry
from fastflow_contracts.runs import messages
from fastflow_contracts.runs.messages import SkipRecord
from fastflow_contracts.runs.run import RUN, RunRecord
from fastflow_contracts.runs.store import RunStore
from fastflow_contracts.schedules.state import SCHEDULE_STATE, SWITCH, ScheduleState, Switch, settled
from fastflow_scheduler.app import serve
from fastflow_scheduler.settings import SchedulerSettings
from tests.support.records import a_bundle, publish_pipeline

LATE_S = 10.0
"""Far beyond what is promised (50 ms, which `make bench` measures), for a machine that is busy with other tests."""
CODE = a_bundle(main_py="print(1)")


class Scheduler:
    """A scheduler with its own connection, which can be killed and started again."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        ready = asyncio.Event()
        self._task = asyncio.create_task(self._serve(ready.set))
        await ready.wait()

    async def kill(self) -> None:
        """End it as a killed process ends: nothing is finished."""
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait({self._task})
        self._task = None

    async def _serve(self, ready: Callable[[], None]) -> None:
        async with connect(self._url, name="scheduler") as bus:
            await serve(SchedulerSettings(), bus, asyncio.Event(), ready)


@asynccontextmanager
async def schedulers(url: str, count: int = 1) -> AsyncIterator[list[Scheduler]]:
    """Start running ones."""
    made = [Scheduler(url) for _ in range(count)]
    for one in made:
        await one.start()
    try:
        yield made
    finally:
        for one in made:
            if one._task is not None:
                await one.kill()


class Created(NamedTuple):
    """A run, and when its record was stored."""

    run: RunRecord
    stored_at: datetime

    @property
    def slot(self) -> datetime:
        assert self.run.order.scheduled_for is not None
        return self.run.order.scheduled_for

    @property
    def late_s(self) -> float:
        return (self.stored_at - self.slot).total_seconds()


async def runs(bus: Bus, pipeline: str, count: int, *, within_s: float = 15) -> list[Created]:
    """Return at least *count* runs of slots, by slot, as soon as they exist."""
    subject = f"$KV.{subjects.RUNS}.{subjects.run_keys_of(PipelineName(pipeline))}"
    found: dict[str, Created] = {}
    stream = streams.bucket_stream(subjects.RUNS)
    async with asyncio.timeout(within_s), aclosing(feed(bus, stream, subject)) as changes:
        async for batch in changes:
            for message in batch.messages:
                run = RUN.decode(message.data)
                found[run.id] = Created(run, message.stored_at)
            if len(found) >= count:
                break
    return sorted(found.values(), key=lambda created: created.slot)


async def stored(bus: Bus, job: JobRef, wanted: Callable[[ScheduleState], bool] = lambda _: True) -> ScheduleState:
    """Return the state of a schedule, as soon as *wanted* holds for it."""
    subject = f"$KV.{SCHEDULES}.{subjects.schedule_state_key(job)}"
    async with asyncio.timeout(10), aclosing(feed(bus, streams.bucket_stream(SCHEDULES), subject)) as changes:
        async for batch in changes:
            for message in batch.messages:
                state = SCHEDULE_STATE.decode(message.data)
                if wanted(state):
                    return state
    raise AssertionError("a feed has no end")


async def skipped(bus: Bus, pipeline: str) -> SkipRecord:
    """Return the first skip."""
    async with (
        asyncio.timeout(10),
        aclosing(feed(bus, streams.NOTICES, f"ff.skipped.{pipeline}.*", after=0)) as kept,
    ):
        async for batch in kept:
            for message in batch.messages:
                return messages.SKIP.decode(message.data)
    raise AssertionError("a feed has no end")


def job(pipeline: str, schedule: str = "schedule") -> JobRef:
    return JobRef(PipelineName(pipeline), schedule)


async def press(bus: Bus, job: JobRef, *, on: bool) -> None:
    """Write a switch, as the gateway does."""
    value = SWITCH.encode(Switch(enabled=on, at=soon(0)))
    await bus.put(SCHEDULES, subjects.schedule_switch_key(job), value)


def soon(seconds: float = 1.0) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


async def publish(bus: Bus, name: str, **spec: Any) -> None:
    await publish_pipeline(bus, name, CODE, **spec)


async def test_every_slot_is_one_run_while_schedulers_are_killed_and_restarted(bus_url: str, bus: Bus) -> None:
    """Slots are counted from the stored anchor; none is missing and none is doubled."""
    async with schedulers(bus_url, 3) as replicas:
        await publish(bus, "beat", schedule_interval_seconds=1)
        state = await stored(bus, job("beat"))
        await runs(bus, "beat", 2)
        await replicas[0].kill()
        await runs(bus, "beat", 4)
        await replicas[0].start()
        await replicas[1].kill()
        found = await runs(bus, "beat", 6)
        slots = [created.slot for created in found]
        assert slots == [state.anchor + timedelta(seconds=k + 1) for k in range(len(found))]
        ids = [run_id_for_slot(PipelineName("beat"), "schedule", slot) for slot in slots]
        assert [created.run.id for created in found] == ids
        print("stored after its slot, in ms:", [round(created.late_s * 1000, 1) for created in found])
        assert min(created.late_s for created in found) >= 0
        assert max(created.late_s for created in found) < LATE_S


async def test_entries_fire_with_their_own_configuration_and_disabled_ones_do_not(bus_url: str, bus: Bus) -> None:
    """The record names the configuration and the slot; the input has its variables."""
    schedules = (
        ScheduleEntry(id="prod", schedule_interval_seconds=1, default_env={"WHERE": "prod"}, timeout=7),
        ScheduleEntry(id="off", schedule_interval_seconds=1, enabled=False),
    )
    async with schedulers(bus_url):
        await publish(bus, "etl", schedules=schedules, default_env={"WHERE": "here"})
        created = (await runs(bus, "etl", 2))[0]
        order = created.run.order
        assert (order.triggered_by, order.run_config_id, order.limits.timeout_s) == ("schedule", "prod", 7)
        assert (await RunStore(bus).input(created.run)).env == {"WHERE": "prod"}
        assert {each.run.order.run_config_id for each in await runs(bus, "etl", 2)} == {"prod"}


async def test_a_single_time_runs_once(bus_url: str, bus: Bus) -> None:
    """By one of two schedulers; a time that had passed when first seen is not a job."""
    async with schedulers(bus_url, 2):
        await publish(bus, "late", run_once_at=soon(-1))
        wanted = soon(1.0)
        await publish(bus, "single", run_once_at=wanted)
        (created,) = await runs(bus, "single", 1)
        assert created.slot == wanted
        await stored(bus, job("single", "once"), lambda state: state.last_slot == wanted)
        assert (await stored(bus, job("late", "once"))).last_slot is None


@pytest.mark.slow
async def test_slots_missed_while_no_scheduler_ran_are_caught_up_as_the_schedule_says(bus_url: str, bus: Bus) -> None:
    """None, the latest, or all of them; the anchor stays."""
    for catchup in ("none", "last", "all"):
        await publish(bus, catchup, schedule_interval_seconds=1000, catchup=catchup)
        spec = PipelineSpec(schedule_interval_seconds=1000)
        seen = soon(-3500).replace(microsecond=0)
        state = settled(None, spec.schedule_list()[0], is_on=True, now=seen)
        await bus.put(SCHEDULES, subjects.schedule_state_key(job(catchup)), SCHEDULE_STATE.encode(state))
    async with schedulers(bus_url, 2):
        third = seen + timedelta(seconds=3000)
        all_three = [third - timedelta(seconds=seconds) for seconds in (2000, 1000, 0)]
        assert [each.slot for each in await runs(bus, "all", 3)] == all_three
        assert [each.slot for each in await runs(bus, "last", 1)] == [third]
        dealt_with = await stored(bus, job("none"), lambda state: state.done_until > third)
        assert (dealt_with.anchor, dealt_with.last_slot) == (seen, None)
        assert [each.slot for each in await runs(bus, "last", 1)] == [third]


async def test_a_refused_slot_is_a_skip_and_is_done(bus_url: str, bus: Bus) -> None:
    """Here by max_instances: no runner claims the first run, so the second slot finds no place."""
    async with schedulers(bus_url, 2):
        await publish(bus, "full", schedule_interval_seconds=1, max_instances=1)
        (created,) = await runs(bus, "full", 1)
        skip = await skipped(bus, "full")
        assert (skip.triggered_by, skip.scheduled_for) == ("schedule", created.slot + timedelta(seconds=1))
        await stored(bus, job("full"), lambda state: state.last_slot is not None and state.last_slot > created.slot)


async def test_a_sync_that_changes_something_else_moves_no_slot(bus_url: str, bus: Bus) -> None:
    """One that changes the interval begins a new count."""
    async with schedulers(bus_url, 2):
        await publish(bus, "steady", schedule_interval_seconds=1)
        first = await stored(bus, job("steady"))
        await publish(bus, "steady", schedule_interval_seconds=1, description="other", default_env={"A": "1"})
        await runs(bus, "steady", 2)
        assert (await stored(bus, job("steady"))).anchor == first.anchor
        await publish(bus, "steady", schedule_interval_seconds=5000)
        changed = await stored(bus, job("steady"), lambda state: state.definition == "every 5000 s")
        assert changed.anchor > first.anchor


async def test_a_disabled_schedule_is_silent_and_continues_when_enabled(bus_url: str, bus: Bus) -> None:
    """The switch is its own record, so no scheduler and no sync can lose it."""
    async with schedulers(bus_url) as (scheduler,):
        await publish(bus, "light", schedule_interval_seconds=1)
        await runs(bus, "light", 1)
        await press(bus, job("light"), on=False)
        off = await stored(bus, job("light"), lambda state: state.idle_since is not None)
        await scheduler.kill()
        await publish(bus, "light", schedule_interval_seconds=1, description="synced")
        await scheduler.start()
        await publish(bus, "witness", schedule_interval_seconds=1)
        await runs(bus, "witness", 2)
        before = await runs(bus, "light", 1)
        assert off.idle_since is not None
        assert before[-1].slot <= off.idle_since
        pressed_at = soon(0)
        await press(bus, job("light"), on=True)
        after = await runs(bus, "light", len(before) + 1)
        assert after[len(before)].slot > pressed_at


async def test_a_restart_slot_starts_a_stopped_daemon(bus_url: str, bus: Bus) -> None:
    """``restart_interval`` is in the timetable like any schedule."""
    async with schedulers(bus_url, 2):
        await publish(bus, "daemon", restart_interval=2)
        (created,) = await runs(bus, "daemon", 1)
        assert created.run.order.triggered_by == "daemon_restart"
        state = await stored(bus, job("daemon", "restart"), lambda state: state.last_slot is not None)
        assert created.slot == state.anchor + timedelta(seconds=2)


@pytest.mark.slow
async def test_many_schedules_of_one_instant_all_run(bus_url: str, bus: Bus) -> None:
    """Two schedulers share the work and double none of it."""
    wanted = soon(8.0).replace(microsecond=0)
    entries = tuple(
        ScheduleEntry(id=f"e{n}", schedule_interval_seconds=86_400, schedule_start=wanted) for n in range(300)
    )
    async with schedulers(bus_url, 2):
        await publish(bus, "many", schedules=entries)
        created = await runs(bus, "many", len(entries), within_s=40)
        late = sorted(each.late_s for each in created)
        print(f"{len(late)} at once, in ms: median {late[len(late) // 2] * 1000:.0f}, last {late[-1] * 1000:.0f}")
        assert len({each.run.order.run_config_id for each in created}) == len(created) == len(entries)
