"""What the page of schedules says about each job."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from fastflow_contracts.bus.subjects import JobRef
from fastflow_contracts.ids import run_id_for_slot
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.format.spec import PipelineSpec, ScheduleEntry
from fastflow_contracts.pipelines.records import PipelineRecord, Version
from fastflow_contracts.schedules.state import ScheduleState, definition
from fastflow_gateway.dashboard.view import formatting
from fastflow_gateway.dashboard.view.schedules import JobView, job_views, summary
from fastflow_gateway.views import jobs
from tests.support.records import T0, a_run, at

HOUR = 3600


def a_record(name: str, **spec: Any) -> PipelineRecord:
    live = Version(bundle="b" * 64, spec=PipelineSpec(**spec), live_since=T0)
    return PipelineRecord(name=PipelineName(name), live=live, seen_at=T0)


def shown(*records: PipelineRecord, done: float | None = None, ran: bool = False, now: float = 0) -> list[JobView]:
    """Return the views at *now*. *done*: until when schedulers have handled all schedules. *ran*: the slot of a run."""
    states = {}
    if done is not None:
        for each in jobs.known_jobs(records, {}, ()):
            states[each.job] = ScheduleState(
                definition=definition(each.definition),
                anchor=T0,
                done_until=at(done),
                last_slot=at(done) if ran else None,
            )
    run = a_run()
    known = jobs.known_jobs(records, states, {JobRef(PipelineName("off"), "schedule")})
    wanted = {run_id_for_slot(each.job.pipeline, each.job.schedule, at(done or 0)) for each in known}
    return job_views(jobs.listed(known, at(now)), at(now), run_of=lambda run_id: run if run_id in wanted else None)


def test_jobs_are_sorted_by_their_next_slot() -> None:
    """Those without one come last; then by name."""
    views = shown(
        a_record("late", schedule_cron="0 9 * * *"),
        a_record("off", schedule_cron="0 1 * * *"),
        a_record("soon", schedule_interval_seconds=60),
    )
    assert [view.job.pipeline for view in views] == ["soon", "late", "off"]
    assert summary(views) == "3 schedules · 1 inactive"
    assert (views[0].slots, views[2].slots) == ("00:01, 00:02, 00:03", "")
    assert [view.note for view in views] == [None, None, "It is switched off."]


def test_configurations_and_restarts_are_told_apart() -> None:
    """Each schedule of a pipeline has a name beside the pipeline's."""
    entry = ScheduleEntry(id="weekly", schedule_cron="0 3 * * 0", enabled=False)
    views = shown(a_record("etl", schedules=(entry,), restart_interval=HOUR))
    assert [(view.name, view.is_locked, view.words) for view in views] == [
        ("restart", False, "Every hour"),
        ("weekly", True, "Every Sunday at 03:00 UTC"),
    ]
    assert "etl weekly every sunday" in views[1].search_words


def test_the_last_slot_links_to_its_run() -> None:
    """The slot determines the run's id. Without a known run only the time is shown."""
    record = a_record("hourly", schedule_interval_seconds=HOUR)
    (view,) = shown(record, done=HOUR, ran=True, now=HOUR + 5)
    assert view.last_run is not None
    assert view.job.last_run_time == at(HOUR)
    (view,) = shown(record, done=HOUR, now=HOUR + 5)
    assert view.last_run is None


def test_a_slot_without_a_scheduler_is_reported() -> None:
    """Some seconds after its instant, and never for a job that no scheduler has seen yet."""
    record = a_record("hourly", schedule_interval_seconds=HOUR)
    assert shown(record, done=0, now=HOUR + 2)[0].late_slot is None
    assert shown(record, done=0, now=HOUR + 8)[0].late_slot == at(HOUR)
    assert shown(record, done=HOUR, now=HOUR + 8)[0].late_slot is None
    assert shown(record, now=HOUR + 8)[0].late_slot is None


def test_a_single_time_is_listed_until_it_has_passed_without_a_run() -> None:
    """A time that had passed when first seen is not listed."""
    record = a_record("single", run_once_at=at(HOUR))
    assert [view.note for view in shown(record)] == [None]
    assert [view.late_slot for view in shown(record, done=0, now=HOUR + 8)] == [at(HOUR)]
    assert [view.note for view in shown(record, done=HOUR, ran=True, now=HOUR + 8)] == ["Its time has passed."]
    assert shown(record, now=HOUR) == []
    assert shown(record, done=HOUR, now=HOUR + 8) == []


def test_future_moments_are_put_into_words() -> None:
    """Whole seconds below a minute; the day only if it is another one."""
    assert [formatting.countdown(at(s), T0) for s in (0, 0.2, 59.5, 245, 2 * 86_400)] == [
        "now",
        "in 1 s",
        "in 1 m 00 s",
        "in 4 m 05 s",
        "in 2 d 0 h",
    ]
    assert formatting.slot(at(90), T0) == "00:01:30"
    assert formatting.slot(T0 + timedelta(days=1), T0) == "2 Jan 00:00"
