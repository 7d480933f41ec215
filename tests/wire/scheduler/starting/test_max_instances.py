"""``max_instances`` under many triggers at once: three gateways and two schedulers on one bus, over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing

import pytest_asyncio

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.feed import feed
from fastflow_contracts.ids import RunId, check_run_id
from fastflow_contracts.names import PipelineName
from fastflow_contracts.runs.run import RUN
from fastflow_contracts.runs.store import RunStore
from tests.support.gateway import Client, claim, finish, running_gateway, running_scheduler
from tests.support.records import a_bundle, publish_pipeline

MOST = 7
AT_ONCE = 50


@pytest_asyncio.fixture
async def gateways(bus_url: str, bus: Bus) -> AsyncIterator[list[Client]]:
    """Three gateways beside two schedulers, each with its own connection; ``few`` may have seven runs at once."""
    await publish_pipeline(bus, "few", a_bundle(main_py="1"), max_instances=MOST)
    async with AsyncExitStack() as stack:
        for number in range(2):
            await stack.enter_async_context(
                running_scheduler(await stack.enter_async_context(connect(bus_url, name=f"scheduler-{number}")))
            )
        yield [
            await stack.enter_async_context(
                running_gateway(await stack.enter_async_context(connect(bus_url, name=f"gateway-{number}")))
            )
            for number in range(3)
        ]


async def trigger_all(bus: Bus, gateways: list[Client]) -> tuple[set[RunId], int]:
    """Fifty triggers at once: the runs they started, and how many were refused.

    On a busy machine the answer may be 202, ``it is stored``: then there is a record, which says what became of it.
    """
    answers = await asyncio.gather(
        *(gateways[number % len(gateways)].post("/api/pipelines/few/run") for number in range(AT_ONCE))
    )
    assert {answer.status for answer in answers} <= {200, 202, 429}
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in answers if answer.status == 429)
    await all_decided(bus)
    started = set()
    for answer in answers:
        if answer.status != 429:
            run = (await RunStore(bus).find(check_run_id(answer.json["id"]))).run
            if not run.is_refused:
                started.add(run.id)
    return started, AT_ONCE - len(started)


async def all_decided(bus: Bus) -> None:
    """Return once nothing that starts a run waits for its decision."""
    while (await bus.js.stream_info(streams.TRIGGERS)).state.messages:
        await asyncio.sleep(0.02)


async def most_at_once(bus: Bus) -> tuple[int, int]:
    """Return the most runs that were pending or running after any write, and the number of runs that began."""
    active: set[RunId] = set()
    seen: set[RunId] = set()
    most = 0
    subject = f"$KV.{subjects.RUNS}.{subjects.run_keys_of(PipelineName('few'))}"
    async with aclosing(feed(bus, streams.bucket_stream(subjects.RUNS), subject, after=0)) as changes:
        async for batch in changes:
            for message in batch.messages:
                run = RUN.decode(message.data)
                if not run.is_refused:
                    seen.add(run.id)
                active = active - {run.id} if run.is_over else active | {run.id}
                most = max(most, len(active))
            if batch.caught_up:
                return most, len(seen)
    raise AssertionError("a feed has no end")


async def test_of_fifty_triggers_exactly_the_limit_starts(bus: Bus, gateways: list[Client]) -> None:
    """The others are told when to retry; runs that end make room for exactly as many."""
    started, refused = await trigger_all(bus, gateways)
    assert (len(started), refused) == (MOST, AT_ONCE - MOST)
    for run_id in sorted(started)[:3]:
        await finish(bus, await claim(bus, (await RunStore(bus).find(check_run_id(run_id))).run))
    again, refused = await trigger_all(bus, gateways)
    assert (len(again), refused) == (3, AT_ONCE - 3)
    assert await most_at_once(bus) == (MOST, MOST + 3)


async def test_the_limit_holds_while_runs_end(bus: Bus, gateways: list[Client]) -> None:
    """In the middle of the rush the bus never has more runs than the limit; each start is a run."""
    first, _ = await trigger_all(bus, gateways)

    async def end(run_id: str) -> None:
        await finish(bus, await claim(bus, (await RunStore(bus).find(check_run_id(run_id))).run))

    (again, _), *_ = await asyncio.gather(trigger_all(bus, gateways), *map(end, first))
    most, count = await most_at_once(bus)
    assert most == MOST
    assert count == len(first | again)
