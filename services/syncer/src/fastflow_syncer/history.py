"""The stored history of syncs and its limits. Pure."""

from __future__ import annotations

from typing import Final

import msgspec

from fastflow_contracts.pipelines.records import SYNC_STATUS, SyncReportRecord, SyncStatusRecord

HISTORY_MAX: Final = 50
"""Most reports in the history."""
CHANGES_MAX: Final = 50
"""Most changes stored of one report, without unchanged pipelines."""
DETAIL_CHARACTERS_MAX: Final = 200
STATUS_BYTES_MAX: Final = 512 * 1024
"""Half of the limit of a value on the bus; the oldest reports are dropped to stay below it."""


def with_report(old: SyncStatusRecord | None, report: SyncReportRecord) -> SyncStatusRecord:
    """Return the status with *report* added. A report equal to the previous one, except for times, replaces it."""
    kept = _shortened(report)
    history = old.history if old is not None else ()
    if history and _says(history[0]) == _says(kept):
        history = history[1:]
    live = kept if report.ok else (old.live if old is not None else None)
    status = SyncStatusRecord(last=kept, live=live, history=(kept, *history)[:HISTORY_MAX])
    while status.history and len(SYNC_STATUS.encode(status)) > STATUS_BYTES_MAX:
        status = msgspec.structs.replace(status, history=status.history[:-1])
    return status


def _says(report: SyncReportRecord) -> tuple[object, ...]:
    return (report.source, report.commit, report.ok, report.error, report.changes, report.pipelines)


def _shortened(report: SyncReportRecord) -> SyncReportRecord:
    changes = tuple(
        msgspec.structs.replace(change, detail=change.detail[:DETAIL_CHARACTERS_MAX])
        for change in report.changes
        if change.action != "unchanged"
    )
    return msgspec.structs.replace(report, changes=changes[:CHANGES_MAX])
