"""What the scheduler does about runs that are not over, and when."""

from __future__ import annotations

from msgspec.structs import replace

from fastflow_contracts.bus.subjects import Kind
from fastflow_contracts.runs.lease import Lease
from fastflow_contracts.runs.run import RunErrorType, RunRecord
from fastflow_contracts.runs.state_machine import (
    AttemptOutcome,
    Claim,
    Finish,
    Prepare,
    decide,
    fold,
)
from fastflow_contracts.starting.lanes import Lane
from fastflow_scheduler.maintenance.due_work import (
    RENEW_AFTER,
    DueWork,
    ExpireRun,
    RenewRun,
)
from tests.support.records import a_presence, a_run, at

LEASE = Lease(fence_s=60.0)


def due_work() -> DueWork:
    made = DueWork(LEASE)
    made.see_runner(a_presence(), at=0)
    return made


def claimed(run: RunRecord, *, seconds: float = 1, prepared: bool = True) -> RunRecord:
    run = fold(run, decide(run, Claim(attempt=1, runner="r1"), now=at(seconds)))
    return fold(run, decide(run, Prepare(epoch=run.epoch), now=at(seconds))) if prepared else run


def failed(run: RunRecord, *, seconds: float) -> RunRecord:
    outcome = AttemptOutcome(finished_at=at(seconds), error_type=RunErrorType.SCRIPT_ERROR)
    assert run.epoch
    return fold(run, decide(run, Finish(epoch=run.epoch, outcome=outcome), now=at(seconds)))


def test_a_run_of_a_silent_runner_expires_only_after_its_sandbox_has_ended() -> None:
    """Lease, fence and margin pass after its last sign of life."""
    made, run = due_work(), claimed(a_run())
    made.see_run(run, at=10, stored_at=at(10))
    made.see_runner(a_presence("r1"), at=20)
    limit = 20 + LEASE.take_over_s
    assert made.actions(now=at(limit - 1), at=limit - 1) == []
    (action,) = made.actions(now=at(limit), at=limit)
    assert isinstance(action, ExpireRun)
    assert (action.run, action.epoch) == (run, 1)


def test_after_losing_the_bus_every_runner_gets_its_full_time_again() -> None:
    """The scheduler could not hear the runner either."""
    made, run = due_work(), claimed(a_run())
    made.see_run(run, at=0, stored_at=at(0))
    made.forget_silence(at=500)
    assert made.actions(now=at(501), at=501) == []


def test_an_ended_run_needs_nothing() -> None:
    """It is forgotten."""
    made, run = due_work(), claimed(a_run())
    made.see_run(run, at=0, stored_at=at(0))
    made.see_run(failed(run, seconds=3), at=3, stored_at=at(3))
    assert made.actions(now=at(9999), at=9999) == []


def test_the_record_of_a_run_that_lasts_for_months_is_written_again() -> None:
    """The bus drops old records."""
    made, run = due_work(), claimed(a_run())
    made.see_run(run, at=0, stored_at=at(0))
    made.see_runner(a_presence(), at=RENEW_AFTER.total_seconds())
    then = at(RENEW_AFTER.total_seconds())
    assert made.actions(now=then, at=RENEW_AFTER.total_seconds()) == [RenewRun(run)]
    made.see_run(run, at=0, stored_at=then)
    assert made.actions(now=then, at=RENEW_AFTER.total_seconds()) == []


def free(made: DueWork, *, at: float) -> dict[str, int]:
    slots = made.free_slots(at=at)
    kinds: tuple[Kind, ...] = ("script", "notebook")
    return {kind: number for kind in kinds if (number := slots.get(Lane(kind))) is not None}


def test_the_slots_that_are_free_are_those_of_runners_that_take_work() -> None:
    """Without the runs that they hold; of a kind that no runner takes there is no number."""
    made = DueWork(LEASE)
    made.see_runner(a_presence("r1", slots=3), at=0)
    made.see_runner(a_presence("r2", slots=2, kinds=("script", "notebook")), at=0)
    run = claimed(a_run())
    made.see_run(run, at=0, stored_at=at(0))
    assert free(made, at=0) == {"script": 4, "notebook": 2}
    made.see_runner(replace(a_presence("r2", slots=2, kinds=("script", "notebook")), paused=True), at=0)
    assert free(made, at=0) == {"script": 2, "notebook": 0}
    made.see_runner(replace(a_presence("r2"), leaving=True), at=0)
    assert free(made, at=0) == {"script": 2}
    made.see_run(failed(run, seconds=3), at=3, stored_at=at(3))
    assert free(made, at=3) == {"script": 3}
    assert free(made, at=LEASE.lease_s + 1) == {}
