"""Runs: in lists, alone, and what did not start."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Literal, TypeAlias

from fastflow_api.shapes.base import Shape


class Status(StrEnum):
    """What a run is doing, or how it ended."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    INTERRUPTED = "INTERRUPTED"


class ErrorType(StrEnum):
    """Why an attempt failed."""

    SCRIPT_ERROR = "script_error"
    TIMEOUT = "timeout"
    OOM = "oom"
    ENVIRONMENT_ERROR = "environment_error"
    SECRET_ERROR = "secret_error"  # noqa: S105 - a reason, no secret
    LOST = "lost"


TriggeredBy: TypeAlias = Literal["manual", "api", "webhook", "bus", "schedule", "downstream", "daemon_restart"]


class Limits(Shape, frozen=True, kw_only=True, omit_defaults=True):
    """What one attempt may use. Soft limits only warn. Cores and bytes; None = no limit."""

    cpu_cores: float | None = None
    memory_bytes: int | None = None
    cpu_cores_soft: float | None = None
    memory_bytes_soft: int | None = None
    timeout_s: float = 0.0
    """Of user code, per attempt; 0 = none."""


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


class RunMark(Shape, frozen=True, kw_only=True):
    """As much of a run as fits a dot in a row."""

    id: str
    status: Status
    created_at: datetime
    finished_at: datetime | None


class RunIds(Shape, frozen=True, kw_only=True):
    """Ids of runs that begin with what was asked for, in order."""

    ids: tuple[str, ...]
    """At most 20."""
    total: int
    """How many there are."""
