"""The text that commands print, and the plan that ``up`` makes from options and environment. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fastflow.errors import BadUsage, NoSuchThing, NothingAnswers
from fastflow.local.connection import find_url
from fastflow.local.plan import UpOptions, dashboard, make_plan, with_values
from fastflow.local.settings_table import markdown, settings, values
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
    assert tables.reason(a_run(Pending(attempt=1, not_before=NOON))) is None
    assert tables.reason(a_run(Pending(attempt=2, not_before=NOON))) == "attempt 2 of 3 waits"
    assert tables.reason(a_run(Running(attempt=3, runner="r", epoch=1, claimed_at=NOON))) == "attempt 3 of 3"
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


def test_the_bus_is_found_by_option_then_environment_then_the_nearest_folder(tmp_path: Path) -> None:
    """The first one that names a bus wins. With --data-dir no other folder is searched."""
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    (tmp_path / ".fastflow").mkdir()
    (tmp_path / ".fastflow" / "bus.url").write_text("nats://near:1\n")
    environ = {"FASTFLOW_NATS_URL": "nats://env:1"}
    assert find_url("nats://option:1", None, environ=environ, here=deep) == "nats://option:1"
    assert find_url(None, None, environ=environ, here=deep) == "nats://env:1"
    assert find_url(None, None, environ={}, here=deep) == "nats://near:1"
    assert find_url(None, tmp_path / ".fastflow", environ=environ, here=deep) == "nats://near:1"
    with pytest.raises(NothingAnswers, match="fastflow up"):
        find_url(None, tmp_path / "a", environ=environ, here=deep)
    with pytest.raises(NothingAnswers, match="here or above"):
        find_url(None, None, environ={}, here=Path("/nowhere/at/all"))


def test_options_win_over_the_environment(tmp_path: Path) -> None:
    """The services get the values of the command line."""
    (tmp_path / "mine").mkdir()
    environ = {
        "FASTFLOW_PORT": "9",
        "PIPELINES_DIR": "theirs",
        "GIT_REPO_URL": "file:///r",
        "FASTFLOW_SANDBOX": "docker",
    }
    plan = make_plan(UpOptions(Path("mine"), port=7, sandbox="process"), environ, here=tmp_path)
    assert (plan.port, plan.environ["FASTFLOW_PORT"], plan.environ["FASTFLOW_SANDBOX"]) == (7, "7", "process")
    assert (plan.environ["PIPELINES_DIR"], plan.environ["GIT_REPO_URL"]) == (str(tmp_path / "mine"), "")
    assert plan.source == "mine"


def test_a_repository_takes_the_place_of_a_folder(tmp_path: Path) -> None:
    """With GIT_REPO_URL no folder has to exist."""
    plan = make_plan(UpOptions(), {"GIT_REPO_URL": "https://host/repo.git"}, here=tmp_path)
    assert plan.source == "https://host/repo.git"
    assert plan.environ["GIT_REPO_URL"] == "https://host/repo.git"


def test_each_data_folder_has_its_own_runner_id(tmp_path: Path) -> None:
    """Two folders on one bus have different ids; a folder keeps its id."""
    (tmp_path / "pipelines").mkdir()
    one, two, again = (
        make_plan(UpOptions(data_dir=Path(name)), {}, here=tmp_path).environ for name in ("one", "two", "one")
    )
    assert one["FASTFLOW_RUNNER_ID"] != two["FASTFLOW_RUNNER_ID"]
    assert one["FASTFLOW_RUNNER_ID"] == again["FASTFLOW_RUNNER_ID"]


def test_without_pipelines_the_first_three_lines_are_shown(tmp_path: Path) -> None:
    """A new user has no default folder yet."""
    with pytest.raises(NoSuchThing, match=r"mkdir -p pipelines/hello"):
        make_plan(UpOptions(), {}, here=tmp_path)
    with pytest.raises(NoSuchThing, match="no folder typo"):
        make_plan(UpOptions(Path("typo")), {}, here=tmp_path)


def test_a_pipeline_is_not_mistaken_for_a_folder_of_pipelines(tmp_path: Path) -> None:
    """A folder one level too deep is an error, not an empty installation."""
    (tmp_path / "hello").mkdir()
    (tmp_path / "hello" / "main.py").write_text("")
    with pytest.raises(BadUsage, match="folder above"):
        make_plan(UpOptions(Path("hello")), {}, here=tmp_path)


def test_a_value_replaces_the_form_that_names_a_file() -> None:
    """Otherwise the ``_FILE`` variable would win."""
    assert with_values({"A_FILE": "/f", "B": "1"}, A="2") == {"A": "2", "B": "1"}


def test_the_dashboard_address_can_be_opened() -> None:
    """An address for all interfaces is shown as one that a browser can reach."""
    assert dashboard("127.0.0.1", 8000, "t") == "http://127.0.0.1:8000/login?token=t"
    assert dashboard("0.0.0.0", 80, None) == "http://127.0.0.1:80/"
    assert dashboard("::1", 80, None) == "http://[::1]:80/"


def test_every_setting_is_listed_once_and_secrets_are_masked() -> None:
    """The docs' table and ``fastflow config`` come from the services' own structs."""
    names = [setting.name for setting in settings()]
    assert len(names) == len(set(names))
    assert {"FASTFLOW_NATS_URL", "PIPELINES_DIR", "RUNNER_SLOTS", "FASTFLOW_ADMIN_TOKEN"} <= set(names)
    assert markdown().count("\n") == len(names) + 2
    shown = values({"FASTFLOW_ADMIN_TOKEN": "hush", "RUNNER_SLOTS": "4", "ENCRYPTION_KEY_FILE": "/run/key"})
    assert shown == {"FASTFLOW_ADMIN_TOKEN": "***", "RUNNER_SLOTS": "4", "ENCRYPTION_KEY": "from /run/key"}
