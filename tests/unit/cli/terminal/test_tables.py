"""The text that commands print. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fastflow.terminal import tables
from fastflow_api import shapes
from fastflow_contracts.ids import RunId
from fastflow_contracts.names import PipelineName
from fastflow_contracts.runs.run import (
    AttemptRecord,
    Ended,
    Order,
    Pending,
    RunErrorType,
    Running,
    RunRecord,
    State,
    Verdict,
)
from fastflow_gateway.views import run_shapes
from fastflow_gateway.views.waiting import Capacity

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def a_run(state: State, *attempts: AttemptRecord) -> shapes.Run:
    """A run as the gateway sends it."""
    order = Order(kind="script", bundle="b", python_version="3.11", triggered_by="manual", retry_attempts=2)
    run_id = RunId("3fa21c00-0000-4000-8000-000000000000")
    name = PipelineName("etl")
    run = RunRecord(id=run_id, pipeline=name, created_at=NOON, order=order, state=state, attempts=attempts)
    return run_shapes.run(run, capacity=Capacity(), now=NOON)


def an_attempt(error: RunErrorType | None, exit_code: int | None, message: str | None = None) -> AttemptRecord:
    return AttemptRecord(
        number=1,
        runner="r",
        claimed_at=NOON,
        finished_at=NOON,
        exit_code=exit_code,
        error_type=error,
        error_message=message,
    )


@given(st.floats(0, 1e9))
def test_every_duration_fits_its_column(seconds: float) -> None:
    """Also very long and negative ones."""
    assert len(tables.duration(seconds)) <= 12


def test_columns_line_up_although_cells_have_colour() -> None:
    """Colour codes have no width, and no line ends with blanks."""
    text = tables.table(("A", "B"), [("\x1b[31mlong cell\x1b[0m", "x"), ("s", "")])
    assert [line.replace("\x1b[31m", "").replace("\x1b[0m", "") for line in text.splitlines()] == [
        "A          B",
        "long cell  x",
        "s",
    ]


def test_a_run_in_the_list_says_what_it_waits_for_or_why_it_failed() -> None:
    """Else the note is empty."""
    assert tables.reason(a_run(Pending(attempt=1, not_before=NOON))) == "waits for a runner: none is connected"
    assert tables.reason(a_run(Pending(attempt=2, not_before=NOON))) == "attempt 2 of 3 waits"
    assert tables.reason(a_run(Running(attempt=3, runner="r", epoch=1, claimed_at=NOON))) == "attempt 3 of 3"
    assert tables.reason(a_run(Running(attempt=4, runner="r", epoch=1, claimed_at=NOON))) == "attempt 4"
    failed = a_run(Ended(verdict=Verdict.FAILED, at=NOON), an_attempt(RunErrorType.OOM, 137))
    assert tables.reason(failed) == "oom (exit code 137)"
    assert tables.reason(a_run(Ended(verdict=Verdict.SUCCESS, at=NOON), an_attempt(None, 0))) is None


def test_the_last_line_of_a_failed_run_says_why() -> None:
    """Status, duration, reason, and the error message if there is one."""
    end = Ended(verdict=Verdict.FAILED, at=NOON + timedelta(seconds=2))
    script = replace(an_attempt(RunErrorType.SCRIPT_ERROR, 3), started_at=NOON)
    assert "after 2.0 s: exit code 3" in tables.verdict(a_run(end, script))
    late = an_attempt(RunErrorType.TIMEOUT, 143, "stopped after its timeout of 2 s")
    assert tables.verdict(a_run(end, late)).endswith("timeout (exit code 143)\nstopped after its timeout of 2 s")


def test_a_run_that_was_refused_says_why_and_how_to_start_it() -> None:
    """In the list and in the last line."""
    run = a_run(Ended(verdict=Verdict.INTERRUPTED, at=NOON, reason="not started: etl is disabled", refused=True))
    assert tables.reason(run) == "not started: etl is disabled"
    said = click.unstyle(tables.verdict(run))
    assert said.startswith("INTERRUPTED: not started: etl is disabled\n")
    assert f"fastflow redrive {run.id}" in said


@pytest.mark.parametrize("kind", [RunErrorType.ENVIRONMENT_ERROR, RunErrorType.SECRET_ERROR])
def test_the_last_line_does_not_repeat_the_log(kind: RunErrorType) -> None:
    """The log ends with why no code started; only the reason follows, without a duration, because nothing ran."""
    end = Ended(verdict=Verdict.FAILED, at=NOON + timedelta(seconds=2))
    said = click.unstyle(tables.verdict(a_run(end, an_attempt(kind, None, "no key opens it"))))
    assert said == f"FAILED: {kind.value}"


def test_the_duration_of_a_run_is_that_of_its_script() -> None:
    """As on the pages: waiting for a runner does not count, pauses between attempts do."""
    began, now = NOON + timedelta(seconds=60), NOON + timedelta(seconds=90)
    failed = replace(an_attempt(RunErrorType.SCRIPT_ERROR, 1), started_at=began)
    running = Running(attempt=1, runner="r", epoch=1, claimed_at=NOON, prepared_at=began)
    assert tables.took(a_run(Pending(attempt=1, not_before=NOON)), now=now) == ""
    assert tables.took(a_run(running), now=now) == "30 s"
    assert tables.took(a_run(Pending(attempt=2, not_before=NOON), failed), now=now) == "30 s"
    assert tables.took(a_run(Ended(verdict=Verdict.FAILED, at=now), failed), now=NOON) == "30 s"
