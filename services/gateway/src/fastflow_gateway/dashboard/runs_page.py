"""The list of runs, with its filters."""

from __future__ import annotations

from typing import get_args

from aiohttp import web

from fastflow_contracts.runs.run import RunStatus, TriggeredBy
from fastflow_gateway.dashboard.rendering import RENDERER
from fastflow_gateway.dashboard.view import models as drawn
from fastflow_gateway.http.requests import query
from fastflow_gateway.http.route import Route
from fastflow_gateway.readmodel import queries
from fastflow_gateway.readmodel.filters import RunsQuery
from fastflow_gateway.readmodel.model import MODEL
from fastflow_gateway.readmodel.run_index import RunFilter


async def runs_page(request: web.Request) -> web.Response:
    model, wanted = request.app[MODEL], query(request, RunsQuery)
    chosen = {name: request.query.get(name, "") for name in RunsQuery.__struct_fields__ if name != "cursor"}
    page = queries.run_page(model, wanted.filter(), limit=wanted.limit, cursor=wanted.cursor)
    return request.app[RENDERER].page(
        request,
        "runs.html",
        here="runs",
        live=None if wanted.cursor else "/live",
        runs=page.runs,
        chosen=chosen,
        filtered=wanted.filter() != RunFilter(),
        pipeline_names=sorted({record.name for record in model.pipelines()} | set(model.runs.all_counts())),
        statuses=list(RunStatus),
        triggers=get_args(TriggeredBy),
        cursor=wanted.cursor,
        bulk_url=drawn.link("/bulk", [each for each in chosen.items() if each[0] != "limit"]),
        newest_url=drawn.link("/runs", chosen.items()) if wanted.cursor else None,
        older_url=drawn.link("/runs", [*chosen.items(), ("cursor", page.next_cursor)]) if page.next_cursor else None,
    )


ROUTES = (Route("GET", "/runs", runs_page),)
