"""A run that is cancelled before its script starts never starts. A real bus, dummy sandboxes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from fastflow_contracts.bus.answers import Unanswered
from fastflow_contracts.bus.client import Put
from fastflow_contracts.runs.run import (
    Ended,
    RunStatus,
)
from fastflow_contracts.runs.state_machine import Cancel
from fastflow_runner.attempts.attempt import RunningAttempt
from fastflow_runner.sandbox import Channel, SandboxSpec
from tests.support.runner_bench import Bench


async def test_a_claim_without_a_response_that_is_then_cancelled_is_ended(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record differs from what the runner wrote; still no other runner would end the run."""
    run = await bench.pending()
    once = bench.context.bus._commit_once

    async def deaf(bucket: str, puts: Sequence[Put]) -> int:
        monkeypatch.undo()
        await once(bucket, puts)
        await bench.runs.change(run.ref, Cancel())
        raise Unanswered

    monkeypatch.setattr(bench.context.bus, "_commit_once", deaf)
    await (await bench.claim(run)).carry_out()
    assert (await bench.record(run)).status is RunStatus.INTERRUPTED
    assert bench.jobs == []


async def test_a_run_cancelled_before_its_sandbox_is_ready_does_not_start(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even for a moment."""
    opened = bench.context.sandboxes.open

    async def late(spec: SandboxSpec) -> Channel:
        channel = await opened(spec)
        await bench.runs.change(run.ref, Cancel(reason="enough"))
        return channel

    monkeypatch.setattr(bench.context.sandboxes, "open", late)
    run = await bench.pending()
    await (await bench.claim(run)).carry_out()
    ended = await bench.record(run)
    assert isinstance(ended.state, Ended)
    assert (ended.status, ended.state.reason) == (RunStatus.INTERRUPTED, "enough")
    assert bench.jobs == []
    assert not await bench.context.sandboxes.held()


async def test_a_run_cancelled_between_two_runners_does_not_start(bench: Bench) -> None:
    """Its sandbox is ready, its runner died before it handed over the job, and the cancel came before the next
    runner.
    """
    run = await bench.pending()
    held = await bench.held(run)
    await bench.context.sandboxes.open(bench.context.spec(held))
    (sandbox,) = await bench.context.sandboxes.held()
    await bench.runs.change(run.ref, Cancel())
    adopted = await RunningAttempt.adopt(bench.context, held, sandbox)
    assert adopted is not None
    await adopted.carry_out()
    assert (await bench.record(run)).status is RunStatus.INTERRUPTED
    assert bench.jobs == []
