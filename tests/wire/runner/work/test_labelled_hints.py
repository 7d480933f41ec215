"""Runners with labels take the runs that ask for them, each once. A real bus, dummy sandboxes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.runs.messages import HINT, Hint
from fastflow_contracts.runs.run import Pending, RunRecord, RunStatus
from fastflow_contracts.runs.state_machine import Cancel
from fastflow_runner.work import labelled_hints
from fastflow_runner.work.hint_consumer import HintConsumer
from fastflow_runner.work.labelled_hints import LabelledHints
from fastflow_runner.work.runner import AttemptRunner
from tests.support.records import a_run
from tests.support.runner_bench import Bench, at_work, hint_of
from tests.support.system import System


def taker(bench: Bench, *labels: str, name: str = "one", slots: int = 4) -> LabelledHints:
    context = replace(bench.context, runner=name, labels=frozenset(labels))
    runner = AttemptRunner(context, slots)
    return LabelledHints(context, runner, HintConsumer(context, runner), kinds=("script",))


async def pending(bench: Bench, *labels: str, due_s: float = 0) -> RunRecord:
    """Create a run that asks for *labels*, and publish its hint."""
    template = await bench.pending(due_s=due_s)
    run = replace(a_run(), order=replace(template.order, runs_on=labels), state=template.state)
    assert await bench.runs.create(run, None)
    await publish(bench, run, labels)
    return run


async def publish(bench: Bench, run: RunRecord, labels: Sequence[str], hint: Hint | None = None) -> None:
    subject = subjects.work("script", run.ref, 1, labels)
    await bench.context.bus.publish(subject, HINT.encode(hint or hint_of(run)))


async def left(bench: Bench) -> set[str]:
    return await bench.context.bus.subjects_in(streams.WORK, subjects.WORK)


async def test_a_runner_takes_what_asks_for_some_of_its_labels_and_leaves_the_rest(bench: Bench) -> None:
    """What was there before it came, and what comes later."""
    system = System(bench.context.bus)
    early, other = await pending(bench, "gpu"), await pending(bench, "gpu", "zone-b")
    async with at_work(taker(bench, "gpu", "zone-a").take()):
        assert (await system.end(early.ref)).status is RunStatus.SUCCESS
        late = await pending(bench, "gpu", "zone-a")
        assert (await system.end(late.ref)).status is RunStatus.SUCCESS
    assert await left(bench) == {subjects.work("script", other.ref, 1, ("gpu", "zone-b"))}
    assert isinstance((await bench.record(other)).state, Pending)
    async with at_work(taker(bench, "gpu", "zone-b", name="two").take()):
        assert (await system.end(other.ref)).attempts[0].runner == "two"
    assert await left(bench) == set()


async def test_of_several_runners_one_takes_a_hint(bench: Bench) -> None:
    """The bus lets one remove it."""
    bus = bench.context.bus
    await pending(bench, "gpu")
    sequence = await bus.last_sequence(streams.WORK)
    assert sorted(await asyncio.gather(*(bus.take(streams.WORK, sequence) for _ in range(8)))) == [False] * 7 + [True]
    assert not await bus.take(streams.WORK, 10**9)


@pytest.mark.parametrize("remembered", [labelled_hints.WAITING_MAX, 2])
async def test_three_runners_share_the_runs_of_their_label(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, remembered: int
) -> None:
    """Each run has one attempt, by one of them, with fewer slots than runs, also if they remember few hints."""
    monkeypatch.setattr(labelled_hints, "WAITING_MAX", remembered)
    system = System(bench.context.bus)
    takers = [taker(bench, "gpu", name=name, slots=1) for name in ("one", "two", "three")]
    async with at_work(takers[0].take()), at_work(takers[1].take()), at_work(takers[2].take()):
        runs = [await pending(bench, "gpu") for _ in range(20)]
        ended = [await system.end(run.ref) for run in runs]
    assert [len(run.attempts) for run in ended] == [1] * 20
    assert {run.status for run in ended} == {RunStatus.SUCCESS}
    assert await left(bench) == set()


async def test_hints_beyond_what_a_runner_remembers_are_taken_later(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that were there before it came, and those that come while it remembers no more."""
    monkeypatch.setattr(labelled_hints, "WAITING_MAX", 2)
    system = System(bench.context.bus)
    early = [await pending(bench, "gpu") for _ in range(9)]
    async with at_work(taker(bench, "gpu", slots=1).take()):
        assert (await system.end(early[0].ref)).status is RunStatus.SUCCESS
        late = [await pending(bench, "gpu") for _ in range(9)]
        ended = [await system.end(run.ref) for run in (*early, *late)]
    assert [len(run.attempts) for run in ended] == [1] * 18
    assert await left(bench) == set()


async def test_a_runner_that_starts_again_with_other_labels_takes_nothing_that_asks_for_its_old_ones(
    bench: Bench,
) -> None:
    system = System(bench.context.bus)
    first = await pending(bench, "gpu")
    async with at_work(taker(bench, "gpu").take()):
        assert (await system.end(first.ref)).attempts[0].runner == "one"
    old, new = await pending(bench, "gpu"), await pending(bench, "big")
    async with at_work(taker(bench, "big").take()):
        assert (await system.end(new.ref)).attempts[0].runner == "one"
    assert isinstance((await bench.record(old)).state, Pending)
    assert await left(bench) == {subjects.work("script", old.ref, 1, ("gpu",))}


async def test_the_hint_of_a_run_that_was_cancelled_meanwhile_starts_nothing(bench: Bench) -> None:
    """It waited for a runner with its label; the runner removes the hint, and takes the next run."""
    system = System(bench.context.bus)
    run = await pending(bench, "gpu")
    await bench.runs.change(run.ref, Cancel())
    ended = await bench.record(run)
    assert ended.is_over
    async with at_work(taker(bench, "gpu", slots=1).take()):
        later = await pending(bench, "gpu")
        assert (await system.end(later.ref)).status is RunStatus.SUCCESS
    assert await bench.record(run) == ended
    assert await left(bench) == set()


async def test_a_hint_that_is_early_by_the_runners_clock_is_taken_when_it_is_due(bench: Bench) -> None:
    template = await bench.pending(due_s=1.0)
    run = replace(a_run(), order=replace(template.order, runs_on=("gpu",)), state=template.state)
    created = await bench.runs.create(run, None)
    assert created is not None
    await publish(bench, run, ("gpu",), replace(hint_of(run), run=created.run, revision=created.revision))
    async with at_work(taker(bench, "gpu").take()):
        ended = await System(bench.context.bus).end(run.ref)
    assert isinstance(run.state, Pending)
    assert ended.attempts[0].claimed_at >= run.state.not_before


async def test_a_hint_from_a_scheduler_that_knows_no_labels_is_passed_over(bench: Bench) -> None:
    """It is among those for everybody. The run waits for a runner that has them."""
    runner = AttemptRunner(bench.context, 1)
    run = await pending(bench, "gpu")
    async with at_work(HintConsumer(bench.context, runner).take("script")):
        await bench.hint(run)
        plain = await bench.pending()
        await bench.hint(plain)
        assert (await System(bench.context.bus).end(plain.ref)).status is RunStatus.SUCCESS
    assert isinstance((await bench.record(run)).state, Pending)


async def test_garbage_among_the_hints_ends_nothing(bench: Bench) -> None:
    """Data that is no hint, and subjects that no scheduler makes."""
    bus = bench.context.bus
    for number, subject in enumerate(("script.gpu.x.y.1", "script.A+B.x.y.1", "x", "script", "notebook..z")):
        if ".." not in subject:
            await bus.publish(f"ff.work.labelled.{subject}", b"\xff{%d" % number)
    async with at_work(taker(bench, "gpu").take()):
        run = await pending(bench, "gpu")
        assert (await System(bus).end(run.ref)).status is RunStatus.SUCCESS
