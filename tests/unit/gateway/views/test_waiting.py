"""What a run is waiting for."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.pauses import PauseRecord, PauseSet
from fastflow_contracts.runs.presence import Presence
from fastflow_contracts.runs.run import (
    Pending,
    Running,
)
from fastflow_gateway.views import run_shapes
from fastflow_gateway.views.waiting import ENVIRONMENT, NO_RUNNER, TAKER, Capacity, waiting_on
from tests.support.records import a_presence, a_run, an_attempt, at


def test_a_running_run_waits_for_its_environment_only() -> None:
    """With a ready environment it waits for nothing."""
    state = Running(attempt=1, runner="r1", epoch=1, claimed_at=at(1))
    run = replace(a_run(), state=state)
    assert waiting_on(run, capacity=Capacity(), now=at(2)) == ENVIRONMENT
    ready = replace(run, state=replace(state, prepared_at=at(2)))
    assert waiting_on(ready, capacity=Capacity(), now=at(3)) is None
    assert run_shapes.run(ready, capacity=Capacity(), now=at(3)).started_at == at(2)


@pytest.mark.parametrize(
    ("runners", "waits_for"),
    [
        ((), "a runner: none is connected"),
        ((replace(a_presence(), leaving=True),), "a runner: none is connected"),
        ((replace(a_presence(), paused=True),), "a Docker daemon: those of its runners do not answer"),
        (
            (replace(a_presence(), paused=True), a_presence("r2", slots=1, busy=1)),
            "a free runner slot: 1 of 1 are busy",
        ),
        ((replace(a_presence(), kinds=("notebook",)),), "a runner that takes scripts: none is connected"),
        (
            (replace(a_presence(), labels=("gpu",), only_labelled=True),),
            "a runner that takes runs without labels: none is connected",
        ),
        ((a_presence("r1", slots=1, busy=1), a_presence("r2", slots=2, busy=2)), "a free runner slot: 3 of 3 are busy"),
        ((a_presence("r1", slots=1, busy=1), a_presence("r2", slots=2, busy=1)), "a runner to take it"),
    ],
)
def test_a_waiting_run_names_what_it_waits_for(runners: tuple[Presence, ...], waits_for: str) -> None:
    """It depends on the runners that are connected."""
    assert waiting_on(a_run(), capacity=Capacity(runners), now=at(1)) == waits_for


@pytest.mark.parametrize(
    ("wanted", "runners", "waits_for"),
    [
        (("gpu",), ((),), "a runner with the label gpu: none is connected"),
        (("gpu", "zone-a"), (("gpu",),), "a runner with the label zone-a: none is connected"),
        (("a", "b", "c"), (("x",),), "a runner with the labels a, b and c: none is connected"),
        (
            ("gpu", "zone-a"),
            (("gpu",), ("zone-a",)),
            "a runner with the labels gpu and zone-a: none that takes scripts has all",
        ),
        (("gpu",), (("gpu", "zone-a"),), "a runner to take it"),
    ],
)
def test_a_waiting_run_names_the_labels_that_no_runner_has(
    wanted: tuple[str, ...], runners: tuple[tuple[str, ...], ...], waits_for: str
) -> None:
    """Those that none has at all; else those that none has together."""
    run = a_run()
    run = replace(run, order=replace(run.order, runs_on=wanted))
    there = tuple(replace(a_presence(f"r{number}"), labels=labels) for number, labels in enumerate(runners))
    assert waiting_on(run, capacity=Capacity(there), now=at(1)) == waits_for


def test_a_full_runner_without_the_label_is_no_reason_to_wait() -> None:
    """Nor is a runner with the label that takes other work the one that is missing."""
    run = a_run()
    run = replace(run, order=replace(run.order, runs_on=("gpu",)))
    full = replace(a_presence("r1", slots=1, busy=1), labels=("gpu",))
    assert waiting_on(run, capacity=Capacity((full, a_presence("r2"))), now=at(1)) == (
        "a free runner slot: 1 of 1 are busy"
    )
    notebooks = replace(a_presence("r1", kinds=("notebook",)), labels=("gpu",))
    assert waiting_on(run, capacity=Capacity((notebooks, a_presence("r2"))), now=at(1)) == (
        "a runner with the label gpu: none that takes scripts has it"
    )


def test_with_free_slots_a_waiting_run_names_the_limit() -> None:
    """Only if the limit is reached, and never if another reason is certain."""
    free, full = a_presence(slots=3, busy=2), a_presence(slots=2, busy=2)
    held = Capacity((free,), running=2, running_max=2)
    assert waiting_on(a_run(), capacity=held, now=at(1)) == (
        "the limit on all runs: 2 of 2 are running (MAX_CONCURRENT_RUNS)"
    )
    assert waiting_on(a_run(), capacity=held._replace(running=1), now=at(1)) == TAKER
    assert waiting_on(a_run(), capacity=held._replace(runners=(full,)), now=at(1)) == (
        "a free runner slot: 2 of 2 are busy"
    )


def test_a_run_that_waits_for_its_time_says_what_starts_and_when() -> None:
    """A retry is an attempt; a daemon's restart is not."""
    due = Pending(attempt=1, not_before=at(75))
    restart = replace(a_run(triggered_by="daemon_restart"), state=due)
    assert waiting_on(restart, capacity=Capacity(), now=at(0)) == "its restart, due in 1 min 15 s"
    retry = replace(a_run(retry_attempts=2), attempts=(an_attempt(1),), state=replace(due, attempt=2))
    assert waiting_on(retry, capacity=Capacity(), now=at(74.5)) == "attempt 2 of 3, due in 1 s"
    beyond = replace(retry, order=replace(retry.order, retry_attempts=0))
    assert waiting_on(beyond, capacity=Capacity(), now=at(74.5)) == "attempt 2, due in 1 s"


def test_a_run_that_a_pause_holds_says_who_paused_what_when_and_why() -> None:
    """Until it has begun: a retry, and a run of another pipeline, wait for something else."""
    pause = PauseRecord(reason="the database is being moved", by="Ada", at=at(0))
    of_all, of_one = PauseSet(installation=pause), PauseSet(pipelines={PipelineName("demo"): replace(pause, by="")})
    said = "was paused at 2026-01-01 00:00:00 UTC"
    assert waiting_on(a_run(), capacity=Capacity(pauses=of_all), now=at(1)) == (
        f"the end of a pause: the installation {said} by Ada: the database is being moved"
    )
    assert waiting_on(a_run(), capacity=Capacity(pauses=of_one), now=at(1)) == (
        f"the end of a pause: demo {said}: the database is being moved"
    )
    assert waiting_on(a_run("other"), capacity=Capacity(pauses=of_one), now=at(1)) == NO_RUNNER
    retried = replace(a_run(), attempts=(an_attempt(1),))
    assert waiting_on(retried, capacity=Capacity(pauses=of_all), now=at(1)) == NO_RUNNER
