"""Runs that share a limit begin in order of creation, and a newer one replaces older ones where the limit says so."""

from __future__ import annotations

from random import Random
from typing import Literal

import pytest
from msgspec.structs import replace

from fastflow_contracts.bus.subjects import Kind
from fastflow_contracts.ids import run_id_for_key
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.pauses import NOT_PAUSED, PauseRecord, PauseSet
from fastflow_contracts.runs.run import REPLACED, Pending, RunErrorType, Running, RunRecord, RunStatus, Turn
from fastflow_contracts.runs.state_machine import AttemptOutcome, Cancel, Claim, Command, Finish, Prepare, decide, fold
from fastflow_contracts.starting.hint_queue import REHINT_S, HintQueue
from tests.support.records import a_run, at

FREE: dict[Kind, int] = {"script": 1000}
TOKEN = "0" * 32


class Scene:
    """Records on a bus, and a queue that sees their changes."""

    def __init__(self, *, limit: int = 1, on_limit: Literal["queue", "reject", "replace"] = "queue") -> None:
        self.turn = Turn(limit=limit, token=TOKEN, key="acme", on_limit=on_limit)
        self.runs: list[RunRecord] = []
        self.queue = HintQueue()
        self.queue.is_following = True
        self.now = 0.0

    def create(self, *, turn: Turn | None = None, pipeline: str = "etl") -> int:
        number, name = len(self.runs), PipelineName(pipeline)
        run = a_run()
        created = at(self.now + number / 1000)
        self.runs.append(
            replace(
                run,
                id=run_id_for_key(name, str(number)),
                pipeline=name,
                created_at=created,
                order=replace(run.order, turn=turn or self.turn),
                state=Pending(attempt=1, not_before=created),
            )
        )
        assert not self.queue.add(self.runs[-1], number + 1, FREE, now=at(self.now + 1), at=self.now)
        self.see(number)
        return number

    def see(self, number: int) -> None:
        self.queue.see(self.runs[number], 1_000 + number, at=self.now)

    def do(self, number: int, *commands: Command) -> None:
        for command in commands:
            run = self.runs[number]
            self.runs[number] = fold(run, decide(run, command, now=at(self.now + 2)))
        self.see(number)

    def begin(self, number: int) -> None:
        run = self.runs[number]
        assert isinstance(run.state, Pending)
        self.do(number, Claim(attempt=run.state.attempt, runner="r1"), Prepare(epoch=run.epoch + 1))

    def end(self, number: int, *, stopped: bool = False) -> None:
        self.do(
            number, Finish(epoch=self.runs[number].epoch, outcome=AttemptOutcome(finished_at=at(3), stopped=stopped))
        )

    def hinted(self) -> list[int]:
        hints = self.queue.due(FREE, now=at(self.now + 1), at=self.now)
        return [[run.id for run in self.runs].index(hint.run.id) for hint in hints]

    def replaced(self) -> list[int]:
        return [[run.id for run in self.runs].index(run.id) for run in self.queue.replaced()]


def test_only_as_many_are_hinted_as_the_limit_allows_in_order_of_creation() -> None:
    scene = Scene(limit=2)
    for _ in range(5):
        scene.create()
    assert scene.hinted() == [0, 1]
    assert scene.hinted() == []
    scene.begin(0)
    scene.begin(1)
    assert scene.hinted() == []
    scene.end(1)
    assert scene.hinted() == [2]
    scene.begin(2)
    scene.end(0)
    assert scene.hinted() == [3]


def test_other_keys_and_other_pipelines_do_not_wait() -> None:
    scene = Scene()
    scene.create()
    scene.create()
    scene.create(turn=replace(scene.turn, token="1" * 32))
    scene.create(pipeline="other")
    assert sorted(scene.hinted()) == [0, 2, 3]


def test_a_waiting_run_that_is_cancelled_leaves_the_queue() -> None:
    scene = Scene()
    for _ in range(4):
        scene.create()
    assert scene.hinted() == [0]
    scene.do(1, Cancel())
    scene.do(0, Cancel())
    assert scene.hinted() == [2]


def test_a_deleted_record_gives_its_turn_to_the_next() -> None:
    scene = Scene()
    scene.create()
    scene.create()
    assert scene.hinted() == [0]
    scene.queue.forget(scene.runs[0].id)
    assert scene.hinted() == [1]


def test_a_waiting_retry_holds_no_place_and_comes_back_in_order_of_creation() -> None:
    scene = Scene()
    for _ in range(3):
        scene.create()
    run = scene.runs[0]
    scene.runs[0] = replace(run, order=replace(run.order, retry_attempts=1))
    scene.see(0)
    assert scene.hinted() == [0]
    scene.begin(0)
    scene.do(0, Finish(epoch=1, outcome=AttemptOutcome(finished_at=at(0), error_type=RunErrorType.SCRIPT_ERROR)))
    assert isinstance(scene.runs[0].state, Pending)
    assert scene.hinted() == [1]
    scene.begin(1)
    scene.now = 100
    assert scene.hinted() == []
    scene.end(1)
    assert scene.hinted() == [0]


def test_a_hint_that_was_lost_is_repeated_without_letting_another_in() -> None:
    scene = Scene()
    scene.create()
    scene.create()
    assert scene.hinted() == [0]
    scene.now = REHINT_S + 1
    scene.queue.see_outstanding(set(), at=scene.now)
    assert scene.hinted() == [0]


def test_a_scheduler_that_starts_later_decides_the_same() -> None:
    scene = Scene(limit=2)
    for _ in range(5):
        scene.create()
    scene.begin(0)
    scene.queue = HintQueue()
    for number in (4, 1, 0, 3, 2):
        scene.see(number)
    scene.queue.is_following = True
    assert scene.hinted() == [1]


def test_the_newest_runs_replace_older_ones_until_these_have_ended() -> None:
    scene = Scene(limit=1, on_limit="replace")
    scene.create()
    assert scene.replaced() == []
    assert scene.hinted() == [0]
    scene.begin(0)
    scene.create()
    scene.create()
    assert scene.replaced() == [0, 1]
    assert scene.replaced() == [0, 1]  # until the feed shows that they end
    scene.do(0, Cancel(reason=REPLACED))
    scene.do(1, Cancel(reason=REPLACED))
    assert scene.replaced() == []
    assert scene.runs[1].status is RunStatus.INTERRUPTED
    assert scene.hinted() == []
    scene.end(0, stopped=True)
    assert scene.hinted() == [2]


def test_runs_that_a_pause_holds_hold_no_place_and_go_on_after_it() -> None:
    scene = Scene()
    for _ in range(3):
        scene.create()
    scene.queue.hold(PauseSet(installation=PauseRecord(at=at(0), reason="moving")))
    assert scene.hinted() == []
    scene.queue.hold(NOT_PAUSED)
    assert scene.hinted() == [0]
    scene.queue.hold(NOT_PAUSED)
    assert scene.hinted() == []
    scene.begin(0)
    scene.end(0)
    assert scene.hinted() == [1]


def test_queued_runs_replace_none() -> None:
    scene = Scene(on_limit="queue")
    for _ in range(3):
        scene.create()
    assert scene.replaced() == []


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_the_limit_holds_the_order_holds_and_all_get_their_turn(seed: int) -> None:
    random = Random(seed)
    scene = Scene(limit=random.randint(1, 3))
    began: list[int] = []
    hinted: set[int] = set()
    for step in range(2_000):
        scene.now += 0.001
        if step < 1_000 and random.random() < 0.1:
            scene.create()
        hinted |= set(scene.hinted())
        running = [number for number, run in enumerate(scene.runs) if isinstance(run.state, Running)]
        assert len(running) <= scene.turn.limit
        if hinted and random.random() < 0.5:
            number = min(hinted)
            hinted.remove(number)
            began.append(number)
            scene.begin(number)
        elif running and random.random() < 0.7:
            scene.end(random.choice(running))
        if random.random() < 0.02:  # a scheduler dies; another one has seen the same
            scene.queue = HintQueue()
            hinted.clear()
            for number in random.sample(range(len(scene.runs)), len(scene.runs)):
                scene.see(number)
            scene.queue.is_following = True
    assert began == sorted(began)
    assert len(began) == len(scene.runs) > 20
    assert all(run.is_over for run in scene.runs)
