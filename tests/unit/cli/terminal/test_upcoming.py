"""The next slots of a pipeline's schedules, as ``fastflow validate`` prints them."""

from __future__ import annotations

from datetime import UTC, datetime

from fastflow.terminal.upcoming import as_json, lines, upcoming_of
from fastflow_contracts.pipelines.format.spec import PipelineSpec, ScheduleEntry

NOW = datetime(2026, 3, 28, 12, 0, 0, 500_000, UTC)


def said(spec: PipelineSpec, count: int = 2) -> list[str]:
    return list(lines(upcoming_of(spec, now=NOW, count=count)))


def test_slots_are_printed_in_the_time_zone_of_the_schedule() -> None:
    """The change to or from daylight saving time is visible."""
    spec = PipelineSpec(schedule_cron="30 2 * * *", timezone="Europe/Berlin")
    assert said(spec) == ["schedule, cron 30 2 * * *: Sun 2026-03-29 03:00:00 CEST, Mon 2026-03-30 02:30:00 CEST"]


def test_every_schedule_has_a_line() -> None:
    """Also disabled ones, those that are over, and the restarts of a daemon."""
    entries = (
        ScheduleEntry(id="off", schedule_cron="@daily", enabled=False),
        ScheduleEntry(id="often", schedule_interval_seconds=60),
        ScheduleEntry(id="fixed", schedule_interval_seconds=60, schedule_start=datetime(2026, 1, 1, tzinfo=UTC)),
    )
    spec = PipelineSpec(schedules=entries, run_once_at=datetime(2026, 1, 1, tzinfo=UTC), restart_interval=3600)
    assert said(spec, 1) == [
        "schedules/off, cron @daily, switched off: Sun 2026-03-29 00:00:00 UTC",
        "schedules/often, every 60 s, if first seen now: Sat 2026-03-28 12:01:00 UTC",
        "schedules/fixed, every 60 s: Sat 2026-03-28 12:01:00 UTC",
        "once, at 2026-01-01 00:00:00 UTC: never again",
        "restart, every 3600 s, if first seen now: Sat 2026-03-28 13:00:00 UTC",
    ]
    assert said(PipelineSpec()) == []


def test_programs_get_slots_in_utc() -> None:
    """As many as requested."""
    (found,) = upcoming_of(PipelineSpec(schedule_cron="@hourly"), now=NOW, count=3)
    assert as_json(found)["next_slots"] == tuple(datetime(2026, 3, 28, hour, tzinfo=UTC) for hour in (13, 14, 15))
