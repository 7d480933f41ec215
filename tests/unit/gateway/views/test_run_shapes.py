"""What the API says of a run."""

from __future__ import annotations

from msgspec.structs import replace

from fastflow_contracts.runs.run import (
    Ended,
    RunErrorType,
    Verdict,
)
from fastflow_gateway.views import run_shapes
from fastflow_gateway.views.waiting import Capacity
from tests.support.records import a_run, an_attempt, at


def test_a_view_of_a_retried_run_is_about_its_newest_attempt() -> None:
    """Phases and result are those of the last attempt, start and end those of the run, peaks the highest."""
    run = replace(
        a_run("demo", retry_attempts=1, env_names=("A",)),
        attempts=(an_attempt(1, error=RunErrorType.OOM), an_attempt(2)),
        state=Ended(verdict=Verdict.SUCCESS, at=at(250)),
    )
    shown = run_shapes.run(run, capacity=Capacity(), now=at(300))
    assert (shown.status, shown.exit_code, shown.error_type, shown.runner) == ("SUCCESS", 0, None, "r2")
    assert (shown.started_at, shown.finished_at) == (at(102), at(250))
    assert (shown.phases.queued, shown.phases.claimed, shown.phases.finished) == (at(150), at(200), at(250))
    assert (shown.memory_bytes_peak, shown.warnings) == (2000, ("soft limit",))
    assert (shown.waiting_on, shown.env_vars) == (None, {"A": "***"})
