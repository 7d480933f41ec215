"""Start a sync, and show the live commit and the last syncs."""

from __future__ import annotations

from aiohttp import web

from fastflow_api import shapes
from fastflow_gateway.actions.sync import sync
from fastflow_gateway.http.requests import answer
from fastflow_gateway.http.route import Route
from fastflow_gateway.readmodel import queries
from fastflow_gateway.readmodel.model import MODEL
from fastflow_gateway.views import sync_shapes


async def start_sync(request: web.Request) -> web.Response:
    """Sync and return the outcome."""
    return answer(sync_shapes.sync_report(await sync(request.app)))


async def show_status(request: web.Request) -> web.Response:
    """Return what is live and the outcome of the last sync."""
    return answer(queries.sync_status(request.app[MODEL]))


async def show_logs(request: web.Request) -> web.Response:
    """List the last syncs."""
    return answer(queries.sync_logs(request.app[MODEL]))


ROUTES = (
    Route(
        "POST",
        "/api/sync",
        start_sync,
        "Sync now, and answer with the outcome.",
        {200: shapes.SyncReport, 502: shapes.Error, 503: shapes.Error, 504: shapes.Error},
    ),
    Route(
        "GET",
        "/api/sync/status",
        show_status,
        "Show what is live and what the last sync found.",
        {200: shapes.SyncStatus},
    ),
    Route("GET", "/api/sync/logs", show_logs, "List the last syncs, newest first.", {200: shapes.SyncLogs}),
)
