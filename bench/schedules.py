"""How late slots are: 10,000 pipelines with a cron line each, from a slot's instant until its run is on the bus.

Cron has a resolution of minutes, so the slots of one minute share an instant. With hourly and daily pipelines an
ordinary minute has some dozens of them, a full hour hundreds. This measures one ordinary minute, and the worst case:
all 10,000 in the same instant; with one scheduler, and with three that share the slots. Lateness is measured from
outside, when the bus repeats that the run was created; meanwhile the runs continue to their ends, in empty sandboxes.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

from nats.aio.msg import Msg
from tests.support.processes import BusServer, Service
from tests.support.records import a_bundle

from bench.report import report
from bench.table import Figure, Table, Target, figure, ms
from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.objects import ObjectStore
from fastflow_contracts.clock import now
from fastflow_contracts.names import check_name
from fastflow_contracts.pipelines.format.spec import PipelineSpec
from fastflow_contracts.pipelines.records import PIPELINE, PipelineRecord, Version
from fastflow_contracts.runs.run import RUN, RunRecord

PIPELINES = 10_000
SCHEDULERS = (1, 3)
DAILY = 0.6
"""Share of pipelines that run once a day; the others run once an hour."""
UNDER_WAY = 256
PUBLISHED_PER_S = 400
"""Pipelines published per second, at the slowest."""
SETTLE_S = 10.0
"""Time between the last pipeline's arrival and the first slot."""
DRAIN_S = 150.0
"""Time limit to create the last runs of a minute."""


class Watch:
    """When runs were created, by slot."""

    def __init__(self) -> None:
        self.late_s: dict[datetime, list[float]] = {}

    async def hear(self, message: Msg) -> None:
        """Handle a repeated change of a run's record."""
        at = time.time()
        run: RunRecord = RUN.decode(message.data)
        if run.epoch == 0 and (slot := run.order.scheduled_for) is not None:
            self.late_s.setdefault(slot, []).append(at - slot.timestamp())

    async def of(self, slot: datetime, count: int) -> list[float]:
        """Return the lateness of each of *count* slots of one instant, in the order of their runs."""
        await asyncio.sleep(max(0.0, (slot - now()).total_seconds()))
        async with asyncio.timeout(DRAIN_S):
            while len(self.late_s.get(slot, ())) < count:
                await asyncio.sleep(0.1)
        late_s = self.late_s[slot]
        assert len(late_s) == count, f"{len(late_s)} runs of {count} slots"
        return late_s


async def measure(pipelines: int = PIPELINES) -> Table:
    """Wait for both minutes, with each number of schedulers."""
    title = f"Schedules: {pipelines:,} pipelines with a cron line each, slot → its run on the bus"
    return Table(title, tuple([each for count in SCHEDULERS for each in await _with(count, pipelines)]))


async def _with(schedulers: int, pipelines: int) -> tuple[Figure, ...]:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = BusServer(folder / "bus")
        url = await server.start()
        stack.push_async_callback(server.end)
        bus = await stack.enter_async_context(connect(url, name="bench"))
        await streams.ensure(bus.js)
        own = {"FASTFLOW_SANDBOX": "dummy", "RUNNER_SLOTS": "64", "FASTFLOW_DATA_DIR": str(folder / "data")}
        for name, settings in (*[("scheduler", dict[str, str]())] * schedulers, ("runner", own)):
            common = {"FASTFLOW_NATS_URL": url, "FASTFLOW_NATS_CREDENTIALS": server.credentials(name)}
            service = Service(name, common | settings | {"LOG_LEVEL": "INFO"})
            await service.start()
            stack.push_async_callback(service.terminate)
        watch = Watch()
        await bus.client.subscribe("ff.event.run.>", cb=watch.hear)
        times = _times(pipelines)
        await _publish(bus, [f"{minute} {'*' if hour is None else hour} * * *" for hour, minute in times])
        ordinary = _minute_after(now() + timedelta(seconds=SETTLE_S))
        due = sum(minute == ordinary.minute and hour in (None, ordinary.hour) for hour, minute in times)
        one = await watch.of(ordinary, due)
        worst = _minute_after(now() + timedelta(seconds=SETTLE_S + pipelines / PUBLISHED_PER_S))
        await _publish(bus, [f"{worst.minute} {worst.hour} * * *"] * pipelines)
        assert now() < worst, "the pipelines came too late for their slots"
        all_of_them = await watch.of(worst, pipelines)
    who = "1 scheduler" if schedulers == 1 else f"{schedulers} schedulers"
    bound = (Target("p99", 8),) if schedulers > 1 else ()
    return (
        figure(f"{who}, an ordinary minute: {due} of them share it", ms(one), "ms", targets=(Target("p99", 250),)),
        figure(f"{who}, all {pipelines:,} in the same instant", all_of_them, "s", targets=bound),
    )


def _minute_after(moment: datetime) -> datetime:
    return datetime.fromtimestamp((moment.timestamp() // 60 + 1) * 60, UTC)


def _times(count: int) -> list[tuple[int | None, int]]:
    """Return the hour (None: every one) and the minute of each pipeline."""
    chosen = random.Random(1)
    return [(chosen.randrange(24) if chosen.random() < DAILY else None, chosen.randrange(60)) for _ in range(count)]


async def _publish(bus: Bus, crons: list[str]) -> None:
    """Publish live pipelines."""
    bundle = a_bundle(main_py="print()")
    await ObjectStore(bus).put(bundle.sha256, bundle.data)
    room, at = asyncio.Semaphore(UNDER_WAY), now()

    async def one(number: int, cron: str) -> None:
        async with room:
            live = Version(bundle=bundle.sha256, spec=PipelineSpec(schedule_cron=cron), live_since=at)
            record = PipelineRecord(name=check_name(f"p{number:05}"), live=live, seen_at=at)
            await bus.put(subjects.PIPELINES, subjects.pipeline_key(record.name), PIPELINE.encode(record))

    async with asyncio.TaskGroup() as group:
        for number, cron in enumerate(crons):
            group.create_task(one(number, cron), name=f"publish-{number}")


if __name__ == "__main__":
    report(measure)
