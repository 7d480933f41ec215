"""Many schedules share an instant, and three schedulers share them: each slot is one run, whatever happens."""

from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.clock import now
from fastflow_contracts.names import PipelineName
from fastflow_contracts.runs.store import RunStore
from fastflow_scheduler.starting.starter import CREATING_MAX, CREATING_OF_PIPELINE_MAX
from tests.support.chains import all_skips
from tests.support.instants import many_times_a_day, once_a_day, publish, settled, some_created
from tests.support.processes import BusServer, Service

SCHEDULERS = 3
LEAD_S = 40.0
"""Until the instant; all schedules are settled long before."""
CEILING = 100


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


@asynccontextmanager
async def schedulers(server: tuple[BusServer, str], **settings: str) -> AsyncIterator[list[Service]]:
    bus_server, url = server
    environ = {"FASTFLOW_NATS_URL": url, "FASTFLOW_NATS_CREDENTIALS": bus_server.credentials("scheduler")}
    services = [Service("scheduler", environ | {"LOG_LEVEL": "INFO"} | settings) for _ in range(SCHEDULERS)]
    try:
        for service in services:
            await service.start()
        yield services
    finally:
        for service in services:
            if service.is_running:
                await service.terminate()


def an_instant(*, lead_s: float = LEAD_S) -> datetime:
    return (now() + timedelta(seconds=lead_s)).replace(microsecond=0)


def still_before(slot: datetime) -> None:
    assert now() < slot - timedelta(seconds=2), "this machine is too busy to set up the instant"


def started_by(service: Service) -> int:
    return Counter(json.loads(line).get("event") for line in service.log if line.startswith("{"))["run created"]


async def each_slot_is_one_run(bus: Bus, names: list[PipelineName], slot: datetime) -> None:
    runs = await RunStore(bus).records.items()
    history = (await bus.stream(streams.bucket_stream(subjects.RUNS))).state.messages
    assert Counter(record.value.pipeline for record in runs) == dict.fromkeys(names, 1)
    assert {record.value.order.scheduled_for for record in runs} == {slot}
    assert history == len(names)  # each record was written once


@pytest.mark.slow
@pytest.mark.parametrize(
    ("moment", "pipelines", "lead_s"), [("before", 400, 40), ("amid", 400, 40), ("amid", SCHEDULERS * CREATING_MAX, 90)]
)
async def test_each_slot_of_an_instant_is_one_run_though_a_scheduler_is_killed(
    server: tuple[BusServer, str], moment: Literal["before", "amid"], pipelines: int, lead_s: int
) -> None:
    """The others take over its share within seconds, because it beats no more; also when its batches are full."""
    async with connect(server[1], name="test") as bus, schedulers(server) as (victim, *others):
        slot = an_instant(lead_s=lead_s)
        names = await publish(bus, [once_a_day(slot)] * pipelines)
        await settled(bus, pipelines)
        still_before(slot)
        if moment == "before":
            await asyncio.sleep((slot - now()).total_seconds() - 0.5)
        else:
            await some_created(bus)
        await victim.kill()
        await settled(bus, pipelines, done_until=slot)
        await each_slot_is_one_run(bus, names, slot)
        assert sum(map(started_by, others))
        if moment == "before":
            assert started_by(victim) == 0


@pytest.mark.slow
@pytest.mark.parametrize("stopped_s", [3, 12])
async def test_each_slot_of_an_instant_is_one_run_though_the_bus_stops_amid_their_batches(
    server: tuple[BusServer, str], stopped_s: int
) -> None:
    """Requests wait for a short pause. In a long one they time out, and are safely repeated."""
    pipelines = 2_000
    async with connect(server[1], name="test") as bus, schedulers(server):
        slot = an_instant(lead_s=60)
        names = await publish(bus, [once_a_day(slot)] * pipelines)
        await settled(bus, pipelines)
        still_before(slot)
        await some_created(bus)
        server[0].signal(signal.SIGSTOP)
        await asyncio.sleep(stopped_s)
        server[0].signal(signal.SIGCONT)
        await settled(bus, pipelines, done_until=slot)
        await each_slot_is_one_run(bus, names, slot)


@pytest.mark.slow
async def test_slots_that_passed_while_no_scheduler_was_there_are_made_up_once_each(
    server: tuple[BusServer, str],
) -> None:
    """All schedulers come back at the same time, and each finds all slots missed."""
    pipelines = 1_000
    async with connect(server[1], name="test") as bus, schedulers(server) as services:
        slot = an_instant()
        names = await publish(bus, [once_a_day(slot)] * pipelines)
        await settled(bus, pipelines)
        still_before(slot)
        await asyncio.gather(*(service.terminate() for service in services))
        await asyncio.sleep(max(0.0, (slot - now()).total_seconds()) + 1)
        assert not await RunStore(bus).records.items()
        await asyncio.gather(*(service.start() for service in services))
        await settled(bus, pipelines, done_until=slot)
        await each_slot_is_one_run(bus, names, slot)


@pytest.mark.slow
async def test_slots_of_one_pipeline_at_one_instant_exceed_its_ceiling_by_a_bounded_number(
    server: tuple[BusServer, str],
) -> None:
    """Each scheduler may create so many beyond those that it knows. The others are refused, and kept as skips."""
    slots = 800  # each settles by reading the record that has all of them
    async with (
        connect(server[1], name="test") as bus,
        schedulers(server, FASTFLOW_WAITING_RUNS_MAX=str(CEILING)),
    ):
        slot = an_instant(lead_s=80)
        await publish(bus, [many_times_a_day(slot, slots)])
        await settled(bus, slots)
        still_before(slot)
        await settled(bus, slots, done_until=slot)
        runs = len(await RunStore(bus).records.items())
        refused = len(await all_skips(bus))
    assert runs + refused == slots
    assert CEILING <= runs <= SCHEDULERS * (CEILING + CREATING_OF_PIPELINE_MAX)


@pytest.mark.slow
async def test_slots_of_one_instant_keep_an_exact_limit_while_others_share_their_requests(
    server: tuple[BusServer, str],
) -> None:
    """What goes together is no way around ``max_instances``."""
    limited, free = 300, 600
    async with connect(server[1], name="test") as bus, schedulers(server):
        slot = an_instant()
        await publish(bus, [many_times_a_day(slot, limited, max_instances=2), *[once_a_day(slot)] * free])
        await settled(bus, limited + free)
        still_before(slot)
        await settled(bus, limited + free, done_until=slot)
        runs = Counter(record.value.pipeline for record in await RunStore(bus).records.items())
        refused = Counter(skip.pipeline for skip in await all_skips(bus))
    assert runs.pop(PipelineName("p0")) == 2
    assert refused == {"p0": limited - 2}
    assert runs == {f"p{number}": 1 for number in range(1, free + 1)}
