"""Backfills, and cancels and retries of many runs: ask for them, list them, and cancel them."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from aiohttp import web

from fastflow_api import shapes
from fastflow_gateway.actions import operations
from fastflow_gateway.actions.backfill import backfill
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.http.requests import answer, body_of
from fastflow_gateway.http.route import Route
from fastflow_gateway.http.triggered_by import triggered_by
from fastflow_gateway.readmodel import queries
from fastflow_gateway.readmodel.filters import RunsQuery, instant
from fastflow_gateway.readmodel.model import MODEL
from fastflow_gateway.views.operations import operation as shown

B = TypeVar("B", bound=shapes.Body)


async def list_operations(request: web.Request) -> web.Response:
    """List the operations, newest first."""
    return answer(shapes.OperationList(operations=tuple(map(shown, operations.listed(request.app)))))


async def show_operation(request: web.Request) -> web.Response:
    """Return one operation, and how far it is."""
    return answer(shown(operations.with_id(request.app, request.match_info["id"])))


async def cancel_operation(request: web.Request) -> web.Response:
    """Cancel an operation and the runs that it started."""
    return answer(shown(await operations.cancel(request.app, request.match_info["id"])))


async def start_backfill(request: web.Request) -> web.Response:
    """Run the slots of a schedule in a past range, or count them."""
    record = await queries.pipeline_named(request.app[MODEL], request.match_info["name"])
    wanted = await _body(request, shapes.BackfillBody, '{"from": "2026-01-01", "to": "2026-01-31"}')
    since, until = instant("start_date", wanted.since, name="from"), instant("end_date", wanted.until, name="to")
    assert since is not None
    done = await backfill(
        request.app,
        record,
        wanted.schedule,
        since,
        until,
        triggered_by=triggered_by(request),
        only_missing=wanted.only_missing,
        dry_run=wanted.dry_run,
    )
    return answer(done)


async def act_on_many(request: web.Request) -> web.Response:
    """Cancel or start again all runs that match, or count them."""
    wanted = await _body(request, shapes.BulkBody, '{"action": "cancel", "filter": {}, "dry_run": true}')
    given, model = wanted.filter, request.app[MODEL]
    filters = RunsQuery(
        pipeline_name=given.pipeline_name,
        status=given.status,
        triggered_by=given.triggered_by,
        start_date=given.start_date,
        end_date=given.end_date,
    ).filter()
    found = await operations.matching(request.app, wanted.action, filters)
    if not found and given.pipeline_name is not None:  # a removed pipeline may have runs
        await queries.pipeline_named(model, given.pipeline_name)
    done = await operations.act_on(
        request.app,
        wanted.action,
        found,
        triggered_by=triggered_by(request),
        code=wanted.code,
        expect=wanted.expect,
        dry_run=wanted.dry_run,
    )
    return answer(done)


async def _body(request: web.Request, wanted: type[B], example: str) -> B:
    try:
        return msgspec.json.decode(await body_of(request), type=wanted)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestRefused(422, f"the body must be such as {example}: {error}.") from error


ROUTES = (
    Route(
        "POST",
        "/api/pipelines/{name}/backfill",
        start_backfill,
        "Run the slots of a schedule in a past range, oldest first, as one operation. The schedule is that of today. "
        "A slot with a run that worked or is under way is left out.",
        {200: shapes.Backfill} | dict.fromkeys((404, 409, 422, 429), shapes.Error),
        body=shapes.BackfillBody,
    ),
    Route(
        "POST",
        "/api/runs/bulk",
        act_on_many,
        "Cancel or start again all runs that match, oldest first, as one operation. 404: there is no such pipeline. "
        "409: there are not as many as `expect` says.",
        {200: shapes.Bulk} | dict.fromkeys((404, 409, 422, 429), shapes.Error),
        body=shapes.BulkBody,
    ),
    Route("GET", "/api/operations", list_operations, "List operations, newest first.", {200: shapes.OperationList}),
    Route(
        "GET",
        "/api/operations/{id}",
        show_operation,
        "Show one operation, and how far it is.",
        {200: shapes.Operation, 404: shapes.Error},
    ),
    Route(
        "POST",
        "/api/operations/{id}/cancel",
        cancel_operation,
        "Cancel an operation: it starts nothing more, and the runs that it started are cancelled.",
        {200: shapes.Operation, 404: shapes.Error, 409: shapes.Error},
    ),
)
