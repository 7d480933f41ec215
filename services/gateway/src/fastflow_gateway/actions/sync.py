"""Sync now: ask a syncer and wait for its report."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.decoding import decoded
from fastflow_contracts.bus.errors import Rejected, Unavailable
from fastflow_contracts.pipelines.records import SYNC_REPORT, SyncReportRecord
from fastflow_gateway import app_keys
from fastflow_gateway.errors import RequestRefused

SYNC_S: Final = 120.0
"""How long a request waits for a sync; after that it answers 504."""


async def sync(app: web.Application) -> SyncReportRecord:
    """Ask a syncer to sync now, and wait for its report.

    Returns:
        The report of the sync.

    Raises:
        RequestRefused: No syncer is connected, it did not answer in time, or its report cannot be read.
    """
    try:
        answer = await app[app_keys.BUS].ask(subjects.SYNC, b"", timeout_s=SYNC_S)
    except Rejected as error:
        raise RequestRefused(503, "no syncer is connected; start one and try again.") from error
    except Unavailable as error:
        raise RequestRefused(504, "the sync is not done yet; GET /api/sync/status will show its result.") from error
    report = decoded(SYNC_REPORT, answer, where=subjects.SYNC)
    if report is None:
        raise RequestRefused(502, "the syncer's report cannot be read; GET /api/sync/status shows the result.")
    return report
