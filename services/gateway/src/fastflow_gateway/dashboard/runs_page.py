"""The list of runs, with its filters."""

from __future__ import annotations

from typing import Final, get_args

from aiohttp import web

from fastflow_contracts.runs.run import RunStatus, TriggeredBy
from fastflow_gateway.dashboard.rendering import RENDERER
from fastflow_gateway.dashboard.view import models as drawn
from fastflow_gateway.http.route import Route
from fastflow_gateway.readmodel import queries
from fastflow_gateway.readmodel.model import MODEL
from fastflow_gateway.readmodel.run_index import RunFilter

PAGE_RUNS: Final = 50
"""Runs on one page of the list."""


async def runs_page(request: web.Request) -> web.Response:
    chosen = {name: request.query.get(name, "") for name in ("pipeline_name", "status", "triggered_by")}
    cursor = request.query.get("cursor")
    model = request.app[MODEL]
    # An unknown status or trigger filters nothing: such a link was typed by hand.
    wanted = RunFilter(
        pipeline=chosen["pipeline_name"] or None,
        status=RunStatus(chosen["status"]) if chosen["status"] in set(RunStatus) else None,
        triggered_by=next((value for value in get_args(TriggeredBy) if value == chosen["triggered_by"]), None),
    )
    page = queries.run_page(model, wanted, limit=PAGE_RUNS, cursor=cursor or None)
    return request.app[RENDERER].page(
        request,
        "runs.html",
        here="runs",
        live=None if cursor else "/live",
        runs=page.runs,
        chosen=chosen,
        filtered=any(chosen.values()),
        pipeline_names=sorted({record.name for record in model.pipelines()} | set(model.runs.all_counts())),
        statuses=list(RunStatus),
        triggers=get_args(TriggeredBy),
        cursor=cursor,
        newest_url=drawn.link("/runs", chosen.items()) if cursor else None,
        older_url=drawn.link("/runs", [*chosen.items(), ("cursor", page.next_cursor)]) if page.next_cursor else None,
    )


ROUTES = (Route("GET", "/runs", runs_page),)
