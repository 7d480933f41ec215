"""The record of one run: its order, its state, and the results of its attempts.

This is what the bus stores under ``run.<pipeline>.<id>`` and repeats on ``ff.event.run.<pipeline>.<id>``, as plain
JSON. It never has the value of an environment variable. ``state_machine`` defines how a record may change.

Theory of operation. A run is created *pending*, is claimed by one runner and then *running*, and *ends* once. A failed
attempt that may be repeated makes it pending again, under the same id. Final states absorb everything. Time is always
an argument; every time here is aware and in UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal, TypeAlias

import msgspec

from fastflow_contracts.base import Amount, BundleName, Count, Duration, Fact, Instant, Ordinal, StoredName, StoredRunId
from fastflow_contracts.bus.subjects import Kind, RunRef
from fastflow_contracts.codec import Codec, Malformed
from fastflow_contracts.ids import RunId
from fastflow_contracts.pipelines.format.concurrency import OnLimit
from fastflow_contracts.pipelines.format.spec import CellRetry, RetryStrategy


class RunStatus(StrEnum):
    """The status as people see it."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    INTERRUPTED = "INTERRUPTED"


class Verdict(StrEnum):
    """How a run can end; each is the status of the same name."""

    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    INTERRUPTED = "INTERRUPTED"


class RunErrorType(StrEnum):
    """Why an attempt failed."""

    SCRIPT_ERROR = "script_error"
    TIMEOUT = "timeout"
    OOM = "oom"
    ENVIRONMENT_ERROR = "environment_error"
    SECRET_ERROR = "secret_error"  # noqa: S105 - a reason, no secret
    RESULT_ERROR = "result_error"
    LOST = "lost"


ExitCode: TypeAlias = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**32)]

TriggeredBy = Literal["manual", "api", "webhook", "bus", "schedule", "downstream", "daemon_restart"]

#: Every step a run may take, at a glance. ``decide`` is the behaviour, this is its map: the diagram in
#: ARCHITECTURE.md is drawn from it and the property tests hold the two together.
EDGES: Mapping[RunStatus, frozenset[RunStatus]] = {
    RunStatus.PENDING: frozenset({RunStatus.PENDING, RunStatus.RUNNING, RunStatus.INTERRUPTED}),
    RunStatus.RUNNING: frozenset(
        {RunStatus.RUNNING, RunStatus.PENDING, RunStatus.SUCCESS, RunStatus.FAILED, RunStatus.INTERRUPTED}
    ),
    RunStatus.SUCCESS: frozenset(),
    RunStatus.FAILED: frozenset(),
    RunStatus.INTERRUPTED: frozenset(),
}


class RunLimits(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """What one attempt may use. Soft limits only warn. Cores and bytes; None = no limit."""

    cpu_cores: Amount | None = None
    memory_bytes: Count | None = None
    cpu_cores_soft: Amount | None = None
    memory_bytes_soft: Count | None = None
    timeout_s: Duration = 0.0
    """Of user code, per attempt; 0 = none."""


class Turn(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """The limit that a run shares with others, and which others these are."""

    limit: Ordinal
    """Most of them that run at once."""
    token: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}$")]
    """Hash of what they share: the same token is the same limit."""
    key: str = ""
    """The value of the key, shortened, for people."""
    on_limit: OnLimit = "queue"


class Order(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """What a run must do. Fixed when the run is created."""

    kind: Kind
    bundle: BundleName
    """Hash of the code in the object store."""
    commit: str | None = None
    python_version: str
    """Such as ``3.12``; empty: that of the runner's sandbox."""
    triggered_by: TriggeredBy
    run_config_id: str | None = None
    schedule: str | None = None
    """Id of the schedule whose slot made the run."""
    scheduled_for: Instant | None = None
    """The slot."""
    trigger_id: str | None = None
    """The one of the pipeline's ``triggers`` whose message made the run."""
    event_subject: str | None = None
    """The subject of that message, or the filter of the trigger if there are many."""
    parent_run_id: StoredRunId | None = None
    root_run_id: StoredRunId | None = None
    """The first run of its chain; None = this one."""
    hops: Count = 0
    """How many runs in the chain came before this one."""
    limits: RunLimits = RunLimits()
    turn: Turn | None = None
    """Of ``concurrency``; None: it begins beside any others."""
    network: str | tuple[str, ...] | None = None
    """``internet``, ``none``, or each ``host:port`` that it may reach; None: what the runner gives."""
    retry_attempts: Count = 0
    """Attempts after the first."""
    retry_strategy: RetryStrategy | None = None
    env_names: tuple[str, ...] = ()
    """Names of the variables given with the trigger; their values are in the run's input."""
    parameter_names: tuple[str, ...] = ()
    json_parameters: tuple[str, ...] = ()
    """Those of them whose text is JSON, as in ``Trigger``."""
    own_parameters: tuple[str, ...] = ()
    """Those of them that the pipeline set and not the trigger: defaults of its schema, values of its schedule."""
    by_operator: bool = False
    """An operator gave the variables, as in ``Trigger``."""
    cells: tuple[CellRetry, ...] = ()
    """Of a notebook's code cells, first to last; beyond them: no retries."""
    has_input: bool = False
    operation_id: StoredRunId | None = None
    """The operation that started it, such as a backfill."""


class Pending(Fact, frozen=True, kw_only=True, omit_defaults=True, tag="pending"):
    """Waiting for a runner, or for its next attempt."""

    attempt: Ordinal
    not_before: Instant


class Running(Fact, frozen=True, kw_only=True, omit_defaults=True, tag="running"):
    """Held by exactly one runner. ``epoch`` grows with every change of holder and fences the former one."""

    attempt: Ordinal
    runner: str
    epoch: Count
    claimed_at: Instant
    prepared_at: Instant | None = None
    """When its environment and its sandbox were ready. While this is None, no user code has run."""
    python_version: str = ""
    """Of the interpreter that runs it, once that is known."""
    cancel_requested_at: Instant | None = None
    cancel_reason: str = ""

    @property
    def is_stopping(self) -> bool:
        """Whether it was cancelled. A stop for a restart is not final: a cancel overrules it."""
        return self.cancel_requested_at is not None and self.cancel_reason != RESTART


REPLACED = "replaced"
"""The reason of a cancel by a newer run whose limit says ``replace``."""
RESTART = "restart"
"""The reason of a cancel that is followed by a new start."""


class Ended(Fact, frozen=True, kw_only=True, omit_defaults=True, tag="ended"):
    """The run is over. It never changes again."""

    verdict: Verdict
    at: Instant
    reason: str = ""
    """Why it was interrupted; ``RESTART`` = it starts again, however it ended."""
    refused: bool = False
    """It never began: its start was accepted, and refused later. Nothing follows from it."""
    result_bytes: Count | None = None
    """Size of its result, which is stored beside the record (``RunStore.result``); None: it has none."""


State: TypeAlias = Pending | Running | Ended


class AttemptRecord(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """The result of one attempt. The last one's result is the run's."""

    number: Ordinal
    runner: str
    claimed_at: Instant
    prepared_at: Instant | None = None
    python_version: str = ""
    """Of the interpreter that ran it."""
    started_at: Instant | None = None
    """When user code began; None if it never did."""
    finished_at: Instant
    exit_code: ExitCode | None = None
    error_type: RunErrorType | None = None
    error_message: str | None = None
    memory_bytes_peak: Count | None = None
    cpu_cores_peak: Amount | None = None
    warnings: tuple[str, ...] = ()
    """One sentence for each soft limit that was passed."""
    log_sequence: Count = 0
    """Stream sequence of its last log message; 0 if it wrote none, or its runner never came back to say it. A follower
    that has seen it has seen all.
    """
    cell_sequence: Count = 0
    """The same of what its cells did; 0 if it was no notebook."""
    route: str | None = None
    """The label that the script wrote, by which its followers are chosen."""


class RunRecord(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """One run with all its attempts."""

    v: Count = 1
    id: StoredRunId
    pipeline: StoredName
    created_at: Instant
    order: Order
    state: State
    attempts: tuple[AttemptRecord, ...] = ()
    epoch: Count = 0
    """The highest epoch handed out so far."""
    releases: Count = 0
    """How often a runner gave it back before user code ran."""
    write_id: str = ""
    """Random for each write: shows, after an uncertain write, whose bytes are stored."""

    @property
    def ref(self) -> RunRef:
        return RunRef(self.pipeline, self.id)

    @property
    def status(self) -> RunStatus:
        match self.state:
            case Pending():
                return RunStatus.PENDING
            case Running():
                return RunStatus.RUNNING
            case Ended(verdict=verdict):
                return RunStatus(verdict)

    @property
    def is_over(self) -> bool:
        return isinstance(self.state, Ended)

    @property
    def result_bytes(self) -> int | None:
        """Size of its result; None: it has none, or is not over."""
        return self.state.result_bytes if isinstance(self.state, Ended) else None

    @property
    def is_refused(self) -> bool:
        """Whether it stands for a start that was accepted, and refused later."""
        return isinstance(self.state, Ended) and self.state.refused

    @property
    def given_parameters(self) -> tuple[str, ...]:
        """Names of the parameters that its start gave: a start again, on today's code, gives no others."""
        return tuple(name for name in self.order.parameter_names if name not in self.order.own_parameters)

    @property
    def root_run_id(self) -> RunId:
        return self.order.root_run_id or self.id


class ParentRun(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """How the run ended that this one follows, as it was then. Its record may be gone when this one runs."""

    run_id: StoredRunId
    pipeline: StoredName
    status: RunStatus
    exit_code: ExitCode | None = None
    error_type: RunErrorType | None = None
    error_message: str | None = None


class RunInput(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """What the runner needs besides the code: stored beside the record, never shown, never repeated on the bus."""

    v: Count = 1
    env: dict[str, str] = {}
    """Clear variables, already merged in their order of precedence."""
    encrypted_env: dict[str, str] = {}
    """Fernet tokens by variable name."""
    overrides: dict[str, str] = {}
    """Variables and parameters given with the trigger: they win over the decrypted ones."""
    not_variables: tuple[str, ...] = ()
    """Parameters among them that a notebook gets as values only: the pipeline does not declare such variables."""
    event: bytes | None = None
    """Body of the webhook or message that started the run (base64 on the wire)."""
    event_type: str | None = None
    """Its media type."""
    parent: ParentRun | None = None
    """Of a run that follows another one."""
    event_headers: dict[str, str] = {}
    """Headers of the call or message that say which event it is, names in lower case."""


RUN = Codec(RunRecord)

RUN_INPUT = Codec(RunInput)


def check_run(ref: RunRef, run: RunRecord) -> None:
    """Check a stored record. Raises ``Malformed`` if it is another run's."""
    if run.ref != ref:
        raise Malformed(f"it is the record of run {run.id[:64]} of {run.pipeline[:64]}")
