"""Pipelines: the list, one of them, its statistics."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Literal

from fastflow_api.shapes.base import Shape
from fastflow_api.shapes.pauses import Pause
from fastflow_api.shapes.runs import RunMark, Skip
from fastflow_api.shapes.versions import VersionPin, VersionRollback


class VersionProblem(Shape, frozen=True, kw_only=True, omit_defaults=True):
    """A reason why a version of a pipeline is not valid."""

    field: str = ""
    """Path of the field, as in ``schedules[1].timeout``; empty: the whole file, or the folder."""
    value: str | None = None
    """The JSON as written, shortened; ``{…}`` for objects, ``[…]`` for arrays, ``***`` for secrets; null: missing."""
    accepted: str
    """What is accepted; a complete sentence if ``field`` is empty."""
    line: int | None = None
    """Line in the file, from 1."""
    column: int | None = None
    """Column in the line, from 1; null: the line says enough."""
    file: str | None = None

    def __str__(self) -> str:
        place = _place(self.file, self.line, self.column)
        if not self.field:
            return f"{place}{self.accepted}"
        found = "is missing" if self.value is None else f"is {self.value}"
        return f"{place}{self.field} {found}; accepted: {self.accepted}"


class VersionNotice(Shape, frozen=True, kw_only=True, omit_defaults=True):
    """Something that is probably a mistake. The version is valid all the same."""

    field: str = ""
    """As in ``VersionProblem``."""
    text: str
    """A phrase that follows the field's name; a complete sentence if ``field`` is empty."""
    line: int | None = None
    file: str | None = None

    def __str__(self) -> str:
        return f"{_place(self.file, self.line)}{self.field}{' ' if self.field else ''}{self.text}"


class CrashLoop(Shape, frozen=True, kw_only=True):
    """A daemon fails soon after every restart."""

    crashes: int
    """Crashes in a row, counted up to 100."""
    since: datetime
    """When the first of these runs was created."""
    error_message: str | None
    """The message of the last one."""


class Schedule(Shape, frozen=True, kw_only=True):
    """A schedule that starts runs of a pipeline."""

    id: str
    run_config_id: str | None
    kind: Literal["cron", "interval", "once"]
    value: str
    """The cron expression, the seconds, or the time."""
    timezone: str
    start: datetime | None
    end: datetime | None
    enabled: bool


class EventTrigger(Shape, frozen=True, kw_only=True):
    """A subject whose messages start runs of a pipeline, and how far they are read."""

    id: str
    subject: str
    when: str | None
    """The expression that a message must meet; null: all do."""
    key: str | None
    batch_max: int | None
    """Most messages of one run; null: each message starts its own."""
    batch_within_seconds: float | None
    debounce_seconds: float | None
    run_config_id: str | None
    enabled: bool
    """It and the pipeline are enabled, so it reads."""
    stream: str | None
    """The stream that stores the subject; null: none is known yet."""
    waiting: int | None
    """Messages that had not been handled when the last one was; null: unknown."""
    last_run_id: str | None
    last_run_at: datetime | None
    problem: str | None
    """Why it reads nothing."""


class Pipeline(Shape, frozen=True, kw_only=True):
    """One pipeline in the list."""

    name: str
    type: str
    enabled: bool
    valid: bool
    """The newest version has no problems."""
    runnable: bool
    """It has a valid version and is enabled, so it can start."""
    problems: tuple[VersionProblem, ...]
    """Why the newest version is not live."""
    notices: tuple[VersionNotice, ...]
    description: str | None
    tags: tuple[str, ...]
    has_requirements: bool
    python_version: str | None
    """Null: the installation's default."""
    commit: str | None
    """The commit of the live version."""
    commit_subject: str | None
    newest_commit: str | None
    """The commit of the newest version, valid or not."""
    live_since: datetime | None
    version: str | None = None
    """The id of the live version."""
    why_not_newest: str | None = None
    """A sentence that says why the live version is not the newest valid one; null: it is."""
    pin: VersionPin | None = None
    rolled_back: VersionRollback | None = None
    """While the version that failed is the newest one."""
    schedules: tuple[Schedule, ...]
    triggers: tuple[EventTrigger, ...]
    run_config_ids: tuple[str, ...]
    total_runs: int
    successful_runs: int
    failed_runs: int
    active_runs: int
    """Pending or running."""
    last_runs: tuple[RunMark, ...]
    """Newest first."""
    crash_loop: CrashLoop | None
    paused: Pause | None
    """Its own pause; that of the installation holds it, too."""
    metadata: dict[str, Any] | None
    """The live version's pipeline.json, normalised; ``***`` for secrets."""


class Webhook(Shape, frozen=True, kw_only=True):
    """An address that starts the pipeline. The path contains the key: anyone who knows it can start runs."""

    run_config_id: str | None
    path: str


class PipelineDetail(Pipeline, frozen=True, kw_only=True):
    """One pipeline, with the files of its folder."""

    files: dict[str, str]
    """Text of the live version's main file, requirements and metadata, by file name; ``***`` for secrets."""
    parameters: dict[str, Any] | None = None
    """JSON Schema of the parameters of its starts, declared or, for a notebook, as its tagged cell has them."""
    webhooks: tuple[Webhook, ...]
    skipped: tuple[Skip, ...]
    """Refused starts, newest first."""


class Stats(Shape, frozen=True, kw_only=True):
    """Totals of one pipeline over all stored runs."""

    pipeline_name: str
    total_runs: int
    successful_runs: int
    failed_runs: int
    interrupted_runs: int
    active_runs: int
    success_rate: float | None
    """Successful runs divided by successful and failed runs; null before the first."""
    mean_duration_s: float | None
    """Mean over successful runs, from creation to end."""
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


def _place(file: str | None, line: int | None, column: int | None = None) -> str:
    return "".join(f"{part}:" for part in (file, line, column) if part is not None) + " " if file is not None else ""
