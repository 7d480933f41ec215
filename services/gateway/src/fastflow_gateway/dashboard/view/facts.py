"""The lists on the pages of a run and of a pipeline: facts, settings, variables, attempts. Pure.

Takes the API's shapes; ``formatting`` makes the words.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

from fastflow_api import shapes
from fastflow_api.formatting import bytes_text, cores_text, duration, exact, short
from fastflow_api.shapes import ErrorType, Status
from fastflow_contracts.pipelines.format.limit_policy import NO_POLICY, LimitPolicy
from fastflow_gateway.dashboard.view import words


class FactRow(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a list of facts."""

    name: str
    text: str = ""
    at: datetime | None = None
    mono: bool = False
    title: str = ""
    secret: bool = False


class AttemptView(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt, finished or running."""

    number: int
    status: Status
    started_at: datetime | None
    finished_at: datetime | None
    words: str


def attempts(run: shapes.Run) -> list[AttemptView]:
    """Every attempt, newest first, including the current one."""
    views = [
        AttemptView(
            number=attempt.number,
            status=Status.FAILED if attempt.error_type else _last_status(run, attempt),
            started_at=attempt.started_at or attempt.claimed_at,
            finished_at=attempt.finished_at,
            words=_attempt_words(run, attempt),
        )
        for attempt in run.attempts
    ]
    if run.finished_at is None:
        start = run.phases.environment or run.phases.claimed
        views.append(AttemptView(number=run.attempt, status=run.status, started_at=start, finished_at=None, words=""))
    return views[::-1]


def _last_status(run: shapes.Run, attempt: shapes.Attempt) -> Status:
    is_last = attempt is run.attempts[-1]
    return run.status if is_last and run.status in (Status.SUCCESS, Status.INTERRUPTED) else Status.SUCCESS


def _attempt_words(run: shapes.Run, attempt: shapes.Attempt) -> str:
    if attempt.error_type is None:
        return ""
    title = words.error_title(attempt.error_type, attempt.exit_code, run.limits, run.kind)
    has_more = attempt.error_message and attempt.error_type is not ErrorType.SCRIPT_ERROR
    return f"{title}. {words.main_line(attempt.error_message or '')}" if has_more else title


def run_facts(run: shapes.Run) -> list[FactRow]:
    """The facts of a run, apart from its status and log."""
    limits = run.limits
    found = [
        FactRow(name="Run", text=short(run.id), mono=True, title=run.id),
        FactRow(name="Started by", text=words.trigger_word(run.triggered_by)),
    ]
    if run.run_config_id is not None:
        found.append(FactRow(name="Configuration", text=run.run_config_id))
    if run.schedule is not None:
        found.append(FactRow(name="Schedule", text=run.schedule))
    if run.scheduled_for is not None:
        found.append(FactRow(name="Slot", text=exact(run.scheduled_for)))
    if run.trigger_id is not None:
        found.append(FactRow(name="Trigger", text=run.trigger_id))
    if run.event_subject is not None:
        found.append(FactRow(name="Subject", text=run.event_subject, mono=True))
    found.append(FactRow(name="Created", at=run.created_at))
    if run.finished_at is not None:
        found.append(FactRow(name="Finished", at=run.finished_at))
    if run.route is not None:
        found.append(FactRow(name="Route", text=run.route))
    if run.version:
        found.append(FactRow(name="Version", text=run.version, mono=True))
    if run.commit is not None:
        found.append(FactRow(name="Commit", text=words.commit(run.commit), mono=True, title=run.commit))
    found += [
        FactRow(name="Code", text=run.bundle[:10], mono=True, title=f"SHA-256 of the bundle: {run.bundle}"),
        FactRow(name="Python", text=run.python_version or "default"),
    ]
    if run.runner is not None:
        found.append(FactRow(name="Runner", text=run.runner, mono=True))
    if limits.cpu_cores is not None:
        found.append(FactRow(name="CPU limit", text=cores_text(limits.cpu_cores)))
    if limits.memory_bytes is not None:
        found.append(FactRow(name="Memory limit", text=bytes_text(limits.memory_bytes)))
    if limits.timeout_s:
        found.append(FactRow(name="Time limit", text=duration(limits.timeout_s)))
    if run.cpu_cores_peak is not None:
        found.append(FactRow(name="CPU peak", text=cores_text(run.cpu_cores_peak)))
    if run.memory_bytes_peak is not None:
        found.append(FactRow(name="Memory peak", text=bytes_text(run.memory_bytes_peak)))
    return found


def pipeline_settings(pipeline: shapes.Pipeline, policy: LimitPolicy = NO_POLICY) -> list[FactRow]:
    """The settings of a pipeline's runs: interpreter, limits, retries. *policy*: the installation's limits."""
    given = pipeline.metadata or {}
    cpu, memory, timeout = (given.get(name) for name in ("cpu_hard_limit", "mem_hard_limit", "timeout"))
    found = [
        FactRow(name="Type", text="Notebook" if pipeline.type == "notebook" else "Script"),
        FactRow(name="Python", text=pipeline.python_version or "default"),
        FactRow(name="Packages", text="requirements.txt" if pipeline.has_requirements else "no requirements file"),
        _limit("CPU limit", cores_text(policy.cpu(cpu)), cpu, policy.cpu(cpu)),
        _limit("Memory limit", bytes_text(policy.memory(memory)), memory, policy.memory(memory)),
        _limit("Time limit", _time_limit(policy.timeout(timeout)), timeout, policy.timeout(timeout)),
        FactRow(name="Retries", text=str(given.get("retry_attempts") or "none")),
    ]
    if given.get("max_instances"):
        found.append(FactRow(name="Concurrent runs", text=f"at most {given['max_instances']}"))
    if pipeline.live_since is not None:
        found.append(FactRow(name="Live since", at=pipeline.live_since))
    if pipeline.commit is not None:
        found.append(FactRow(name="Commit", text=words.commit(pipeline.commit)))
    return found


def _limit(name: str, text: str, own: float | None, effective: float | None) -> FactRow:
    """A limit of the runs, and whether it comes from the installation."""
    given_here = effective and own != effective
    return FactRow(name=name, text=f"{text} (this installation's)" if given_here else text)


def _time_limit(timeout_s: float) -> str:
    return duration(timeout_s) if timeout_s else "none"


def pipeline_environment(pipeline: shapes.Pipeline) -> list[FactRow]:
    """The variables of every run; for secrets only the names."""
    given = pipeline.metadata or {}
    clear: Mapping[str, str] = given.get("default_env", {})
    secret: Mapping[str, str] = given.get("encrypted_env", {})
    return [
        *(FactRow(name=name, text=value) for name, value in clear.items() if name not in secret),
        *(FactRow(name=name, secret=True) for name in secret),
    ]
