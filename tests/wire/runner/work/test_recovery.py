"""Sandboxes and runs that no attempt holds are cleaned up. A real bus, dummy sandboxes."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from fastflow_contracts.bus import subjects
from fastflow_contracts.runs.lease import Lease
from fastflow_contracts.runs.presence import PRESENCE
from fastflow_contracts.runs.run import (
    RunErrorType,
    RunStatus,
)
from fastflow_runner.presence import PresenceWriter, Replaced
from fastflow_runner.sandbox import Held, SandboxError, SandboxSpec
from fastflow_runner.sandbox.naming import LABEL_PREPARER, AttemptId
from fastflow_runner.work.hint_consumer import HintConsumer
from fastflow_runner.work.recovery import Recovery
from fastflow_runner.work.runner import AttemptRunner
from tests.support.ids import fresh_run_id
from tests.support.records import a_presence
from tests.support.runner_bench import Bench, at_work
from tests.support.system import System


async def test_a_sandbox_that_cannot_be_removed_stops_no_runner(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are removed, and each sweep tries again."""
    sandboxes = bench.context.sandboxes
    stuck, other = (bench.context.name(AttemptId(fresh_run_id(), 1)) for _ in range(2))
    for name in (stuck, other):
        await sandboxes.open(SandboxSpec(name=name))
    remove = sandboxes.remove
    tried = []

    async def busy(name: str) -> None:
        tried.append(name)
        if name == stuck:
            raise SandboxError("device or resource busy")
        await remove(name)

    monkeypatch.setattr(sandboxes, "remove", busy)
    recovery = Recovery(bench.context, AttemptRunner(bench.context, 1))
    await recovery.recover()
    await recovery.sweep()
    assert [held.name for held in await sandboxes.held()] == [stuck]
    assert tried == [stuck, other, stuck]


async def test_a_sandbox_whose_removal_was_interrupted_is_removed_at_the_end(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run was over already when the runner was stopped."""
    remove, removing = bench.context.sandboxes.remove, asyncio.Event()

    async def cut_short(name: str) -> None:
        monkeypatch.undo()
        removing.set()
        await asyncio.Event().wait()

    runner = AttemptRunner(bench.context, 1)
    run = await bench.pending()
    await bench.hint(run)
    monkeypatch.setattr(bench.context.sandboxes, "remove", cut_short)
    async with at_work(HintConsumer(bench.context, runner).take("script")):
        await removing.wait()
        assert bench.context.sandboxes.remove == remove
        assert await runner.let_go() == 0
    assert (await bench.record(run)).status is RunStatus.SUCCESS
    assert not await bench.context.sandboxes.held()


async def test_preparers_of_a_runner_that_is_gone_are_removed(bench: Bench) -> None:
    """In a container its next version has another name. Preparers of live runners stay."""
    bus, sandboxes = bench.context.bus, bench.context.sandboxes
    for runner, gone in (("former", True), ("other", False)):
        shown = PRESENCE.encode(replace(a_presence(runner), gone=gone))
        await bus.put(subjects.RUNNERS, subjects.runner_key(runner), shown)
    for runner in ("one", "former", "other"):
        await sandboxes.open(SandboxSpec(name=f"ff-prepare-{runner}", labels={LABEL_PREPARER: runner}))
    await Recovery(bench.context, AttemptRunner(bench.context, 1)).sweep()
    assert {held.name for held in await sandboxes.held()} == {"ff-prepare-one", "ff-prepare-other"}


async def test_after_losing_the_bus_a_runner_takes_up_its_own_runs(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A response was lost. The runner is alive, so no other one would handle these runs. Runs that it carries out,
    or is about to claim, are left alone.
    """
    monkeypatch.setattr(bench.context.presence, "lease", Lease(lease_s=0.2))
    unbegun, begun, claiming, held = [await bench.pending() for _ in range(4)]
    for run in (unbegun, begun, claiming, held):
        await bench.held(run, prepared=run is begun)
    runner = AttemptRunner(bench.context, 1)
    sandboxes, sweeps = bench.context.sandboxes, asyncio.Semaphore(0)
    listed = sandboxes.held

    async def counted() -> tuple[Held, ...]:
        sweeps.release()
        return await listed()

    monkeypatch.setattr(sandboxes, "held", counted)
    async with at_work(Recovery(bench.context, runner).keep_order()):
        for _ in range(3):
            await sweeps.acquire()
        assert (await bench.record(unbegun)).status is RunStatus.RUNNING
        runner.claiming.add(AttemptId(claiming.id, 1))
        runner.attempts[AttemptId(held.id, 1)] = await bench.claim(held)
        bench.relay.drop()
        system = System(bench.context.bus)
        given_back = await system.until(unbegun.ref, lambda run: run.releases == 1)
        lost = await system.end(begun.ref)
    assert given_back.status is RunStatus.PENDING
    assert lost.attempts[0].error_type is RunErrorType.LOST
    assert [(await bench.record(run)).epoch for run in (claiming, held)] == [1, 2]


async def test_a_replaced_runner_changes_no_run_of_its_id(bench: Bench) -> None:
    """Another process has the id now, and with it the runs."""
    run = await bench.pending()
    await bench.held(run)
    await PresenceWriter(bench.context.bus, a_presence("one"), Lease(), look=lambda shown: shown).announce()
    with pytest.raises(Replaced):
        await Recovery(bench.context, AttemptRunner(bench.context, 1)).recover()
    assert (await bench.record(run)).epoch == 1
