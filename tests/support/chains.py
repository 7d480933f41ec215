"""Chains for tests: two schedulers on a real bus, and a runner that ends every run at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.feed import feed
from fastflow_contracts.clock import now
from fastflow_contracts.ids import RunId, run_id_for_child
from fastflow_contracts.names import PipelineName, check_name
from fastflow_contracts.pipelines.format.spec import DownstreamRule
from fastflow_contracts.runs import messages
from fastflow_contracts.runs.messages import SkipRecord
from fastflow_contracts.runs.run import Pending, RunErrorType, RunRecord
from fastflow_contracts.runs.state_machine import AttemptOutcome, Claim, Finish
from fastflow_contracts.runs.store import RunStore
from fastflow_scheduler.app import serve
from fastflow_scheduler.settings import SchedulerSettings
from tests.support.records import a_bundle, publish_pipeline
from tests.support.system import System

CODE = a_bundle(main_py="print(1)")
WAIT_S = 120.0

Outcomes = Callable[[RunRecord], AttemptOutcome]


def success(run: RunRecord, *, route: str | None = None, result: bytes | None = None) -> AttemptOutcome:
    return AttemptOutcome(finished_at=now(), exit_code=0, route=route, result=result)


def failure(run: RunRecord, *, message: str = "boom (exit code 3)") -> AttemptOutcome:
    return AttemptOutcome(finished_at=now(), exit_code=3, error_type=RunErrorType.SCRIPT_ERROR, error_message=message)


def to(pipeline: str, **rule: Any) -> DownstreamRule:
    return DownstreamRule(pipeline=PipelineName(pipeline), **rule)


@asynccontextmanager
async def schedulers(bus_url: str, bus: Bus, **settings: int) -> AsyncIterator[System]:
    stop = asyncio.Event()
    async with (
        connect(bus_url, name="s1") as first,
        connect(bus_url, name="s2") as second,
        asyncio.TaskGroup() as group,
    ):
        for one in (first, second):
            group.create_task(serve(SchedulerSettings(**settings), one, stop, lambda: None))
        yield System(bus)
        stop.set()


async def finish(bus: Bus, run: RunRecord, outcome: AttemptOutcome) -> RunRecord:
    store = RunStore(bus)
    assert isinstance(run.state, Pending)
    held = (await store.change(run.ref, Claim(attempt=run.state.attempt, runner="r"))).run
    return (await store.change(run.ref, Finish(epoch=held.epoch, outcome=outcome))).run


@asynccontextmanager
async def a_runner(bus: Bus, outcomes: Outcomes = success) -> AsyncIterator[None]:
    """Ends every run as soon as it may begin."""

    async def play() -> None:
        async with aclosing(RunStore(bus).records.follow()) as batches, asyncio.TaskGroup() as group:
            async for batch in batches:
                for change in batch.changes:
                    run = change.value
                    if run is not None and isinstance(run.state, Pending):
                        group.create_task(due(run))

    async def due(run: RunRecord) -> None:
        assert isinstance(run.state, Pending)
        await asyncio.sleep(max(0.0, (run.state.not_before - now()).total_seconds()))
        await finish(bus, run, outcomes(run))

    playing = asyncio.create_task(play())
    yield
    playing.cancel()
    await asyncio.gather(playing, return_exceptions=True)


async def started(fast: System, name: str, **trigger: object) -> RunRecord:
    return await fast.until(await fast.start(name, **trigger), lambda run: True)


async def child(fast: System, parent: RunRecord, pipeline: str, target: str | None = None) -> RunRecord:
    """The run that follows from *parent*, once it is there."""
    run_id = run_id_for_child(parent.id, f"downstream/{target or pipeline}")
    return await fast.until(subjects.RunRef(check_name(pipeline), run_id), lambda run: True)


async def until_quiet(bus: Bus, root: RunId) -> list[RunRecord]:
    """All runs of the chain, once each is over and every end has been handled."""
    stream = streams.bucket_stream(subjects.RUNS)
    async with asyncio.timeout(WAIT_S):
        while True:
            found = [each.value for each in await RunStore(bus).records.items()]
            waiting = await bus.js.consumer_info(stream, streams.SCHEDULER)
            if found and all(run.is_over for run in found) and waiting.num_pending == waiting.num_ack_pending == 0:
                again = [each.value for each in await RunStore(bus).records.items()]
                if len(again) == len(found):
                    return [run for run in found if run.root_run_id == root]
            await asyncio.sleep(0.1)


async def all_skips(bus: Bus) -> list[SkipRecord]:
    found: list[SkipRecord] = []
    async with aclosing(feed(bus, streams.NOTICES, "ff.skipped.>", after=0)) as kept:
        async for batch in kept:
            found += [messages.SKIP.decode(message.data) for message in batch.messages]
            if batch.caught_up:
                return found
    raise AssertionError("a feed has no end")


async def diamond(bus: Bus, **spec: Any) -> None:
    """Each end of ``a`` starts two runs, each of which starts ``a`` again."""
    await publish_pipeline(bus, "a", CODE, downstream_triggers=(to("b"), to("c")), **spec)
    await publish_pipeline(bus, "b", CODE, downstream_triggers=(to("a"),))
    await publish_pipeline(bus, "c", CODE, downstream_triggers=(to("a"),))
