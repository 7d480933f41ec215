"""The variables of a run: those of its start, and those by which it knows its chain."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from fastflow_contracts.names import PipelineName
from fastflow_contracts.runs.run import ParentRun, RunErrorType, RunInput, Running, RunStatus
from fastflow_runner.attempts.job import PARENT_VARIABLES, environment, job
from fastflow_runner.environments.store import ReadyEnvironment
from tests.support.ids import fresh_run_id
from tests.support.records import a_run, at

RUNNING = Running(attempt=1, runner="r1", epoch=1, claimed_at=at(0))


def test_a_run_that_follows_none_has_no_parent_even_if_given_one() -> None:
    """The variables are there and empty; neither a pipeline nor a trigger can set them."""
    run = replace(a_run(), state=RUNNING)
    given = RunInput(env={"FASTFLOW_PARENT_STATUS": "x"}, overrides={"FASTFLOW_ROOT_RUN_ID": "y"})
    env = environment(run, given, {"FASTFLOW_PARENT_URL": "z"}, public_url="https://f.example")
    assert [env[name] for name in PARENT_VARIABLES] == [""] * len(PARENT_VARIABLES)
    assert (env["FASTFLOW_ROOT_RUN_ID"], env["FASTFLOW_RUN_URL"]) == (run.id, f"https://f.example/runs/{run.id}")


def test_a_run_that_follows_one_knows_how_it_ended() -> None:
    """What is missing is empty, and so are links if the address is unknown; a NUL fits into no variable."""
    root, parent = fresh_run_id(), fresh_run_id()
    run = replace(a_run(root_run_id=root, parent_run_id=parent), state=RUNNING)
    ended = ParentRun(
        run_id=parent,
        pipeline=PipelineName("load"),
        status=RunStatus.FAILED,
        error_type=RunErrorType.LOST,
        error_message="a\0b",
    )
    env = environment(run, RunInput(parent=ended), {})
    assert [env[name] for name in PARENT_VARIABLES] == [parent, "load", "FAILED", "", "lost", "ab", ""]
    assert (env["FASTFLOW_ROOT_RUN_ID"], env["FASTFLOW_RUN_URL"]) == (root, "")
    well = replace(ended, status=RunStatus.SUCCESS, exit_code=0, error_type=None, error_message=None)
    env = environment(run, RunInput(parent=well), {}, public_url="http://f")
    assert [env[name] for name in PARENT_VARIABLES[2:]] == ["SUCCESS", "0", "", "", f"http://f/runs/{parent}"]


def test_a_parameter_that_is_a_value_only_is_no_variable() -> None:
    """It does not replace one of the pipeline, either."""
    run = replace(a_run(parameter_names=("n", "MODE")), state=RUNNING)
    given = RunInput(env={"n": "1"}, overrides={"n": "2", "MODE": "dry"}, not_variables=("n",))
    env = environment(run, given, {})
    assert (env["n"], env["MODE"]) == ("1", "dry")


@pytest.mark.parametrize(
    ("own", "most", "watched"), [(None, None, None), (5, None, 5), (None, 7, 7), (5, 7, 5), (9, 7, 7)]
)
def test_the_lower_of_two_memory_limits_is_watched(own: int | None, most: int | None, watched: int | None) -> None:
    """The supervisor holds a run to the share of its runner, too, where no control group does."""
    run = replace(a_run(), state=RUNNING)
    run = replace(run, order=replace(run.order, limits=replace(run.order.limits, memory_bytes=own)))
    ready = (ReadyEnvironment(None),)
    made = job(run, RunInput(), {}, prepared=ready, cell_runner="", dead_after_s=60.0, memory_bytes_max=most)
    assert made.memory_bytes == watched
