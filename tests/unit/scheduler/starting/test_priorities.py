"""Which waiting run begins first: by priority, by its pipeline's turn, and by the labels that runners have."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from random import Random

import pytest
from msgspec.structs import replace

from fastflow_contracts.runs.run import Pending, RunRecord
from fastflow_contracts.runs.state_machine import Cancel, decide, fold
from fastflow_contracts.starting.hint_queue import AHEAD, HintQueue
from fastflow_contracts.starting.lanes import FreeSlots, Lane, Slots
from fastflow_contracts.starting.priorities import PASSED_MAX
from tests.support.records import a_run, at
from tests.unit.scheduler.starting.test_hint_queue import NONE_FREE, Scene, claimed, failed

SCRIPTS = Lane("script")


def run_of(name: str, priority: int = 0, *labels: str, created: float = 0, kind: str = "script") -> RunRecord:
    run = a_run(name, created=created)
    return replace(run, order=replace(run.order, priority=priority, runs_on=labels, kind=kind))


def served(scene: Scene, count: int) -> list[RunRecord]:
    """The next *count* runs of a runner that takes one after the other."""
    found: list[RunRecord] = []
    now = 1000.0
    for _ in range(count):
        now += 10  # nothing was taken within the last second
        for run in scene.hinted(NONE_FREE, seconds=now):
            found.append(run)
            scene.see(claimed(run, seconds=now), at=now)
    return found[:count]


def test_higher_priorities_begin_first_and_within_one_the_oldest() -> None:
    scene = Scene()
    runs = [scene.see(run_of("p", priority, created=number)) for number, priority in enumerate((-1, 0, 1, -1, 0, 1))]
    expected = [runs[number] for number in (2, 5, 1, 4, 0, 3)]
    assert scene.hinted({SCRIPTS: 6}, seconds=60) == expected


def test_within_one_priority_pipelines_take_turns() -> None:
    """However many runs one of them has, and whatever the others have."""
    scene = Scene()
    for number in range(40):
        scene.see(run_of("bomb", 1, created=number))
    for name in ("a", "b"):
        for number in range(3):
            scene.see(run_of(name, 1, created=100 + number))
    names = [run.pipeline for run in scene.hinted({SCRIPTS: 9 - AHEAD}, seconds=200)]
    assert Counter(names) == {"bomb": 3, "a": 3, "b": 3}


@pytest.mark.parametrize("priorities", [(1, -1), (1, 0), (0, -1), (1, 0, -1)])
def test_no_priority_waits_for_ever(priorities: tuple[int, ...]) -> None:
    """Of runs without end in all of them, each gets a turn again and again; the highest most of them."""
    scene = Scene()
    for priority in priorities:
        for number in range(400):
            scene.see(run_of(f"p{priority}", priority, created=number))
    order = [run.order.priority for run in served(scene, 300)]
    share = Counter(order)
    assert share[priorities[0]] >= 300 * PASSED_MAX / (PASSED_MAX + len(priorities)) - 1
    for priority in priorities[1:]:
        turns = [number for number, each in enumerate(order) if each == priority]
        assert turns[0] <= PASSED_MAX + len(priorities)
        assert max(later - earlier for earlier, later in pairwise(turns)) <= PASSED_MAX + len(priorities)


def test_a_new_run_of_high_priority_passes_all_that_wait() -> None:
    """But for the few whose hints are outstanding."""
    scene = Scene()
    for number in range(100):
        scene.see(run_of("low", -1, created=number))
    ahead = scene.hinted(NONE_FREE, seconds=200)
    assert len(ahead) == AHEAD
    urgent = scene.see(run_of("urgent", 1, created=150))
    for run in ahead:
        scene.see(claimed(run, seconds=210), at=210)
    assert served(scene, 1) == [urgent]


def test_labels_are_asked_of_runners_and_not_of_slots() -> None:
    """A run without labels may go anywhere, one with labels only where all are."""
    free = FreeSlots([Slots(("script",), {"gpu"}, 2), Slots(("script",), {"gpu", "zone-a"}, 3), Slots((), {"x"}, 9)])
    assert free.get(Lane("script")) == 5
    assert free.get(Lane("script", ("gpu",))) == 5
    assert free.get(Lane("script", ("gpu", "zone-a"))) == 3
    for lane in (Lane("script", ("x",)), Lane("script", ("gpu", "x")), Lane("notebook"), Lane("notebook", ("gpu",))):
        assert free.get(lane) is None


def test_a_runner_that_is_kept_for_labels_has_no_slots_for_other_runs() -> None:
    gpu = Slots(("script",), {"gpu"}, 2, only_labelled=True)
    kept = FreeSlots([gpu])
    assert (kept.get(Lane("script")), kept.get(Lane("script", ("gpu",)))) == (None, 2)
    both = FreeSlots([gpu, Slots(("script",), (), 3)])
    assert (both.get(Lane("script")), both.get(Lane("script", ("gpu",)))) == (3, 2)


def test_a_run_whose_labels_no_runner_has_gets_no_hint_and_holds_up_nobody() -> None:
    """Also not as the first one of its pipeline; as soon as a runner has them, it does."""
    scene = Scene()
    plain, with_gpu = FreeSlots([Slots(("script",), (), 1)]), FreeSlots([Slots(("script",), ("gpu",), 1)])
    waiting = [scene.see(run_of("p", 1, "gpu", created=number)) for number in range(20)]
    assert not Scene(is_following=True).create(run_of("p", 1, "gpu"), plain)
    other = scene.see(run_of("p", created=60))
    assert scene.hinted(plain, seconds=90) == [other]
    assert not scene.queue.wants_look(plain, now=at(90), at=90)
    assert scene.queue.wants_look(with_gpu, now=at(90), at=90)
    assert scene.hinted(with_gpu, seconds=90)[0] in waiting


def test_before_all_runs_are_known_a_run_with_labels_waits() -> None:
    """Nobody would remove its hint if no runner has them."""
    assert not Scene().create(run_of("p", 0, "gpu"), FreeSlots([Slots(("script",), ("gpu",), 9)]))


def test_under_the_limit_on_all_runs_the_places_go_by_priority_and_turn() -> None:
    """Not first to scripts, or first to those without labels."""
    free = FreeSlots([Slots(("script", "notebook"), ("gpu",), 100)])
    scene = Scene(concurrent_max=6)
    for number in range(50):
        scene.see(run_of("plain", created=number))
        scene.see(run_of("labelled", 0, "gpu", created=number))
        scene.see(run_of("notebook", created=number, kind="notebook"))
    urgent = scene.see(run_of("urgent", 1, "gpu", created=60))
    found = scene.hinted(free, seconds=90)
    assert found[0] == urgent
    assert Counter(run.pipeline for run in found[1:4]) == {"plain": 1, "labelled": 1, "notebook": 1}
    assert len(found) == 6


def test_a_hint_that_no_runner_can_take_any_more_takes_no_place_under_the_limit() -> None:
    """The last runner with its label has left. It counts again as soon as one is back."""
    plain, with_gpu = FreeSlots([Slots(("script",), (), 9)]), FreeSlots([Slots(("script",), ("gpu",), 9)])
    scene = Scene(concurrent_max=2)
    stranded = [scene.see(run_of("labelled", 0, "gpu", created=number)) for number in range(2)]
    assert scene.hinted(with_gpu, seconds=60) == stranded
    others = [scene.see(run_of("plain", created=number)) for number in range(5)]
    assert scene.hinted(with_gpu, seconds=61) == []
    assert scene.queue.wants_look(plain, now=at(62), at=62)
    assert scene.hinted(plain, seconds=62) == others[:2]
    assert scene.hinted(with_gpu, seconds=63) == []
    for run in others[:2]:
        scene.see(claimed(run, seconds=64), at=64)
    assert scene.hinted(with_gpu, seconds=65) == []


def test_runs_of_high_priority_that_wait_for_full_runners_leave_the_others_their_slots() -> None:
    """As many as they are: the free slots of other runners are filled by what may go there."""
    free = FreeSlots([Slots(("script",), ("gpu",), 0), Slots(("notebook",), (), 20)])
    scene = Scene()
    for number in range(1000):
        scene.see(run_of("urgent", 1, "gpu", created=number))
    for number in range(100):
        scene.see(run_of("later", -1, created=number, kind="notebook"))
    assert Counter(run.pipeline for run in scene.hinted(free, seconds=2000)) == {"urgent": AHEAD, "later": 20 + AHEAD}


def test_a_next_attempt_asks_for_the_labels_of_its_run_and_keeps_its_priority() -> None:
    """It waits while no runner has them, and then begins before what is less urgent."""
    plain, with_gpu = FreeSlots([Slots(("script",), (), 1)]), FreeSlots([Slots(("script",), ("gpu",), 1)])
    scene = Scene()
    template = run_of("train", 1, "gpu")
    run = scene.see(replace(template, order=replace(template.order, retry_attempts=1)))
    assert scene.hinted(with_gpu, seconds=60) == [run]
    begun = scene.see(claimed(run, seconds=61), at=61)
    again = scene.see(failed(begun, seconds=62), at=62)
    later = [scene.see(run_of("etl", created=63 + number)) for number in range(4)]
    assert isinstance(again.state, Pending)
    assert again.state.attempt == 2
    due = 10_000
    assert scene.hinted(plain, seconds=due) == later[:3]
    assert scene.hinted(with_gpu, seconds=due + 1) == [again]
    scene.see(claimed(later[0], seconds=due + 2), at=due + 2)
    assert scene.hinted(with_gpu, seconds=due + 3) == [later[3]]


def test_a_run_that_is_cancelled_while_it_waits_for_a_label_gets_no_hint() -> None:
    with_gpu = FreeSlots([Slots(("script",), ("gpu",), 9)])
    scene = Scene()
    cancelled, other = (scene.see(run_of("train", 0, "gpu", created=number)) for number in range(2))
    assert scene.hinted(FreeSlots(), seconds=60) == []
    scene.see(fold(cancelled, decide(cancelled, Cancel(), now=at(61))))
    assert scene.hinted(with_gpu, seconds=62) == [other]


def test_lanes_of_runs_that_are_over_are_forgotten() -> None:
    """There may be a new set of labels with every version of a pipeline."""
    scene = Scene()
    free = FreeSlots([Slots(("script",), {f"l{number}" for number in range(50)}, 99)])
    for number in range(50):
        (run,) = [scene.see(run_of("p", 0, f"l{number}", created=number))]
        assert scene.hinted(free, seconds=60 + number) == [run]
        scene.see(claimed(run, seconds=61 + number), at=61 + number)
    scene.due(free, seconds=1000)
    assert scene.queue._lanes == {}


@pytest.mark.parametrize("seed", range(5))
def test_schedulers_that_share_the_work_keep_order_shares_and_turns(seed: int) -> None:
    """Three of them, in any order, each killed now and then, with one bus that keeps the hints.

    No run is lost or hinted twice at once, no priority and no pipeline waits for ever, and each is served in order.
    """
    dice = Random(seed)
    scenes = [Scene() for _ in range(3)]
    waiting: dict[str, RunRecord] = {}
    outstanding: dict[str, RunRecord] = {}
    names = [("a", 1), ("b", 1), ("c", 0), ("d", -1), ("e", -1)]
    born = [run_of(name, priority, created=number) for number in range(60) for name, priority in names]
    for run in born:
        waiting[run.id] = run
        for scene in scenes:
            scene.see(run)
    order: list[RunRecord] = []
    now = 1000.0
    while len(order) < len(born):
        now += 2
        if dice.random() < 0.05:  # one is killed, and reads all records again
            victim = dice.randrange(3)
            scenes[victim] = Scene()
            for run in waiting.values():
                scenes[victim].see(run)
        for scene in dice.sample(scenes, 3):
            if dice.random() < 0.3:
                continue
            scene.look(*outstanding.values(), seconds=now)
            for run in scene.hinted(NONE_FREE, seconds=now):
                assert run.id in waiting
                outstanding.setdefault(run.id, run)
        for run in list(outstanding.values())[:1]:
            del outstanding[run.id], waiting[run.id]
            order.append(run)
            for scene in scenes:
                scene.see(claimed(run, seconds=now), at=now - 5)
    assert len({run.id for run in order}) == len(born)
    for name, _ in names:
        of_one = [run.created_at for run in order if run.pipeline == name]
        # Hints that a scheduler has just sent may be taken before an older one of another scheduler.
        oldest_first = sorted(of_one)
        assert max(abs(oldest_first.index(each) - place) for place, each in enumerate(of_one)) <= 3 * AHEAD
    busy = order[:120]
    share = Counter(run.pipeline for run in busy)
    assert share["a"] + share["b"] >= 75
    assert abs(share["a"] - share["b"]) <= 15
    for name in ("c", "d", "e"):
        assert share[name] >= 1, share


def test_a_queue_has_no_lane_before_there_are_runs() -> None:
    assert HintQueue()._lanes == {}
