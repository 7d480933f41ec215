"""List and show runs, cancel them and retry them."""

from __future__ import annotations

import msgspec
from aiohttp import web

from fastflow_api import shapes
from fastflow_gateway.actions import runs
from fastflow_gateway.actions.edits import Edits
from fastflow_gateway.api.runs.answers import STARTED, run_answer, start_answer
from fastflow_gateway.api.runs.start import StartQuery
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.http.requests import answer, body_of, idempotency_key, query
from fastflow_gateway.http.route import Route
from fastflow_gateway.http.triggered_by import triggered_by
from fastflow_gateway.http.waiting import PREFER_HEADERS, wait_of
from fastflow_gateway.readmodel import queries
from fastflow_gateway.readmodel.filters import RunsQuery
from fastflow_gateway.readmodel.model import MODEL
from fastflow_gateway.readmodel.run_index import KnownRun
from fastflow_gateway.views import run_shapes

SKIPS_SHOWN = 20


async def list_runs(request: web.Request) -> web.Response:
    """Return a page of the runs that match the query."""
    wanted = query(request, RunsQuery)
    return answer(queries.run_page(request.app[MODEL], wanted.filter(), limit=wanted.limit, cursor=wanted.cursor))


async def show_run(request: web.Request) -> web.Response:
    """Return one run with its result and the newest skips that its end caused."""
    known, model = await _known(request), request.app[MODEL]
    skips = model.skips.after(known.run.id, SKIPS_SHOWN)
    return answer(run_shapes.run_detail(queries.run(model, known.run), skips, await model.result(known.run)))


async def cancel_run(request: web.Request) -> web.Response:
    """Cancel a run: 200 with the run, or 202 if no scheduler has answered yet."""
    cancelled = await runs.cancel(request.app, await _known(request))
    return run_answer(
        request, cancelled, later="the cancellation is stored; it takes effect as soon as a scheduler works"
    )


async def retry_run(request: web.Request) -> web.Response:
    """Start a new run with the event of an ended one, and its variables and parameters, changed or not."""
    wait, known, wanted = wait_of(request), await _known(request), await _retry_body(request)
    key, who = idempotency_key(request, "Idempotency-Key"), triggered_by(request)
    edits = Edits(
        env_vars=wanted.env_vars,
        parameters=wanted.parameters,
        without=wanted.without,
        by_operator=query(request, StartQuery).allow_undeclared,
    )
    started = await runs.retry(request.app, known.run, triggered_by=who, key=key, code=wanted.code, edits=edits)
    return await start_answer(request, started, wait)


async def _retry_body(request: web.Request) -> shapes.RetryBody:
    body = await body_of(request)
    try:
        return msgspec.json.decode(body, type=shapes.RetryBody) if body.strip() else shapes.RetryBody()
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        example = '{"code": "current", "env_vars": {"NAME": "value"}}'
        raise RequestRefused(422, f"the body must be {{}} or such as {example}: {error}.") from error


async def _known(request: web.Request) -> KnownRun:
    return await queries.run_with_id(request.app[MODEL], request.match_info["id"])


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
        "Retry a run that is over, as a new run with the same event, variables and parameters, except those that the "
        "body replaces or leaves out. Its code is the same, or the pipeline's current version.",
        STARTED,
        body=shapes.RetryBody,
        query=StartQuery,
        headers={"Idempotency-Key": "Requests with the same key start one run."} | PREFER_HEADERS,
    ),
)
