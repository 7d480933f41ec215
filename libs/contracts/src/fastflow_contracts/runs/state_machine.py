"""How a run may change: commands, events, ``decide`` and ``evolve``. Pure: no clock, no I/O, no randomness.

``decide(run, command, now)`` returns what follows. ``()`` means "already so, or no longer yours": drop it.
``CommandRefused`` means the caller is wrong, ``NotYet`` that it is early. ``evolve`` applies one event, always.
A command of a runner has the epoch that the runner was given: commands of a former holder change nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import reduce
from typing import TypeAlias, TypedDict, assert_never

from msgspec.structs import replace

from fastflow_contracts.base import Fact
from fastflow_contracts.errors import FastFlowError
from fastflow_contracts.pipelines.format.retry import delay_s
from fastflow_contracts.runs.artifacts.manifest import ArtifactManifest
from fastflow_contracts.runs.run import (
    RESTART,
    AttemptRecord,
    Ended,
    Pending,
    RunErrorType,
    Running,
    RunRecord,
    Verdict,
)
from fastflow_contracts.runs.state.head import LeftState

ERROR_CHARACTERS_MAX = 8_000
"""Of an attempt's error in its record; the log has all of it."""
STATE_CONFLICTS_MAX = 10
"""How often a run is tried again because another one changed the state that it began with."""
STATE_CONFLICT_WAIT_S_MAX = 60.0
"""The longest wait before that; the first is a second, and each next one twice as long."""
RELEASES_MAX = 5
"""A run given back more often than this before its code ran is lost: something kills every runner it meets."""


class AttemptOutcome(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """What a runner reports about one attempt. ``error_type`` None: the script ended with 0."""

    finished_at: datetime
    started_at: datetime | None = None
    exit_code: int | None = None
    error_type: RunErrorType | None = None
    error_message: str | None = None
    stopped: bool = False
    """The runner stopped it on request, with any exit code."""
    memory_bytes_peak: int | None = None
    cpu_cores_peak: float | None = None
    warnings: tuple[str, ...] = ()
    log_sequence: int = 0
    cell_sequence: int = 0
    route: str | None = None
    result: bytes | None = None
    """The JSON that the script wrote. It counts if the run ends with this attempt."""
    artifacts: ArtifactManifest | None = None
    """The files that the script left. They count as ``result``."""
    state: LeftState | None = None
    """The state that it left, if it changed. It counts if the run succeeds."""

    @property
    def ends_well(self) -> bool:
        """Whether the run succeeds with this attempt."""
        return self.error_type is None and not self.stopped


class Claim(Fact, frozen=True, kw_only=True, omit_defaults=True, tag="claim"):
    """A runner takes the run."""

    attempt: int
    runner: str


class Prepare(Fact, frozen=True, kw_only=True, omit_defaults=True, tag="prepare"):
    """The environment is ready; user code may run from now on."""

    epoch: int
    python_version: str = ""
    state_version: int | None = None
    """Number of the state that the script begins with; None: its pipeline keeps none."""


class Adopt(Fact, frozen=True, kw_only=True, omit_defaults=True, tag="adopt"):
    """A runner takes over the sandbox that another runner, or its own previous process, left running."""

    runner: str
    epoch: int
    """Of the holder that is gone."""


class Release(Fact, frozen=True, kw_only=True, omit_defaults=True, tag="release"):
    """A runner gives the run back before user code ran: no attempt is used up."""

    epoch: int
    reason: str
    held: bool = False
    """It must not begin now, because of a pause: it keeps its place, and this does not count."""


class Finish(Fact, frozen=True, kw_only=True, omit_defaults=True, tag="finish"):
    """A runner reports the result of the attempt."""

    epoch: int
    outcome: AttemptOutcome


class Cancel(Fact, frozen=True, kw_only=True, omit_defaults=True, tag="cancel"):
    """A request to end the run."""

    reason: str = "cancelled"


class Expire(Fact, frozen=True, kw_only=True, omit_defaults=True, tag="expire"):
    """The runner has been gone for longer than the fence: its sandboxes have stopped."""

    epoch: int
    reason: str


Command: TypeAlias = Claim | Prepare | Adopt | Release | Finish | Cancel | Expire


class Claimed(Fact, frozen=True, kw_only=True, tag="run.claimed"):
    at: datetime
    runner: str
    epoch: int


class EnvironmentPrepared(Fact, frozen=True, kw_only=True, tag="run.prepared"):
    at: datetime
    python_version: str = ""
    state_version: int | None = None


class Adopted(Fact, frozen=True, kw_only=True, tag="run.adopted"):
    runner: str
    epoch: int


class Released(Fact, frozen=True, kw_only=True, omit_defaults=True, tag="run.released"):
    at: datetime
    held: bool = False


class CancelRequested(Fact, frozen=True, kw_only=True, tag="run.cancel_requested"):
    at: datetime
    reason: str


class AttemptEnded(Fact, frozen=True, kw_only=True, tag="run.attempt_ended"):
    attempt: AttemptRecord


class RetryScheduled(Fact, frozen=True, kw_only=True, tag="run.retry_scheduled"):
    attempt: int
    not_before: datetime


class Finished(Fact, frozen=True, kw_only=True, tag="run.finished"):
    verdict: Verdict
    at: datetime
    reason: str = ""
    result_bytes: int | None = None
    artifacts_count: int | None = None
    artifacts_bytes: int = 0


class _Left(TypedDict):
    """What the last attempt left beside the record, as fields of ``Finished``."""

    result_bytes: int | None
    artifacts_count: int | None
    artifacts_bytes: int


Event: TypeAlias = (
    Claimed | EnvironmentPrepared | Adopted | Released | CancelRequested | AttemptEnded | RetryScheduled | Finished
)


class CommandRefused(FastFlowError):
    """The command is not possible in this state: an error of the caller, not a duplicate."""


class NotYet(CommandRefused):
    """The attempt is not due before ``until``."""

    def __init__(self, until: datetime) -> None:
        super().__init__(f"the next attempt is due at {until.isoformat()}")
        self.until = until


def decide(run: RunRecord, command: Command, *, now: datetime) -> tuple[Event, ...]:
    """Return the events that *command* causes at *now*: see the module's docstring."""
    match run.state, command:
        case Ended(), _:
            return ()
        case Pending() as state, Claim():
            if command.attempt != state.attempt:
                return ()  # an older hint
            # A run that starts at once, or was held, is due by any clock; the claimer's may be behind the creator's.
            if now < state.not_before != run.created_at:
                raise NotYet(state.not_before)
            return (Claimed(at=now, runner=command.runner, epoch=run.epoch + 1),)
        case Pending(), Cancel():
            return (Finished(verdict=Verdict.INTERRUPTED, at=now, reason=command.reason),)
        case Pending(), Prepare() | Adopt() | Release() | Finish() | Expire():
            return ()
        case Running(), Claim():
            return ()
        case Running() as state, Cancel():
            # A cancel overrules a stop for a restart, once.
            is_news = state.cancel_requested_at is None or RESTART == state.cancel_reason != command.reason
            return (CancelRequested(at=now, reason=command.reason),) if is_news else ()
        case Running() as state, Prepare() | Adopt() | Release() | Finish() | Expire():
            return () if command.epoch != state.epoch else _from_holder(run, state, command, now=now)
        case _:
            raise CommandRefused(f"{type(command).__name__} while {type(run.state).__name__}")


def _from_holder(
    run: RunRecord, state: Running, command: Prepare | Adopt | Release | Finish | Expire, *, now: datetime
) -> tuple[Event, ...]:
    match command:
        case Prepare():
            if state.prepared_at:
                return ()
            python, version = command.python_version, command.state_version
            return (EnvironmentPrepared(at=now, python_version=python, state_version=version),)
        case Adopt():
            return (Adopted(runner=command.runner, epoch=run.epoch + 1),)
        case Release():
            if state.prepared_at is not None:
                raise CommandRefused("user code may have run: the attempt must be finished, not given back")
            return _give_back(run, state, command.reason, now=now, held=command.held)
        case Finish():
            return _attempt_ended(run, state, command.outcome)
        case Expire():
            if state.prepared_at is None:
                return _give_back(run, state, command.reason, now=now)
            return _attempt_ended(run, state, _lost(command.reason, now))
        case _:
            assert_never(command)


def _give_back(run: RunRecord, state: Running, reason: str, *, now: datetime, held: bool = False) -> tuple[Event, ...]:
    if state.cancel_requested_at is not None:
        return _attempt_ended(run, state, AttemptOutcome(finished_at=now, stopped=True))
    if held:
        return (Released(at=now, held=True),)
    if run.releases >= RELEASES_MAX:
        return _attempt_ended(run, state, _lost(f"{reason} ({run.releases + 1} times in a row)", now))
    return (Released(at=now),)


def _lost(reason: str, now: datetime) -> AttemptOutcome:
    return AttemptOutcome(finished_at=now, error_type=RunErrorType.LOST, error_message=reason)


def _attempt_ended(run: RunRecord, state: Running, outcome: AttemptOutcome) -> tuple[Event, ...]:
    """Return the event for the end of an attempt: a stop is a stop; a cancelled failure is cancelled; else success,
    another attempt, or failure.
    """
    at = outcome.finished_at
    left_state = outcome.state if outcome.ends_well else None
    ended = AttemptEnded(
        attempt=AttemptRecord(
            number=state.attempt,
            runner=state.runner,
            claimed_at=state.claimed_at,
            prepared_at=state.prepared_at,
            python_version=state.python_version,
            started_at=outcome.started_at,
            finished_at=at,
            exit_code=outcome.exit_code,
            error_type=outcome.error_type,
            error_message=_cut(outcome.error_message),
            memory_bytes_peak=outcome.memory_bytes_peak,
            cpu_cores_peak=outcome.cpu_cores_peak,
            warnings=outcome.warnings,
            log_sequence=outcome.log_sequence,
            cell_sequence=outcome.cell_sequence,
            route=outcome.route,
            state_version=state.state_version,
            state_left=None if left_state is None else (state.state_version or 0) + 1,
        )
    )
    failed = outcome.error_type is not None
    left = _left(outcome)
    if outcome.stopped or (failed and state.cancel_requested_at is not None):
        return ended, Finished(verdict=Verdict.INTERRUPTED, at=at, reason=state.cancel_reason, **left)
    if not failed:
        # It may end by itself in the moment that a restart asks it to.
        reason = RESTART if state.cancel_reason == RESTART else ""
        return ended, Finished(verdict=Verdict.SUCCESS, at=at, reason=reason, **left)
    wait_s = _retry_wait_s(run, state.attempt, outcome.error_type)
    if wait_s is None:
        return ended, Finished(verdict=Verdict.FAILED, at=at, **left)
    not_before = at + timedelta(seconds=wait_s)
    return ended, RetryScheduled(attempt=state.attempt + 1, not_before=not_before)


def _retry_wait_s(run: RunRecord, attempt: int, error_type: RunErrorType | None) -> float | None:
    """Return the seconds until the next attempt; None: there is none.

    Retries count the failed attempts, from 1. A conflict of states is no fault of the script: it has retries of its
    own. A secret that no key opens is never retried.
    """
    conflicts = sum(each.error_type is RunErrorType.STATE_CONFLICT for each in run.attempts)
    if error_type is RunErrorType.STATE_CONFLICT:
        return None if conflicts >= STATE_CONFLICTS_MAX else min(2.0**conflicts, STATE_CONFLICT_WAIT_S_MAX)
    failures = attempt - conflicts
    if failures > run.order.retry_attempts or error_type is RunErrorType.SECRET_ERROR:
        return None
    return delay_s(run.order.retry_strategy, failures)


def _left(outcome: AttemptOutcome) -> _Left:
    files = outcome.artifacts
    return _Left(
        result_bytes=None if outcome.result is None else len(outcome.result),
        artifacts_count=None if files is None else len(files.artifacts),
        artifacts_bytes=0 if files is None else files.bytes_total,
    )


def _cut(text: str | None) -> str | None:
    """Return *text* without its middle if it may be too long for a record."""
    if text is None or len(text) <= ERROR_CHARACTERS_MAX:
        return text
    half = ERROR_CHARACTERS_MAX // 2
    return f"{text[:half]} … {text[-half:]}"


def evolve(run: RunRecord, event: Event) -> RunRecord:
    """Apply one event. Works for every event that ``decide`` returned for this run."""
    match event:
        case Claimed():
            assert isinstance(run.state, Pending)
            state = Running(
                attempt=run.state.attempt,
                runner=event.runner,
                epoch=event.epoch,
                claimed_at=event.at,
            )
            return replace(run, state=state, epoch=event.epoch)
        case EnvironmentPrepared():
            assert isinstance(run.state, Running)
            state = replace(
                run.state,
                prepared_at=event.at,
                python_version=event.python_version,
                state_version=event.state_version,
            )
            return replace(run, state=state)
        case Adopted():
            assert isinstance(run.state, Running)
            state = replace(run.state, runner=event.runner, epoch=event.epoch)
            return replace(run, state=state, epoch=event.epoch)
        case Released(held=True):
            assert isinstance(run.state, Running)
            return replace(run, state=Pending(attempt=run.state.attempt, not_before=run.created_at))
        case Released():
            assert isinstance(run.state, Running)
            pending = Pending(attempt=run.state.attempt, not_before=event.at)
            return replace(run, state=pending, releases=run.releases + 1)
        case CancelRequested():
            assert isinstance(run.state, Running)
            return replace(run, state=replace(run.state, cancel_requested_at=event.at, cancel_reason=event.reason))
        case AttemptEnded():
            return replace(run, attempts=(*run.attempts, event.attempt), releases=0)
        case RetryScheduled():
            return replace(run, state=Pending(attempt=event.attempt, not_before=event.not_before))
        case Finished():
            ended = Ended(
                verdict=event.verdict,
                at=event.at,
                reason=event.reason,
                result_bytes=event.result_bytes,
                artifacts_count=event.artifacts_count,
                artifacts_bytes=event.artifacts_bytes,
            )
            return replace(run, state=ended)
        case _:
            assert_never(event)


def fold(run: RunRecord, events: Iterable[Event]) -> RunRecord:
    """Apply *events* in order."""
    return reduce(evolve, events, run)
