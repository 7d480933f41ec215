"""What the end of a run starts, on a real bus with two schedulers; the test plays the runner."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest_asyncio

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.feed import feed
from fastflow_contracts.clock import now
from fastflow_contracts.ids import run_id_for_child
from fastflow_contracts.names import PipelineName, check_name
from fastflow_contracts.pipelines.format.spec import DownstreamRule
from fastflow_contracts.pipelines.links import HOPS_MAX, LINK_SET, Link, LinkSet
from fastflow_contracts.runs import messages
from fastflow_contracts.runs.run import RUN, RunErrorType, RunRecord, RunStatus
from fastflow_contracts.runs.state_machine import AttemptOutcome, Cancel, Claim, Finish
from fastflow_contracts.runs.store import RunStore
from fastflow_contracts.starting.admission import Defaults
from fastflow_scheduler.app import serve
from fastflow_scheduler.followups.restarter import Restarter
from fastflow_scheduler.settings import SchedulerSettings
from fastflow_scheduler.starting.starter import Starter
from tests.support.records import a_bundle, a_run, publish_pipeline
from tests.support.system import System

CODE = a_bundle(main_py="print(1)")


@pytest_asyncio.fixture
async def fast(bus_url: str, bus: Bus) -> AsyncIterator[System]:
    """Two schedulers and no runner."""
    stop = asyncio.Event()
    async with (
        connect(bus_url, name="s1") as first,
        connect(bus_url, name="s2") as second,
        asyncio.TaskGroup() as group,
    ):
        for one in (first, second):
            group.create_task(serve(SchedulerSettings(), one, stop, lambda: None))
        yield System(bus)
        stop.set()


async def finish(fast: System, run: RunRecord, *, well: bool = True) -> RunRecord:
    """Play the runner: claim the run and end it."""
    store = RunStore(fast.bus)
    held = (await store.change(run.ref, Claim(attempt=1, runner="r"))).run
    outcome = AttemptOutcome(
        finished_at=now(), exit_code=0 if well else 1, error_type=None if well else RunErrorType.SCRIPT_ERROR
    )
    return (await store.change(run.ref, Finish(epoch=held.epoch, outcome=outcome))).run


async def started(fast: System, name: str, **trigger: object) -> RunRecord:
    """Return a pending run of *name*."""
    return await fast.until(await fast.start(name, **trigger), lambda run: True)


async def child(fast: System, parent: RunRecord, pipeline: str, edge: str) -> RunRecord:
    """Return the run that *parent* starts over *edge*, once it exists."""
    ref = subjects.RunRef(check_name(pipeline), run_id_for_child(parent.id, edge))
    return await fast.until(ref, lambda run: True)


async def runs_of(fast: System, name: str) -> list[RunRecord]:
    found: dict[str, RunRecord] = {}
    async with aclosing(feed(fast.bus, streams.bucket_stream("ff_runs"), f"$KV.ff_runs.run.{name}.*")) as records:
        async for batch in records:
            for message in batch.messages:
                run = RUN.decode(message.data)
                found[run.id] = run
            if batch.caught_up:
                return list(found.values())
    raise AssertionError("a feed has no end")


async def skips(fast: System, count: int) -> list[messages.SkipRecord]:
    """Return the first *count* skips."""
    found: list[messages.SkipRecord] = []
    async with asyncio.timeout(30), aclosing(feed(fast.bus, streams.NOTICES, "ff.skipped.>", after=0)) as kept:
        async for batch in kept:
            found += [messages.SKIP.decode(message.data) for message in batch.messages]
            if len(found) >= count:
                return found
    raise AssertionError("a feed has no end")


async def test_success_starts_only_targets_that_wait_for_success(fast: System) -> None:
    """The child has its parent, its configuration, and its depth."""
    await publish_pipeline(
        fast.bus,
        "a",
        CODE,
        downstream_triggers=(
            DownstreamRule(pipeline=PipelineName("b")),
            DownstreamRule(pipeline=PipelineName("c"), on_success=False, on_failure=True),
        ),
    )
    await publish_pipeline(fast.bus, "b", CODE)
    await publish_pipeline(fast.bus, "c", CODE)
    parent = await finish(fast, await started(fast, "a"))
    run = await child(fast, parent, "b", "downstream/b")
    assert (run.order.triggered_by, run.order.parent_run_id, run.order.hops) == ("downstream", parent.id, 1)
    failed = await finish(fast, await started(fast, "a"), well=False)
    await child(fast, failed, "c", "downstream/c")
    assert len(await runs_of(fast, "b")) == len(await runs_of(fast, "c")) == 1


async def test_links_from_the_api_and_the_metadata_are_merged_by_their_target(fast: System) -> None:
    """Named twice, started once; each source may add a condition."""
    await publish_pipeline(fast.bus, "a", CODE, downstream_triggers=(DownstreamRule(pipeline=PipelineName("b")),))
    await publish_pipeline(fast.bus, "b", CODE)
    made = LinkSet(links=(Link(pipeline=PipelineName("b"), on_success=True, on_failure=True),))
    await fast.bus.put(subjects.LINKS, subjects.links_key(PipelineName("a")), LINK_SET.encode(made))
    await child(fast, await finish(fast, await started(fast, "a")), "b", "downstream/b")
    await child(fast, await finish(fast, await started(fast, "a"), well=False), "b", "downstream/b")
    assert len(await runs_of(fast, "b")) == 2


async def test_a_missing_or_disabled_target_is_a_skip(fast: System) -> None:
    """It names the parent and the reason."""
    targets = (DownstreamRule(pipeline=PipelineName("gone")), DownstreamRule(pipeline=PipelineName("off")))
    await publish_pipeline(fast.bus, "a", CODE, downstream_triggers=targets)
    await publish_pipeline(fast.bus, "off", CODE, enabled=False)
    parent = await finish(fast, await started(fast, "a"))
    entries = {entry.pipeline: entry for entry in await skips(fast, 2)}
    assert {entry.parent_run_id for entry in entries.values()} == {parent.id}
    assert "no pipeline gone" in entries["gone"].reason
    assert "disabled" in entries["off"].reason


async def test_a_cycle_of_pipelines_ends_with_a_skip(fast: System) -> None:
    """After fifty hops."""
    await publish_pipeline(fast.bus, "a", CODE, downstream_triggers=(DownstreamRule(pipeline=PipelineName("a")),))
    last = a_run("a", hops=HOPS_MAX, bundle=CODE.sha256)
    await RunStore(fast.bus).create(last, None)
    await finish(fast, last)
    (entry,) = await skips(fast, 1)
    assert f"{HOPS_MAX} starts one after the other" in entry.reason


async def test_a_crashed_daemon_restarts_after_its_cooldown_with_its_own_variables(fast: System) -> None:
    """As its own run, which waits visibly."""
    await publish_pipeline(fast.bus, "d", CODE, restart_on_crash=True, restart_cooldown=30.0)
    parent = await finish(fast, await started(fast, "d", parameters={"k": "v"}), well=False)
    run = await child(fast, parent, "d", "restart")
    assert run.order.triggered_by == "daemon_restart"
    assert 28 < (run.state.not_before - run.created_at).total_seconds() <= 30  # type: ignore[union-attr]
    assert (await RunStore(fast.bus).input(run)).overrides == {"k": "v"}


async def test_a_cancelled_daemon_stays_stopped(fast: System) -> None:
    """Until its next regular restart, or a start by hand."""
    await publish_pipeline(fast.bus, "d", CODE, restart_on_crash=True, restart_cooldown=0.0)
    run = await started(fast, "d")
    await RunStore(fast.bus).change(run.ref, Cancel())
    marker = await started(fast, "d")
    await child(fast, await finish(fast, marker, well=False), "d", "restart")
    assert {r.order.parent_run_id for r in await runs_of(fast, "d")} == {None, marker.id}


async def test_a_regular_restart_stops_the_daemon_and_starts_it_once(fast: System) -> None:
    """Several schedulers call it, late and again: one stop, one new run, never two at once."""
    await publish_pipeline(fast.bus, "d", CODE, restart_cooldown=0.0)
    run = await started(fast, "d")
    held = (await RunStore(fast.bus).change(run.ref, Claim(attempt=1, runner="r"))).run
    slot = now()
    store = RunStore(fast.bus)
    restarter = Restarter(fast.bus, store, Starter(fast.bus, store, Defaults()))
    await asyncio.gather(*(restarter.restart(PipelineName("d"), slot) for _ in range(3)))
    assert len(await runs_of(fast, "d")) == 1
    stopped = Finish(epoch=held.epoch, outcome=AttemptOutcome(finished_at=now(), exit_code=143, stopped=True))
    ended = (await store.change(run.ref, stopped)).run
    assert ended.status is RunStatus.INTERRUPTED
    await child(fast, ended, "d", "restart")
    await restarter.restart(PipelineName("d"), slot)
    assert [r.status for r in await runs_of(fast, "d")].count(RunStatus.PENDING) == 1


async def test_a_daemon_that_ends_during_its_regular_restart_starts_again(fast: System) -> None:
    """It was asked to stop for the restart, and had just ended by itself."""
    await publish_pipeline(fast.bus, "d", CODE, restart_cooldown=0.0)
    run = await started(fast, "d")
    store = RunStore(fast.bus)
    held = (await store.change(run.ref, Claim(attempt=1, runner="r"))).run
    await Restarter(fast.bus, store, Starter(fast.bus, store, Defaults())).restart(PipelineName("d"), now())
    well = Finish(epoch=held.epoch, outcome=AttemptOutcome(finished_at=now(), exit_code=0))
    ended = (await store.change(run.ref, well)).run
    assert ended.status is RunStatus.SUCCESS
    await child(fast, ended, "d", "restart")


async def test_a_regular_restart_starts_a_stopped_daemon(fast: System) -> None:
    """Once for the slot, whichever scheduler does it."""
    await publish_pipeline(fast.bus, "d", CODE, restart_interval="3600")
    store = RunStore(fast.bus)
    restarter = Restarter(fast.bus, store, Starter(fast.bus, store, Defaults()))
    slot = now()
    await restarter.restart(PipelineName("d"), slot)
    await restarter.restart(PipelineName("d"), slot)
    (run,) = await runs_of(fast, "d")
    assert (run.order.triggered_by, run.order.scheduled_for) == ("daemon_restart", slot)


async def test_a_slot_during_the_cooldown_of_a_restart_changes_nothing(fast: System) -> None:
    """Otherwise a cooldown as long as the interval would never end."""
    await publish_pipeline(fast.bus, "d", CODE, restart_interval=30, restart_cooldown=60.0)
    run = await started(fast, "d")
    store = RunStore(fast.bus)
    held = (await store.change(run.ref, Claim(attempt=1, runner="r"))).run
    restarter = Restarter(fast.bus, store, Starter(fast.bus, store, Defaults()))
    await restarter.restart(PipelineName("d"), now())
    stopped = Finish(epoch=held.epoch, outcome=AttemptOutcome(finished_at=now(), exit_code=143, stopped=True))
    waiting = await child(fast, (await store.change(run.ref, stopped)).run, "d", "restart")
    await restarter.restart(PipelineName("d"), now())
    assert {r.id: r.status for r in await runs_of(fast, "d")} == {
        run.id: RunStatus.INTERRUPTED,
        waiting.id: RunStatus.PENDING,
    }


async def test_a_daemon_that_crashed_just_before_its_regular_restart_is_started_once(bus: Bus) -> None:
    """The slot and the crash mean the same new run, whichever is handled first; here the run-ended consumer has not
    seen the crash.
    """
    system = System(bus)
    await publish_pipeline(bus, "d", CODE, restart_on_crash=True, restart_cooldown=5.0)
    run = a_run("d", bundle=CODE.sha256)
    store = RunStore(bus)
    await store.create(run, None)
    ended = await finish(system, run, well=False)
    restarter = Restarter(bus, store, Starter(bus, store, Defaults()))
    for _ in range(2):
        await restarter.restart(PipelineName("d"), now())
    assert {r.id for r in await runs_of(system, "d")} == {run.id, run_id_for_child(ended.id, "restart")}


async def test_nothing_follows_from_a_cancelled_run(fast: System) -> None:
    """The run after it shows that its end was handled."""
    await publish_pipeline(fast.bus, "a", CODE, downstream_triggers=(DownstreamRule(pipeline=PipelineName("b")),))
    await publish_pipeline(fast.bus, "b", CODE)
    run = await started(fast, "a")
    await RunStore(fast.bus).change(run.ref, Cancel())
    done = await finish(fast, await started(fast, "a"))
    await child(fast, done, "b", "downstream/b")
    assert [r.order.parent_run_id for r in await runs_of(fast, "b")] == [done.id]
