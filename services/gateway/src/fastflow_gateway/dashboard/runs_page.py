"""TODO."""

from __future__ import annotations

from typing import Final, get_args

from aiohttp import web

from fastflow_contracts.clock import now
from fastflow_contracts.runs.run import Status, TriggeredBy
from fastflow_gateway.dashboard.rendering import RENDERER
from fastflow_gateway.dashboard.view import models as drawn
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.readmodel.model import MODEL
from fastflow_gateway.readmodel.run_index import BadCursor, RunFilter
from fastflow_gateway.views import records

PAGE_RUNS: Final = 50
"""On one page of the list of runs."""


async def runs_page(request: web.Request) -> web.Response:
    chosen = {name: request.query.get(name, "") for name in ("pipeline_name", "status", "triggered_by")}
    cursor = request.query.get("cursor")
    model = request.app[MODEL]
    # A filter that names no status or trigger filters nothing: such a link was made by hand.
    wanted = RunFilter(
        pipeline=chosen["pipeline_name"] or None,
        status=Status(chosen["status"]) if chosen["status"] in set(Status) else None,
        triggered_by=next((value for value in get_args(TriggeredBy) if value == chosen["triggered_by"]), None),
    )
    try:
        runs, older = model.runs.page(wanted, limit=PAGE_RUNS, cursor=cursor or None)
    except BadCursor as error:
        raise RequestRefused(400, str(error)) from error
    at = now()
    capacity = model.capacity(at)
    return request.app[RENDERER].page(
        request,
        "runs.html",
        here="runs",
        live=None if cursor else "/live",
        runs=[records.run(run, capacity=capacity, now=at) for run in runs],
        chosen=chosen,
        filtered=any(chosen.values()),
        pipeline_names=sorted({record.name for record in model.pipelines()} | set(model.runs.all_counts())),
        statuses=list(Status),
        triggers=get_args(TriggeredBy),
        cursor=cursor,
        newest_url=drawn.link("/runs", chosen.items()) if cursor else None,
        older_url=drawn.link("/runs", [*chosen.items(), ("cursor", older)]) if older else None,
    )
