"""The life of a run: single steps first, then any history."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.format.spec import CustomSchedule, FixedDelay
from fastflow_contracts.runs.run import (
    EDGES,
    RUN,
    Ended,
    Order,
    Pending,
    RunErrorType,
    Running,
    RunRecord,
    RunStatus,
)
from fastflow_contracts.runs.state_machine import (
    ERROR_CHARACTERS_MAX,
    RELEASES_MAX,
    Adopt,
    AttemptOutcome,
    Cancel,
    Claim,
    Command,
    CommandRefused,
    Expire,
    Finish,
    NotYet,
    Prepare,
    Release,
    decide,
    fold,
)
from tests.support.ids import fresh_run_id

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def new_run(**order: Any) -> RunRecord:
    wanted = {"kind": "script", "bundle": "b" * 64, "python_version": "3.11", "triggered_by": "api"} | order
    return RunRecord(
        id=fresh_run_id(),
        pipeline=PipelineName("demo"),
        created_at=T0,
        order=Order(**wanted),
        state=Pending(attempt=1, not_before=T0),
    )


def after(run: RunRecord, *commands: Command, seconds: float = 1) -> RunRecord:
    """The run after *commands*, one every *seconds*."""
    for number, command in enumerate(commands, start=1):
        run = fold(run, decide(run, command, now=at(number * seconds)))
    return run


def claim(attempt: int = 1, *, runner: str = "r1") -> Claim:
    return Claim(attempt=attempt, runner=runner)


def success(epoch: int = 1) -> Finish:
    return Finish(epoch=epoch, outcome=AttemptOutcome(finished_at=at(9), started_at=at(2), exit_code=0))


def failure(epoch: int = 1, why: RunErrorType = RunErrorType.SCRIPT_ERROR, **more: Any) -> Finish:
    return Finish(epoch=epoch, outcome=AttemptOutcome(finished_at=at(9), exit_code=1, error_type=why, **more))


def test_a_run_that_is_claimed_and_finishes_well_is_a_success() -> None:
    """PENDING, RUNNING, SUCCESS, with the attempt's facts in the record."""
    run = after(new_run(), claim(), success())
    assert run.status is RunStatus.SUCCESS
    assert [(a.number, a.runner, a.exit_code, a.started_at) for a in run.attempts] == [(1, "r1", 0, at(2))]


def test_a_new_run_is_due_by_any_clock() -> None:
    """Even by that of a runner whose clock is behind."""
    assert fold(new_run(), decide(new_run(), claim(), now=at(-60))).status is RunStatus.RUNNING


def test_a_failed_run_without_retries_is_failed() -> None:
    """A retry happens only if the run asks for it."""
    run = after(new_run(), claim(), failure())
    assert run.status is RunStatus.FAILED
    assert run.attempts[0].error_type is RunErrorType.SCRIPT_ERROR


def test_a_failed_attempt_with_retries_left_waits_under_the_same_id() -> None:
    """The next attempt is due after the strategy's delay, counted from the end of the failed one."""
    run = after(new_run(retry_attempts=1, retry_strategy=FixedDelay(delay=30)), claim(), failure())
    assert run.state == Pending(attempt=2, not_before=at(9 + 30))


def test_each_retry_takes_its_own_delay_and_the_last_failure_ends_the_run() -> None:
    """The number of failed attempts selects the delay."""
    run = new_run(retry_attempts=2, retry_strategy=CustomSchedule(delays=(5.0, 50.0)))
    run = after(run, claim(), failure())
    assert run.state == Pending(attempt=2, not_before=at(14))
    run = fold(run, decide(run, claim(2), now=at(20)))
    run = fold(run, decide(run, failure(epoch=2), now=at(21)))
    assert run.state == Pending(attempt=3, not_before=at(59))
    run = fold(run, decide(run, claim(3), now=at(60)))
    run = fold(run, decide(run, failure(epoch=3), now=at(61)))
    assert run.status is RunStatus.FAILED
    assert [a.number for a in run.attempts] == [1, 2, 3]


def test_a_secret_that_no_key_opens_is_not_tried_again() -> None:
    """A retry would fail in the same way."""
    run = after(new_run(retry_attempts=3), claim(), failure(why=RunErrorType.SECRET_ERROR))
    assert run.status is RunStatus.FAILED


def test_an_attempt_cannot_be_claimed_before_it_is_due() -> None:
    """The runner learns when to come back."""
    run = after(new_run(retry_attempts=1), claim(), failure())
    with pytest.raises(NotYet) as refusal:
        decide(run, claim(2), now=at(10))
    assert refusal.value.until == at(69)


def test_a_hint_for_an_older_attempt_changes_nothing() -> None:
    """It arrived late."""
    run = after(new_run(retry_attempts=1, retry_strategy=FixedDelay(delay=0)), claim(), failure())
    assert decide(run, claim(1), now=at(100)) == ()


def test_only_the_first_of_two_claims_gets_the_run() -> None:
    """The second claimer sees an unchanged record that names the first."""
    run = after(new_run(), claim(runner="r1"))
    assert decide(run, claim(runner="r2"), now=at(2)) == ()


def test_cancelling_a_waiting_run_ends_it_at_once() -> None:
    """No runner holds it."""
    assert after(new_run(), Cancel()).status is RunStatus.INTERRUPTED


def test_cancelling_a_running_run_asks_its_runner_first() -> None:
    """It stays RUNNING until the runner says that it stopped."""
    run = after(new_run(), claim(), Cancel())
    assert run.status is RunStatus.RUNNING
    assert isinstance(run.state, Running)
    assert run.state.cancel_requested_at is not None
    assert after(run, failure()).status is RunStatus.INTERRUPTED


def test_cancel_wins_over_retry() -> None:
    """A run that fails after it was cancelled is not tried again."""
    assert after(new_run(retry_attempts=5), claim(), Cancel(), failure()).status is RunStatus.INTERRUPTED


def test_a_run_that_was_done_before_the_cancel_reached_it_is_a_success() -> None:
    """The record says what really happened."""
    assert after(new_run(), claim(), Cancel(), success()).status is RunStatus.SUCCESS


def test_a_stopped_script_that_exits_with_zero_was_still_interrupted() -> None:
    """It ended because it was stopped."""
    stopped = Finish(epoch=1, outcome=AttemptOutcome(finished_at=at(3), exit_code=0, stopped=True))
    assert after(new_run(), claim(), Cancel(), stopped).status is RunStatus.INTERRUPTED


def test_a_long_error_message_is_shortened_in_the_middle() -> None:
    """What happened is at its beginning or at its end."""
    outcome = AttemptOutcome(
        finished_at=at(3), error_type=RunErrorType.ENVIRONMENT_ERROR, error_message="a" + "x" * 5_000_000 + "z"
    )
    message = after(new_run(), claim(), Finish(epoch=1, outcome=outcome)).attempts[0].error_message
    assert message is not None
    assert len(message) <= ERROR_CHARACTERS_MAX + 3
    assert (message[0], message[-1]) == ("a", "z")


def test_commands_of_a_former_holder_change_nothing() -> None:
    """After an adoption only the new epoch counts."""
    run = after(new_run(), claim(), Adopt(runner="r2", epoch=1))
    assert isinstance(run.state, Running)
    assert (run.state.runner, run.state.epoch) == ("r2", 2)
    assert decide(run, failure(epoch=1), now=at(5)) == ()
    assert after(run, success(epoch=2)).status is RunStatus.SUCCESS


def test_a_run_given_back_before_its_code_ran_uses_up_no_attempt() -> None:
    """Another runner takes the same attempt."""
    run = after(new_run(), claim(), Release(epoch=1, reason="stopping"))
    assert isinstance(run.state, Pending)
    assert run.state.attempt == 1
    assert run.attempts == ()


def test_a_run_whose_code_may_have_run_cannot_be_given_back() -> None:
    """It could run twice."""
    run = after(new_run(), claim(), Prepare(epoch=1))
    with pytest.raises(CommandRefused):
        decide(run, Release(epoch=1, reason="stopping"), now=at(5))


def test_a_run_that_no_runner_can_hold_is_lost_in_the_end() -> None:
    """It is given back only so many times."""
    run = new_run()
    for number in range(RELEASES_MAX + 1):
        run = fold(run, decide(run, claim(), now=at(number)))
        run = fold(run, decide(run, Release(epoch=number + 1, reason="crashed"), now=at(number)))
    assert run.status is RunStatus.FAILED
    assert run.attempts[-1].error_type is RunErrorType.LOST


def test_a_lost_runner_costs_one_attempt_if_code_may_have_run() -> None:
    """Before that it costs none."""
    lost = after(new_run(retry_attempts=1), claim(), Prepare(epoch=1), Expire(epoch=1, reason="silent"))
    assert isinstance(lost.state, Pending)
    assert (lost.state.attempt, lost.attempts[0].error_type) == (2, RunErrorType.LOST)
    early = after(new_run(), claim(), Expire(epoch=1, reason="silent"))
    assert isinstance(early.state, Pending)
    assert early.state.attempt == 1


def test_the_record_survives_the_wire() -> None:
    """Encoding and decoding gives the same run, and unknown fields of a newer version are ignored."""
    run = after(new_run(retry_attempts=1, retry_strategy=FixedDelay(delay=30)), claim(), Cancel(), failure())
    data = RUN.encode(run)
    assert RUN.decode(data) == run
    assert RUN.decode(data.replace(b'{"v":1' if b'{"v":1' in data else b'{"id"', b'{"new_field":[1],"id"', 1)) == run


def test_the_stored_form_of_a_record_stays() -> None:
    """Golden bytes: stored records must stay readable."""
    golden = (
        b'{"id":"00000000-0000-4000-8000-000000000000","pipeline":"demo","created_at":"2026-01-01T00:00:00Z",'
        b'"order":{"kind":"script","bundle":"abc","python_version":"3.11","triggered_by":"api"},'
        b'"state":{"type":"running","attempt":1,"runner":"r1","epoch":1,"claimed_at":"2026-01-01T00:00:01Z"},'
        b'"epoch":1}'
    )
    run = RUN.decode(golden)
    assert isinstance(run.state, Running)
    assert RUN.encode(run) == golden


epochs = st.integers(1, 4)
outcomes = st.builds(
    AttemptOutcome,
    finished_at=st.just(at(5)),
    exit_code=st.sampled_from([None, 0, 1]),
    error_type=st.sampled_from([None, *RunErrorType]),
    stopped=st.booleans(),
)
commands = st.lists(
    st.one_of(
        st.builds(Claim, attempt=st.integers(1, 4), runner=st.sampled_from(["r1", "r2"])),
        st.builds(Prepare, epoch=epochs),
        st.builds(Adopt, runner=st.sampled_from(["r1", "r2"]), epoch=epochs),
        st.builds(Release, epoch=epochs, reason=st.just("r")),
        st.builds(Finish, epoch=epochs, outcome=outcomes),
        st.builds(Cancel),
        st.builds(Expire, epoch=epochs, reason=st.just("e")),
    ),
    max_size=40,
)
orders = st.builds(new_run, retry_attempts=st.integers(0, 3), retry_strategy=st.just(FixedDelay(delay=1)))


@given(orders, commands)
def test_any_history_takes_allowed_steps_and_keeps_the_promises(run: RunRecord, history: list[Command]) -> None:
    """With any commands in any order: each change is an allowed step, ends are final, attempts and epochs only
    grow, and a repeated command changes nothing.
    """
    for number, command in enumerate(history):
        moment = at(number * 10)
        try:
            events = decide(run, command, now=moment)
        except CommandRefused:
            continue
        changed = fold(run, events)
        if events:
            assert changed.status in EDGES[run.status]
        else:
            assert changed == run
        if isinstance(run.state, Ended):
            assert not events
        assert changed.epoch >= run.epoch
        assert [a.number for a in changed.attempts] == list(range(1, len(changed.attempts) + 1))
        assert len(changed.attempts) <= run.order.retry_attempts + 1
        try:
            twice = decide(changed, command, now=moment)
        except CommandRefused:
            twice = ()
        assert twice == () or isinstance(command, Claim | Cancel)
        run = changed
