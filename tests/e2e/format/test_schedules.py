"""Schedules: intervals, cron, once, windows, and the entries of ``schedules``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from tests.support.rules import LATE_S, WAIT_S, Rules, seconds, slot, waits


@pytest.mark.promise("nothing doubled")
def test_an_interval_fires_exactly_at_its_slots(there: Rules) -> None:
    """Each run names its slot; slots are two seconds apart to the microsecond, even with a sync in between."""
    there.first("every_two_seconds", 1, triggered_by="schedule")
    there.rewrite("every_two_seconds", description="synced between two slots", default_env={"A": "1"})
    found = there.first("every_two_seconds", 3, triggered_by="schedule")
    there.switch("every_two_seconds.schedule", on=False)
    slots = [run["scheduled_for"] for run in found]
    assert [seconds(one, other) for one, other in pairwise(slots)] == [2, 2]
    assert all(0 <= seconds(run["scheduled_for"], run["created_at"]) < LATE_S for run in found)
    told = datetime.fromisoformat(there.text(there.end(found[0])))
    assert told == datetime.fromisoformat(slots[0])


def test_a_single_time_runs_once_and_must_be_in_the_future(there: Rules) -> None:
    """A future time is one run at that time; a past time gives no job."""
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
    """By time or by hand: their variables and timeout override the pipeline's; the record names the configuration."""
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


def test_a_disabled_entry_is_listed_and_starts_by_hand_only(there: Rules) -> None:
    """Its slots came every second since these tests started, and none was run; nor any of the pipeline's own."""
    there.first("entries", triggered_by="schedule")
    job = there.jobs("entries")["schedules/off"]
    assert (job["enabled"], job["next_run_time"]) == (False, None)
    assert there.text(there.done("entries", run_config_id="off")) == "off off pipeline"
    fired = [run for run in there.runs("entries") if run["triggered_by"] == "schedule"]
    assert {run["run_config_id"] for run in fired} == {"prod"}


def test_a_window_includes_its_first_and_its_last_instant(there: Rules) -> None:
    """Nothing runs beyond them. The start is a slot of the interval, and so is the end."""
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


def test_cron_fires_on_the_minute_and_wins_over_an_interval(there: Rules) -> None:
    """Near the end of these tests, so that the minute is almost over."""
    assert {job["kind"] for job in there.jobs("every_minute").values()} == {"cron"}
    (run,) = there.first("every_minute", within_s=60 + WAIT_S)
    there.switch("every_minute.schedule", on=False)
    assert (run["schedule"], run["triggered_by"]) == ("schedule", "schedule")
    assert run["scheduled_for"].endswith(":00Z")
    assert 0 <= seconds(run["scheduled_for"], run["created_at"]) < LATE_S
