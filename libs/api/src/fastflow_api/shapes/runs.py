"""Runs, and skips: starts that were refused."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, TypeAlias

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
    SECRET_ERROR = "secret_error"  # noqa: S105 - a reason, not a secret
    RESULT_ERROR = "result_error"
    ARTIFACTS_ERROR = "artifacts_error"
    STATE_ERROR = "state_error"
    STATE_CONFLICT = "state_conflict"
    LOST = "lost"


TriggeredBy: TypeAlias = Literal["manual", "api", "webhook", "bus", "schedule", "downstream", "daemon_restart"]


class Limits(Shape, frozen=True, kw_only=True, omit_defaults=True):
    """What one attempt may use. Soft limits only warn. Cores and bytes; null: no limit."""

    cpu_cores: float | None = None
    memory_bytes: int | None = None
    cpu_cores_soft: float | None = None
    memory_bytes_soft: int | None = None
    timeout_s: float = 0.0
    """For user code, per attempt; 0: no limit."""


class Phases(Shape, frozen=True, kw_only=True):
    """When the newest attempt reached each step; null: not yet, or unknown."""

    queued: datetime
    """The run was created, or began to wait for this attempt."""
    claimed: datetime | None
    environment: datetime | None
    """Interpreter and packages were ready."""
    started: datetime | None
    """User code began. Known only after the attempt."""
    finished: datetime | None


class Attempt(Shape, frozen=True, kw_only=True):
    """One finished attempt."""

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
    """One sentence for each exceeded soft limit."""
    state_version: int | None = None
    """The version of the pipeline's state that it began with; 0: there was none yet; null: the pipeline keeps none."""
    state_left: int | None = None
    """The version that it left; null: it changed nothing, or did not succeed."""


class Run(Shape, frozen=True, kw_only=True):
    """One run."""

    id: str
    pipeline_name: str
    status: Status
    triggered_by: TriggeredBy
    run_config_id: str | None
    schedule: str | None
    """The schedule that started it: ``schedule``, ``once``, ``restart``, or ``schedules/`` and the entry's id."""
    scheduled_for: datetime | None
    """The slot of the schedule."""
    trigger_id: str | None
    """The one of the pipeline's ``triggers`` whose message started it."""
    event_subject: str | None
    """The subject of that message; of a batch: the trigger's."""
    parent_run_id: str | None
    root_run_id: str
    """The first run of its chain; its own id if nothing came before."""
    created_at: datetime
    started_at: datetime | None
    """When user code first began; while the first attempt runs: when its environment was ready."""
    finished_at: datetime | None
    """When the whole run was over."""
    exit_code: int | None
    """Exit code and error are those of the newest finished attempt."""
    error_type: ErrorType | None
    error_message: str | None
    attempt: int
    """Number of the newest attempt: running, waiting, or the last one."""
    attempts_max: int
    attempts: tuple[Attempt, ...]
    """The finished attempts."""
    next_attempt_at: datetime | None
    """The earliest start of a waiting run, if it is in the future."""
    cancel_requested: bool
    """The run was cancelled and is stopping."""
    refused: bool = False
    """It never began: its start was accepted, and refused later. ``error_message`` says why, and its message is a skip
    with this id."""
    commit: str | None
    bundle: str
    version: str = ""
    """The id of the pipeline's version that it runs; empty: it never began."""
    kind: str
    """``script`` or ``notebook``."""
    priority: int = 0
    """Of waiting runs, those with a higher one begin first: -1, 0 or 1."""
    runs_on: tuple[str, ...] = ()
    """Labels that its runner must have."""
    python_version: str | None
    """null: unknown until a runner takes the run."""
    runner: str | None
    """The runner that has the run, or had it last."""
    waiting_on: str | None
    """What the run waits for, as text."""
    phases: Phases
    limits: Limits
    memory_bytes_peak: int | None
    cpu_cores_peak: float | None
    warnings: tuple[str, ...]
    route: str | None
    """The label that the last attempt wrote to the file ``FASTFLOW_ROUTE_FILE``."""
    result_bytes: int | None = None
    """Size of its result; null: it has none, or is not over."""
    artifacts_count: int | None = None
    """Files that it left; null: none, or it is not over."""
    artifacts_bytes: int = 0
    """Size of these files together."""
    env_vars: dict[str, str]
    """Variables given with the trigger; every value is ``***``."""
    parameters: dict[str, str]
    """Parameters given with the trigger; every value is ``***``."""
    operation_id: str | None = None
    """The operation that started it, such as a backfill."""


class Artifact(Shape, frozen=True, kw_only=True):
    """A file that a run left in the folder ``FASTFLOW_ARTIFACTS_DIR``."""

    path: str
    """Relative to the folder, with ``/``."""
    size_bytes: int
    sha256: str
    media_type: str
    """What its name says; its content may be anything."""


class Artifacts(Shape, frozen=True, kw_only=True):
    """All files that a run left."""

    artifacts: tuple[Artifact, ...]
    problems: tuple[str, ...]
    """A sentence for each file that is not among them."""


class Skip(Shape, frozen=True, kw_only=True):
    """A start that was refused."""

    id: str | None
    """Also the id that the run would have had; null: an older version refused it and kept no message."""
    at: datetime
    pipeline_name: str
    """The pipeline that was not started; or the token of a subject that names no pipeline."""
    reason: str
    triggered_by: TriggeredBy
    run_config_id: str | None
    parent_run_id: str | None
    schedule: str | None
    scheduled_for: datetime | None
    redriven_as: str | None
    """The newest run that was started from it; null: it is open."""
    stream: str | None = None
    """The stream of another program that its message came from; null: it came another way."""
    sequence: int | None = None
    """Where the message is in that stream."""


class RunWithResult(Run, frozen=True, kw_only=True):
    """One run, with its result."""

    result: Any = None
    """What the script wrote to the file ``FASTFLOW_RESULT_FILE``, any JSON. null may be the result itself:
    ``result_bytes`` says whether there is one."""


class RunDetail(RunWithResult, frozen=True, kw_only=True):
    """One run, with its result and the starts it caused that were refused."""

    skipped: tuple[Skip, ...]
    """Refused starts after the end of this run, newest first."""


class RunPage(Shape, frozen=True, kw_only=True):
    """Runs, newest first. ``next_cursor`` is for the next, older page; null: this is the last page."""

    runs: tuple[Run, ...]
    next_cursor: str | None


class RunMark(Shape, frozen=True, kw_only=True):
    """The few facts of a run that a bar in a strip needs."""

    id: str
    status: Status
    created_at: datetime
    finished_at: datetime | None


class RunIds(Shape, frozen=True, kw_only=True):
    """Ids of runs that start with the requested prefix, in order."""

    ids: tuple[str, ...]
    """At most 20."""
    total: int
    """Number of matching runs."""
