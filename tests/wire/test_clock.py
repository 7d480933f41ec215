"""Schedules on a real bus: exactly one run a slot, at its instant, however many schedulers come and go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from fastflow_contracts import messages, streams, subjects
from fastflow_contracts.ids import run_id_for_slot
from fastflow_contracts.messages import Skip
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pull import feed
from fastflow_contracts.run import Run
from fastflow_contracts.schedule_state import SCHEDULE_STATE, ScheduleState
from fastflow_contracts.subjects import SCHEDULES, JobRef
from fastflow_contracts.wire import Bus, connect
from fastflow_scheduler.app import serve
from fastflow_scheduler.settings import Settings
from tests.support.records import a_bundle, publish_pipeline

LATE_S = 1.0
"""Far beyond what is promised (50 ms), for a machine that is busy with other tests."""
CODE = a_bundle(main_py="print(1)")


class Scheduler:
    """One replica with a connection of its own, which may be killed and started again."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        ready = asyncio.Event()
        self._task = asyncio.create_task(self._serve(ready.set))
        await ready.wait()

    async def kill(self) -> None:
        """As a process would die: wherever it is, nothing is finished."""
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait({self._task})
        self._task = None

    async def _serve(self, ready: Callable[[], None]) -> None:
        async with connect(self._url, name="scheduler") as bus:
            await serve(Settings(), bus, asyncio.Event(), ready)


@asynccontextmanager
async def schedulers(url: str, count: int = 1) -> AsyncIterator[list[Scheduler]]:
    """Running ones."""
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

    run: Run
    stored_at: datetime

    @property
    def slot(self) -> datetime:
        assert self.run.order.scheduled_for is not None
        return self.run.order.scheduled_for

    @property
    def late_s(self) -> float:
        return (self.stored_at - self.slot).total_seconds()


async def runs(bus: Bus, pipeline: str, count: int, *, within_s: float = 15) -> list[Created]:
    """At least *count* runs of slots, as soon as they are there, by slot."""
    subject = f"$KV.{subjects.RUNS}.{subjects.run_keys_of(PipelineName(pipeline))}"
    found: dict[str, Created] = {}
    stream = streams.bucket_stream(subjects.RUNS)
    async with asyncio.timeout(within_s), aclosing(feed(bus, stream, subject)) as changes:
        async for batch in changes:
            for message in batch.messages:
                run = messages.RUN.decode(message.data)
                found[run.id] = Created(run, message.stored_at)
            if len(found) >= count:
                break
    return sorted(found.values(), key=lambda created: created.slot)


async def stored(bus: Bus, job: JobRef, wanted: Callable[[ScheduleState], bool] = lambda _: True) -> ScheduleState:
    """The state of a schedule, as soon as *wanted* holds for it."""
    subject = f"$KV.{SCHEDULES}.{subjects.schedule_state_key(job)}"
    async with asyncio.timeout(10), aclosing(feed(bus, streams.bucket_stream(SCHEDULES), subject)) as changes:
        async for batch in changes:
            for message in batch.messages:
                state = SCHEDULE_STATE.decode(message.data)
                if wanted(state):
                    return state
    raise AssertionError("a feed has no end")


async def skipped(bus: Bus, pipeline: str) -> Skip:
    """The first refused start."""
    async with (
        asyncio.timeout(10),
        aclosing(feed(bus, streams.NOTICES, subjects.skipped(PipelineName(pipeline)), after=0)) as kept,
    ):
        async for batch in kept:
            for message in batch.messages:
                return messages.SKIP.decode(message.data)
    raise AssertionError("a feed has no end")


def job(pipeline: str, schedule: str = "schedule") -> JobRef:
    return JobRef(PipelineName(pipeline), schedule)


def soon(seconds: float = 1.0) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


async def publish(bus: Bus, name: str, **spec: Any) -> None:
    await publish_pipeline(bus, name, CODE, **spec)


async def test_every_slot_of_three_schedulers_is_one_run_at_its_instant_while_one_is_killed_and_restarted(
    bus_url: str, bus: Bus
) -> None:
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
