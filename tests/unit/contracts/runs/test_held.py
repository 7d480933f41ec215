"""A run that a pause holds is given back with its place."""

from __future__ import annotations

from fastflow_contracts.runs.run import Pending
from fastflow_contracts.runs.state_machine import RELEASES_MAX, Cancel, Claim, Release, decide, fold
from tests.support.records import a_run, at


def test_a_run_that_a_pause_holds_keeps_its_place_and_may_be_held_any_number_of_times() -> None:
    """It is not the runner's fault, so the run is never lost for it."""
    run = first = a_run()
    for seconds in range(1, 2 * RELEASES_MAX + 1):
        run = fold(run, decide(run, Claim(attempt=1, runner="r1"), now=at(seconds)))
        release = Release(epoch=run.epoch, reason="paused", held=True)
        run = fold(run, decide(run, release, now=at(seconds)))
        assert run.state == first.state
        assert isinstance(run.state, Pending)
    assert run.releases == 0


def test_a_held_run_that_was_cancelled_meanwhile_is_cancelled() -> None:
    run = a_run()
    run = fold(run, decide(run, Claim(attempt=1, runner="r1"), now=at(1)))
    run = fold(run, decide(run, Cancel(), now=at(2)))
    run = fold(run, decide(run, Release(epoch=run.epoch, reason="paused", held=True), now=at(3)))
    assert run.status == "INTERRUPTED"
