"""What happens to an attempt if the bus or the daemon fails. A real bus, dummy sandboxes."""

from __future__ import annotations

import asyncio

import pytest
from cryptography.fernet import Fernet

from fastflow_contracts.bus.errors import Unavailable
from fastflow_contracts.runs.run import (
    RunErrorType,
    RunInput,
    RunRecord,
    RunStatus,
)
from fastflow_contracts.runs.state_machine import Expire
from fastflow_runner.attempts.attempt import RunningAttempt
from fastflow_runner.sandbox import Channel, DaemonUnreachable, Held, SandboxSpec
from tests.support.runner_bench import Bench
from tests.support.system import System


async def test_a_run_that_was_taken_away_is_not_started(bench: Bench) -> None:
    """The runner had lost the bus for long; now the run waits for another runner, which would start it too."""
    run = await bench.pending()
    attempt = await bench.claim(run)
    await bench.runs.change(run.ref, Expire(epoch=1, reason="runner one was silent"))
    await attempt.carry_out()
    assert bench.jobs == []
    assert (await bench.record(run)).status is RunStatus.PENDING


@pytest.mark.parametrize("why", [RunErrorType.ENVIRONMENT_ERROR, RunErrorType.SECRET_ERROR])
async def test_a_second_holder_writes_its_error_after_the_first_ones_log(bench: Bench, why: RunErrorType) -> None:
    """The code is gone, or a token has no key: the reason follows what the log already holds."""
    given = RunInput(encrypted_env={"KEY": Fernet(Fernet.generate_key()).encrypt(b"value").decode()})
    run = await bench.pending(given, has_code=why is not RunErrorType.ENVIRONMENT_ERROR)
    first = await bench.claim(run)
    await first._recorder.pump.say("the first one's last word")
    await (await bench.claim(run)).carry_out()  # a claim whose response was lost
    ended = await bench.record(run)
    assert (ended.status, ended.attempts[0].error_type) == (RunStatus.FAILED, why)
    first_line, *_ = await System(bench.context.bus).lines(ended)
    assert first_line.text == "the first one's last word"


async def test_an_input_is_read_again_until_the_bus_answers(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A claim is stored at once, so a slow bus afterwards must not cost the attempt."""
    monkeypatch.setattr("fastflow_runner.attempts.holding.AGAIN_S", 0.01)
    run = await bench.pending(RunInput(env={"A": "1"}))
    attempt = await bench.claim(run)
    read = bench.runs.input
    unanswered = iter(range(2))

    async def slow(run: RunRecord) -> RunInput:
        for _ in unanswered:
            raise Unavailable("the bus did not answer")
        return await read(run)

    monkeypatch.setattr(bench.runs, "input", slow)
    await attempt.carry_out()
    assert (await bench.record(run)).status is RunStatus.SUCCESS
    assert [job["env"]["A"] for job in bench.jobs] == ["1"]


async def test_an_adopted_sandbox_is_attached_once_the_daemon_answers(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runner and daemon started together: the running script must not fail for that."""
    monkeypatch.setattr("fastflow_runner.attempts.holding.AGAIN_S", 0.01)
    sandboxes = bench.context.sandboxes
    run = await bench.pending()
    held = await bench.held(run)
    await sandboxes.open(bench.context.spec(held))
    (sandbox,) = await sandboxes.held()
    attach, tries = sandboxes.attach, iter(range(2))

    async def away(held: Held) -> Channel:
        for _ in tries:
            raise DaemonUnreachable("Docker does not answer")
        return await attach(held)

    monkeypatch.setattr(sandboxes, "attach", away)
    adopted = await RunningAttempt.adopt(bench.context, held, sandbox)
    assert adopted is not None
    await adopted.carry_out()
    assert (await bench.record(run)).status is RunStatus.SUCCESS
    assert len(bench.jobs) == 1


async def test_a_job_that_was_lost_on_its_way_is_handed_over_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon started again between the record of the preparation and the job."""
    monkeypatch.setattr("fastflow_runner.attempts.holding.AGAIN_S", 0.01)
    sandboxes = bench.context.sandboxes
    opened = sandboxes.open

    async def cut(spec: SandboxSpec) -> Channel:
        channel = await opened(spec)
        await channel.close()
        return channel

    monkeypatch.setattr(sandboxes, "open", cut)
    run = await bench.pending()
    async with asyncio.timeout(10):
        await (await bench.claim(run)).carry_out()
    assert (await bench.record(run)).status is RunStatus.SUCCESS
    assert len(bench.jobs) == 1
