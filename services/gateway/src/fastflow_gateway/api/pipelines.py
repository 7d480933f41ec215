"""Reading pipelines: the list, one of them, its runs and its figures."""

from __future__ import annotations

from typing import Annotated

import msgspec
from aiohttp import web

from fastflow_api import shapes
from fastflow_contracts.clock import now
from fastflow_contracts.pipelines.records import PipelineRecord
from fastflow_gateway.api.runs import RUNS_MAX
from fastflow_gateway.http.requests import answer, pipeline_name, pipeline_record, query
from fastflow_gateway.http.route import Route
from fastflow_gateway.readmodel.bundle_files import BUNDLE_FILES
from fastflow_gateway.readmodel.model import MODEL, ReadModel
from fastflow_gateway.readmodel.queries import run_page
from fastflow_gateway.readmodel.run_index import RunFilter
from fastflow_gateway.views import records

LAST_RUNS = 10
SKIPS_SHOWN = 20
DAYS_MAX = 90


class PipelinesQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which pipelines."""

    tags: Annotated[str, msgspec.Meta(description="Only those that have all of these tags, separated by commas.")] = ""
    q: Annotated[str, msgspec.Meta(description="Only those with this in their name, description or tags.")] = ""


class PageQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many, and from where on."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=RUNS_MAX, description="How many runs at most.")] = 50
    cursor: Annotated[str | None, msgspec.Meta(description="next_cursor of the page before.")] = None


class DaysQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far back."""

    days: Annotated[int, msgspec.Meta(ge=1, le=DAYS_MAX, description="How many days, today included.")] = 30


async def list_pipelines(request: web.Request) -> web.Response:
    model, wanted = request.app[MODEL], query(request, PipelinesQuery)
    return answer(pipelines(model, tags=wanted.tags, q=wanted.q))


async def show_pipeline(request: web.Request) -> web.Response:
    return answer(await pipeline_detail(request.app, await pipeline_record(request)))


async def list_pipeline_runs(request: web.Request) -> web.Response:
    name, wanted = pipeline_name(request), query(request, PageQuery)
    await _known(request, name)
    model = request.app[MODEL]
    return answer(run_page(model, RunFilter(pipeline=name), limit=wanted.limit, cursor=wanted.cursor))


async def show_stats(request: web.Request) -> web.Response:
    name = pipeline_name(request)
    await _known(request, name)
    history = request.app[MODEL].runs
    return answer(records.stats(name, history.counts(name), next(iter(history.latest(name, 1)), None)))


async def show_daily_stats(request: web.Request) -> web.Response:
    name, wanted = pipeline_name(request), query(request, DaysQuery)
    await _known(request, name)
    counts = request.app[MODEL].runs.counts(name)
    return answer(records.daily_stats(name, counts, today=now().date(), days=wanted.days))


def pipelines(model: ReadModel, *, tags: str = "", q: str = "") -> list[shapes.Pipeline]:
    """Those that match, by name. *tags*: separated by commas, all must be there."""
    at = now()
    wanted_tags = {tag.strip() for tag in tags.split(",") if tag.strip()}
    shown = (
        records.pipeline(
            record,
            counts=model.runs.counts(record.name),
            last_runs=model.runs.latest(record.name, LAST_RUNS),
            crashes=model.crashes(record.name, at),
        )
        for record in model.pipelines()
    )
    return [pipeline for pipeline in shown if wanted_tags <= set(pipeline.tags) and _mentions(pipeline, q)]


async def pipeline_detail(app: web.Application, record: PipelineRecord) -> shapes.PipelineDetail:
    """Raises what the bus raises: the files are read from there."""
    model = app[MODEL]
    return records.pipeline_detail(
        record,
        counts=model.runs.counts(record.name),
        last_runs=model.runs.latest(record.name, LAST_RUNS),
        crashes=model.crashes(record.name, now()),
        files=await app[BUNDLE_FILES].texts(record),
        skips=model.skips.of(record.name, SKIPS_SHOWN),
    )


async def _known(request: web.Request, name: str) -> None:
    """A removed pipeline's runs stay readable; a name that never had any is refused."""
    if not request.app[MODEL].runs.counts(name).total:
        await pipeline_record(request)


def _mentions(pipeline: shapes.Pipeline, text: str) -> bool:
    texts = (pipeline.name, pipeline.description or "", *pipeline.tags)
    return any(text.casefold() in each.casefold() for each in texts)


ROUTES = (
    Route(
        "GET",
        "/api/pipelines",
        list_pipelines,
        "All pipelines, by name.",
        {200: list[shapes.Pipeline]},
        query=PipelinesQuery,
    ),
    Route(
        "GET",
        "/api/pipelines/{name}",
        show_pipeline,
        "One pipeline, with its files.",
        {200: shapes.PipelineDetail, 404: shapes.Error},
    ),
    Route(
        "GET",
        "/api/pipelines/{name}/runs",
        list_pipeline_runs,
        "The runs of one pipeline, newest first.",
        {200: shapes.RunPage, 404: shapes.Error},
        query=PageQuery,
    ),
    Route(
        "GET",
        "/api/pipelines/{name}/stats",
        show_stats,
        "Totals of one pipeline.",
        {200: shapes.Stats, 404: shapes.Error},
    ),
    Route(
        "GET",
        "/api/pipelines/{name}/daily-stats",
        show_daily_stats,
        "Totals of one pipeline by day.",
        {200: shapes.DailyStats, 404: shapes.Error},
        query=DaysQuery,
    ),
)
