"""Runs that a pause holds get no hints, and keep their places."""

from __future__ import annotations

from msgspec.structs import replace

from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.pauses import NOT_PAUSED, PauseRecord, PauseSet
from fastflow_contracts.runs.state_machine import Release, decide, fold
from tests.support.records import T0, a_run, at
from tests.unit.scheduler.starting.test_hint_queue import FREE, Scene, claimed, failed

PAUSE = PauseRecord(reason="maintenance", at=T0)
ALL = PauseSet(installation=PAUSE)


def test_no_new_run_is_hinted_during_a_pause_and_all_are_after_it_the_oldest_first() -> None:
    scene = Scene(is_following=True)
    before = scene.see(a_run(created=0), at=-10)
    scene.queue.hold(ALL)
    assert not scene.create(a := a_run(created=1), seconds=1)
    b = scene.see(a_run(created=2), at=2)
    scene.look(seconds=5)
    assert scene.due(seconds=5) == []
    assert not scene.queue.wants_look(FREE, now=at(60), at=60)
    assert scene.queue.next_due_s(now=at(60)) == float("inf"), "it does not look all the time"
    scene.queue.hold(NOT_PAUSED)
    assert scene.hinted(seconds=60) == [before, a, b]


def test_a_pause_of_one_pipeline_holds_no_other() -> None:
    scene = Scene()
    scene.queue.hold(PauseSet(pipelines={PipelineName("etl"): PAUSE}))
    scene.see(a_run("etl"))
    other = scene.see(a_run("other"))
    assert scene.hinted() == [other]
    scene.queue.hold(NOT_PAUSED)
    assert [run.pipeline for run in scene.hinted()] == ["etl"]


def test_the_retry_of_a_run_that_is_under_way_is_hinted_and_not_kept_behind_new_runs() -> None:
    scene = Scene()
    scene.queue.hold(ALL)
    run = a_run(created=0)
    run = replace(run, order=replace(run.order, retry_attempts=2))
    for seconds in range(3):
        scene.see(a_run(created=-seconds))
    retry = scene.see(failed(claimed(run), seconds=2))
    assert scene.hinted(seconds=1000) == [retry]


def test_a_run_that_a_runner_gave_back_for_a_pause_is_hinted_at_once_when_that_ends() -> None:
    """Its hint was taken, although its record looks as before."""
    scene = Scene(is_following=True)
    run = scene.see(a_run(), at=-10)
    scene.look(seconds=0)
    assert scene.hinted() == [run]
    scene.queue.hold(ALL)
    taken = scene.see(claimed(run, prepared=False))
    held = fold(taken, decide(taken, Release(epoch=taken.epoch, reason="paused", held=True), now=at(2)))
    assert held.state == run.state
    scene.see(held, at=2)
    scene.queue.hold(NOT_PAUSED)
    assert scene.hinted(seconds=3) == [held]


def test_a_run_that_was_cancelled_during_the_pause_is_not_hinted_after_it() -> None:
    scene = Scene()
    scene.queue.hold(ALL)
    run = scene.see(a_run())
    scene.queue.forget(run.id)
    scene.queue.hold(NOT_PAUSED)
    assert scene.hinted() == []
