"""What becomes of an attempt when the bus or the daemon fails in between. A real bus, pretended sandboxes."""

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


async def test_a_run_that_was_taken_away_before_it_was_prepared_is_not_begun(bench: Bench) -> None:
    """The runner was away from the bus for long: the run waits for somebody else now, who would begin it, too."""
    run = await bench.pending()
    attempt = await bench.claim(run)
    await bench.runs.change(run.ref, Expire(epoch=1, reason="runner one was not heard of"))
    await attempt.carry_out()
    assert bench.jobs == []
    assert (await bench.record(run)).status is RunStatus.PENDING


@pytest.mark.parametrize("why", [RunErrorType.ENVIRONMENT_ERROR, RunErrorType.SECRET_ERROR])
async def test_what_a_second_holder_cannot_begin_ends_after_the_first_one_s_last_word(
    bench: Bench, why: RunErrorType
) -> None:
    """Code that is gone, a token without its key: the reason stands below what the log holds already."""
    given = RunInput(encrypted_env={"KEY": Fernet(Fernet.generate_key()).encrypt(b"value").decode()})
    run = await bench.pending(given, has_code=why is not RunErrorType.ENVIRONMENT_ERROR)
    first = await bench.claim(run)
    await first._recorder.pump.say("the first one's last word")
    await (await bench.claim(run)).carry_out()  # a claim whose answer was lost
    ended = await bench.record(run)
    assert (ended.status, ended.attempts[0].error_type) == (RunStatus.FAILED, why)
    first_line, *_ = await System(bench.tools.bus).lines(ended)
    assert first_line.text == "the first one's last word"


async def test_an_input_is_asked_for_until_the_bus_answers(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A claim is stored at once, so what the bus is late with afterwards must not cost the attempt."""
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


async def test_an_adopted_sandbox_is_attached_to_when_the_daemon_answers(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runner and daemon were started anew together: what goes on in the sandbox is not failed for that."""
    monkeypatch.setattr("fastflow_runner.attempts.holding.AGAIN_S", 0.01)
    sandboxes = bench.tools.sandboxes
    run = await bench.pending()
    held = await bench.held(run)
    await sandboxes.open(bench.tools.spec(held))
    (sandbox,) = await sandboxes.held()
    attach, tries = sandboxes.attach, iter(range(2))

    async def away(held: Held) -> Channel:
        for _ in tries:
            raise DaemonUnreachable("Docker does not answer")
        return await attach(held)

    monkeypatch.setattr(sandboxes, "attach", away)
    adopted = await RunningAttempt.adopt(bench.tools, held, sandbox)
    assert adopted is not None
    await adopted.carry_out()
    assert (await bench.record(run)).status is RunStatus.SUCCESS
    assert len(bench.jobs) == 1


async def test_a_job_that_was_lost_on_its_way_is_handed_over_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon was started anew between the record that all is prepared and the job."""
    monkeypatch.setattr("fastflow_runner.attempts.holding.AGAIN_S", 0.01)
    sandboxes = bench.tools.sandboxes
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
