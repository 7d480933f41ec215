"""What the pages draw and list: phases, attempts, diagnostics, filters."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fastflow_api import shapes
from fastflow_api.shapes import VersionNotice, VersionProblem
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.format.spec import PipelineSpec
from fastflow_contracts.pipelines.records import PipelineRecord, Version
from fastflow_contracts.runs.run import RunErrorType, RunRecord, RunStatus
from fastflow_contracts.runs.state_machine import (
    AttemptOutcome,
    Cancel,
    Claim,
    Command,
    Finish,
    Prepare,
    decide,
    fold,
)
from fastflow_gateway.dashboard.view import facts
from fastflow_gateway.dashboard.view import models as drawn
from fastflow_gateway.views import records
from fastflow_gateway.views.run_counts import RunCounts
from fastflow_gateway.views.waiting import Capacity
from tests.support.records import a_run, at

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def changed(run: RunRecord, seconds: float, command: Command) -> RunRecord:
    return fold(run, decide(run, command, now=at(seconds)))


def shown(run: RunRecord) -> shapes.Run:
    return records.run(run, capacity=Capacity(), now=at(100))


def a_pipeline(name: str = "demo", *, live: bool = True, **spec: Any) -> shapes.Pipeline:
    version = Version(bundle="b", spec=PipelineSpec(**spec), live_since=NOW) if live else None
    return records.pipeline(
        PipelineRecord(name=PipelineName(name), live=version, seen_at=NOW), counts=RunCounts(), last_runs=()
    )


def test_the_phases_of_a_run_follow_each_other() -> None:
    """Queued, environment, sandbox, running: each begins where the one before ends, and together they cover the run."""
    run = changed(a_run(), 1, Claim(attempt=1, runner="r"))
    run = changed(run, 3, Prepare(epoch=1))
    run = changed(run, 10, Finish(epoch=1, outcome=AttemptOutcome(started_at=at(4), finished_at=at(10), exit_code=0)))
    spans = drawn.phases(shown(run), at(100))
    assert [(span.label, span.x, span.width) for span in spans] == [
        ("Queued", 0, 10),
        ("Environment", 10, 20),
        ("Sandbox", 30, 10),
        ("Running", 40, 60),
    ]


def test_a_cancelled_run_has_no_error_but_a_reason() -> None:
    """It says who stopped the run; how the script reacted to the signal belongs to the attempt."""
    run = changed(a_run(), 1, Claim(attempt=1, runner="r"))
    run = changed(run, 2, Cancel(reason="enough"))
    stopped = AttemptOutcome(
        finished_at=at(3), exit_code=1, error_type=RunErrorType.SCRIPT_ERROR, error_message="Traceback"
    )
    run = shown(changed(run, 3, Finish(epoch=1, outcome=stopped)))
    assert (run.status, run.error_type, run.error_message) == (RunStatus.INTERRUPTED, None, "enough")
    assert run.attempts[0].error_message == "Traceback"


def test_a_running_run_runs_since_its_environment_was_ready() -> None:
    """The start of user code is known only afterwards, so there is no sandbox phase yet."""
    run = changed(a_run(), 1, Claim(attempt=1, runner="r"))
    waiting = drawn.phases(shown(run), at(2))
    assert [(span.label, span.start is not None) for span in waiting] == [
        ("Queued", True),
        ("Environment", True),
        ("Sandbox", False),
        ("Running", False),
    ]
    running = drawn.phases(shown(changed(run, 3, Prepare(epoch=1))), at(10))
    assert [(span.label, span.start, span.end) for span in running] == [
        ("Queued", at(0), at(1)),
        ("Environment", at(1), at(3)),
        ("Running", at(3), None),
    ]


def test_attempts_are_listed_newest_first_with_their_reasons() -> None:
    """Also the next one, if the run waits for it."""
    run = changed(a_run(retry_attempts=1), 1, Claim(attempt=1, runner="r"))
    failed = AttemptOutcome(
        started_at=at(1), finished_at=at(2), exit_code=1, error_type=RunErrorType.OOM, error_message="killed at 8 MiB"
    )
    run = changed(run, 2, Finish(epoch=1, outcome=failed))
    awaited, former = facts.attempts(shown(run))
    assert (awaited.number, awaited.status) == (2, RunStatus.PENDING)
    assert (former.number, former.status, former.words) == (1, RunStatus.FAILED, "Out of memory. killed at 8 MiB")


def test_a_problem_says_field_value_place_and_what_is_accepted() -> None:
    """A notice is one sentence."""
    problems = [
        VersionProblem(field="timeout", value="-1", accepted="a number", line=3, file="pipeline.json"),
        VersionProblem(field="schedules[0].id", accepted="a string"),
        VersionProblem(accepted="main.py is missing."),
        VersionNotice(field="tiemout", text="is no field", line=2, file="pipeline.json"),
    ]
    assert [(found.field, found.value, found.where, found.words) for found in drawn.findings(problems)] == [
        ("timeout", "-1", "pipeline.json:3", "Accepted: a number"),
        ("schedules[0].id", None, "", "It is missing. Accepted: a string"),
        ("", None, "", "main.py is missing."),
        ("tiemout", None, "pipeline.json:2", "is no field"),
    ]


def test_a_chosen_tag_links_to_the_list_without_it() -> None:
    """Other filters stay."""
    etl, ml = drawn.tag_links([a_pipeline(tags=("etl", "ml"))], "x", ["etl"])
    assert (etl.url, etl.chosen) == ("/?q=x", True)
    assert (ml.url, ml.chosen) == ("/?q=x&tags=etl&tags=ml", False)


def test_a_pipeline_that_cannot_start_says_why() -> None:
    """Broken and disabled are different reasons."""
    assert drawn.why_not(a_pipeline()) == ""
    assert "disabled" in drawn.why_not(a_pipeline(enabled=False))
    assert "problems" in drawn.why_not(a_pipeline(live=False))


def test_only_the_names_of_secrets_reach_a_page() -> None:
    """The value of an encrypted variable is not in the page's data."""
    pipeline = a_pipeline(default_env={"A": "1"}, encrypted_env={"KEY": "gAAAAAtoken"})
    clear, secret = facts.pipeline_environment(pipeline)
    assert (clear.name, clear.text, clear.secret) == ("A", "1", False)
    assert (secret.name, secret.text, secret.secret) == ("KEY", "", True)
