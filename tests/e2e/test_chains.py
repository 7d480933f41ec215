"""Chains end to end: what the next script is told, and which route a script takes, in both sandboxes."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.support.installation import Installation
from tests.support.notebooks import code, written
from tests.support.rules import Rules

FIRST = """\
import os
from pathlib import Path
for attempt, data in enumerate(os.environ.get("ROUTES", "").split("|"), start=1):
    if str(attempt) == os.environ["FASTFLOW_ATTEMPT"] and data:
        Path(os.environ["FASTFLOW_ROUTE_FILE"]).write_bytes(data.encode())
raise SystemExit(int(os.environ.get("EXIT", "0")))
"""
TELLS = """\
import json, os
from pathlib import Path
told = {name: value for name, value in os.environ.items() if name.startswith("FASTFLOW_")}
print(json.dumps(told | {"event": json.loads(Path(told["FASTFLOW_EVENT_FILE"]).read_text())}))
"""
LINKS = [
    {"pipeline": "approved", "on_route": "approved"},
    {"pipeline": "rejected", "on_route": "rejected", "on_failure": True},
    {"pipeline": "alert", "on_success": False, "on_failure": True},
]
PUBLIC_URL = "https://fastflow.example.org/at/home"


@pytest.fixture(scope="module", params=["process", pytest.param("docker", marks=pytest.mark.docker)])
def there(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rules]:
    """One installation for all tests of this file."""
    with Installation(tmp_path_factory.mktemp("chains")) as made:
        again = {"id": "again", "retry_attempts": 1, "retry_strategy": {"type": "fixed_delay", "delay": 0}}
        made.add("first", FIRST, downstream_triggers=LINKS, schedules=[again])
        for name in ("approved", "rejected", "alert"):
            made.add(name, TELLS)
        (made.pipelines / "pages").mkdir()
        cell = "import os\nopen(os.environ['FASTFLOW_ROUTE_FILE'], 'w').write('approved')"
        (made.pipelines / "pages" / "main.ipynb").write_bytes(written(code(cell)))
        (made.pipelines / "pages" / "pipeline.json").write_text(
            json.dumps({"type": "notebook", "downstream_triggers": LINKS})
        )
        made.start("--sandbox", request.param, FASTFLOW_PUBLIC_URL=f"{PUBLIC_URL}/")
        yield Rules(made)
        assert made.stop() == 0


def followers(there: Rules, run: dict[str, object]) -> list[dict[str, object]]:
    found = [each for name in ("approved", "rejected", "alert") for each in there.runs(name)]
    return [each for each in found if each["parent_run_id"] == run["id"]]


def test_a_failure_is_told_to_the_alert(there: Rules) -> None:
    """In variables, and as a CloudEvent in the event file; a retry by hand is told the same."""
    run = there.done("first", env_vars={"EXIT": "7"})
    (alert,) = there.first("alert", parent_run_id=run["id"])
    told = json.loads(there.text(there.end(alert)))
    assert told["FASTFLOW_TRIGGERED_BY"] == "downstream"
    assert told["FASTFLOW_PARENT_RUN_ID"] == told["FASTFLOW_ROOT_RUN_ID"] == run["id"]
    assert told["FASTFLOW_PARENT_PIPELINE"] == "first"
    assert (told["FASTFLOW_PARENT_STATUS"], told["FASTFLOW_PARENT_EXIT_CODE"]) == ("FAILED", "7")
    assert told["FASTFLOW_PARENT_ERROR_TYPE"] == "script_error"
    assert told["FASTFLOW_PARENT_ERROR_MESSAGE"] == run["error_message"]
    assert told["FASTFLOW_PARENT_URL"] == f"{PUBLIC_URL}/runs/{run['id']}"
    assert told["FASTFLOW_RUN_URL"] == f"{PUBLIC_URL}/runs/{alert['id']}"
    assert told["event"]["type"] == "fastflow.run.finished"
    said = told["event"]["data"]["run"]
    assert {name: run[name] for name in said} == said
    assert alert["root_run_id"] == run["id"]
    repeated = there.ask("POST", f"/api/runs/{alert['id']}/retry", {}).json
    again = json.loads(there.text(there.end(repeated)))
    assert {name for name in told if told[name] != again[name] and not name.endswith(("_FILE", "_DIR"))} == {
        "FASTFLOW_RUN_ID",
        "FASTFLOW_RUN_URL",
        "FASTFLOW_TRIGGERED_BY",
    }
    assert [each["id"] for each in followers(there, run)] == [alert["id"]]


def test_the_route_that_a_script_writes_is_taken(there: Rules) -> None:
    """Only that one, and the run shows it."""
    run = there.done("first", env_vars={"ROUTES": "approved\n"})
    (follower,) = there.first("approved", parent_run_id=run["id"])
    assert json.loads(there.text(there.end(follower)))["event"]["data"]["run"]["route"] == "approved"
    assert (run["route"], run["warnings"]) == ("approved", [])
    assert [each["pipeline_name"] for each in followers(there, run)] == ["approved"]


def test_a_failed_script_takes_a_route_too(there: Rules) -> None:
    """If the link is for failures; one without a route starts, too."""
    run = there.done("first", env_vars={"ROUTES": "rejected", "EXIT": "1"})
    there.first("rejected", parent_run_id=run["id"])
    there.first("alert", parent_run_id=run["id"])
    assert len(followers(there, run)) == 2


def test_what_is_no_label_is_a_warning_and_no_route(there: Rules) -> None:
    """The run itself is not affected."""
    run = there.done("first", env_vars={"ROUTES": "approved\nrejected"})
    assert (run["status"], run["route"]) == ("SUCCESS", None)
    (warning,) = run["warnings"]
    assert warning.startswith("FASTFLOW_ROUTE_FILE was ignored: the file has several lines")
    later = there.done("first", env_vars={"ROUTES": "approved"})
    there.first("approved", parent_run_id=later["id"])
    assert followers(there, run) == []


def test_the_last_attempt_s_route_counts(there: Rules) -> None:
    """What the first attempt wrote does not count."""
    body = {"ROUTES": "approved|", "EXIT": "1"}
    run = there.done("first", run_config_id="again", env_vars=body)
    assert (len(run["attempts"]), run["route"]) == (2, None)
    there.first("alert", parent_run_id=run["id"])
    assert [each["pipeline_name"] for each in followers(there, run)] == ["alert"]


def test_a_notebook_takes_a_route(there: Rules) -> None:
    """A cell writes the file."""
    run = there.done("pages")
    assert (run["status"], run["route"]) == ("SUCCESS", "approved")
    there.first("approved", parent_run_id=run["id"])


def test_a_start_by_hand_is_told_of_no_parent(there: Rules) -> None:
    """The variables are set, and empty."""
    source = "import os; print([os.environ[n] for n in ('FASTFLOW_PARENT_RUN_ID', 'FASTFLOW_PARENT_STATUS')])"
    (there.there.pipelines / "approved" / "main.py").write_text(source)
    assert there.ask("POST", "/api/sync", {}).status == 200
    assert there.text(there.done("approved")) == "['', '']"
    (there.there.pipelines / "approved" / "main.py").write_text(TELLS)
    assert there.ask("POST", "/api/sync", {}).status == 200


def test_a_secret_is_no_label(there: Rules) -> None:
    """It reaches neither the record nor what follows."""
    body = {"value": "a-long-secret", "pipeline": "leaks", "name": "API_KEY"}
    token = there.ask("POST", "/api/secrets/encrypt-for-pipeline", body).json["encrypted"]
    leaks = "import os; open(os.environ['FASTFLOW_ROUTE_FILE'], 'w').write(os.environ['API_KEY'])"
    there.there.add("leaks", leaks, encrypted_env={"API_KEY": token}, downstream_triggers=LINKS)
    assert there.ask("POST", "/api/sync", {}).status == 200
    run = there.done("leaks")
    assert (run["status"], run["route"]) == ("SUCCESS", None)
    assert "it holds a secret" in run["warnings"][0]
    assert "a-long-secret" not in json.dumps(run)
