"""Jobs as the API lists them."""

from __future__ import annotations

import pytest

from fastflow_contracts.bus.subjects import JobRef
from fastflow_contracts.names import PipelineName
from fastflow_contracts.schedules.schedule import Cron, PipelineSchedule
from fastflow_gateway.views.jobs import KnownJob, job
from tests.support.records import T0


@pytest.mark.parametrize("zone", ["+05:30", "Etc/Unknown", "Europe", "../..", "a" * 20_000, "\0", ""])
def test_a_job_in_a_time_zone_that_this_host_does_not_know_is_listed(zone: str) -> None:
    """Without a next time, and with the reason: another host, with newer time zones, may have synced it."""
    schedule = PipelineSchedule(id="schedule", timing=Cron(expr="0 9 * * *"), timezone=zone)
    known = KnownJob(job=JobRef(PipelineName("demo"), "schedule"), definition=schedule, state=None, is_on=True)
    listed = job(known, T0)
    assert listed.next_run_time is None
    assert listed.note is not None
    assert listed.note.startswith("It never fires: its time zone ")
