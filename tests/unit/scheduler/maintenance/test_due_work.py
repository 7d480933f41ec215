"""What the scheduler does about runs that are not over, and when."""

from __future__ import annotations

from msgspec.structs import replace

from fastflow_contracts.pipelines.format.spec import FixedDelay
from fastflow_contracts.runs.lease import Lease
from fastflow_contracts.runs.run import Pending, RunErrorType, RunRecord
from fastflow_contracts.runs.state_machine import (
    AttemptOutcome,
    Claim,
    Finish,
    Prepare,
    Release,
    decide,
    fold,
)
from fastflow_scheduler.maintenance.due_work import (
    REHINT_S,
    RENEW_AFTER,
    DueWork,
    ExpireRun,
    HintRun,
    RenewRun,
)
from tests.support.records import a_presence, a_run, at

LEASE = Lease(fence_s=60.0)


def due_work(*, room: bool = True) -> DueWork:
    made = DueWork(LEASE)
    made.see_runner(a_presence(busy=0 if room else 10), at=0)
    return made


def claimed(run: RunRecord, *, seconds: float = 1, prepared: bool = True) -> RunRecord:
    run = fold(run, decide(run, Claim(attempt=1, runner="r1"), now=at(seconds)))
    return fold(run, decide(run, Prepare(epoch=run.epoch), now=at(seconds))) if prepared else run


def failed(run: RunRecord, *, seconds: float) -> RunRecord:
    outcome = AttemptOutcome(finished_at=at(seconds), error_type=RunErrorType.SCRIPT_ERROR)
    assert run.epoch
    return fold(run, decide(run, Finish(epoch=run.epoch, outcome=outcome), now=at(seconds)))


def test_a_new_run_is_left_to_the_hint_it_was_created_with() -> None:
    """Nothing is due at once."""
    made = due_work()
    made.see_run(a_run(), at=0, stored_at=at(0))
    assert made.actions(now=at(1), at=1) == []


def test_a_run_that_no_runner_claims_is_hinted_again_and_again() -> None:
    """A lost hint delays a run; it does not lose it."""
    made, run = due_work(), a_run()
    made.see_run(run, at=0, stored_at=at(0))
    assert made.actions(now=at(REHINT_S), at=REHINT_S) == [HintRun(run)]
    assert made.actions(now=at(REHINT_S + 1), at=REHINT_S + 1) == []
    assert made.actions(now=at(2 * REHINT_S), at=2 * REHINT_S) == [HintRun(run)]


def test_nothing_is_repeated_while_every_slot_is_taken() -> None:
    """The hint waits in the queue like the run."""
    made = due_work(room=False)
    made.see_run(a_run(), at=0, stored_at=at(0))
    assert made.actions(now=at(99), at=99) == []


def test_nothing_is_repeated_to_a_runner_whose_daemon_is_away() -> None:
    """Hints would pile up; once its daemon answers they are repeated."""
    made = due_work()
    made.see_runner(replace(a_presence(), paused=True), at=0)
    made.see_run(a_run(), at=0, stored_at=at(0))
    assert made.actions(now=at(99), at=99) == []
    made.see_runner(a_presence(), at=100)
    assert len(made.actions(now=at(100), at=100)) == 1


def test_a_run_that_was_given_back_is_hinted_at_once() -> None:
    """The runner that gave it back is stopping, or has just started."""
    made, run = due_work(), claimed(a_run(), prepared=False)
    made.see_run(run, at=1, stored_at=at(1))
    run = fold(run, decide(run, Release(epoch=run.epoch, reason="stopping"), now=at(2)))
    made.see_run(run, at=2, stored_at=at(2))
    assert made.actions(now=at(2), at=2) == [HintRun(run)]


def test_nothing_is_repeated_while_no_runner_is_connected() -> None:
    """Hints would pile up; the first presence of a runner causes them."""
    made = due_work()
    made.see_run(a_run(), at=0, stored_at=at(0))
    assert made.actions(now=at(99), at=99) == []
    made.see_runner(a_presence(), at=99)
    assert len(made.actions(now=at(99), at=99)) == 1


def test_a_retry_is_hinted_at_its_instant_and_not_before() -> None:
    """Even if no slot is free: it has no hint in the queue yet."""
    made = due_work(room=False)
    run = failed(claimed(a_run(retry_attempts=1, retry_strategy=FixedDelay(delay=30))), seconds=5)
    made.see_run(run, at=5, stored_at=at(5))
    assert made.actions(now=at(34), at=34) == []
    assert made.next_due_s(now=at(34)) == 1
    assert made.actions(now=at(35), at=35) == [HintRun(run)]


def test_a_waiting_retry_found_at_start_up_is_hinted_when_it_is_due() -> None:
    """The former scheduler's timer is gone."""
    made = due_work()
    run = failed(claimed(a_run(retry_attempts=1, retry_strategy=FixedDelay(delay=30))), seconds=5)
    made.see_run(run, at=1000, stored_at=at(1000))
    assert made.actions(now=at(35), at=1000) == [HintRun(run)]


def test_a_restart_is_hinted_when_its_cooldown_is_over() -> None:
    """It is a first attempt, but it has no hint when it is created, because it cannot be claimed yet."""
    made, run = due_work(), a_run()
    run = replace(run, state=Pending(attempt=1, not_before=at(3)))
    made.see_run(run, at=0, stored_at=at(0))
    assert made.next_due_s(now=at(1)) == 2
    assert made.actions(now=at(2.9), at=2.9) == []
    assert made.actions(now=at(3), at=3) == [HintRun(run)]


def test_the_oldest_runs_are_hinted_first() -> None:
    """In any order in which they were seen."""
    made, young, old = due_work(), a_run(created=5), a_run(created=1)
    made.see_run(young, at=0, stored_at=at(0))
    made.see_run(old, at=0, stored_at=at(0))
    assert made.actions(now=at(20), at=20) == [HintRun(old), HintRun(young)]


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


def test_runs_of_a_kind_without_runners_take_no_place_from_others() -> None:
    """Under the limit a hint takes a place; without this, hints for notebooks would take all places while no runner
    takes notebooks.
    """
    made = DueWork(LEASE, concurrent_max=2)
    made.see_runner(a_presence(kinds=("script",)), at=0)
    for _ in range(3):
        notebook = a_run()
        made.see_run(replace(notebook, order=replace(notebook.order, kind="notebook")), at=0, stored_at=at(0))
    script = replace(a_run(), created_at=at(1))
    made.see_run(script, at=1, stored_at=at(1))
    assert made.actions(now=at(1), at=1) == [HintRun(script)]
    made.see_runner(a_presence(runner="r2", kinds=("notebook",)), at=2)
    assert [action.run.order.kind for action in made.actions(now=at(2), at=2)] == ["notebook"]


def test_hints_of_a_kind_without_runners_do_not_pile_up() -> None:
    """An idle runner of another kind is not a reason to repeat them."""
    made, run = DueWork(LEASE), a_run()
    made.see_runner(a_presence(kinds=("script",)), at=0)
    made.see_run(replace(run, order=replace(run.order, kind="notebook")), at=0, stored_at=at(0))
    assert made.actions(now=at(REHINT_S), at=REHINT_S) == []


def test_the_record_of_a_run_that_lasts_for_months_is_written_again() -> None:
    """The bus drops old records."""
    made, run = due_work(), claimed(a_run())
    made.see_run(run, at=0, stored_at=at(0))
    made.see_runner(a_presence(), at=RENEW_AFTER.total_seconds())
    then = at(RENEW_AFTER.total_seconds())
    assert made.actions(now=then, at=RENEW_AFTER.total_seconds()) == [RenewRun(run)]
    made.see_run(run, at=0, stored_at=then)
    assert made.actions(now=then, at=RENEW_AFTER.total_seconds()) == []
