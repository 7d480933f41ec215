"""What becomes of attempts when bus or daemon fail their runner in between. A real bus, pretended sandboxes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
from cryptography.fernet import Fernet
from msgspec.structs import replace

import fastflow_runner.app
from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Put, Unanswered
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.errors import Unavailable
from fastflow_contracts.bus.objects import ObjectStore
from fastflow_contracts.clock import now
from fastflow_contracts.runs.lease import Lease
from fastflow_contracts.runs.messages import HINT, Hint
from fastflow_contracts.runs.presence import PRESENCE
from fastflow_contracts.runs.run import (
    Ended,
    Pending,
    RunErrorType,
    RunInput,
    RunRecord,
    RunStatus,
)
from fastflow_contracts.runs.state_machine import Cancel, Claim, Expire, Prepare
from fastflow_contracts.runs.store import RunStore
from fastflow_runner.attempts.attempt import RunningAttempt
from fastflow_runner.attempts.context import Tools
from fastflow_runner.attempts.runner import AttemptRunner
from fastflow_runner.backend import open_backend
from fastflow_runner.presence import Beacon, Replaced
from fastflow_runner.sandbox import Channel, DaemonUnreachable, Held, SandboxError, SandboxSpec
from fastflow_runner.sandbox.dummy import DummyOutcome, DummySandboxes
from fastflow_runner.sandbox.naming import LABEL_PREPARER, AttemptId
from fastflow_runner.settings import RunnerSettings
from tests.support.ids import fresh_run_id
from tests.support.records import a_bundle, a_presence, a_run
from tests.support.relay import Relay
from tests.support.system import System


@asynccontextmanager
async def at_work(steps: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Something of the runner that goes on until the end of the block."""
    task = asyncio.create_task(steps)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


class Bench(NamedTuple):
    """A runner's tools, the relay between it and the bus, and the jobs that its sandboxes were handed."""

    tools: Tools
    relay: Relay
    jobs: list[dict[str, Any]]

    @property
    def runs(self) -> RunStore:
        return self.tools.runs

    async def pending(self, given: RunInput | None = None, *, has_code: bool = True, due_s: float = 0) -> RunRecord:
        """A new run, whose code is on the bus; due that long from now."""
        bundle = a_bundle(main_py="print(1)")
        if has_code:
            await ObjectStore(self.tools.bus).put(bundle.sha256, bundle.data)
        run = a_run(bundle=bundle.sha256, has_input=given is not None)
        run = replace(run, state=Pending(attempt=1, not_before=now() + timedelta(seconds=due_s)))
        assert await self.runs.create(run, given)
        return run

    async def claim(self, run: RunRecord) -> RunningAttempt:
        """Its first attempt, held."""
        attempt = await RunningAttempt.claim(self.tools, hint_of(run), is_fresh=False)
        assert attempt is not None
        return attempt

    async def held(self, run: RunRecord, *, prepared: bool = True) -> RunRecord:
        """Its first attempt, which no attempt here holds."""
        held = (await self.runs.change(run.ref, Claim(attempt=1, runner="one"))).run
        return (await self.runs.change(run.ref, Prepare(epoch=held.epoch))).run if prepared else held

    async def hint(self, run: RunRecord) -> None:
        await self.tools.bus.publish(subjects.work("script"), HINT.encode(hint_of(run)))

    async def record(self, run: RunRecord) -> RunRecord:
        return (await self.runs.load(run.ref)).run


def hint_of(run: RunRecord) -> Hint:
    return Hint(run_id=run.id, pipeline=run.pipeline, attempt=1)


@pytest_asyncio.fixture
async def bench(bus_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    jobs: list[dict[str, Any]] = []

    def play(spec: SandboxSpec, job: dict[str, Any]) -> DummyOutcome:
        jobs.append(job)
        return DummyOutcome()

    monkeypatch.setattr("fastflow_runner.backend.DummySandboxes", lambda: DummySandboxes(play))
    settings = RunnerSettings(sandbox="dummy", data_dir=str(tmp_path))
    opening = open_backend(settings, runner="one", installation="test", environ={}, say=lambda line: None)
    async with opening as backend, Relay(bus_url) as relay, connect(relay.url, name="one") as bus:
        beacon = Beacon(bus, a_presence("one"), Lease(), look=lambda shown: shown)
        await beacon.announce()
        yield Bench(fastflow_runner.app._tools(settings, bus, "one", backend, beacon), relay, jobs)


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


async def test_a_sandbox_that_cannot_be_removed_keeps_no_runner_from_its_work(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are put in order, and it is tried again each time."""
    sandboxes = bench.tools.sandboxes
    stuck, other = (bench.tools.name(AttemptId(fresh_run_id(), 1)) for _ in range(2))
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
    runner = AttemptRunner(bench.tools, 1)
    await runner.recover()
    await runner.sweep()
    assert [held.name for held in await sandboxes.held()] == [stuck]
    assert tried == [stuck, other, stuck]


async def test_a_hint_that_comes_a_moment_early_comes_again_when_it_is_time(bench: Bench) -> None:
    """The runner's clock is behind that of the scheduler, which would not hint again for long."""
    run = await bench.pending(due_s=0.5)
    await bench.hint(run)
    async with at_work(AttemptRunner(bench.tools, 1).take("script")):
        ended = await System(bench.tools.bus).end(run.ref)
    assert isinstance(run.state, Pending)
    assert ended.attempts[0].claimed_at >= run.state.not_before


async def test_a_sandbox_whose_removal_was_cut_short_is_removed_at_the_end(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run was over already when the runner was told to let go."""
    remove, removing = bench.tools.sandboxes.remove, asyncio.Event()

    async def cut_short(name: str) -> None:
        monkeypatch.undo()
        removing.set()
        await asyncio.Event().wait()

    runner = AttemptRunner(bench.tools, 1)
    run = await bench.pending()
    await bench.hint(run)
    monkeypatch.setattr(bench.tools.sandboxes, "remove", cut_short)
    async with at_work(runner.take("script")):
        await removing.wait()
        assert bench.tools.sandboxes.remove == remove
        assert await runner.let_go() == 0
    assert (await bench.record(run)).status is RunStatus.SUCCESS
    assert not await bench.tools.sandboxes.held()


async def test_preparers_of_a_runner_that_is_gone_for_ever_are_removed(bench: Bench) -> None:
    """In a container a new version of it has another name; what the living ones prepare is theirs."""
    bus, sandboxes = bench.tools.bus, bench.tools.sandboxes
    for runner, gone in (("former", True), ("other", False)):
        shown = PRESENCE.encode(replace(a_presence(runner), gone=gone))
        await bus.put(subjects.RUNNERS, subjects.runner_key(runner), shown)
    for runner in ("one", "former", "other"):
        await sandboxes.open(SandboxSpec(name=f"ff-prepare-{runner}", labels={LABEL_PREPARER: runner}))
    await AttemptRunner(bench.tools, 1).sweep()
    assert {held.name for held in await sandboxes.held()} == {"ff-prepare-one", "ff-prepare-other"}


async def test_after_trouble_with_the_bus_what_is_ours_and_nobody_carries_out_goes_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever answer was lost: the runner lives, so nobody else would ever look at these runs. What it carries out and
    what it is about to claim is left alone.
    """
    monkeypatch.setattr(bench.tools.beacon, "lease", Lease(lease_s=0.2))
    unbegun, begun, claiming, held = [await bench.pending() for _ in range(4)]
    for run in (unbegun, begun, claiming, held):
        await bench.held(run, prepared=run is begun)
    runner = AttemptRunner(bench.tools, 1)
    async with at_work(runner.keep_order()):
        await asyncio.sleep(1)
        assert (await bench.record(unbegun)).status is RunStatus.RUNNING
        runner._claiming.add(AttemptId(claiming.id, 1))
        runner._attempts[AttemptId(held.id, 1)] = await bench.claim(held)
        bench.relay.drop()
        system = System(bench.tools.bus)
        given_back = await system.until(unbegun.ref, lambda run: run.releases == 1)
        lost = await system.end(begun.ref)
    assert given_back.status is RunStatus.PENDING
    assert lost.attempts[0].error_type is RunErrorType.LOST
    assert [(await bench.record(run)).epoch for run in (claiming, held)] == [1, 2]


async def test_who_has_been_replaced_touches_nothing_that_bears_its_name(bench: Bench) -> None:
    """Another process has the id, and with it what the records say is that runner's."""
    run = await bench.pending()
    await bench.held(run)
    await Beacon(bench.tools.bus, a_presence("one"), Lease(), look=lambda shown: shown).announce()
    with pytest.raises(Replaced):
        await AttemptRunner(bench.tools, 1).recover()
    assert (await bench.record(run)).epoch == 1


async def test_a_runner_without_its_daemon_gives_a_run_back_once_and_waits(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No code of it has run, so it does not fail; and what can only be given back again is not taken."""
    monkeypatch.setattr("fastflow_runner.attempts.runner.AGAIN_S", 0.01)
    monkeypatch.setattr("fastflow_runner.attempts.runner.DAEMON_S", 0.1)
    sandboxes, looks = bench.tools.sandboxes, asyncio.Semaphore(0)

    async def away(*_: Any) -> Any:
        looks.release()
        raise DaemonUnreachable("Docker does not answer")

    run = await bench.pending()
    system = System(bench.tools.bus)
    with monkeypatch.context() as daemon:
        daemon.setattr(sandboxes, "open", away)
        daemon.setattr(sandboxes, "held", away)
        async with at_work(AttemptRunner(bench.tools, 1).take("script")):
            await bench.hint(run)
            given_back = await system.until(run.ref, lambda run: run.releases == 1)
            await bench.hint(run)
            for _ in range(looks._value + 20):
                await looks.acquire()
            assert await bench.record(run) == given_back
            daemon.undo()
            ended = await system.end(run.ref)
    assert (ended.status, ended.epoch, len(ended.attempts)) == (RunStatus.SUCCESS, 2, 1)


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
