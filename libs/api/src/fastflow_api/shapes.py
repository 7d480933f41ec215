"""The shapes of every answer: what the API sends as JSON and what the pages show. Data only; ``views`` fills them.

The OpenAPI document is made from these. A field is always there, null when there is nothing to say. Times are aware
and in UTC, sizes are bytes, durations seconds. No shape has room for the value of a variable.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Literal

import msgspec

from fastflow_contracts.pipelines.manifest import Notice, Problem
from fastflow_contracts.pipelines.records import SyncReport
from fastflow_contracts.runs.logs import LogStream
from fastflow_contracts.runs.run import ErrorType, Limits, Status, TriggeredBy

HIDDEN = "***"
"""Stands for a value that is not shown."""


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all answers."""


class Error(Shape, frozen=True, kw_only=True):
    """Why a request was not done, in a sentence that says what to do."""

    detail: str


class Phases(Shape, frozen=True, kw_only=True):
    """When each step of the newest attempt was reached; null = not yet, or not known."""

    queued: datetime
    """The run was created, or given back to wait for this attempt."""
    claimed: datetime | None
    environment: datetime | None
    """Interpreter and packages stood ready."""
    started: datetime | None
    """User code began. Known once the attempt is over."""
    finished: datetime | None


class Attempt(Shape, frozen=True, kw_only=True):
    """What one attempt came to."""

    number: int
    runner: str
    claimed_at: datetime
    prepared_at: datetime | None
    started_at: datetime | None
    finished_at: datetime
    exit_code: int | None
    error_type: ErrorType | None
    error_message: str | None
    memory_bytes_peak: int | None
    cpu_cores_peak: float | None
    warnings: tuple[str, ...]
    """One sentence for each soft limit that was passed."""


class Run(Shape, frozen=True, kw_only=True):
    """One run, in lists and alone."""

    id: str
    pipeline_name: str
    status: Status
    triggered_by: TriggeredBy
    run_config_id: str | None
    schedule: str | None
    """Whose slot made it: ``schedule``, ``once``, ``restart``, or ``schedules/`` and the entry's id."""
    scheduled_for: datetime | None
    """The slot."""
    parent_run_id: str | None
    created_at: datetime
    started_at: datetime | None
    """When user code first began; while the first attempt runs, when its environment stood ready."""
    finished_at: datetime | None
    """When the whole run was over."""
    exit_code: int | None
    """This and the error: of the newest attempt that is over."""
    error_type: ErrorType | None
    error_message: str | None
    attempt: int
    """Number of the newest attempt: running, awaited, or the last one."""
    attempts_max: int
    attempts: tuple[Attempt, ...]
    """Those that are over."""
    next_attempt_at: datetime | None
    """When a waiting run may start at the earliest, if that is in the future."""
    cancel_requested: bool
    """It was cancelled and is being stopped."""
    commit: str | None
    bundle: str
    kind: str
    """``script`` or ``notebook``."""
    python_version: str | None
    """None: not known before a runner has taken it."""
    runner: str | None
    """Who holds it, or held it last."""
    waiting_on: str | None
    """Why it is not running yet: what it waits for, in words."""
    phases: Phases
    limits: Limits
    memory_bytes_peak: int | None
    cpu_cores_peak: float | None
    warnings: tuple[str, ...]
    env_vars: dict[str, str]
    """Names of the variables given with the trigger; every value is ``***``."""
    parameters: dict[str, str]
    """Likewise."""


class Skip(Shape, frozen=True, kw_only=True):
    """A start that was refused."""

    at: datetime
    pipeline_name: str
    """Of the pipeline that was not started."""
    reason: str
    triggered_by: TriggeredBy
    run_config_id: str | None
    parent_run_id: str | None
    schedule: str | None
    scheduled_for: datetime | None


class RunDetail(Run, frozen=True, kw_only=True):
    """One run, with what did not come of it."""

    skipped: tuple[Skip, ...]
    """Starts that its end asked for and that were refused, newest first."""


class RunPage(Shape, frozen=True, kw_only=True):
    """Runs, newest first. ``next_cursor`` asks for the older ones; null: there are none."""

    runs: tuple[Run, ...]
    next_cursor: str | None


class Accepted(Shape, frozen=True, kw_only=True):
    """The trigger or command is stored and will take effect; nobody has answered yet."""

    id: str
    """The run's."""
    detail: str


class RunMark(Shape, frozen=True, kw_only=True):
    """As much of a run as fits a dot in a row."""

    id: str
    status: Status
    created_at: datetime
    finished_at: datetime | None


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
    """An address that starts the pipeline. The path holds the key: whoever knows it may start runs."""

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


class Sample(Shape, frozen=True, kw_only=True):
    """Use of one attempt at one moment."""

    ts: datetime
    attempt: int
    cpu_cores: float
    memory_bytes: int
    memory_limit_bytes: int | None
    soft_limit_exceeded: bool


class SampleList(Shape, frozen=True, kw_only=True):
    """Samples of all attempts, oldest first."""

    samples: tuple[Sample, ...]


class LogLine(Shape, frozen=True, kw_only=True, omit_defaults=True):
    """Data of one ``log`` event."""

    ts: datetime
    stream: LogStream
    attempt: int
    line: str
    more: bool = False
    """The line goes on in the next event of this stream."""


class SyncStatus(Shape, frozen=True, kw_only=True):
    """What is live and what the last sync found."""

    live_commit: str | None
    live_since: datetime | None
    """When the newest good sync ended."""
    last: SyncReport | None


class SyncLogs(Shape, frozen=True, kw_only=True):
    """The last syncs, newest first."""

    syncs: tuple[SyncReport, ...]


class Runner(Shape, frozen=True, kw_only=True):
    """A runner that is alive."""

    id: str
    host: str
    version: str
    sandbox: str
    sandbox_reason: str
    """Why it is not Docker, where the runner's settings leave the choice; else empty."""
    kinds: tuple[str, ...]
    slots: int
    busy: int
    """Attempts that it holds."""
    load: float
    """Of its host: processes that ran or wanted to, mean of the last minute, for each core."""
    environments: int
    """Interpreters with packages that stand ready, as far as it knows."""
    leaving: bool
    """It finishes what it has and takes no more."""
    paused: bool
    """It takes nothing for now: its Docker daemon does not answer."""
    unenforced: tuple[str, ...]
    """What its sandbox cannot enforce, one sentence each."""
    started_at: datetime
    seen_at: datetime
    """By its own clock."""


class Runners(Shape, frozen=True, kw_only=True):
    """The runners that are alive, by name."""

    runners: tuple[Runner, ...]


class Encrypted(Shape, frozen=True, kw_only=True):
    """A secret that can be shown."""

    encrypted: str
    """The token, to be put into ``encrypted_env`` of a pipeline.json."""


class Health(Shape, frozen=True, kw_only=True):
    """Each dependency and its state: ``ok``, or what is wrong."""

    status: Literal["ok", "unavailable"]
    dependencies: dict[str, str]
