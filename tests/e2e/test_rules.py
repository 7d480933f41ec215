"""Every rule of pipeline.json, end to end: one folder for each in ``rules``, one ``fastflow up`` with all of them.

A test switches off the schedule that it has seen fire, so that it takes no time from the others.
"""

from __future__ import annotations

import hmac
import json
import platform
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
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
from tests.support.installation import Installation, fastflow
from tests.support.rules import WAIT_S, Rules, seconds

FOLDERS = Path(__file__).parent / "rules"
GLOBAL_TIMEOUT_S = 2
LATE_S = 20.0
"""Far above the promised time, for a machine that is busy with other tests."""


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rules]:
    """One installation for all tests of this file. It has a global timeout."""
    folder = tmp_path_factory.mktemp("rules")
    shutil.copytree(FOLDERS, folder / "pipelines")
    with Installation(folder) as made:
        made.start(CONTAINER_TIMEOUT=str(GLOBAL_TIMEOUT_S))
        yield Rules(made)
        assert made.stop() == 0


def slot(at: datetime) -> str:
    """Format a slot as responses do."""
    return at.isoformat().replace("+00:00", "Z")


def waits(run: dict[str, object]) -> list[float]:
    """Return the seconds from the end of each attempt to the claim of the next one."""
    attempts = run["attempts"]
    assert isinstance(attempts, list)
    return [seconds(one["finished_at"], other["claimed_at"]) for one, other in pairwise(attempts)]


@pytest.mark.promise("nothing doubled")
def test_an_interval_fires_at_its_slots_and_nowhere_else(there: Rules) -> None:
    """Each run names its slot; slots are two seconds apart to the microsecond, whatever is synced between them."""
    there.first("every_two_seconds", 1, triggered_by="schedule")
    there.rewrite("every_two_seconds", description="synced between two slots", default_env={"A": "1"})
    found = there.first("every_two_seconds", 3, triggered_by="schedule")
    there.switch("every_two_seconds.schedule", on=False)
    slots = [run["scheduled_for"] for run in found]
    assert [seconds(one, other) for one, other in pairwise(slots)] == [2, 2]
    assert all(0 <= seconds(run["scheduled_for"], run["created_at"]) < LATE_S for run in found)
    told = datetime.fromisoformat(there.text(there.end(found[0])))
    assert told == datetime.fromisoformat(slots[0])


def test_once_is_once_and_its_time_has_to_be_ahead(there: Rules) -> None:
    """A time ahead is one run at that time; a time that has passed gives no job."""
    at = datetime.now(UTC) + timedelta(seconds=2)
    there.rewrite("once", run_once_at=at.isoformat())
    (run,) = there.first("once")
    assert datetime.fromisoformat(run["scheduled_for"]) == at
    assert there.end(run)["status"] == "SUCCESS"
    job = there.wait(lambda: one if not (one := there.jobs("once")["once"])["next_run_time"] else None)
    assert (job["kind"], job["note"]) == ("once", "Its time has passed.")
    there.rewrite("once", run_once_at=(at - timedelta(days=1)).isoformat())
    there.wait(lambda: "once" not in there.jobs("once"))
    assert len(there.runs("once")) == 1


@pytest.mark.promise("the format")
def test_entries_run_with_their_own_settings(there: Rules) -> None:
    """By time or by hand: its variables and timeout override the pipeline's; the record names the configuration."""
    (run,) = there.first("entries", triggered_by="schedule")
    there.switch("entries.schedules=2Fprod", on=False)
    assert (run["run_config_id"], run["limits"]["timeout_s"]) == ("prod", 20)
    assert there.text(there.end(run)) == "prod prod pipeline"
    assert there.done("entries", run_config_id="long")["limits"]["timeout_s"] == 0
    short = there.done("entries", run_config_id="short")
    assert (short["status"], short["error_type"], len(short["attempts"])) == ("FAILED", "timeout", 1)
    again = there.done("entries", run_config_id="again")
    assert (again["status"], again["exit_code"], len(again["attempts"])) == ("FAILED", 3, 2)
    assert waits(again)[0] >= 0.4


def test_an_entry_that_is_off_is_listed_and_starts_by_hand_only(there: Rules) -> None:
    """Its slots came every second since these tests started, and none was run; nor any of the pipeline's own."""
    there.first("entries", triggered_by="schedule")
    job = there.jobs("entries")["schedules/off"]
    assert (job["enabled"], job["next_run_time"]) == (False, None)
    assert there.text(there.done("entries", run_config_id="off")) == "off off pipeline"
    fired = [run for run in there.runs("entries") if run["triggered_by"] == "schedule"]
    assert {run["run_config_id"] for run in fired} == {"prod"}


def test_a_window_lets_its_first_and_its_last_instant_through_and_nothing_beyond(there: Rules) -> None:
    """The start is a slot of the interval, and so is the end."""
    start = datetime.now(UTC) + timedelta(seconds=2)
    end = start + timedelta(seconds=2)
    window = {"schedule_start": start.isoformat(), "schedule_end": end.isoformat()}
    there.rewrite("window", schedule_interval_seconds=1, **window)
    found = there.first("window", 3)
    slots = [datetime.fromisoformat(run["scheduled_for"]) for run in found]
    assert slots == [start, start + timedelta(seconds=1), end]
    job = there.wait(lambda: one if (one := there.jobs("window")["schedule"])["last_run_time"] == slot(end) else None)
    assert (job["next_run_time"], job["note"]) == (None, "Its time has passed.")
    assert len(there.runs("window")) == 3


def test_zone_window_and_catchup_are_listed_with_the_job(there: Rules) -> None:
    """A cron expression applies in its time zone."""
    job = there.jobs("yearly")["schedule"]
    assert (job["kind"], job["value"], job["timezone"], job["catchup"]) == (
        "cron",
        "30 3 1 1 *",
        "Europe/Berlin",
        "all",
    )
    assert job["window"] == {"start": "2020-01-01T00:00:00Z", "end": "2199-12-31T23:59:59.999999Z"}
    slots = there.get(f"/api/scheduler/jobs/{job['id']}/next-runs?count=2")["next_runs"]
    assert [slot[4:] for slot in slots] == ["-01-01T02:30:00Z"] * 2


@pytest.mark.parametrize(
    ("pipeline", "status", "expected_s"),
    [
        ("retry_fixed", "FAILED", [0.6, 0.6]),
        ("retry_exponential", "FAILED", [0.3, 0.8, 0.8]),
        ("retry_custom", "SUCCESS", [0, 0.7, 0.7]),
    ],
)
def test_attempts_are_as_many_and_as_far_apart_as_the_strategy_says(
    there: Rules, pipeline: str, status: str, expected_s: list[float]
) -> None:
    """Never early; a success ends them; the record has each attempt."""
    run = there.done(pipeline)
    assert (run["status"], run["attempts_max"]) == (status, len(expected_s) + 1)
    assert [attempt["number"] for attempt in run["attempts"]] == list(range(1, len(expected_s) + 2))
    pauses = waits(run)
    print(pipeline, [round(pause, 3) for pause in pauses])
    assert len(pauses) == len(expected_s)
    for pause, expected in zip(pauses, expected_s, strict=True):
        assert expected <= pause < expected + LATE_S


def test_a_retry_waits_a_minute_by_default(there: Rules) -> None:
    """The waiting run shows until when, and can be cancelled then."""
    run = there.start("retry_default")
    waiting = there.wait(lambda: one if (one := there.run(run))["next_attempt_at"] else None)
    assert waiting["status"] == "PENDING"
    assert waiting["waiting_on"]
    assert seconds(waiting["attempts"][0]["finished_at"], waiting["next_attempt_at"]) == 60
    assert there.cancel(run)["status"] == "INTERRUPTED"


def test_a_start_beyond_max_instances_is_refused_and_shown(there: Rules) -> None:
    """429 and when to retry; the end of a run makes room."""
    first = there.start("only_one")
    refused = there.ask("POST", "/api/pipelines/only_one/run", {})
    assert refused.status == 429
    assert int(refused.headers["Retry-After"]) > 0
    assert "max_instances" in there.get("/api/pipelines/only_one")["skipped"][0]["reason"]
    there.cancel(first)
    there.cancel(there.start("only_one"))


def test_success_starts_what_waits_for_it_and_shows_what_is_missing(there: Rules) -> None:
    """The child has its configuration and names its parent; the missing target is an entry with the reason."""
    parent = there.done("chain")
    (child,) = there.first("after_success", parent_run_id=parent["id"])
    assert (child["triggered_by"], child["run_config_id"]) == ("downstream", "full")
    assert there.text(there.end(child)) == "fully after downstream"
    graph = there.get("/api/pipelines/graph")
    assert {node["name"] for node in graph["nodes"] if not node["exists"]} == {"nobody"}
    assert there.wait(lambda: "there is no pipeline nobody" in there.page(f"/runs/{parent['id']}"))
    assert there.runs("after_failure") == []


def test_failure_starts_what_waits_for_it_alone(there: Rules) -> None:
    """After the last attempt."""
    before = len(there.runs("after_success"))
    parent = there.done("chain", env_vars={"EXIT": "1"})
    (child,) = there.first("after_failure", parent_run_id=parent["id"])
    assert there.text(there.end(child)) == "to the rescue"
    assert len(there.runs("after_success")) == before


def test_a_crashed_daemon_comes_back_after_its_cooldown_until_it_is_cancelled(there: Rules) -> None:
    """Each instance is a run with the variables of the first one; cancelled while it waits, it stays stopped."""
    there.start("crashing", env_vars={"WHO": "me"})
    ended = [there.end(run) for run in there.first("crashing", 2)]
    (waiting,) = there.first("crashing", parent_run_id=ended[1]["id"])
    there.cancel(waiting)
    assert [run["triggered_by"] for run in (*ended, waiting)] == ["api", "daemon_restart", "daemon_restart"]
    assert [run["parent_run_id"] for run in (*ended, waiting)] == [None, ended[0]["id"], ended[1]["id"]]
    assert seconds(ended[0]["finished_at"], ended[1]["started_at"]) >= 1
    assert [there.text(run) for run in ended] == ["me", "me"]
    there.done("endless")  # takes longer than the cooldown
    assert len(there.runs("crashing")) == 3


@pytest.mark.promise("nothing doubled")
def test_a_daemon_is_restarted_regularly_and_never_runs_twice_at_once(there: Rules) -> None:
    """Stop, cooldown, start; a cancelled one is stopped until the next slot and then starts again."""
    former = there.first("restarting", len(there.runs("restarting")) + 1)[-1]  # just created: no slot is near
    assert former["triggered_by"] == "daemon_restart"
    former = there.end(former)
    assert (former["status"], former["error_message"]) == ("INTERRUPTED", "restart")
    (run,) = there.first("restarting", parent_run_id=former["id"])
    there.wait(lambda: there.run(run)["status"] == "RUNNING")
    assert there.cancel(run)["error_message"] == "cancelled"
    count = len(there.runs("restarting"))
    started = there.first("restarting", count + 1)[-1]
    there.switch("restarting.restart", on=False)
    assert (started["triggered_by"], started["parent_run_id"]) == ("daemon_restart", None)
    there.cancel(started)
    lives = [(run["started_at"], run["finished_at"]) for run in there.runs("restarting") if run["started_at"]]
    assert all(seconds(end, begin) > 0 for (_, end), (begin, _) in pairwise(lives))
    assert seconds(former["finished_at"], there.run(run)["started_at"]) >= 0.5


def test_zero_means_no_timeout_even_with_a_global_one(there: Rules) -> None:
    """Without a timeout in the metadata the global one applies."""
    endless, limited = there.start("endless"), there.start("limited")
    limited = there.end(limited)
    assert (limited["status"], limited["error_type"]) == ("FAILED", "timeout")
    assert limited["limits"]["timeout_s"] == GLOBAL_TIMEOUT_S
    endless = there.end(endless)
    assert endless["status"] == "SUCCESS"
    assert seconds(endless["started_at"], endless["finished_at"]) > GLOBAL_TIMEOUT_S


def test_later_sources_of_variables_win(there: Rules) -> None:
    """Pipeline, schedule, their encrypted ones in the same order, variables of the trigger, its parameters."""
    names = ["L3", "L4", "L5", "L6"]
    upper = {name: there.seal("three", "env_order", name) for name in names}
    lower = {name: there.seal("four", "env_order", name) for name in names[1:]}
    entry = json.loads((FOLDERS / "env_order" / "pipeline.json").read_text())["schedules"][0]
    there.rewrite("env_order", encrypted_env=upper, schedules=[entry | {"encrypted_env": lower}])
    given = {"env_vars": {"L5": "five", "L6": "five"}, "parameters": {"L6": "six"}}
    run = there.done("env_order", run_config_id="more", **given)
    assert there.text(run) == " ".join(word[::-1] for word in ("one", "two", "three", "four", "five", "six"))
    assert run["env_vars"] == {"L5": "***", "L6": "***"}
    assert set(there.get("/api/pipelines/env_order")["metadata"]["encrypted_env"].values()) == {"***"}


def test_a_token_of_another_pipeline_is_refused(there: Rules) -> None:
    """A token works only for its own pipeline: secret_error, and no second attempt."""
    there.rewrite("copied", encrypted_env={"L3": there.seal("three", "env_order", "L3")})
    run = there.done("copied")
    assert (run["status"], run["error_type"], len(run["attempts"])) == ("FAILED", "secret_error", 1)
    assert there.text(run).find("never") < 0


@pytest.mark.promise("starts from anywhere")
def test_each_key_of_a_webhook_starts_its_own_configuration(there: Rules) -> None:
    """The body is the event and may carry variables; a wrong key and a disabled one start nothing."""
    body = {"env_vars": {"COLOUR": "blue"}}
    path = "/api/webhooks/hooked"
    plain = there.ask("POST", f"{path}/key-of-the-pipeline", body, anonymous=True, Content_Type="application/json")
    nightly = there.ask("POST", f"{path}/key-of-the-nightly-one", b"x", anonymous=True, Content_Type="text/plain")
    assert (plain.status, nightly.status) == (200, 200)
    assert (plain.json["triggered_by"], plain.json["run_config_id"]) == ("webhook", None)
    assert nightly.json["run_config_id"] == "nightly"
    assert there.text(there.end(plain.json)) == f"blue {json.dumps(body)}"
    assert there.text(there.end(nightly.json)) == "None x"
    for key in ("key-of-the-one-that-is-off", "no-key"):
        assert there.ask("POST", f"{path}/{key}", {}, anonymous=True).status == 401
    assert there.ask("POST", "/api/webhooks/bare/no-key", {}, anonymous=True).status == 404


def test_a_signed_webhook_takes_no_call_without_its_signature(there: Rules) -> None:
    """Signed as GitHub does; a repeated delivery is one run."""
    sealed = there.seal("shared with the sender", "signed", "webhook.secret")
    there.rewrite("signed", webhook={"verify": "github", "secret": sealed})
    path, body = "/api/webhooks/signed/key-of-the-signed-one", b'{"zen": "keep it simple"}'
    assert there.ask("POST", path, body, anonymous=True).status == 401
    headers = {
        "X_Hub_Signature_256": "sha256=" + hmac.digest(b"shared with the sender", body, "sha256").hex(),
        "X_GitHub_Delivery": "delivery-1",
    }
    answers = [there.ask("POST", path, body, anonymous=True, **headers) for _ in range(2)]
    assert [answer.status for answer in answers] == [200, 200]
    assert answers[0].json["id"] == answers[1].json["id"]
    assert there.text(there.end(answers[0].json)) == body.decode()


def test_passing_a_soft_limit_is_a_warning_and_nothing_else(there: Rules) -> None:
    """In the record and in the list; the other limit was kept and is not mentioned."""
    run = there.done("soft")
    assert run["status"] == "SUCCESS"
    (warning,) = run["warnings"]
    assert "passed the soft limit of 24 MiB" in warning
    assert there.runs("soft")[-1]["warnings"] == [warning]


def test_passing_a_cpu_soft_limit_is_a_warning_and_an_entry_may_set_its_own(there: Rules) -> None:
    """Cores, not percent; the script is not slowed down, and with wider limits there is no warning."""
    wider = [there.start(pipeline, run_config_id="plenty") for pipeline in ("soft_cpu", "soft")]
    run = there.done("soft_cpu")
    (warning,) = run["warnings"]
    assert warning.endswith("cores passed the soft limit of 0.1")
    assert run["cpu_cores_peak"] > 0.1
    assert [there.end(each)["warnings"] for each in wider] == [[], []]


def test_a_pipeline_may_name_its_python(there: Rules) -> None:
    """To the patch version, and the record has it; one that does not exist is an environment error."""
    wanted = platform.python_version()
    there.rewrite("python", python_version=wanted)
    run = there.done("python")
    assert (there.text(run), run["python_version"]) == (wanted, wanted)
    there.rewrite("python", python_version="3.99")
    run = there.done("python")
    assert (run["status"], run["error_type"]) == ("FAILED", "environment_error")
    assert "3.99" in run["error_message"]


def test_a_disabled_pipeline_is_listed_and_starts_by_nothing(there: Rules) -> None:
    """Not by hand, not by its webhook, and not by the slots that came every second since these tests began."""
    assert there.ask("POST", "/api/pipelines/disabled/run", {}).status == 404
    assert there.ask("POST", "/api/webhooks/disabled/key-of-the-disabled-one", {}, anonymous=True).status == 404
    shown = there.get("/api/pipelines/disabled")
    assert (shown["enabled"], shown["runnable"], shown["valid"]) == (False, False, True)
    assert there.jobs("disabled")["schedule"]["next_run_time"] is None
    assert there.runs("disabled") == []


def test_a_pipeline_is_found_by_what_it_says_of_itself(there: Rules) -> None:
    """Its description and its tags."""
    (shown,) = there.get("/api/pipelines?tags=daily,reports&q=what+it+is+for")
    assert (shown["name"], shown["tags"]) == ("described", ["daily", "reports"])
    assert shown["description"] == "Says what it is for."


def test_metadata_may_have_the_name_of_the_pipeline_and_are_never_merged(there: Rules) -> None:
    """Beside a pipeline.json the other file is ignored."""
    assert there.text(there.done("own_name")) == "own_name.json"
    (there.there.pipelines / "own_name" / "pipeline.json").write_text("{}")
    there.rewrite("own_name", retry_attempts=1, retry_strategy={"type": "fixed_delay", "delay": 0})
    run = there.done("own_name")
    assert (run["status"], len(run["attempts"])) == ("FAILED", 2)
    assert "KeyError: 'FROM'" in there.text(run)


def test_a_notebook_runs_cell_by_cell_and_tries_its_cells_again(there: Rules) -> None:
    """As often as ``cells`` allows; the pipeline's own retries do not count."""
    run = there.done("notebook")
    assert (run["kind"], run["status"], run["attempts_max"]) == ("notebook", "SUCCESS", 1)
    cells = there.get(f"/api/runs/{run['id']}/cells")["cells"]
    assert [(cell["status"], len(cell["attempts"])) for cell in cells if cell["attempts"]] == [
        ("SUCCESS", 1),
        ("SUCCESS", 3),
    ]


def test_a_folder_with_nothing_but_code_runs_with_the_defaults(there: Rules) -> None:
    """The Python that runs the services, one attempt; a folder without main.py is not a pipeline."""
    own = ".".join(platform.python_version_tuple()[:2])
    run = there.done("bare")
    assert (run["python_version"], run["attempts_max"]) == (own, 1)
    assert there.text(run) == own
    names = {pipeline["name"] for pipeline in there.get("/api/pipelines")}
    assert names == {folder.name for folder in FOLDERS.iterdir()} - {"no_pipeline"}


def test_cron_fires_on_the_minute_and_wins_over_an_interval(there: Rules) -> None:
    """Near the end of these tests, so that the minute is almost over."""
    assert {job["kind"] for job in there.jobs("every_minute").values()} == {"cron"}
    (run,) = there.first("every_minute", within_s=60 + WAIT_S)
    there.switch("every_minute.schedule", on=False)
    assert (run["schedule"], run["triggered_by"]) == ("schedule", "schedule")
    assert run["scheduled_for"].endswith(":00Z")
    assert 0 <= seconds(run["scheduled_for"], run["created_at"]) < LATE_S


def test_a_daemon_may_be_restarted_by_cron(there: Rules) -> None:
    """It has run since the first minute of these tests."""
    job = there.jobs("restarting_by_cron")["restart"]
    assert (job["kind"], job["value"]) == ("restart", "* * * * *")
    (run,) = there.first("restarting_by_cron", within_s=60 + WAIT_S)
    there.switch("restarting_by_cron.restart", on=False)
    assert (run["schedule"], run["triggered_by"]) == ("restart", "daemon_restart")
    assert run["scheduled_for"].endswith(":00Z")
    (active,) = there.wait(lambda: [run for run in there.runs("restarting_by_cron") if not run["finished_at"]])
    there.cancel(active)


def test_validate_finds_all_of_it_right_and_says_what_comes_next(tmp_path: Path) -> None:
    """Exit code 0 and the next slots of each schedule, also of disabled ones."""
    done = fastflow("validate", str(FOLDERS), "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    reports = {report["name"]: report for report in json.loads(done.stdout)}
    assert all(report["valid"] for report in reports.values())
    text = fastflow("validate", str(FOLDERS), cwd=tmp_path).stdout
    assert "cron 30 3 1 1 *: " in text
    assert "01-01 03:30:00 CET" in text
    assert "schedules/off, every 1 s, switched off" in text


@pytest.mark.promise("the format")
def test_no_field_of_the_format_is_without_its_rule() -> None:
    """Each appears in one of the folders, or one of these tests sets it."""
    words = re.findall(r"\w+", "".join(path.read_text() for path in (*FOLDERS.glob("*/*.json"), Path(__file__))))
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
