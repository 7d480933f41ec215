"""Chains on a real bus: what the next run knows, which routes are taken, and how long a chain gets.

Two schedulers share the work; the test plays the runner.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.feed import feed
from fastflow_contracts.clock import now
from fastflow_contracts.ids import RunId, run_id_for_child
from fastflow_contracts.names import PipelineName, check_name
from fastflow_contracts.pipelines.format.spec import DownstreamRule
from fastflow_contracts.runs import messages
from fastflow_contracts.runs.limits import CHAIN_COUNT
from fastflow_contracts.runs.messages import SkipRecord
from fastflow_contracts.runs.run import ParentRun, Pending, RunErrorType, RunRecord, RunStatus
from fastflow_contracts.runs.state_machine import AttemptOutcome, Claim, Finish
from fastflow_contracts.runs.store import RunStore
from fastflow_scheduler.app import serve
from fastflow_scheduler.settings import SchedulerSettings
from tests.support.records import a_bundle, publish_pipeline
from tests.support.system import System

CODE = a_bundle(main_py="print(1)")
WAIT_S = 120.0

Outcomes = Callable[[RunRecord], AttemptOutcome]


def success(run: RunRecord, *, route: str | None = None) -> AttemptOutcome:
    return AttemptOutcome(finished_at=now(), exit_code=0, route=route)


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


async def test_a_failed_run_tells_its_follower_how_it_ended(bus_url: str, bus: Bus) -> None:
    """Status, exit code and error as they were; the event names the same as the HTTP API."""
    await publish_pipeline(bus, "a", CODE, downstream_triggers=(to("b", on_failure=True),))
    await publish_pipeline(bus, "b", CODE)
    async with schedulers(bus_url, bus) as fast:
        run = await started(fast, "a")
        parent = await finish(bus, run, failure(run))
        run = await child(fast, parent, "b")
    given = await RunStore(bus).input(run)
    assert given.parent == ParentRun(
        run_id=parent.id,
        pipeline=PipelineName("a"),
        status=RunStatus.FAILED,
        exit_code=3,
        error_type=RunErrorType.SCRIPT_ERROR,
        error_message="boom (exit code 3)",
    )
    assert (run.order.root_run_id, given.event_type) == (parent.id, "application/cloudevents+json")
    event = json.loads(given.event or b"")
    assert (event["specversion"], event["type"], event["id"]) == ("1.0", "fastflow.run.finished", parent.id)
    told = event["data"]["run"]
    assert (told["id"], told["pipeline_name"], told["status"], told["exit_code"], told["error_type"]) == (
        parent.id,
        "a",
        "FAILED",
        3,
        "script_error",
    )
    assert told["root_run_id"] == parent.id


async def test_a_grandchild_knows_the_first_run_and_a_retry_stays_in_its_chain(bus_url: str, bus: Bus) -> None:
    """The root of all is the first run; a retry by hand knows what the repeated run knew."""
    await publish_pipeline(bus, "a", CODE, downstream_triggers=(to("b"),))
    await publish_pipeline(bus, "b", CODE, downstream_triggers=(to("c"),))
    await publish_pipeline(bus, "c", CODE)
    async with schedulers(bus_url, bus) as fast:
        run = await started(fast, "a")
        first = await finish(bus, run, success(run))
        second = await finish(bus, await child(fast, first, "b"), success(first))
        third = await finish(bus, await child(fast, second, "c"), success(second))
        repeated = await started(fast, "c", retry_of=third.id, triggered_by="manual")
    assert (first.order.root_run_id, first.root_run_id) == (None, first.id)
    assert (third.root_run_id, third.order.parent_run_id, third.order.hops) == (first.id, second.id, 2)
    assert (repeated.root_run_id, repeated.order.hops) == (first.id, 2)
    former, given = await RunStore(bus).input(third), await RunStore(bus).input(repeated)
    assert given.parent == former.parent
    assert given.event == former.event


@pytest.mark.parametrize(
    ("route", "starts"),
    [("good", {"yes", "any"}), ("bad", {"no", "any"}), ("Good", {"any"}), (None, {"any"})],
)
async def test_a_route_picks_its_edges_and_leaves_the_others(
    bus_url: str, bus: Bus, route: str | None, starts: set[str]
) -> None:
    """Exactly its own label; an edge without a route is always taken."""
    links = (to("yes", on_route="good"), to("no", on_route="bad"), to("any"))
    await publish_pipeline(bus, "a", CODE, downstream_triggers=links)
    for name in ("yes", "no", "any"):
        await publish_pipeline(bus, name, CODE)
    async with schedulers(bus_url, bus) as fast, a_runner(bus, lambda run: success(run, route=route)):
        first = await started(fast, "a")
        runs = await until_quiet(bus, first.id)
    assert {run.pipeline for run in runs} == {"a"} | starts


async def test_a_target_starts_once_whichever_routes_lead_to_it(bus_url: str, bus: Bus) -> None:
    """Two edges to one target apply at once; another configuration is another target; failures take routes too."""
    links = (to("b", on_route="x"), to("b"), to("b", on_route="y"), to("c", on_route="x", on_failure=True))
    await publish_pipeline(bus, "a", CODE, downstream_triggers=links)
    await publish_pipeline(bus, "b", CODE)
    await publish_pipeline(bus, "c", CODE)
    async with schedulers(bus_url, bus) as fast:
        parent = await started(fast, "a")
        outcome = AttemptOutcome(finished_at=now(), exit_code=1, error_type=RunErrorType.SCRIPT_ERROR, route="x")
        failed = await finish(bus, parent, outcome)
        await child(fast, failed, "c")
        well = await finish(bus, await started(fast, "a"), success(parent, route="x"))
        await child(fast, well, "b")
        await child(fast, well, "c")
        stored = [each.value.pipeline for each in await RunStore(bus).records.items()]
    assert Counter(stored) == {"a": 2, "b": 1, "c": 2}


async def test_the_route_of_the_last_attempt_counts(bus_url: str, bus: Bus) -> None:
    """What a failed attempt wrote is forgotten."""
    links = (to("early", on_route="early"), to("late", on_route="late"))
    await publish_pipeline(bus, "a", CODE, downstream_triggers=links, retry_attempts=1, retry_strategy=None)
    for name in ("early", "late"):
        await publish_pipeline(bus, name, CODE)
    async with schedulers(bus_url, bus) as fast:
        run = await started(fast, "a")
        outcome = AttemptOutcome(finished_at=run.created_at, error_type=RunErrorType.OOM, route="early")
        waiting = await finish(bus, run, outcome)
        assert isinstance(waiting.state, Pending)
        parent = await finish_late(bus, waiting)
        await child(fast, parent, "late")
        assert not await RunStore(bus).exists(run_id_for_child(parent.id, "downstream/early"))


async def finish_late(bus: Bus, run: RunRecord) -> RunRecord:
    """End its second attempt now, as if the minute before it were over."""
    store = RunStore(bus, clock=lambda: now() + timedelta(minutes=5))
    held = (await store.change(run.ref, Claim(attempt=2, runner="r"))).run
    return (await store.change(run.ref, Finish(epoch=held.epoch, outcome=success(run, route="late")))).run


async def test_a_branching_cycle_stops_at_the_number_of_runs_of_its_whole_chain(bus_url: str, bus: Bus) -> None:
    """Exact with two schedulers. Each refused start names the limit, the setting and the first run."""
    await diamond(bus)
    async with schedulers(bus_url, bus, chain_runs_max=60) as fast, a_runner(bus):
        first = await started(fast, "a")
        runs = await until_quiet(bus, first.id)
    assert len(runs) == 60
    entry = await bus.get(subjects.RUNS, subjects.chain_key(first.id))
    assert entry is not None
    assert CHAIN_COUNT.decode(entry.value).runs == 60
    skips = await all_skips(bus)
    edges = sum(2 if run.pipeline == "a" else 1 for run in runs)
    assert len(skips) == edges - 59, "each edge started a run or left an entry"
    for skip in skips:
        assert "it has had 60 runs" in skip.reason
        assert "FASTFLOW_CHAIN_RUNS_MAX" in skip.reason
        assert first.id in skip.reason
        assert skip.triggered_by == "downstream"


async def test_two_chains_of_the_same_pipelines_count_for_themselves(bus_url: str, bus: Bus) -> None:
    """One that is full takes nothing from the next."""
    await diamond(bus, max_instances=50)
    async with schedulers(bus_url, bus, chain_runs_max=10) as fast, a_runner(bus):
        first = await started(fast, "a")
        assert len(await until_quiet(bus, first.id)) == 10
        second = await started(fast, "a")
        assert len(await until_quiet(bus, second.id)) == 10


async def test_the_depth_of_a_chain_is_a_setting(bus_url: str, bus: Bus) -> None:
    """The entry names it."""
    await publish_pipeline(bus, "a", CODE, downstream_triggers=(to("a"),))
    async with schedulers(bus_url, bus, chain_depth_max=3) as fast, a_runner(bus):
        first = await started(fast, "a")
        runs = await until_quiet(bus, first.id)
    assert sorted(run.order.hops for run in runs) == [0, 1, 2, 3]
    (skip,) = await all_skips(bus)
    assert "3 starts one after the other" in skip.reason
    assert "FASTFLOW_CHAIN_DEPTH_MAX" in skip.reason


async def test_a_daemon_restarts_beyond_the_limits_of_chains_and_knows_its_crash(bus_url: str, bus: Bus) -> None:
    """Each restart is a chain of its own: its alerts are not refused after many crashes either."""
    links = (to("alert", on_success=False, on_failure=True),)
    await publish_pipeline(bus, "d", CODE, downstream_triggers=links, restart_on_crash=True, restart_cooldown=0.0)
    await publish_pipeline(bus, "alert", CODE)

    def outcomes(run: RunRecord) -> AttemptOutcome:
        crashes[run.pipeline] += 1
        return failure(run) if run.pipeline == "d" and crashes["d"] < 8 else success(run)

    crashes: Counter[str] = Counter()
    async with schedulers(bus_url, bus, chain_runs_max=2, chain_depth_max=1) as fast, a_runner(bus, outcomes):
        first = await started(fast, "d", event=b"the first event")
        await until_quiet(bus, first.id)
        runs = [each.value for each in await RunStore(bus).records.items()]
    assert Counter(run.pipeline for run in runs) == {"d": 8, "alert": 7}
    assert await all_skips(bus) == []
    for run in runs:
        if run.order.triggered_by == "daemon_restart":
            given = await RunStore(bus).input(run)
            assert given.parent is not None
            assert (given.parent.run_id, given.parent.status) == (run.order.parent_run_id, RunStatus.FAILED)
            assert (run.root_run_id, given.event) == (run.id, b"the first event")
