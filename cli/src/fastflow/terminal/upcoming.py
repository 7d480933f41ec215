"""The next slots of a pipeline's schedules, as ``validate`` shows them. Pure: the time is an argument."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple, assert_never
from zoneinfo import ZoneInfo

from fastflow_contracts.pipelines.format.spec import PipelineSpec
from fastflow_contracts.schedules.schedule import Cron, Interval, Once, PipelineSchedule
from fastflow_contracts.schedules.slots import upcoming


class Upcoming(NamedTuple):
    """One schedule and its first slots. ``is_relative``: they count from when a scheduler first sees it; here: now."""

    schedule: PipelineSchedule
    slots: tuple[datetime, ...]
    is_relative: bool


def upcoming_of(spec: PipelineSpec, *, now: datetime, count: int) -> list[Upcoming]:
    """Every schedule of the pipeline with its next *count* slots, disabled ones included."""
    restart = spec.restart_schedule()
    schedules = [*spec.schedule_list(), *([restart] if restart else [])]
    # Whole seconds, as in the scheduler.
    seen = now.replace(microsecond=0)
    return [
        Upcoming(
            schedule,
            tuple(upcoming(schedule, now, count, seen)),
            isinstance(schedule.timing, Interval) and schedule.start is None,
        )
        for schedule in schedules
    ]


def lines(found: list[Upcoming]) -> Iterator[str]:
    """One line for each schedule: what it is, and when it is due, in its own time zone."""
    for each in found:
        schedule = each.schedule
        if not each.slots:
            due = "never again"
        else:
            zone = ZoneInfo(schedule.timezone)
            due = ", ".join(f"{slot.astimezone(zone):%a %Y-%m-%d %H:%M:%S %Z}" for slot in each.slots)
        notes = "" if schedule.enabled else ", switched off"
        notes += ", if first seen now" if each.is_relative else ""
        yield f"{schedule.id}, {words(schedule)}{notes}: {due}"


def as_json(each: Upcoming) -> dict[str, Any]:
    """The schedule for programs; slots are in UTC."""
    schedule = each.schedule
    return {
        "id": schedule.id,
        "run_config_id": schedule.run_config_id,
        "when": words(schedule),
        "timezone": schedule.timezone,
        "enabled": schedule.enabled,
        "next_slots": each.slots,
    }


def words(schedule: PipelineSchedule) -> str:
    match schedule.timing:
        case Cron(expr=expr):
            return f"cron {expr}"
        case Interval(interval_s=interval_s):
            return f"every {interval_s} s"
        case Once(at=at):
            return f"at {at:%Y-%m-%d %H:%M:%S} UTC"
        case _:
            assert_never(schedule.timing)
