"""What the end of a run starts: downstream pipelines, and daemons again."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.support.rules import WAIT_S, Rules, seconds


def test_success_starts_targets_and_shows_missing_ones(there: Rules) -> None:
    """The child has its configuration and names its parent; a missing target is a skip with the reason."""
    parent = there.done("chain")
    (child,) = there.first("after_success", parent_run_id=parent["id"])
    assert (child["triggered_by"], child["run_config_id"]) == ("downstream", "full")
    assert there.text(there.end(child)) == "fully after downstream"
    graph = there.get("/api/pipelines/graph")
    assert {node["name"] for node in graph["nodes"] if not node["exists"]} == {"nobody"}
    assert there.wait(lambda: "there is no pipeline nobody" in there.page(f"/runs/{parent['id']}"))
    assert there.runs("after_failure") == []


def test_failure_starts_only_targets_that_wait_for_failure(there: Rules) -> None:
    """After the last attempt."""
    before = len(there.runs("after_success"))
    parent = there.done("chain", env_vars={"EXIT": "1"})
    (child,) = there.first("after_failure", parent_run_id=parent["id"])
    assert there.text(there.end(child)) == "to the rescue"
    assert len(there.runs("after_success")) == before


def test_a_target_with_a_route_starts_when_the_script_takes_it(there: Rules) -> None:
    """Another label starts nothing."""
    there.done("choosing", env_vars={"WAY": "right"})
    parent = there.done("choosing", env_vars={"WAY": "left"})
    (child,) = there.first("chosen")
    assert child["parent_run_id"] == parent["id"]
    assert there.text(there.end(child)) == "after choosing\nturned left"
    assert len(there.runs("chosen")) == 1


def test_a_crashed_daemon_restarts_after_its_cooldown_until_it_is_cancelled(there: Rules) -> None:
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
    begun = there.wait(lambda: there.run(run)["started_at"])  # cancelled before, it never starts
    assert there.cancel(run)["error_message"] == "cancelled"
    count = len(there.runs("restarting"))
    started = there.first("restarting", count + 1)[-1]
    there.switch("restarting.restart", on=False)
    assert (started["triggered_by"], started["parent_run_id"]) == ("daemon_restart", None)
    there.cancel(started)
    lives = [(run["started_at"], run["finished_at"]) for run in there.runs("restarting") if run["started_at"]]
    assert all(seconds(end, begin) > 0 for (_, end), (begin, _) in pairwise(lives))
    assert seconds(former["finished_at"], begun) >= 0.5


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
