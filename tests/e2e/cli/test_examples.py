"""Every example pipeline does what its description says."""

from __future__ import annotations

import json
import platform
import time

import pytest

from tests.e2e.cli.commands import EXAMPLES, runs
from tests.support.installation import Installation


@pytest.mark.parametrize(
    ("name", "options", "code", "expected"),
    [
        ("hello", ["-e", "NAME=you"], 0, "Hello, you!"),
        ("sales_report", ["-p", "TOP=1"], 0, "│ South"),
        ("stock_check", [], 0, "ORDER 5"),
        ("failing", [], 1, "Reading 3 records"),
        ("slow_progress", ["-e", "STEPS=3", "-e", "STEP_S=0.1"], 0, "100%  step 3 of 3"),
        ("flaky_download", ["-e", "FAIL_RATE=0"], 0, "200 OK"),
        ("memory_limit", [], 1, "holding 8 MiB"),
        ("sensor_report", [], 0, "°C"),
        ("event_consumer", [], 0, "No event arrived"),
        ("nightly", [], 0, "made by hand"),
        ("extract", [], 0, "3 orders extracted"),
        ("load", [], 0, "Started by api"),
        ("notebook_report", ["-p", "days=3", "-p", "city=Oslo"], 0, "3 days in Oslo"),
    ],
)
def test_every_example_does_what_it_says(
    there: Installation, name: str, options: list[str], code: int, expected: str
) -> None:
    """The command prints its output and exits with its exit code."""
    done = there.command("run", name, *options, "--follow")
    assert expected in done.stdout
    assert done.returncode == code


def test_the_example_that_names_its_python_gets_it_or_lists_the_choices(there: Installation) -> None:
    """If 3.11 is not installed and cannot be downloaded, a sentence names the installed versions."""
    done = there.command("run", "python_version", "--follow")
    if done.returncode == 0:
        assert "Python 3.11" in done.stdout
    else:
        own = ".".join(platform.python_version_tuple()[:2])
        assert "Python 3.11 is not installed here and could not be downloaded" in done.stderr
        assert own in done.stderr


def test_no_example_is_left_out() -> None:
    """The list above equals the folder."""
    tested = next(mark for mark in test_every_example_does_what_it_says.pytestmark).args[1]
    assert {"python_version", *(row[0] for row in tested)} == {
        folder.name for folder in EXAMPLES.iterdir() if folder.is_dir()
    }


def test_the_second_of_a_chain_follows_the_first(there: Installation) -> None:
    """The first one's success starts it, as its record shows."""
    first = json.loads(there.command("run", "extract", "--follow", "--json").stdout.splitlines()[-1])
    deadline = time.monotonic() + 30
    while not (follower := [run for run in runs(there, "load") if run["parent_run_id"] == first["id"]]):
        assert time.monotonic() < deadline
    assert follower[0]["triggered_by"] == "downstream"
    there.await_log(follower[0]["id"], "extract is done")
