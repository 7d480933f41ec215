"""A runner takes hints, and claims only what can start. A real bus, dummy sandboxes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fastflow_contracts.bus import streams
from fastflow_contracts.runs.run import (
    Pending,
    RunStatus,
)
from fastflow_runner.attempts.attempt import RunningAttempt
from fastflow_runner.sandbox import DaemonUnreachable
from fastflow_runner.work.hint_consumer import HintConsumer
from fastflow_runner.work.runner import AttemptRunner
from tests.support.runner_bench import Bench, at_work
from tests.support.system import System


def hints(bench: Bench) -> HintConsumer:
    return HintConsumer(bench.context, AttemptRunner(bench.context, 1))


async def test_a_hint_that_comes_too_early_comes_again_in_time(bench: Bench) -> None:
    """The runner's clock is behind that of the scheduler, which would repeat the hint much later."""
    run = await bench.pending(due_s=0.5)
    await bench.hint(run)
    async with at_work(hints(bench).take("script")):
        ended = await System(bench.context.bus).end(run.ref)
    assert isinstance(run.state, Pending)
    assert ended.attempts[0].claimed_at >= run.state.not_before


async def test_a_runner_without_its_daemon_gives_a_run_back_once_and_waits(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None of its code has run, so it does not fail. The runner takes no run again until the daemon answers."""
    monkeypatch.setattr("fastflow_runner.work.runner.AGAIN_S", 0.01)
    monkeypatch.setattr("fastflow_runner.work.hint_consumer.AGAIN_S", 0.01)
    monkeypatch.setattr("fastflow_runner.work.runner.DAEMON_S", 0.1)
    sandboxes, looks = bench.context.sandboxes, asyncio.Semaphore(0)

    async def away(*_: Any) -> Any:
        looks.release()
        raise DaemonUnreachable("Docker does not answer")

    run = await bench.pending()
    system = System(bench.context.bus)
    with monkeypatch.context() as daemon:
        daemon.setattr(sandboxes, "open", away)
        daemon.setattr(sandboxes, "held", away)
        async with at_work(hints(bench).take("script")):
            await bench.hint(run)
            given_back = await system.until(run.ref, lambda run: run.releases == 1)
            await bench.hint(run)
            for _ in range(looks._value + 20):
                await looks.acquire()
            assert await bench.record(run) == given_back
            daemon.undo()
            ended = await system.end(run.ref)
    assert (ended.status, ended.epoch, len(ended.attempts)) == (RunStatus.SUCCESS, 2, 1)


async def test_a_runner_takes_no_more_hints_than_it_has_slots(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others stay on the bus, where another runner finds them, although both ask for several at once."""
    bus, slots, waiting = bench.context.bus, 5, 12

    async def hang(_: RunningAttempt) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(RunningAttempt, "carry_out", hang)
    for _ in range(waiting):
        await bench.hint(await bench.pending())
    for pending in (waiting - slots, waiting - 2 * slots):
        runner = AttemptRunner(bench.context, slots)
        consumer = HintConsumer(bench.context, runner)
        async with at_work(consumer.take("script")), at_work(consumer.take("notebook")), asyncio.timeout(60):
            while runner.busy < slots or (await bus.js.consumer_info(streams.WORK, "script")).num_ack_pending:
                await asyncio.sleep(0.05)
            assert runner.free == 0
            assert runner.busy == slots
            assert (await bus.js.consumer_info(streams.WORK, "script")).num_pending == pending
