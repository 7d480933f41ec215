"""The pipeline itself: interpreter, description, notebook, defaults. And no field is without a test."""

from __future__ import annotations

import json
import platform
import re
from pathlib import Path

import msgspec
import pytest

from fastflow_contracts.pipelines.format.spec import (
    CellRetry,
    CustomSchedule,
    DownstreamRule,
    ExponentialBackoff,
    FixedDelay,
    PipelineSpec,
    ScheduleEntry,
)
from tests.e2e.format.folders import FOLDERS
from tests.support.installation import fastflow
from tests.support.rules import Rules


def test_a_pipeline_may_name_its_python(there: Rules) -> None:
    """Down to the patch version, which the record has; a version that does not exist is an environment error."""
    wanted = platform.python_version()
    there.rewrite("python", python_version=wanted)
    run = there.done("python")
    assert (there.text(run), run["python_version"]) == (wanted, wanted)
    there.rewrite("python", python_version="3.99")
    run = there.done("python")
    assert (run["status"], run["error_type"]) == ("FAILED", "environment_error")
    assert "3.99" in run["error_message"]


def test_a_disabled_pipeline_is_listed_and_never_starts(there: Rules) -> None:
    """Not by hand, not by its webhook, and not by the slots that came every second since these tests began."""
    assert there.ask("POST", "/api/pipelines/disabled/run", {}).status == 404
    assert there.ask("POST", "/api/webhooks/disabled/key-of-the-disabled-one", {}, anonymous=True).status == 404
    shown = there.get("/api/pipelines/disabled")
    assert (shown["enabled"], shown["runnable"], shown["valid"]) == (False, False, True)
    assert there.jobs("disabled")["schedule"]["next_run_time"] is None
    assert there.runs("disabled") == []


def test_a_pipeline_is_found_by_description_and_tags(there: Rules) -> None:
    """The list can be filtered by both."""
    (shown,) = there.get("/api/pipelines?tags=daily,reports&q=what+it+is+for")
    assert (shown["name"], shown["tags"]) == ("described", ["daily", "reports"])
    assert shown["description"] == "Says what it is for."


def test_metadata_may_have_the_name_of_the_pipeline_and_are_never_merged(there: Rules) -> None:
    """If there is a pipeline.json, the other file is ignored."""
    assert there.text(there.done("own_name")) == "own_name.json"
    (there.there.pipelines / "own_name" / "pipeline.json").write_text("{}")
    there.rewrite("own_name", retry_attempts=1, retry_strategy={"type": "fixed_delay", "delay": 0})
    run = there.done("own_name")
    assert (run["status"], len(run["attempts"])) == ("FAILED", 2)
    assert "KeyError: 'FROM'" in there.text(run)


def test_a_notebook_runs_cell_by_cell_and_retries_its_cells(there: Rules) -> None:
    """As often as ``cells`` allows; the pipeline's own retries do not count."""
    run = there.done("notebook")
    assert (run["kind"], run["status"], run["attempts_max"]) == ("notebook", "SUCCESS", 1)
    cells = there.get(f"/api/runs/{run['id']}/cells")["cells"]
    assert [(cell["status"], len(cell["attempts"])) for cell in cells if cell["attempts"]] == [
        ("SUCCESS", 1),
        ("SUCCESS", 3),
    ]


def test_a_folder_with_nothing_but_code_runs_with_the_defaults(there: Rules) -> None:
    """The Python that runs the services, and one attempt; a folder without main.py is not a pipeline."""
    own = ".".join(platform.python_version_tuple()[:2])
    run = there.done("bare")
    assert (run["python_version"], run["attempts_max"]) == (own, 1)
    assert there.text(run) == own
    names = {pipeline["name"] for pipeline in there.get("/api/pipelines")}
    assert names == {folder.name for folder in FOLDERS.iterdir()} - {"no_pipeline"}


def test_validate_accepts_every_pipeline_and_prints_the_next_slots(tmp_path: Path) -> None:
    """Exit code 0, and the next slots of each schedule, also of disabled ones."""
    done = fastflow("validate", str(FOLDERS), "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    reports = {report["name"]: report for report in json.loads(done.stdout)}
    assert all(report["valid"] for report in reports.values())
    text = fastflow("validate", str(FOLDERS), cwd=tmp_path).stdout
    assert "cron 30 3 1 1 *: " in text
    assert "01-01 03:30:00 CET" in text
    assert "schedules/off, every 1 s, switched off" in text


@pytest.mark.promise("the format")
def test_every_field_of_the_format_has_a_test() -> None:
    """It appears in one of the folders, or a test sets it."""
    words = re.findall(
        r"\w+",
        "".join(path.read_text() for path in (*FOLDERS.glob("*/*.json"), *Path(__file__).parent.glob("test_*.py"))),
    )
    formats = (
        PipelineSpec,
        ScheduleEntry,
        DownstreamRule,
        CellRetry,
        ExponentialBackoff,
        FixedDelay,
        CustomSchedule,
    )
    fields = {field.encode_name for each in formats for field in msgspec.structs.fields(each)}
    assert fields <= set(words)
