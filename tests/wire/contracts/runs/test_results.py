"""Results beside the records of their runs, on a real bus."""

from __future__ import annotations

import asyncio

import pytest

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.clock import now
from fastflow_contracts.pipelines.format.retry import FixedDelay
from fastflow_contracts.runs.result import RESULT_BYTES_MAX
from fastflow_contracts.runs.run import RunErrorType, RunRecord
from fastflow_contracts.runs.state_machine import Adopt, AttemptOutcome, Cancel, Claim, Expire, Finish, Prepare
from fastflow_contracts.runs.store import NoSuchRun, RunStore, Stored
from tests.support.records import a_run

LARGEST = b'"' + b"x" * (RESULT_BYTES_MAX - 2) + b'"'


def ended(result: bytes | None, *, failed: bool = False, stopped: bool = False) -> AttemptOutcome:
    error = RunErrorType.SCRIPT_ERROR if failed else None
    return AttemptOutcome(finished_at=now(), error_type=error, stopped=stopped, result=result)


async def held(bus: Bus, run: RunRecord, attempt: int = 1) -> RunRecord:
    """Return *run* as runner r1 holds it."""
    runs = RunStore(bus)
    claimed = (await runs.change(run.ref, Claim(attempt=attempt, runner="r1"))).run
    return (await runs.change(run.ref, Prepare(epoch=claimed.epoch))).run


async def started(bus: Bus, run: RunRecord | None = None) -> RunRecord:
    run = run or a_run("demo")
    assert await RunStore(bus).create(run, None)
    return await held(bus, run)


@pytest.mark.parametrize("result", [b"null", b'{"rows": 1.50}', LARGEST])
@pytest.mark.parametrize(("failed", "stopped"), [(False, False), (True, False), (False, True)])
async def test_whoever_sees_the_end_finds_the_result(bus: Bus, result: bytes, *, failed: bool, stopped: bool) -> None:
    """However the run ends; the record has only its size."""
    run, runs = await started(bus), RunStore(bus)
    assert await runs.result(run) is None
    done = await runs.change(run.ref, Finish(epoch=run.epoch, outcome=ended(result, failed=failed, stopped=stopped)))
    assert (done.run.result_bytes, await runs.result(done.run)) == (len(result), result)
    assert (await runs.load(run.ref)).run.state == done.run.state
    entry = await bus.get(subjects.RUNS, subjects.run_key(run.ref))
    assert entry is not None
    assert len(entry.value) < 2000


async def test_the_result_of_the_last_attempt_counts(bus: Bus) -> None:
    """That of an attempt that is followed by another is not stored."""
    runs = RunStore(bus)
    run = await started(bus, a_run("demo", retry_attempts=1, retry_strategy=FixedDelay(delay=0)))
    again = (await runs.change(run.ref, Finish(epoch=run.epoch, outcome=ended(b"1", failed=True)))).run
    assert (again.result_bytes, await bus.get(subjects.RUNS, subjects.result_key(run.ref))) == (None, None)
    second = await held(bus, run, attempt=2)
    done = (await runs.change(run.ref, Finish(epoch=second.epoch, outcome=ended(None, failed=True)))).run
    assert (done.result_bytes, await runs.result(done)) == (None, None)


async def test_a_former_holder_s_result_is_not_stored(bus: Bus) -> None:
    """Nor one that comes after the end."""
    run, runs = await started(bus), RunStore(bus)
    adopted = (await runs.change(run.ref, Adopt(runner="r2", epoch=run.epoch))).run
    late = await runs.change(run.ref, Finish(epoch=run.epoch, outcome=ended(b'"former"')))
    assert (late.events, await runs.result(late.run)) == ((), None)
    done = (await runs.change(run.ref, Finish(epoch=adopted.epoch, outcome=ended(b'"mine"')))).run
    again = await runs.change(run.ref, Finish(epoch=adopted.epoch, outcome=ended(b'"twice"')))
    assert (again.events, await runs.result(done)) == ((), b'"mine"')


async def test_a_run_that_is_lost_or_never_began_has_no_result(bus: Bus) -> None:
    run, runs = await started(bus), RunStore(bus)
    lost = (await runs.change(run.ref, Expire(epoch=run.epoch, reason="gone"))).run
    other = a_run("demo")
    assert await runs.create(other, None)
    cancelled = (await runs.change(other.ref, Cancel())).run
    assert [await runs.result(each) for each in (lost, cancelled)] == [None, None]


async def test_one_of_many_reports_of_an_end_counts_whole(bus: Bus) -> None:
    """Record and result are of the same report."""
    run = await started(bus)
    outcomes = [ended(str(number).encode() * (number + 1), failed=bool(number % 2)) for number in range(10)]
    changes = (RunStore(bus).change(run.ref, Finish(epoch=run.epoch, outcome=each)) for each in outcomes)
    (winner,) = [each for each, change in zip(outcomes, await asyncio.gather(*changes), strict=True) if change.events]
    stored = (await RunStore(bus).load(run.ref)).run
    assert await RunStore(bus).result(stored) == winner.result
    assert (stored.result_bytes, stored.attempts[-1].error_type) == (len(winner.result or b""), winner.error_type)


async def test_a_run_is_removed_with_its_result(bus: Bus) -> None:
    """One that was created again under its id keeps its own."""
    runs, run = RunStore(bus), a_run("demo")
    first = await started(bus, run)
    done = (await runs.change(run.ref, Finish(epoch=first.epoch, outcome=ended(b"1")))).stored
    await runs.remove(done)
    with pytest.raises(NoSuchRun):
        await runs.load(run.ref)
    assert await bus.get(subjects.RUNS, subjects.result_key(run.ref)) is None
    second = await started(bus, run)
    new = (await runs.change(run.ref, Finish(epoch=second.epoch, outcome=ended(b"2")))).run
    await runs.remove(Stored(done.run, done.revision))
    assert await runs.result(new) == b"2"


async def test_many_runs_end_with_results_at_once(bus: Bus) -> None:
    """As a burst of calls does, through one runner: each has its own."""
    runs = RunStore(bus)
    held_runs = await asyncio.gather(*(started(bus, a_run("demo")) for _ in range(100)))
    results = [b'"%s"' % (str(number).encode() * 20_000) for number in range(100)]
    changes = (
        runs.change(run.ref, Finish(epoch=run.epoch, outcome=ended(result)))
        for run, result in zip(held_runs, results, strict=True)
    )
    done = await asyncio.gather(*changes)
    assert [await runs.result(each.run) for each in done] == results
