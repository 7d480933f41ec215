"""A pipeline's state changes with the success of a run, and only then. On a real bus."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import timedelta

import pytest

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.client import Bus, Put
from fastflow_contracts.clock import now
from fastflow_contracts.errors import FastFlowError
from fastflow_contracts.names import PipelineName
from fastflow_contracts.runs.run import Pending, RunErrorType, RunRecord, RunStatus
from fastflow_contracts.runs.state.archive import BadArchive, StateFile, unpack
from fastflow_contracts.runs.state.head import HISTORY_MAX, LeftState
from fastflow_contracts.runs.state.store import StateStore
from fastflow_contracts.runs.state_machine import (
    STATE_CONFLICTS_MAX,
    Adopt,
    AttemptOutcome,
    Claim,
    Expire,
    Finish,
    Prepare,
)
from fastflow_contracts.runs.store import RunStore
from fastflow_scheduler.maintenance.state_collector import StatesCollector
from tests.support.records import a_run

DEMO = PipelineName("demo")


async def begun(bus: Bus, run: RunRecord | None = None, *, attempt: int = 1, version: int | None = None) -> RunRecord:
    """Return a run that a runner holds, with the current state or with *version*."""
    runs = RunStore(bus, clock=lambda: now() + timedelta(hours=1))
    if run is None:
        run = a_run("demo", keeps_state=True)
        assert await runs.create(run, None)
    claimed = (await runs.change(run.ref, Claim(attempt=attempt, runner="r1"))).run
    version = (await runs.states.head(DEMO)).number if version is None else version
    return (await runs.change(run.ref, Prepare(epoch=claimed.epoch, state_version=version))).run


async def saved(bus: Bus, text: str) -> LeftState:
    return await StateStore(bus).save([StateFile("count", text.encode())])


async def ended(bus: Bus, run: RunRecord, left: LeftState | None, **outcome: object) -> RunRecord:
    told = AttemptOutcome(finished_at=now(), state=left, **outcome)  # type: ignore[arg-type]
    return (await RunStore(bus).change(run.ref, Finish(epoch=run.epoch, outcome=told))).run


async def content(bus: Bus) -> str | None:
    """What the current state holds."""
    states = StateStore(bus)
    head = await states.head(DEMO)
    if not head.versions or not head.versions[0].archive:
        return None
    (file,) = unpack(await states.archive(head.versions[0]))
    return file.data.decode()


async def archives(bus: Bus) -> int:
    return len(await bus.subjects_in(streams.object_stream(subjects.STATES), f"$O.{subjects.STATES}.M.>"))


async def test_success_and_state_are_one_step(bus: Bus) -> None:
    run = await ended(bus, await begun(bus), await saved(bus, "1"))
    assert (run.status, run.attempts[-1].state_version, run.attempts[-1].state_left) == (RunStatus.SUCCESS, 0, 1)
    assert await content(bus) == "1"
    (version,) = (await StateStore(bus).head(DEMO)).versions
    assert (version.run_id, version.files, version.size_bytes) == (run.id, 1, 1)


@pytest.mark.parametrize("outcome", [{"error_type": RunErrorType.SCRIPT_ERROR}, {"stopped": True}])
async def test_another_end_changes_nothing(bus: Bus, outcome: dict[str, object]) -> None:
    run = await ended(bus, await begun(bus), await saved(bus, "1"), **outcome)
    assert (run.is_over, run.attempts[-1].state_left, await content(bus)) == (True, None, None)


async def test_a_former_holder_changes_nothing(bus: Bus) -> None:
    """Its sandbox was adopted, or it was fenced."""
    runs, run = RunStore(bus), await begun(bus)
    adopted = (await runs.change(run.ref, Adopt(runner="r2", epoch=run.epoch))).run
    assert (await ended(bus, run, await saved(bus, "1"))).status is RunStatus.RUNNING
    await runs.change(run.ref, Expire(epoch=adopted.epoch, reason="gone"))
    assert (await ended(bus, adopted, await saved(bus, "2"))).status is RunStatus.FAILED
    assert await content(bus) is None


async def test_of_two_runs_that_commit_at_once_one_conflicts_and_is_tried_again(bus: Bus) -> None:
    """The second one begins with what the first one left, although it has no retries."""
    for _ in range(10):
        before = int(await content(bus) or 0)
        pair = [await begun(bus), await begun(bus)]
        left = [await saved(bus, str(before + 1)) for _ in pair]
        done = await asyncio.gather(*(ended(bus, run, state) for run, state in zip(pair, left, strict=True)))
        (winner,) = [run for run in done if run.status is RunStatus.SUCCESS]
        (other,) = [run for run in done if run is not winner]
        assert isinstance(other.state, Pending)
        assert other.attempts[-1].error_type is RunErrorType.STATE_CONFLICT
        assert f"by run {winner.id}" in (other.attempts[-1].error_message or "")
        again = await begun(bus, other, attempt=2)
        assert (await ended(bus, again, await saved(bus, str(before + 2)))).status is RunStatus.SUCCESS
        assert await content(bus) == str(before + 2)


async def test_a_run_gives_up_after_many_conflicts(bus: Bus) -> None:
    """They do not count as retries, and the waits grow."""
    run, waits = await begun(bus, version=7), []
    for attempt in range(2, STATE_CONFLICTS_MAX + 2):
        run = await ended(bus, run, await saved(bus, "x"))
        assert isinstance(run.state, Pending)
        waits.append((run.state.not_before - run.attempts[-1].finished_at).total_seconds())
        run = await begun(bus, run, attempt=attempt, version=7)
    run = await ended(bus, run, await saved(bus, "x"))
    assert (run.status, run.attempts[-1].error_type) == (RunStatus.FAILED, RunErrorType.STATE_CONFLICT)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]


async def test_conflicts_use_up_no_retry(bus: Bus) -> None:
    runs, run = RunStore(bus), a_run("demo", keeps_state=True, retry_attempts=1)
    assert await runs.create(run, None)
    run = await ended(bus, await begun(bus, run, version=7), await saved(bus, "x"))
    for attempt, is_over in ((2, False), (3, True)):
        held = await begun(bus, run, attempt=attempt)
        run = await ended(bus, held, None, error_type=RunErrorType.SCRIPT_ERROR)
        assert run.is_over is is_over


async def test_a_reset_empties_the_state_and_conflicts_with_a_run_at_work(bus: Bus) -> None:
    states = StateStore(bus)
    assert (await states.reset(DEMO, by="api", at=now())).versions == ()
    await ended(bus, await begun(bus), await saved(bus, "1"))
    working = await begun(bus)
    head = await states.reset(DEMO, by="api", at=now())
    assert (head.number, head.versions[0].by, await content(bus)) == (2, "api", None)
    run = await ended(bus, working, await saved(bus, "2"))
    assert run.attempts[-1].error_type is RunErrorType.STATE_CONFLICT
    assert "by a reset" in (run.attempts[-1].error_message or "")
    assert len((await states.head(DEMO)).versions) == 2


async def test_an_unreadable_record_is_a_conflict_until_the_state_is_reset(bus: Bus) -> None:
    """No number of a version comes again."""
    working = await begun(bus)
    await bus.commit(subjects.RUNS, [Put(subjects.state_key(DEMO), b"garbage")])
    run = await ended(bus, working, await saved(bus, "1"))
    assert "reset the state" in (run.attempts[-1].error_message or "")
    with pytest.raises(FastFlowError):
        await StateStore(bus).head(DEMO)
    head = await StateStore(bus).reset(DEMO, by="api", at=now())
    assert head.number > 1
    assert (await ended(bus, await begun(bus), await saved(bus, "2"))).status is RunStatus.SUCCESS


async def test_history_is_bounded_and_what_it_drops_is_removed(bus: Bus) -> None:
    for number in range(1, HISTORY_MAX + 4):
        await ended(bus, await begun(bus), await saved(bus, str(number % 2)))  # equal states have archives of their own
    head = await StateStore(bus).head(DEMO)
    assert [each.number for each in head.versions] == list(range(HISTORY_MAX + 3, 3, -1))
    assert await archives(bus) == HISTORY_MAX
    for version in head.versions:
        assert unpack(await StateStore(bus).archive(version))


async def test_what_nothing_refers_to_is_collected_after_a_day(bus: Bus) -> None:
    """The archives of attempts that were never recorded, and half an upload, but none of the history."""
    await ended(bus, await begun(bus), await saved(bus, "1"))
    await saved(bus, "lost")
    half = subjects.object_chunks(subjects.STATES, "0" * 32)
    await bus.publish(half, b"a chunk of a runner that died")
    today, later = StatesCollector(bus), StatesCollector(bus, clock=lambda: now() + timedelta(days=2))
    assert [await today.collect(), await today.collect()] == [0, 0]
    assert [await later.collect(), await later.collect(), await later.collect()] == [0, 2, 0]
    assert (await archives(bus), await content(bus)) == (1, "1")
    assert not await bus.subjects_in(streams.object_stream(subjects.STATES), half)


async def test_a_state_that_became_old_in_a_moment_waits_for_the_end_of_its_run(bus: Bus) -> None:
    """The bus was away for two days, between the state and the end of its run. A collector may be the first back."""
    run, left = await begun(bus), await saved(bus, "1")
    collector = StatesCollector(bus, clock=lambda: now() + timedelta(days=2))
    assert await collector.collect() == 0
    assert (await ended(bus, run, left)).status is RunStatus.SUCCESS
    assert await collector.collect() == 0
    assert await content(bus) == "1"


async def test_collectors_take_nothing_from_runs_that_commit_at_the_same_time(bus: Bus) -> None:
    """Three of them, round after round, while every state is old at once, as after a long sleep."""
    collectors = [StatesCollector(bus, clock=lambda: now() + timedelta(days=2)) for _ in range(3)]
    for number in range(1, 6):
        run, left = await begun(bus), await saved(bus, str(number))
        fresh = [StatesCollector(bus, clock=lambda: now() + timedelta(days=2)) for _ in range(3)]
        await asyncio.gather(ended(bus, run, left), *(each.collect() for each in fresh))
        await asyncio.gather(*(each.collect() for each in collectors))
        assert await content(bus) == str(number)
    assert await archives(bus) == 5


async def test_a_state_outlives_the_age_of_run_records(bus: Bus) -> None:
    """The bucket of the runs removes what is old; a pipeline that rests for long keeps its state."""
    await ended(bus, await begun(bus), await saved(bus, "1"))
    stream = await bus.stream(streams.bucket_stream(subjects.RUNS))
    await bus.js.update_stream(dataclasses.replace(stream.config, max_age=1, duplicate_window=1))
    async with asyncio.timeout(30):
        while (await bus.stream(streams.bucket_stream(subjects.RUNS))).state.messages > 1:
            await asyncio.sleep(0.1)
    assert await content(bus) == "1"


@pytest.mark.parametrize("data", [b"", b"x", b"\x1f\x8b" + b"\0" * 20])
def test_bytes_that_are_no_archive_are_refused(data: bytes) -> None:
    with pytest.raises(BadArchive):
        unpack(data)
