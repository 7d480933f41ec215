"""Turns pipelines, with their schedules and totals, into ``shapes``. Pure: no I/O, no clock.

Each function returns a struct: ``msgspec.json.encode`` turns it into the API's JSON, templates read its attributes
(times are datetimes). Secrets are dropped here: ``encrypted_env`` and webhook keys lose their values.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any, Final, Literal, assert_never
from urllib.parse import quote

import msgspec

from fastflow_api import shapes
from fastflow_contracts.bus.subjects import TriggerRef
from fastflow_contracts.pipelines.format.diagnostics import Notice, Problem
from fastflow_contracts.pipelines.format.spec import PipelineSpec
from fastflow_contracts.pipelines.pauses import PauseRecord
from fastflow_contracts.pipelines.records import PipelineRecord, Version
from fastflow_contracts.pipelines.versions import version_id
from fastflow_contracts.runs import messages
from fastflow_contracts.runs import run as records
from fastflow_contracts.runs.event_cursors import EventCursor
from fastflow_contracts.runs.run import RunStatus
from fastflow_contracts.schedules.schedule import Cron, Interval, Once
from fastflow_contracts.schedules.schedule import PipelineSchedule as SpecSchedule
from fastflow_gateway.views import versions
from fastflow_gateway.views.pauses import pause
from fastflow_gateway.views.redaction import hidden, hide_secrets
from fastflow_gateway.views.run_counts import RunCounts
from fastflow_gateway.views.run_shapes import mark
from fastflow_gateway.views.skipped import skip

NO_CURSORS: Final[Mapping[TriggerRef, EventCursor]] = {}


def pipeline(
    record: PipelineRecord,
    *,
    counts: RunCounts,
    last_runs: Iterable[records.RunRecord],
    crashes: Sequence[records.RunRecord] = (),
    paused: PauseRecord | None = None,
    cursors: Mapping[TriggerRef, EventCursor] = NO_CURSORS,
) -> shapes.Pipeline:
    """A pipeline. *last_runs*: newest first. *crashes*: the result of ``crash_loop.crash_loop``."""
    return shapes.Pipeline(**_pipeline_fields(record, counts, last_runs, crashes, paused, cursors))


def pipeline_detail(
    record: PipelineRecord,
    *,
    counts: RunCounts,
    last_runs: Iterable[records.RunRecord],
    crashes: Sequence[records.RunRecord] = (),
    paused: PauseRecord | None = None,
    cursors: Mapping[TriggerRef, EventCursor] = NO_CURSORS,
    files: Mapping[str, str],
    skips: Iterable[messages.SkipRecord],
) -> shapes.PipelineDetail:
    """A pipeline with details. *files*: stored texts by name. *skips*: newest first."""
    return shapes.PipelineDetail(
        **_pipeline_fields(record, counts, last_runs, crashes, paused, cursors),
        files={name: hide_secrets(text) if name.endswith(".json") else text for name, text in files.items()},
        parameters=record.live.parameters if record.live else None,
        webhooks=tuple(_webhooks(record)),
        skipped=tuple(map(skip, skips)),
    )


def crash_loop(crashes: Sequence[records.RunRecord]) -> shapes.CrashLoop | None:
    """The crash loop of these crashes, newest first; None if there are none."""
    if not crashes:
        return None
    newest, oldest = crashes[0], crashes[-1]
    return shapes.CrashLoop(
        crashes=len(crashes),
        since=oldest.created_at,
        error_message=newest.attempts[-1].error_message if newest.attempts else None,
    )


def schedule(given: SpecSchedule) -> shapes.Schedule:
    kind: Literal["cron", "interval", "once"]
    match given.timing:
        case Cron(expr=expr):
            kind, value = "cron", expr
        case Interval(interval_s=interval_s):
            kind, value = "interval", str(interval_s)
        case Once(at=at):
            kind, value = "once", at.isoformat().replace("+00:00", "Z")
        case _:
            assert_never(given.timing)
    return shapes.Schedule(
        id=given.id,
        run_config_id=given.run_config_id,
        kind=kind,
        value=value,
        timezone=given.timezone,
        start=given.start,
        end=given.end,
        enabled=given.enabled,
    )


def problem(given: Problem) -> shapes.VersionProblem:
    return shapes.VersionProblem(
        field=given.field,
        value=given.value,
        accepted=given.accepted,
        line=given.line,
        column=given.column,
        file=given.file,
    )


def notice(given: Notice) -> shapes.VersionNotice:
    return shapes.VersionNotice(field=given.field, text=given.text, line=given.line, file=given.file)


def stats(name: str, counts: RunCounts, last: records.RunRecord | None) -> shapes.Stats:
    judged = counts.successful + counts.failed
    return shapes.Stats(
        pipeline_name=name,
        total_runs=counts.total,
        successful_runs=counts.successful,
        failed_runs=counts.failed,
        interrupted_runs=counts.interrupted,
        active_runs=counts.active,
        success_rate=counts.successful / judged if judged else None,
        mean_duration_s=counts.success_seconds / counts.successful if counts.successful else None,
        last_run=mark(last) if last else None,
    )


def daily_stats(name: str, counts: RunCounts, *, today: date, days: int) -> shapes.DailyStats:
    return shapes.DailyStats(
        pipeline_name=name,
        days=tuple(
            shapes.Day(
                date=day,
                total_runs=sum(counts.values()),
                successful_runs=counts.get(RunStatus.SUCCESS, 0),
                failed_runs=counts.get(RunStatus.FAILED, 0),
                interrupted_runs=counts.get(RunStatus.INTERRUPTED, 0),
            )
            for day, counts in counts.days(today, days)
        ),
    )


def _pipeline_fields(
    record: PipelineRecord,
    counts: RunCounts,
    last_runs: Iterable[records.RunRecord],
    crashes: Sequence[records.RunRecord],
    paused: PauseRecord | None,
    cursors: Mapping[TriggerRef, EventCursor],
) -> dict[str, Any]:
    live: Version | None = record.live
    spec = live.spec if live else PipelineSpec()
    return {
        "name": record.name,
        "type": spec.type,
        "enabled": spec.enabled,
        "valid": not record.problems,
        "runnable": live is not None and spec.enabled,
        "problems": tuple(map(problem, record.problems)),
        "notices": tuple(map(notice, record.notices)),
        "description": spec.description,
        "tags": spec.tags,
        "has_requirements": live.has_requirements if live else False,
        "python_version": spec.python_version,
        "commit": live.commit if live else None,
        "commit_subject": live.commit_subject if live else None,
        "newest_commit": record.commit,
        "live_since": live.live_since if live else None,
        "version": version_id(live.bundle) if live else None,
        "why_not_newest": versions.why_not_newest(record),
        "pin": versions.pin(record),
        "rolled_back": versions.rollback(record),
        "schedules": tuple(map(schedule, spec.schedule_list())),
        "triggers": tuple(_triggers(record, cursors)),
        "run_config_ids": tuple(entry.id for entry in spec.schedules),
        "total_runs": counts.total,
        "successful_runs": counts.successful,
        "failed_runs": counts.failed,
        "active_runs": counts.active,
        "last_runs": tuple(map(mark, last_runs)),
        "crash_loop": crash_loop(crashes),
        "paused": pause(paused) if paused else None,
        "metadata": hidden(msgspec.to_builtins(spec)) if live else None,
    }


def _webhooks(record: PipelineRecord) -> Iterable[shapes.Webhook]:
    if record.live is None:
        return
    for run_config_id, key in record.live.spec.webhook_keys().items():
        path = f"/api/webhooks/{record.name}/{quote(key, safe='')}"
        yield shapes.Webhook(run_config_id=run_config_id, path=path)


def _triggers(record: PipelineRecord, cursors: Mapping[TriggerRef, EventCursor]) -> Iterator[shapes.EventTrigger]:
    if record.live is None:
        return
    spec = record.live.spec
    for trigger in spec.triggers:
        enabled = spec.enabled and trigger.enabled
        cursor = cursors.get(TriggerRef(record.name, trigger.id)) if enabled else None
        yield shapes.EventTrigger(
            id=trigger.id,
            subject=trigger.subject,
            when=trigger.when,
            key=trigger.key,
            batch_max=trigger.batch.max if trigger.batch else None,
            batch_within_seconds=trigger.batch.within_seconds if trigger.batch else None,
            debounce_seconds=trigger.debounce_seconds,
            run_config_id=trigger.run_config_id,
            enabled=enabled,
            stream=cursor.stream or None if cursor else None,
            waiting=cursor.waiting if cursor else None,
            last_run_id=cursor.last_run_id if cursor else None,
            last_run_at=cursor.last_run_at if cursor else None,
            problem=cursor.problem or None if cursor else None,
        )
