"""Many schedules share an instant, and three schedulers share them: each slot is one run, even if one dies."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.clock import now
from fastflow_contracts.names import check_name
from fastflow_contracts.pipelines.format.spec import PipelineSpec
from fastflow_contracts.pipelines.records import PipelineRecord, Version
from fastflow_contracts.pipelines.store import PipelineStore
from fastflow_contracts.runs.store import RunStore
from fastflow_contracts.schedules.store import ScheduleStore
from tests.support.processes import BusServer, Service
from tests.support.records import a_bundle

PIPELINES = 400
LEAD_S = 40.0
"""Until the instant; all schedules are settled long before."""
WITHIN_S = 240.0


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[tuple[BusServer, str]]:
    """A bus with the users of an installation and all streams, and its URL."""
    server = BusServer(tmp_path / "bus")
    url = await server.start()
    try:
        async with connect(url, name="setup") as admin:
            await streams.ensure(admin.js)
        yield server, url
    finally:
        await server.end()


async def publish(bus: Bus, slot: datetime) -> None:
    """Publish pipelines whose first slot is *slot*."""
    bundle, store = a_bundle(main_py="print()"), PipelineStore(bus)

    async def one(number: int) -> None:
        spec = PipelineSpec(schedule_interval_seconds=86_400, schedule_start=slot)
        live = Version(bundle=bundle.sha256, spec=spec, live_since=now())
        record = PipelineRecord(name=check_name(f"p{number}"), live=live, seen_at=now())
        await store.records.put(record.name, record, expect=0)

    await asyncio.gather(*map(one, range(PIPELINES)))


async def states(bus: Bus, *, done_until: datetime | None = None) -> None:
    """Return when all schedules are settled, or done."""
    done = set()
    async with asyncio.timeout(WITHIN_S), aclosing(ScheduleStore(bus).states.follow()) as batches:
        async for batch in batches:
            for change in batch.changes:
                if change.value is not None and (done_until is None or change.value.done_until >= done_until):
                    done.add(change.name)
            if len(done) == PIPELINES:
                return


async def created(bus: Bus) -> None:
    """Return when the first run exists."""
    async with asyncio.timeout(WITHIN_S), aclosing(RunStore(bus).records.follow()) as batches:
        async for batch in batches:
            if batch.changes:
                return


def started_by(service: Service) -> int:
    return Counter(json.loads(line).get("event") for line in service.log if line.startswith("{"))["run created"]


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["before", "amid"])
async def test_each_slot_of_an_instant_is_one_run_though_a_scheduler_is_killed(
    server: tuple[BusServer, str], moment: Literal["before", "amid"]
) -> None:
    """The others take over its share within seconds, because it beats no more."""
    bus_server, url = server
    environ = {"FASTFLOW_NATS_URL": url, "FASTFLOW_NATS_CREDENTIALS": bus_server.credentials("scheduler")}
    services = [Service("scheduler", environ | {"LOG_LEVEL": "INFO"}) for _ in range(3)]
    victim, *others = services
    slot = (now() + timedelta(seconds=LEAD_S)).replace(microsecond=0)
    async with connect(url, name="test") as bus:
        try:
            for service in services:
                await service.start()
            await publish(bus, slot)
            await states(bus)
            assert now() < slot - timedelta(seconds=2), "this machine is too busy to set up the instant"
            if moment == "before":
                await asyncio.sleep((slot - now()).total_seconds() - 0.5)
                await victim.kill()
            else:
                await created(bus)
                await victim.kill()
            await states(bus, done_until=slot)
            runs = await RunStore(bus).records.items()
            history = (await bus.stream(streams.bucket_stream(subjects.RUNS))).state.messages
        finally:
            for service in services:
                if service.is_running:
                    await service.terminate()
    assert Counter(record.value.pipeline for record in runs) == {f"p{number}": 1 for number in range(PIPELINES)}
    assert {record.value.order.scheduled_for for record in runs} == {slot}
    assert history == PIPELINES  # each record was written once
    assert sum(map(started_by, others))
    if moment == "before":
        assert started_by(victim) == 0
