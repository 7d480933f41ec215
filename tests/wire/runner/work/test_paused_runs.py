"""Once a pause is stored, a runner begins no run that it holds. A real bus, dummy sandboxes."""

from __future__ import annotations

import asyncio

from msgspec.structs import replace

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.subjects import PAUSE_KEY
from fastflow_contracts.clock import now
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.pauses import NOT_PAUSED, PauseRecord, PauseSet
from fastflow_contracts.runs.run import AttemptRecord, Ended, Pending, RunErrorType, RunStatus
from fastflow_runner.work.hint_consumer import HintConsumer
from fastflow_runner.work.runner import AttemptRunner
from tests.support.runner_bench import Bench, at_work
from tests.support.system import System

RUNS = 40
QUIET_S = 60.0


def a_pause() -> PauseSet:
    return PauseSet(installation=PauseRecord(reason="maintenance", at=now()))


def hints(bench: Bench, slots: int = 1) -> HintConsumer:
    return HintConsumer(bench.context, AttemptRunner(bench.context, slots))


async def taken(bench: Bench) -> None:
    """Return when no hint is left: each was claimed, and begun or given back."""
    async with asyncio.timeout(QUIET_S):
        while await bench.context.bus.subjects_in(streams.WORK, subjects.WORK):
            await asyncio.sleep(0.02)


async def test_a_run_that_was_claimed_after_the_pause_was_stored_never_begins(bench: Bench) -> None:
    """Although its hint was out already, and no scheduler knows of the pause. It keeps its place."""
    runs = [await bench.pending() for _ in range(RUNS)]
    for run in runs:
        await bench.hint(run)
    async with at_work(hints(bench, slots=4).take("script")):
        await System(bench.context.bus).end(runs[3].ref)
        await bench.context.pauses.put(PAUSE_KEY, a_pause(), expect=0)
        stored = await bench.context.pauses.get(PAUSE_KEY)
        await taken(bench)
        for run in runs:
            await System(bench.context.bus).until(run.ref, lambda run: run.status is not RunStatus.RUNNING)
    assert stored is not None
    assert stored.stored_at is not None
    found = [await bench.record(run) for run in runs]
    begun = [run for run in found if run.attempts]
    held = [run for run in found if not run.attempts]
    assert begun
    assert held
    assert all(run.attempts[0].claimed_at <= stored.stored_at for run in begun)
    for run in held:
        assert run.state == Pending(attempt=1, not_before=run.created_at)
        assert run.releases == 0
    assert len(bench.jobs) == len(begun)


async def test_a_held_run_begins_when_its_hint_comes_after_the_pause(bench: Bench) -> None:
    """However often it was held."""
    run = await bench.pending()
    await bench.context.pauses.put(PAUSE_KEY, a_pause(), expect=0)
    async with at_work(hints(bench).take("script")):
        for held in range(1, 9):
            await bench.hint(run)
            given_back = await System(bench.context.bus).until(
                run.ref, lambda run, held=held: run.epoch == held and run.status is RunStatus.PENDING
            )
            assert given_back.attempts == ()
        await bench.context.pauses.put(PAUSE_KEY, NOT_PAUSED, expect=None)
        await bench.hint(run)
        assert (await System(bench.context.bus).end(run.ref)).status is RunStatus.SUCCESS
    assert len(bench.jobs) == 1


async def test_a_run_that_has_begun_is_retried_during_the_pause_and_other_pipelines_begin(bench: Bench) -> None:
    first, other = await bench.pending(), await bench.pending()
    attempt = AttemptRecord(
        number=1,
        runner="two",
        claimed_at=now(),
        finished_at=now(),
        error_type=RunErrorType.SCRIPT_ERROR,
    )
    await bench.context.pauses.put(PAUSE_KEY, a_pause(), expect=0)
    stored = await bench.runs.load(first.ref)
    under_way = replace(stored.run, attempts=(attempt,))
    await bench.runs.records.put(first.ref, under_way, expect=stored.revision)
    async with at_work(hints(bench).take("script")):
        await bench.hint(first)
        assert isinstance((await System(bench.context.bus).end(first.ref)).state, Ended)
        of_another = PauseSet(pipelines={PipelineName("another"): PauseRecord(reason="maintenance", at=now())})
        await bench.context.pauses.put(PAUSE_KEY, of_another, expect=None)
        await bench.hint(other)
        assert isinstance((await System(bench.context.bus).end(other.ref)).state, Ended)


async def test_an_unreadable_pause_holds_nothing(bench: Bench) -> None:
    """A damaged record must not stop an installation; it is logged and counted."""
    run = await bench.pending()
    await bench.context.bus.put(subjects.SCHEDULES, PAUSE_KEY, b"{damaged")
    async with at_work(hints(bench).take("script")):
        await bench.hint(run)
        assert isinstance((await System(bench.context.bus).end(run.ref)).state, Ended)
