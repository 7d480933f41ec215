"""``concurrency`` in a running installation: runs wait for their turn, are refused, or replace older ones."""

from __future__ import annotations

from typing import Any

from tests.support.rules import Rules


def running(there: Rules, run: Any) -> Any:
    """Return the run once its script has begun."""
    return there.wait(lambda: found if (found := there.run(run))["status"] == "RUNNING" else None)


def test_runs_of_one_key_wait_for_their_turn_and_others_do_not(there: Rules) -> None:
    """In the order of their creation; a run that waits says which place it has."""
    first = running(there, there.start("in_turn", parameters={"CUSTOMER": "acme", "SECONDS": "3"}))
    second = there.start("in_turn", parameters={"CUSTOMER": "acme"})
    other = there.done("in_turn", parameters={"CUSTOMER": "other"})
    waiting = there.run(second)
    assert (waiting["status"], "1st of 1 for key acme" in waiting["waiting_on"]) == ("PENDING", True), waiting
    assert there.run(first)["status"] == "RUNNING"
    first, second = there.end(first), there.end(second)
    ends = [(run["status"], there.text(run)) for run in (first, second, other)]
    assert ends == [("SUCCESS", "acme"), ("SUCCESS", "acme"), ("SUCCESS", "other")]
    assert first["finished_at"] <= second["started_at"]
    assert other["finished_at"] <= second["started_at"]


def test_a_schedule_has_a_limit_of_its_own(there: Rules) -> None:
    """It refuses here, where the pipeline's would wait."""
    values = {"CUSTOMER": "refused", "SECONDS": "3"}
    first = running(there, there.start("in_turn", run_config_id="refusing", parameters=values))
    refused = there.ask("POST", "/api/pipelines/in_turn/run", {"run_config_id": "refusing", "parameters": values})
    assert refused.status == 429, refused.json
    assert there.end(first)["status"] == "SUCCESS"


def test_a_newer_run_replaces_the_older_one(there: Rules) -> None:
    older = running(there, there.start("newest_only", parameters={"CUSTOMER": "acme", "SECONDS": "60"}))
    newer = there.start("newest_only", parameters={"CUSTOMER": "acme"})
    older, newer = there.end(older), there.end(newer)
    assert (older["status"], newer["status"]) == ("INTERRUPTED", "SUCCESS")
    assert "replaced" in older["error_message"]
    assert older["finished_at"] <= newer["started_at"]
