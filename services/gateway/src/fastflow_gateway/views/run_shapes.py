"""Turns runs into ``shapes``, for the API and the pages. Pure: no I/O, no clock.

Each function returns a struct: ``msgspec.json.encode`` turns it into the API's JSON, templates read its attributes
(times are datetimes). Secrets are dropped here: variables keep only their names.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import assert_never

import msgspec

from fastflow_api import shapes
from fastflow_api.shapes import HIDDEN
from fastflow_contracts.pipelines.versions import version_id
from fastflow_contracts.runs import messages
from fastflow_contracts.runs import run as records
from fastflow_contracts.runs.chain import route_of
from fastflow_contracts.runs.result import raw
from fastflow_contracts.runs.run import Ended, Pending, Running, Verdict
from fastflow_gateway.views.skipped import skip
from fastflow_gateway.views.waiting import Capacity, waiting_on


def run(record: records.RunRecord, *, capacity: Capacity, now: datetime) -> shapes.Run:
    """A run at *now*. *capacity* decides what a waiting run waits for."""
    state, order = record.state, record.order
    last = record.attempts[-1] if record.attempts else None
    error, error_message = _error(record)
    waits_until = state.not_before if isinstance(state, Pending) and state.not_before > now else None
    return shapes.Run(
        id=record.id,
        pipeline_name=record.pipeline,
        status=shapes.Status(record.status),
        triggered_by=order.triggered_by,
        run_config_id=order.run_config_id,
        schedule=order.schedule,
        scheduled_for=order.scheduled_for,
        trigger_id=order.trigger_id,
        event_subject=order.event_subject,
        parent_run_id=order.parent_run_id,
        root_run_id=record.root_run_id,
        created_at=record.created_at,
        started_at=_started_at(record),
        finished_at=state.at if isinstance(state, Ended) else None,
        exit_code=last.exit_code if last else None,
        error_type=error,
        error_message=error_message,
        attempt=_attempt_number(record),
        attempts_max=order.retry_attempts + 1,
        attempts=tuple(map(attempt, record.attempts)),
        next_attempt_at=waits_until,
        cancel_requested=isinstance(state, Running) and state.cancel_requested_at is not None,
        refused=record.is_refused,
        commit=order.commit,
        bundle=order.bundle,
        version=version_id(order.bundle),
        kind=order.kind,
        python_version=_python_version(record),
        runner=state.runner if isinstance(state, Running) else last.runner if last else None,
        waiting_on=waiting_on(record, capacity=capacity, now=now),
        phases=phases(record),
        limits=limits(order.limits),
        memory_bytes_peak=max((a.memory_bytes_peak for a in record.attempts if a.memory_bytes_peak), default=None),
        cpu_cores_peak=max((a.cpu_cores_peak for a in record.attempts if a.cpu_cores_peak), default=None),
        warnings=tuple(dict.fromkeys(warning for a in record.attempts for warning in a.warnings)),
        route=route_of(record),
        operation_id=order.operation_id,
        result_bytes=record.result_bytes,
        env_vars=dict.fromkeys(order.env_names, HIDDEN),
        parameters=dict.fromkeys(order.parameter_names, HIDDEN),
    )


def run_detail(
    shown: shapes.Run, skips: Iterable[messages.SkipRecord], result: bytes | None = None
) -> shapes.RunDetail:
    """A run with details.

    Args:
        shown: The run.
        skips: The refused starts of pipelines after this one, newest first.
        result: Its result, as JSON.
    """
    return shapes.RunDetail(**msgspec.structs.asdict(shown), skipped=tuple(map(skip, skips)), result=raw(result))


def with_result(shown: shapes.Run, result: bytes | None) -> shapes.RunWithResult:
    """A run with its result, as JSON."""
    return shapes.RunWithResult(**msgspec.structs.asdict(shown), result=raw(result))


def mark(record: records.RunRecord) -> shapes.RunMark:
    return shapes.RunMark(
        id=record.id,
        status=shapes.Status(record.status),
        created_at=record.created_at,
        finished_at=record.state.at if isinstance(record.state, Ended) else None,
    )


def attempt(record: records.AttemptRecord) -> shapes.Attempt:
    return shapes.Attempt(
        number=record.number,
        runner=record.runner,
        claimed_at=record.claimed_at,
        prepared_at=record.prepared_at,
        started_at=record.started_at,
        finished_at=record.finished_at,
        exit_code=record.exit_code,
        error_type=error_type(record.error_type),
        error_message=record.error_message,
        memory_bytes_peak=record.memory_bytes_peak,
        cpu_cores_peak=record.cpu_cores_peak,
        warnings=record.warnings,
    )


def phases(record: records.RunRecord) -> shapes.Phases:
    """The phases of the newest attempt: the one that runs or will come next, else the last one."""
    state = record.state
    queued = record.attempts[-1].finished_at if record.attempts else record.created_at
    match state:
        case Pending():
            return shapes.Phases(queued=queued, claimed=None, environment=None, started=None, finished=None)
        case Running():
            return shapes.Phases(
                queued=queued, claimed=state.claimed_at, environment=state.prepared_at, started=None, finished=None
            )
        case Ended() if record.attempts:
            last = record.attempts[-1]
            return shapes.Phases(
                queued=record.attempts[-2].finished_at if len(record.attempts) > 1 else record.created_at,
                claimed=last.claimed_at,
                environment=last.prepared_at,
                started=last.started_at,
                finished=last.finished_at,
            )
        case Ended():
            return shapes.Phases(queued=queued, claimed=None, environment=None, started=None, finished=state.at)
        case _:
            assert_never(state)


def limits(given: records.RunLimits) -> shapes.Limits:
    return shapes.Limits(
        cpu_cores=given.cpu_cores,
        memory_bytes=given.memory_bytes,
        cpu_cores_soft=given.cpu_cores_soft,
        memory_bytes_soft=given.memory_bytes_soft,
        timeout_s=given.timeout_s,
    )


def error_type(given: records.RunErrorType | None) -> shapes.ErrorType | None:
    return None if given is None else shapes.ErrorType(given)


def sample(record: messages.AttemptSample, attempt_number: int) -> shapes.Sample:
    return shapes.Sample(
        ts=record.ts,
        attempt=attempt_number,
        cpu_cores=record.cpu_cores,
        memory_bytes=record.memory_bytes,
        memory_limit_bytes=record.memory_limit_bytes,
        soft_limit_exceeded=record.soft_limit_exceeded,
    )


def _error(record: records.RunRecord) -> tuple[shapes.ErrorType | None, str | None]:
    """Why the run failed or will be retried; for a cancelled run, only what ended it."""
    if isinstance(record.state, Ended) and record.state.verdict is Verdict.INTERRUPTED:
        return None, record.state.reason or None
    last = record.attempts[-1] if record.attempts else None
    return (error_type(last.error_type), last.error_message) if last else (None, None)


def _python_version(record: records.RunRecord) -> str | None:
    """The version that runs it or ran it last, else the requested one."""
    last = record.attempts[-1].python_version if record.attempts else ""
    now = record.state.python_version if isinstance(record.state, Running) else ""
    return now or last or record.order.python_version or None


def _attempt_number(record: records.RunRecord) -> int:
    match record.state:
        case Pending(attempt=number) | Running(attempt=number):
            return number
        case Ended():
            return record.attempts[-1].number if record.attempts else 1
        case _:
            assert_never(record.state)


def _started_at(record: records.RunRecord) -> datetime | None:
    started = next((a.started_at for a in record.attempts if a.started_at), None)
    if started is None and isinstance(record.state, Running):
        return record.state.prepared_at
    return started
