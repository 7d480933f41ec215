"""A run that waits for a limit of its own says which place it has."""

from __future__ import annotations

from msgspec.structs import replace

from fastflow_contracts.ids import run_id_for_key
from fastflow_contracts.names import PipelineName
from fastflow_contracts.runs.run import Ended, Pending, Running, RunRecord, Turn, Verdict
from fastflow_gateway.readmodel.turns import Turns
from fastflow_gateway.views.waiting import NO_RUNNER, Capacity, waiting_on
from tests.support.records import a_run, at

NAME = PipelineName("etl")
RUNNING = Running(attempt=1, runner="r1", epoch=1, claimed_at=at(1))
NOW = at(1_000)


def waiting(number: int, *, key: str = "acme", limit: int = 1, priority: int = 0) -> RunRecord:
    run = a_run()
    turn = Turn(limit=limit, token=f"{len(key):032x}", key=key)
    return replace(
        run,
        id=run_id_for_key(NAME, f"{key}{number}"),
        pipeline=NAME,
        created_at=at(number),
        order=replace(run.order, turn=turn, priority=priority),
        state=Pending(attempt=1, not_before=at(number)),
    )


def reason(turns: Turns, run: RunRecord) -> str | None:
    return waiting_on(run, capacity=Capacity(place_of=turns.place), now=NOW)


def test_a_waiting_run_says_its_place_among_those_of_its_key() -> None:
    turns = Turns()
    runs = [waiting(number) for number in range(1, 13)]
    for run in [*reversed(runs), waiting(0, key="other one")]:
        turns.put(run)
    turns.put(replace(runs[0], state=RUNNING))
    assert reason(turns, runs[1]) == "its turn: 1st of 11 for key acme (1 of 1 running)"
    assert reason(turns, runs[2]) == "its turn: 2nd of 11 for key acme (1 of 1 running)"
    assert reason(turns, runs[3]) == "its turn: 3rd of 11 for key acme (1 of 1 running)"
    assert reason(turns, runs[11]) == "its turn: 11th of 11 for key acme (1 of 1 running)"


def test_a_higher_priority_of_the_same_key_has_a_place_before_older_runs() -> None:
    turns = Turns()
    runs = [waiting(number, priority=priority) for number, priority in enumerate((0, -1, 0, 1))]
    for run in runs:
        turns.put(run)
    turns.put(replace(runs[0], state=RUNNING))
    for run, place in zip(runs[1:], ("3rd", "2nd", "1st"), strict=True):
        assert reason(turns, run) == f"its turn: {place} of 3 for key acme (1 of 1 running)"


def test_a_run_whose_turn_it_is_waits_for_a_runner() -> None:
    turns = Turns()
    first, second = waiting(1, limit=2), waiting(2, limit=2)
    for run in (first, second):
        turns.put(run)
    assert reason(turns, first) == reason(turns, second) == NO_RUNNER
    third = waiting(3, key="", limit=1)
    turns.put(third)
    turns.put(replace(waiting(2, key=""), state=RUNNING))
    assert reason(turns, third) == "its turn: 1st of 1 (1 of 1 running)"


def test_runs_that_are_over_or_removed_make_room() -> None:
    turns = Turns()
    first, second, third = waiting(1), waiting(2), waiting(3)
    for run in (replace(first, state=RUNNING), second, third):
        turns.put(run)
    turns.put(replace(first, state=Ended(verdict=Verdict.SUCCESS, at=at(9))))
    assert reason(turns, second) == NO_RUNNER
    assert reason(turns, third) == "its turn: 2nd of 2 for key acme (0 of 1 running)"
    turns.remove(second.id)
    assert reason(turns, third) == NO_RUNNER
