"""Pipelines: the list, one of them, its figures."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Literal

from fastflow_api.shapes.base import Shape
from fastflow_api.shapes.runs import RunMark, Skip


class Problem(Shape, frozen=True, kw_only=True, omit_defaults=True):
    """A reason why a pipeline's version is not usable."""

    field: str = ""
    """Path of the field, as in ``schedules[1].timeout``; empty: the whole file, or the folder."""
    value: str | None = None
    """Its JSON as written, shortened; ``{…}`` and ``[…]`` for what has parts, ``***`` for secrets; None: missing."""
    accepted: str
    """What would be accepted; for the whole file a sentence of its own."""
    line: int | None = None
    """In the file, from 1."""
    file: str | None = None

    def __str__(self) -> str:
        if not self.field:
            return f"{_place(self.file, self.line)}{self.accepted}"
        found = "is missing" if self.value is None else f"is {self.value}"
        return f"{_place(self.file, self.line)}{self.field} {found}; accepted: {self.accepted}"


class Notice(Shape, frozen=True, kw_only=True, omit_defaults=True):
    """Something that is probably not meant so. The version is usable all the same."""

    field: str = ""
    """As in ``Problem``."""
    text: str
    """A sentence about the field, or of its own if there is none."""
    line: int | None = None
    file: str | None = None

    def __str__(self) -> str:
        return f"{_place(self.file, self.line)}{self.field}{' ' if self.field else ''}{self.text}"


class CrashLoop(Shape, frozen=True, kw_only=True):
    """A daemon fails soon after every restart."""

    crashes: int
    """In a row; at most 100 are counted."""
    since: datetime
    """When the first of them was created."""
    error_message: str | None
    """Of the last one."""


class Schedule(Shape, frozen=True, kw_only=True):
    """What starts runs of a pipeline by time."""

    id: str
    run_config_id: str | None
    kind: Literal["cron", "interval", "once"]
    value: str
    """The cron expression, the seconds, or the time."""
    timezone: str
    start: datetime | None
    end: datetime | None
    enabled: bool


class Pipeline(Shape, frozen=True, kw_only=True):
    """One pipeline in the list."""

    name: str
    type: str
    enabled: bool
    valid: bool
    """The newest version has no problems."""
    runnable: bool
    """There is a good version and it is enabled: it can be started."""
    problems: tuple[Problem, ...]
    """Why the newest version is not live."""
    notices: tuple[Notice, ...]
    description: str | None
    tags: tuple[str, ...]
    has_requirements: bool
    python_version: str | None
    """Null: the installation's default."""
    commit: str | None
    """Of the live version."""
    commit_subject: str | None
    newest_commit: str | None
    """Of the newest version seen, good or bad."""
    live_since: datetime | None
    schedules: tuple[Schedule, ...]
    run_config_ids: tuple[str, ...]
    total_runs: int
    successful_runs: int
    failed_runs: int
    active_runs: int
    """Pending or running."""
    last_runs: tuple[RunMark, ...]
    """Newest first."""
    crash_loop: CrashLoop | None
    metadata: dict[str, Any] | None
    """The live version's pipeline.json, normalised; secrets are shown as ``***``."""


class Webhook(Shape, frozen=True, kw_only=True):
    """An address that starts the pipeline. The path holds the key: anyone who knows it may start runs."""

    run_config_id: str | None
    path: str


class PipelineDetail(Pipeline, frozen=True, kw_only=True):
    """One pipeline, with what is in its folder."""

    files: dict[str, str]
    """Text of the live version's main file, requirements and metadata by file name; secrets are ``***``."""
    webhooks: tuple[Webhook, ...]
    skipped: tuple[Skip, ...]
    """Refused starts, newest first."""


class Stats(Shape, frozen=True, kw_only=True):
    """Totals of one pipeline over all runs that are still known."""

    pipeline_name: str
    total_runs: int
    successful_runs: int
    failed_runs: int
    interrupted_runs: int
    active_runs: int
    success_rate: float | None
    """Successful among successful and failed; null before the first."""
    mean_duration_s: float | None
    """Of successful runs, from creation to end."""
    last_run: RunMark | None


class Day(Shape, frozen=True, kw_only=True):
    """Runs created on one day (UTC)."""

    date: date
    total_runs: int
    successful_runs: int
    failed_runs: int
    interrupted_runs: int


class DailyStats(Shape, frozen=True, kw_only=True):
    """One entry a day, oldest first, days without runs included."""

    pipeline_name: str
    days: tuple[Day, ...]


def _place(file: str | None, line: int | None) -> str:
    if file is None:
        return ""
    return f"{file}: " if line is None else f"{file}:{line}: "
