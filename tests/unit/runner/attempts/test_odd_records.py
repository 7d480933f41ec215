"""Whatever decodes, a runner can make a job of it: a run and its input, with odd values in them."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from fastflow_contracts.runs.run import RUN, RUN_INPUT, Running
from fastflow_runner.attempts.job import cell_orders, environment
from tests.support.corruption import an_input, fresh_dice, in_any_state, odd
from tests.support.profile import lasting
from tests.support.records import at

pytestmark = pytest.mark.simulation


def test_any_run_and_input_make_a_job() -> None:
    """The orders of the cell runner are JSON, and every variable is a text."""
    dice = fresh_dice()
    for _ in range(lasting(500, long=3_000)):
        running = Running(attempt=1, runner="r", epoch=1, claimed_at=at(0))
        run = replace(odd(dice, RUN, in_any_state(dice)), state=running)
        given = odd(dice, RUN_INPUT, an_input())
        json.loads(cell_orders(run, given, {"S": "x"}, python="python"))
        assert all(isinstance(value, str) for value in environment(run, given, {}).values())
