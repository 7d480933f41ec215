"""A run that is cancelled before its script starts never starts. A real bus, pretended sandboxes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from fastflow_contracts.bus.client import Put, Unanswered
from fastflow_contracts.runs.run import (
    Ended,
    RunStatus,
)
from fastflow_contracts.runs.state_machine import Cancel
from fastflow_runner.attempts.attempt import RunningAttempt
from fastflow_runner.sandbox import Channel, SandboxSpec
from tests.support.runner_bench import Bench


async def test_a_claim_is_carried_out_that_was_stored_without_an_answer_and_then_cancelled(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is read back is not what was written; still nobody else will ever look at the run."""
    run = await bench.pending()
    once = bench.tools.bus._commit_once

    async def deaf(bucket: str, puts: Sequence[Put]) -> int:
        monkeypatch.undo()
        await once(bucket, puts)
        await bench.runs.change(run.ref, Cancel())
        raise Unanswered

    monkeypatch.setattr(bench.tools.bus, "_commit_once", deaf)
    await (await bench.claim(run)).carry_out()
    assert (await bench.record(run)).status is RunStatus.INTERRUPTED
    assert bench.jobs == []


async def test_what_is_cancelled_before_its_sandbox_stands_does_not_begin(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even a moment of its code would be too much."""
    opened = bench.tools.sandboxes.open

    async def late(spec: SandboxSpec) -> Channel:
        channel = await opened(spec)
        await bench.runs.change(run.ref, Cancel(reason="enough"))
        return channel

    monkeypatch.setattr(bench.tools.sandboxes, "open", late)
    run = await bench.pending()
    await (await bench.claim(run)).carry_out()
    ended = await bench.record(run)
    assert isinstance(ended.state, Ended)
    assert (ended.status, ended.state.reason) == (RunStatus.INTERRUPTED, "enough")
    assert bench.jobs == []
    assert not await bench.tools.sandboxes.held()


async def test_what_is_cancelled_while_nobody_held_it_is_not_given_its_job(bench: Bench) -> None:
    """Its sandbox stands, its runner died before it handed the job over, and the cancel came before the next one."""
    run = await bench.pending()
    held = await bench.held(run)
    await bench.tools.sandboxes.open(bench.tools.spec(held))
    (sandbox,) = await bench.tools.sandboxes.held()
    await bench.runs.change(run.ref, Cancel())
    adopted = await RunningAttempt.adopt(bench.tools, held, sandbox)
    assert adopted is not None
    await adopted.carry_out()
    assert (await bench.record(run)).status is RunStatus.INTERRUPTED
    assert bench.jobs == []
