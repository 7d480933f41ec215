"""A record that decodes can be computed with, however odd its values are, and what becomes of it can be read."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

import pytest

from fastflow_contracts.runs.run import RUN, RunErrorType
from fastflow_contracts.runs.state_machine import (
    Adopt,
    AttemptOutcome,
    Cancel,
    Claim,
    Command,
    CommandRefused,
    Expire,
    Finish,
    Prepare,
    Release,
    decide,
    fold,
)
from tests.support.corruption import fresh_dice, in_any_state, odd, reread
from tests.support.profile import lasting
from tests.support.records import T0

pytestmark = pytest.mark.simulation

LATER = T0 + timedelta(days=1)
FAILED = AttemptOutcome(finished_at=LATER, error_type=RunErrorType.SCRIPT_ERROR, exit_code=1)


def test_no_command_fails_on_a_record_that_decodes() -> None:
    dice = fresh_dice()
    for _ in range(lasting(1_000, long=5_000)):
        run = odd(dice, RUN, in_any_state(dice))
        attempt, epoch = getattr(run.state, "attempt", 1), getattr(run.state, "epoch", run.epoch)
        commands: tuple[Command, ...] = (
            Claim(attempt=attempt, runner="r"),
            Prepare(epoch=epoch),
            Adopt(runner="r", epoch=epoch),
            Release(epoch=epoch, reason="shutdown"),
            Finish(epoch=epoch, outcome=FAILED),
            Expire(epoch=epoch, reason="gone"),
            Cancel(),
        )
        for command in commands:
            with suppress(CommandRefused):
                reread(RUN, fold(run, decide(run, command, now=LATER)))
