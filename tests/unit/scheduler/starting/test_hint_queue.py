"""Which waiting run gets a hint next, and how many hints are outstanding."""

from __future__ import annotations

from collections import Counter

import pytest
from msgspec.structs import replace

from fastflow_contracts.bus.subjects import Kind
from fastflow_contracts.pipelines.format.spec import FixedDelay
from fastflow_contracts.runs.run import Pending, RunErrorType, RunRecord
from fastflow_contracts.runs.state_machine import AttemptOutcome, Cancel, Claim, Finish, Prepare, Release, decide, fold
from fastflow_contracts.starting.hint_queue import AHEAD, CREATOR_S, REHINT_S, DueHint, HintQueue
from tests.support.records import a_run, at

FREE: dict[Kind, int] = {"script": 1000}
NONE_FREE: dict[Kind, int] = {"script": 0}


class Scene:
    """A queue, and a bus that numbers the changes."""

    def __init__(self, *, concurrent_max: int = 0, is_following: bool = False) -> None:
        self.queue = HintQueue(concurrent_max=concurrent_max)
        self.queue.is_following = is_following
        self.revision = 0

    def see(self, run: RunRecord, *, at: float = 0) -> RunRecord:
        self.revision += 1
        self.queue.see(run, self.revision, at=at)
        return run

    def create(self, run: RunRecord, free: dict[Kind, int] = FREE, *, seconds: float = 0) -> bool:
        """As the scheduler that creates the run, before the feed brings it."""
        self.revision += 1
        return self.queue.add(run, self.revision, free, now=at(seconds), at=seconds)

    def due(self, free: dict[Kind, int] = FREE, *, seconds: float = 0) -> list[DueHint]:
        return self.queue.due(free, now=at(seconds), at=seconds)

    def hinted(self, free: dict[Kind, int] = FREE, *, seconds: float = 0) -> list[RunRecord]:
        return [hint.run for hint in self.due(free, seconds=seconds)]

    def look(self, *outstanding: RunRecord, seconds: float) -> None:
        found = {(run.id, run.state.attempt) for run in outstanding if isinstance(run.state, Pending)}
        self.queue.see_outstanding(found, at=seconds)


def claimed(run: RunRecord, *, seconds: float = 1, prepared: bool = True) -> RunRecord:
    run = fold(run, decide(run, Claim(attempt=1, runner="r1"), now=at(seconds)))
    return fold(run, decide(run, Prepare(epoch=run.epoch), now=at(seconds))) if prepared else run


def failed(run: RunRecord, *, seconds: float) -> RunRecord:
    outcome = AttemptOutcome(finished_at=at(seconds), error_type=RunErrorType.SCRIPT_ERROR)
    return fold(run, decide(run, Finish(epoch=run.epoch, outcome=outcome), now=at(seconds)))


def test_a_new_run_is_hinted_at_once_if_there_is_room() -> None:
    """By the scheduler that created it; its own queue has nothing more to do."""
    scene, run = Scene(is_following=True), a_run()
    assert scene.create(run)
    scene.see(run)
    assert scene.due() == []


def test_a_new_run_of_another_scheduler_is_left_to_that_for_a_moment() -> None:
    """If that one has died, this one hints the run."""
    scene = Scene(is_following=True)
    run = scene.see(a_run())
    assert scene.due() == []
    assert not scene.queue.wants_look(FREE, now=at(0), at=CREATOR_S - 0.1)
    assert scene.queue.wants_look(FREE, now=at(0), at=CREATOR_S)
    scene.look(seconds=CREATOR_S)
    assert scene.due(seconds=CREATOR_S) == [DueHint(run, 1, is_repeat=False)]


def test_a_run_that_the_feed_brings_before_its_creator_knows_is_hinted_once() -> None:
    """By its creator at once if there is room, else from its queue."""
    scene, run, other = Scene(is_following=True), a_run(), a_run()
    for each in (run, other):
        scene.see(each)
        scene.due()
    assert scene.queue.add(run, 1, FREE, now=at(0), at=0)
    assert not scene.queue.add(other, 2, {"script": -AHEAD}, now=at(0), at=0)
    assert scene.hinted() == [other]


def test_a_run_that_moved_on_before_its_creator_knows_is_not_hinted() -> None:
    """It was cancelled at once."""
    scene, run = Scene(is_following=True), a_run()
    scene.see(run)
    scene.see(fold(run, decide(run, Cancel(), now=at(1))))
    assert not scene.queue.add(run, 1, FREE, now=at(1), at=1)
    assert scene.due(seconds=99) == []


def test_before_all_runs_are_known_a_new_run_is_hinted_at_once() -> None:
    """A restarted scheduler reads all records first, which may take a while."""
    assert Scene().create(a_run(), NONE_FREE)
    assert not Scene(concurrent_max=1).create(a_run())


def test_few_hints_are_outstanding_while_no_slot_is_free() -> None:
    """What is outstanding cannot be overtaken. All other runs wait in the queue."""
    scene = Scene(is_following=True)
    assert sum(scene.create(a_run(), NONE_FREE) for _ in range(500)) == AHEAD
    assert scene.due(NONE_FREE) == []
    assert len(scene.due({"script": 3})) == 3


def test_as_many_hints_are_outstanding_as_runners_took_in_the_last_second() -> None:
    """Quick runs never wait for the scheduler."""
    scene = Scene()
    runs = [scene.see(a_run()) for _ in range(100)]
    taken = scene.hinted({"script": 40})
    assert len(taken) == 40 + AHEAD
    for run in taken:
        scene.see(claimed(run), at=0.5)
    assert len(scene.hinted(NONE_FREE, seconds=0.9)) == 42
    assert len(runs) == 100
    scene.look(seconds=0.9)
    assert scene.hinted(NONE_FREE, seconds=3) == []


def test_pipelines_take_turns() -> None:
    """However many runs one of them has waiting, and whichever was first."""
    scene = Scene()
    for number in range(50):
        scene.see(a_run("bomb", created=number))
    for name in ("a", "b"):
        for number in range(3):
            scene.see(a_run(name, created=100 + number))
    names = [run.pipeline for run in scene.hinted({"script": 10}, seconds=200)]
    assert Counter(names) == {"bomb": 6, "a": 3, "b": 3}
    assert [set(names[begin : begin + 3]) for begin in (0, 3, 6)] == [{"bomb", "a", "b"}] * 3


def test_a_pipeline_that_was_not_served_for_long_comes_first() -> None:
    """Also if its run came last, and a slot at a time becomes free."""
    scene = Scene()
    bombs = [scene.see(a_run("bomb", created=number)) for number in range(9)]
    outstanding = scene.hinted(NONE_FREE, seconds=10)
    assert outstanding == bombs[:AHEAD]
    modest = scene.see(a_run("modest", created=10))
    assert scene.hinted(NONE_FREE, seconds=10) == []
    scene.see(claimed(bombs[0]), at=10)
    assert scene.hinted(NONE_FREE, seconds=12) == [modest]


def test_the_runs_of_a_pipeline_are_hinted_oldest_first() -> None:
    """In any order in which they were seen."""
    scene = Scene()
    young, old = scene.see(a_run(created=5)), scene.see(a_run(created=1))
    assert scene.hinted(seconds=20) == [old, young]


def test_a_hint_is_repeated_only_if_it_is_missing() -> None:
    """Not while it is outstanding, however long; later than ``REHINT_S`` after it was."""
    scene = Scene()
    run = scene.see(a_run())
    assert scene.due() == [DueHint(run, 1, is_repeat=False)]
    for seconds in (5, REHINT_S, 2 * REHINT_S):
        scene.look(run, seconds=seconds)
        assert scene.due(seconds=seconds) == []
    scene.look(seconds=3 * REHINT_S - 1)
    assert scene.due(seconds=3 * REHINT_S - 1) == []
    assert scene.queue.wants_look(FREE, now=at(0), at=3 * REHINT_S)
    scene.look(seconds=3 * REHINT_S)
    assert scene.due(seconds=3 * REHINT_S) == [DueHint(run, 1, is_repeat=True)]


def test_a_hint_that_another_scheduler_sent_is_not_sent_again() -> None:
    """The bus says what is outstanding."""
    scene = Scene()
    hinted, other = scene.see(a_run(created=1)), scene.see(a_run(created=2))
    scene.look(hinted, seconds=3)
    assert scene.hinted({"script": 99}, seconds=3) == [other]


def test_the_hint_of_an_earlier_attempt_is_not_one_for_this_attempt() -> None:
    """A stale hint keeps no run from its own."""
    scene, first = Scene(), a_run(retry_attempts=1)
    run = scene.see(failed(claimed(first), seconds=5))
    scene.look(first, seconds=9_999)
    assert scene.hinted(seconds=9_999) == [run]


def test_a_run_that_was_given_back_is_hinted_at_once() -> None:
    """The runner that gave it back is stopping, or has just started."""
    scene, run = Scene(is_following=True), a_run()
    scene.create(run)
    held = scene.see(claimed(scene.see(run), prepared=False), at=1)
    again = scene.see(fold(held, decide(held, Release(epoch=held.epoch, reason="stopping"), now=at(2))), at=2)
    assert scene.hinted(seconds=2) == [again]


def test_a_retry_is_hinted_at_its_instant_and_not_before() -> None:
    """Also by a scheduler that starts meanwhile."""
    scene = Scene()
    run = failed(claimed(a_run(retry_attempts=1, retry_strategy=FixedDelay(delay=30))), seconds=5)
    scene.see(run, at=5)
    assert scene.due(seconds=34) == []
    assert scene.queue.next_due_s(now=at(34)) == 1
    assert scene.hinted(seconds=35) == [run]


def test_a_restart_is_hinted_when_its_cooldown_is_over() -> None:
    """It is a first attempt, but it cannot be claimed when it is created."""
    scene = Scene(is_following=True)
    run = replace(a_run(), state=Pending(attempt=1, not_before=at(3)))
    assert not scene.create(run)
    scene.see(run)
    assert scene.queue.next_due_s(now=at(1)) == 2
    assert scene.due(seconds=2.9) == []
    assert scene.hinted(seconds=3) == [run]


def test_a_record_that_is_written_again_keeps_its_place() -> None:
    """Its hint has the newest revision."""
    scene = Scene()
    run = scene.see(a_run())
    scene.see(replace(run, write_id="x"))
    (hint,) = scene.due()
    assert (hint.run.id, hint.revision) == (run.id, 2)


def test_a_run_that_is_over_or_deleted_is_forgotten() -> None:
    """Nothing of it is left."""
    scene = Scene()
    over, gone = scene.see(a_run()), scene.see(a_run())
    scene.see(fold(over, decide(over, Cancel(), now=at(1))))
    scene.queue.forget(gone.id)
    assert scene.due() == []
    assert not scene.queue.wants_look(FREE, now=at(99), at=99)


@pytest.mark.parametrize("free", [{"notebook": 5}, {"script": 0, "notebook": 5}])
def test_hints_of_a_kind_without_room_do_not_pile_up(free: dict[Kind, int]) -> None:
    """An idle runner of another kind is not a reason to publish more of them."""
    scene = Scene()
    for _ in range(20):
        scene.see(a_run())
    assert len(scene.due(free)) == AHEAD


def test_running_runs_and_hints_together_do_not_exceed_the_limit() -> None:
    """A hint takes a place: its run may start any time."""
    scene = Scene(concurrent_max=3)
    runs = [scene.see(a_run(created=number)) for number in range(6)]
    assert scene.hinted(seconds=9) == runs[:3]
    scene.see(claimed(runs[0]))
    assert scene.hinted(seconds=9) == []
    scene.see(failed(claimed(runs[0]), seconds=9))
    assert scene.hinted(seconds=9) == [runs[3]]


def test_under_the_limit_runs_of_a_kind_without_runners_take_no_place_from_others() -> None:
    """Without this, hints for notebooks would take all places while no runner takes notebooks."""
    scene = Scene(concurrent_max=2)
    for _ in range(3):
        notebook = a_run()
        scene.see(replace(notebook, order=replace(notebook.order, kind="notebook")))
    script = scene.see(a_run(created=1))
    assert scene.hinted({"script": 5}, seconds=1) == [script]
    assert [run.order.kind for run in scene.hinted({"script": 5, "notebook": 5}, seconds=1)] == ["notebook"]
