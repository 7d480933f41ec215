"""What the status remembers of syncs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

from fastflow_contracts.pipelines.records import (
    SYNC_STATUS,
    PipelineChangeRecord,
    SyncReportRecord,
    SyncStatusRecord,
)
from fastflow_syncer import history

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def _report(minute: int, **changes: object) -> SyncReportRecord:
    at = T0 + timedelta(minutes=minute)
    report = SyncReportRecord(source="s", started_at=at, finished_at=at, ok=True)
    return msgspec.structs.replace(report, **changes)


def test_the_status_knows_the_last_and_the_last_good_report() -> None:
    """A failure becomes the last report and leaves the last good one."""
    good = history.with_report(None, _report(0))
    bad = history.with_report(good, _report(1, ok=False, error="no"))
    assert bad.last.error == "no"
    assert bad.live == good.last
    assert [report.ok for report in bad.history] == [False, True]


def test_the_history_holds_changes_only_and_is_bounded() -> None:
    """Sixty equal syncs are one entry; many changes fit into one value."""
    status: SyncStatusRecord | None = None
    for minute in range(60):
        status = history.with_report(status, _report(minute))
    assert status is not None
    assert len(status.history) == 1
    assert status.history[0].started_at == T0 + timedelta(minutes=59)
    changes = tuple(
        PipelineChangeRecord(pipeline=f"{'p' * 60}{n}", action=("updated", "unchanged")[n % 2], detail="ü" * 9_999)
        for n in range(5_000)
    )
    for minute in range(60):
        status = history.with_report(status, _report(minute, changes=changes[minute * 2 :]))
    assert 10 < len(status.history) <= history.HISTORY_MAX
    assert all(change.action == "updated" for change in status.last.changes)
    assert len(SYNC_STATUS.encode(status)) <= history.STATUS_BYTES_MAX
