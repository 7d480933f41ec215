"""The scheduler's jobs."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, TypeAlias

from fastflow_api.shapes.base import Shape

JobKind: TypeAlias = Literal["cron", "interval", "once", "restart"]
Catchup: TypeAlias = Literal["none", "last", "all"]


class Window(Shape, frozen=True, kw_only=True):
    """The job fires only inside this window. Both ends are inclusive; null: open."""

    start: datetime | None
    end: datetime | None


class Job(Shape, frozen=True, kw_only=True):
    """Starts runs of a pipeline at certain times, or restarts it (kind ``restart``)."""

    id: str
    pipeline: str
    schedule: str
    """Which schedule of the pipeline: ``schedule``, ``once``, ``restart``, or ``schedules/`` and the entry's id."""
    run_config_id: str | None
    kind: JobKind
    value: str
    """The cron expression, the seconds, or the time."""
    timezone: str
    catchup: Catchup
    enabled: bool
    note: str | None
    """Why the job does not fire, or will not fire again."""
    next_run_time: datetime | None
    last_run_time: datetime | None
    """The last slot that started a run, or was refused with a skip that says why."""
    window: Window
    source: str = "pipeline_json"
    """Where it is defined: always the pipeline's metadata."""


class NextRuns(Shape, frozen=True, kw_only=True):
    """The next slots of a job, in order; empty if it does not fire."""

    next_runs: tuple[datetime, ...]
