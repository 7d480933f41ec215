"""What is remembered of past syncs: the stored status and its bounds. Pure."""

from __future__ import annotations

from typing import Final

import msgspec

from fastflow_contracts.pipelines.records import SYNC_STATUS, SyncReport, SyncStatus

HISTORY_MAX: Final = 50
"""Reports kept."""
CHANGES_MAX: Final = 50
"""Changes kept of one report; unchanged pipelines are not kept at all."""
DETAIL_CHARACTERS_MAX: Final = 200
STATUS_BYTES_MAX: Final = 512 * 1024
"""Half of what a value may have; old reports go before this is exceeded."""


def with_report(old: SyncStatus | None, report: SyncReport) -> SyncStatus:
    """The status once *report* is in. A report that says what the one before said replaces it in the history."""
    kept = _shortened(report)
    history = old.history if old is not None else ()
    if history and _says(history[0]) == _says(kept):
        history = history[1:]
    live = kept if report.ok else (old.live if old is not None else None)
    status = SyncStatus(last=kept, live=live, history=(kept, *history)[:HISTORY_MAX])
    while status.history and len(SYNC_STATUS.encode(status)) > STATUS_BYTES_MAX:
        status = msgspec.structs.replace(status, history=status.history[:-1])
    return status


def _says(report: SyncReport) -> tuple[object, ...]:
    return (report.source, report.commit, report.ok, report.error, report.changes, report.pipelines)


def _shortened(report: SyncReport) -> SyncReport:
    changes = tuple(
        msgspec.structs.replace(change, detail=change.detail[:DETAIL_CHARACTERS_MAX])
        for change in report.changes
        if change.action != "unchanged"
    )
    return msgspec.structs.replace(report, changes=changes[:CHANGES_MAX])
