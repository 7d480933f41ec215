"""Triggers while schedulers come and go, pipelines are paused or full, and others work on the stream."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.pipelines.format.concurrency import ConcurrencySpec
from fastflow_contracts.pipelines.format.event_triggers import BatchSpec, TriggerSpec
from tests.support.gateway import running_gateway, running_scheduler
from tests.support.records import publish_pipeline
from tests.wire.scheduler.events.test_triggers import (
    CODE,
    WAIT_S,
    deploy,
    events_of,
    make_stream,
    publish,
    runs_of,
    schedulers,
    until_done,
)

__all__ = ["schedulers"]


async def test_another_scheduler_goes_on_when_the_one_that_reads_stops(bus_url: str, bus: Bus) -> None:
    """Whichever it is, with no message missing or twice."""
    await make_stream(bus)
    await deploy(bus)
    stacks: dict[int, AsyncExitStack] = {}

    async def start(number: int) -> None:
        stacks[number] = stack = AsyncExitStack()
        own = await stack.enter_async_context(connect(bus_url, name=f"s{number}"))
        await stack.enter_async_context(running_scheduler(own))

    await start(0)
    for number in range(1, 4):
        await start(number)
        last = await publish(bus, *range(number * 10, number * 10 + 10))
        await stacks.pop(number - 1).aclose()
        await until_done(bus, last)
    await stacks.pop(3).aclose()
    assert sorted(int(event or b"") for event in await events_of(bus)) == list(range(10, 40))


async def test_a_batch_that_waits_when_the_scheduler_stops_is_neither_lost_nor_early(bus_url: str, bus: Bus) -> None:
    await make_stream(bus)
    await deploy(bus, batch=BatchSpec(max=4, within_seconds=3_600))
    async with connect(bus_url, name="s1") as own, running_scheduler(own):
        await publish(bus, 1, 2)
        async with asyncio.timeout(WAIT_S):
            while (cursor := await until_done(bus, 0)).waiting != 2:
                await asyncio.sleep(0.1)
    assert (cursor.done, await events_of(bus)) == (0, [])
    async with connect(bus_url, name="s2") as own, running_scheduler(own):
        await until_done(bus, await publish(bus, 3, 4))
    assert await events_of(bus) == [b"1\n2\n3\n4\n"]


async def test_messages_that_arrive_during_a_pause_start_their_runs_after_it(schedulers: Bus) -> None:
    bus = schedulers
    await make_stream(bus)
    await deploy(bus)
    async with running_gateway(bus) as client:
        async with asyncio.timeout(WAIT_S):
            while (await client.ask("PUT", "/api/pipelines/demo/pause", json={"reason": "upkeep"})).status != 200:
                await asyncio.sleep(0.1)
        last = await publish(bus, *range(5))
        await until_done(bus, last)
        shown = (await client.get("/api/runs?pipeline_name=demo")).json["runs"]
        assert {run["status"] for run in shown} <= {"PENDING"}
        assert (await client.ask("DELETE", "/api/pipelines/demo/pause")).status == 200
        async with asyncio.timeout(WAIT_S):
            while len(await events_of(bus)) < 5:
                await asyncio.sleep(0.1)
    assert sorted(int(event or b"") for event in await events_of(bus)) == list(range(5))


async def test_a_full_pipeline_queues_its_messages_in_their_order_and_loses_none(schedulers: Bus) -> None:
    bus = schedulers
    await make_stream(bus)
    trigger = TriggerSpec(id="orders", subject="orders.>")
    limit = ConcurrencySpec(limit=1, on_limit="queue")
    await publish_pipeline(bus, "demo", CODE, triggers=(trigger,), concurrency=limit)
    for number in range(5):
        await until_done(bus, await publish(bus, number))
    runs = await runs_of(bus)
    assert [json.loads(given.event or b"") for _, given in runs] == list(range(5))
    assert not any(run.is_over for run, _ in runs)


async def test_a_purge_of_some_subjects_leaves_the_others_to_start_their_runs(bus_url: str, bus: Bus) -> None:
    """While nobody reads, and between two schedulers."""
    await make_stream(bus)
    await deploy(bus)
    for number in range(10):
        await publish(bus, number, subject=f"orders.{number % 2}")
    await bus.js.purge_stream("ORDERS", subject="orders.0")
    async with connect(bus_url, name="s") as own, running_scheduler(own):
        await until_done(bus, 10)
        await publish(bus, "late", subject="orders.0")
        await bus.js.purge_stream("ORDERS", subject="orders.1")
        await until_done(bus, 11)
    assert sorted(await events_of(bus)) == [b'"late"', b"1", b"3", b"5", b"7", b"9"]  # type: ignore[type-var]


async def test_a_mebibyte_of_binary_data_reaches_the_script_as_it_is(schedulers: Bus) -> None:
    bus = schedulers
    await make_stream(bus)
    await deploy(bus)
    body = bytes(range(256)) * 4096
    await until_done(bus, await publish(bus, body))
    assert await events_of(bus) == [body]
