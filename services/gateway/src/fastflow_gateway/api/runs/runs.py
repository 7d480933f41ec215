"""List and show runs, cancel them and retry them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from aiohttp import web

from fastflow_api import shapes
from fastflow_contracts.pipelines.format import value_parsers
from fastflow_contracts.pipelines.format.json_positions import JsonNode
from fastflow_contracts.runs.run import RunStatus, TriggeredBy
from fastflow_gateway.actions import runs
from fastflow_gateway.api.runs.answers import RUNS_MAX, STARTED, run_answer
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.http.requests import answer, body_of, idempotency_key, query
from fastflow_gateway.http.route import Route
from fastflow_gateway.http.triggered_by import HEADER, triggered_by
from fastflow_gateway.readmodel import queries
from fastflow_gateway.readmodel.model import MODEL
from fastflow_gateway.readmodel.run_index import KnownRun, RunFilter
from fastflow_gateway.views import records

SKIPS_SHOWN = 20


class RunsQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which runs to list."""

    pipeline_name: Annotated[str | None, msgspec.Meta(description="Only runs of this pipeline.")] = None
    status: Annotated[shapes.Status | None, msgspec.Meta(description="Only runs in this state.")] = None
    triggered_by: Annotated[TriggeredBy | None, msgspec.Meta(description="Only runs with this kind of trigger.")] = None
    start_date: Annotated[
        str | None, msgspec.Meta(description="Only runs created at this ISO 8601 date or time (UTC) or later.")
    ] = None
    end_date: Annotated[
        str | None,
        msgspec.Meta(description="Only runs created up to this date or time (UTC); a date counts as its last moment."),
    ] = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=RUNS_MAX, description="The most runs to return.")] = 50
    cursor: Annotated[str | None, msgspec.Meta(description="The next_cursor of the previous page.")] = None


async def list_runs(request: web.Request) -> web.Response:
    """Return a page of the runs that match the query."""
    wanted = query(request, RunsQuery)
    filters = RunFilter(
        pipeline=wanted.pipeline_name,
        status=RunStatus(wanted.status) if wanted.status else None,
        triggered_by=wanted.triggered_by,
        since=_instant("start_date", wanted.start_date),
        until=_instant("end_date", wanted.end_date),
    )
    return answer(queries.run_page(request.app[MODEL], filters, limit=wanted.limit, cursor=wanted.cursor))


async def show_run(request: web.Request) -> web.Response:
    """Return one run with the newest skips that its end caused."""
    known, model = await _known(request), request.app[MODEL]
    return answer(records.run_detail(queries.run(model, known.run), model.skips.after(known.run.id, SKIPS_SHOWN)))


async def cancel_run(request: web.Request) -> web.Response:
    """Cancel a run: 200 with the run, or 202 if no scheduler has answered yet."""
    cancelled = await runs.cancel(request.app, await _known(request))
    return run_answer(
        request, cancelled, later="the cancellation is stored; it takes effect as soon as a scheduler works"
    )


async def retry_run(request: web.Request) -> web.Response:
    """Start a new run with the event, variables and parameters of an ended one."""
    known, wanted = await _known(request), await _retry_body(request)
    key, who = idempotency_key(request, "Idempotency-Key"), triggered_by(request)
    return run_answer(request, await runs.retry(request.app, known.run, triggered_by=who, key=key, code=wanted.code))


async def _retry_body(request: web.Request) -> shapes.RetryBody:
    body = await body_of(request)
    try:
        return msgspec.json.decode(body, type=shapes.RetryBody) if body.strip() else shapes.RetryBody()
    except msgspec.DecodeError as error:
        raise RequestRefused(422, f'the body must be {{}} or {{"code": "current"}}: {error}.') from error


async def _known(request: web.Request) -> KnownRun:
    return await queries.run_with_id(request.app[MODEL], request.match_info["id"])


def _instant(field: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    read = value_parsers.start if field == "start_date" else value_parsers.end
    try:
        return read(JsonNode(text, text, 0, len(text)))
    except ValueError:
        raise RequestRefused(
            422,
            f'{field} must be an ISO 8601 date or time such as "2026-01-15" or "2026-01-15T12:00:00Z"; '
            "in an address the + of an offset is written %2B.",
        ) from None


ROUTES = (
    Route("GET", "/api/runs", list_runs, "List runs, newest first.", {200: shapes.RunPage}, query=RunsQuery),
    Route("GET", "/api/runs/{id}", show_run, "Show one run.", {200: shapes.RunDetail, 404: shapes.Error}),
    Route(
        "POST",
        "/api/runs/{id}/cancel",
        cancel_run,
        "Cancel a run that is waiting or running. 202: the request is stored and takes effect later.",
        {200: shapes.Run, 202: shapes.Accepted, 404: shapes.Error, 409: shapes.Error},
    ),
    Route(
        "POST",
        "/api/runs/{id}/retry",
        retry_run,
        "Retry a run that is over, as a new run with the same event, variables and parameters. Its code is the same, "
        "or the pipeline's current version.",
        STARTED,
        body=shapes.RetryBody,
        headers={
            "Idempotency-Key": "Requests with the same key start one run.",
            **HEADER,
        },
    ),
)
