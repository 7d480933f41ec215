"""What runs when: the jobs of the scheduler."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, TypeAlias

from fastflow_api.shapes.base import Shape

JobKind: TypeAlias = Literal["cron", "interval", "once", "restart"]
Catchup: TypeAlias = Literal["none", "last", "all"]


class Window(Shape, frozen=True, kw_only=True):
    """The job is silent outside. Both ends are inclusive; null: open."""

    start: datetime | None
    end: datetime | None


class Job(Shape, frozen=True, kw_only=True):
    """What starts runs of a pipeline by time, or restarts it (kind ``restart``)."""

    id: str
    pipeline: str
    schedule: str
    """Which of the pipeline's: ``schedule``, ``once``, ``restart``, or ``schedules/`` and the entry's id."""
    run_config_id: str | None
    kind: JobKind
    value: str
    """The cron expression, the seconds, or the time."""
    timezone: str
    catchup: Catchup
    enabled: bool
    note: str | None
    """Why it does not fire, or will not any more."""
    next_run_time: datetime | None
    last_run_time: datetime | None
    """The last slot that was run, or refused with an entry that says why."""
    window: Window


class NextRuns(Shape, frozen=True, kw_only=True):
    """The next slots of a job, ascending; none if it does not fire."""

    next_runs: tuple[datetime, ...]
