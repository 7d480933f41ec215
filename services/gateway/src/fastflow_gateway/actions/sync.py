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


HOOK_S: Final = 3.0
"""How long a git host waits for the result: some call it a failure after 5 s."""


async def sync_soon(app: web.Application) -> SyncReportRecord | None:
    """Ask a syncer to sync now. Returns its report; None: it needs longer, and goes on.

    Requests during a sync lead to one more sync, however many they are.

    Raises:
        RequestRefused: No syncer is connected, or the bus is away (503).
    """
    bus = app[app_keys.BUS]
    try:
        answer = await bus.ask(subjects.SYNC, b"", timeout_s=HOOK_S)
    except Rejected as error:
        raise RequestRefused(
            503, "no syncer is connected; start one and send this again.", headers={"Retry-After": "60"}
        ) from error
    except Unavailable:
        if not bus.is_connected:
            raise
        return None
    return decoded(SYNC_REPORT, answer, where=subjects.SYNC)


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
