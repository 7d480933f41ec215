"""Read pipelines: the list, one pipeline, its runs and its statistics."""

from __future__ import annotations

from typing import Annotated

import msgspec
from aiohttp import web

from fastflow_api import shapes
from fastflow_contracts.names import PipelineName
from fastflow_gateway.http.requests import answer, query
from fastflow_gateway.http.route import Route
from fastflow_gateway.readmodel import queries
from fastflow_gateway.readmodel.bundle_files import BUNDLE_FILES
from fastflow_gateway.readmodel.filters import PageQuery, PipelinesQuery
from fastflow_gateway.readmodel.model import MODEL
from fastflow_gateway.readmodel.run_index import RunFilter

LAST_RUNS = 10
SKIPS_SHOWN = 20
DAYS_MAX = 90


class DaysQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many days to count."""

    days: Annotated[int, msgspec.Meta(ge=1, le=DAYS_MAX, description="How many days, including today.")] = 30


async def list_pipelines(request: web.Request) -> web.Response:
    """List the pipelines that match the query."""
    wanted = query(request, PipelinesQuery)
    listed = queries.pipelines(request.app[MODEL], last_runs=LAST_RUNS)
    return answer(queries.search(listed, q=wanted.q, tags=wanted.wanted_tags))


async def show_pipeline(request: web.Request) -> web.Response:
    """Return one pipeline with its files, last runs and skips."""
    model = request.app[MODEL]
    record = await queries.pipeline_named(model, request.match_info["name"])
    files = request.app[BUNDLE_FILES]
    return answer(await queries.pipeline_detail(model, files, record, last_runs=LAST_RUNS, skips=SKIPS_SHOWN))


async def list_pipeline_runs(request: web.Request) -> web.Response:
    """Return a page of the runs of one pipeline."""
    model, wanted = request.app[MODEL], query(request, PageQuery)
    name = await _name(request)
    return answer(queries.run_page(model, RunFilter(pipeline=name), limit=wanted.limit, cursor=wanted.cursor))


async def show_stats(request: web.Request) -> web.Response:
    """Return the totals of one pipeline."""
    model, name = request.app[MODEL], await _name(request)
    return answer(queries.stats(model, name))


async def show_daily_stats(request: web.Request) -> web.Response:
    """Return the totals of one pipeline by day (UTC)."""
    wanted, name = query(request, DaysQuery), await _name(request)
    return answer(queries.daily_stats(request.app[MODEL], name, days=wanted.days))


async def _name(request: web.Request) -> PipelineName:
    return await queries.name_with_runs(request.app[MODEL], request.match_info["name"])


ROUTES = (
    Route(
        "GET",
        "/api/pipelines",
        list_pipelines,
        "List all pipelines by name.",
        {200: list[shapes.Pipeline]},
        query=PipelinesQuery,
    ),
    Route(
        "GET",
        "/api/pipelines/{name}",
        show_pipeline,
        "Show one pipeline with its files.",
        {200: shapes.PipelineDetail, 404: shapes.Error},
    ),
    Route(
        "GET",
        "/api/pipelines/{name}/runs",
        list_pipeline_runs,
        "List the runs of one pipeline, newest first.",
        {200: shapes.RunPage, 404: shapes.Error},
        query=PageQuery,
    ),
    Route(
        "GET",
        "/api/pipelines/{name}/stats",
        show_stats,
        "Show the totals of one pipeline.",
        {200: shapes.Stats, 404: shapes.Error},
    ),
    Route(
        "GET",
        "/api/pipelines/{name}/daily-stats",
        show_daily_stats,
        "Show the totals of one pipeline by day.",
        {200: shapes.DailyStats, 404: shapes.Error},
        query=DaysQuery,
    ),
)
