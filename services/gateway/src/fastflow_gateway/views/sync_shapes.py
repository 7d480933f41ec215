"""Turns the reports of syncs into ``shapes``. Pure."""

from __future__ import annotations

from fastflow_api import shapes
from fastflow_contracts.pipelines.records import SyncReportRecord, SyncStatusRecord


def sync_status(record: SyncStatusRecord | None) -> shapes.SyncStatus:
    live: SyncReportRecord | None = record.live if record else None
    return shapes.SyncStatus(
        live_commit=live.commit if live else None,
        live_since=live.finished_at if live else None,
        last=sync_report(record.last) if record else None,
    )


def sync_logs(record: SyncStatusRecord | None) -> shapes.SyncLogs:
    return shapes.SyncLogs(syncs=tuple(map(sync_report, record.history)) if record else ())


def sync_report(record: SyncReportRecord) -> shapes.SyncReport:
    return shapes.SyncReport(
        source=record.source,
        branch=record.branch,
        commit=record.commit,
        started_at=record.started_at,
        finished_at=record.finished_at,
        ok=record.ok,
        error=record.error,
        changes=tuple(
            shapes.PipelineChange(pipeline=change.pipeline, action=change.action, detail=change.detail)
            for change in record.changes
        ),
        pipelines=record.pipelines,
    )
