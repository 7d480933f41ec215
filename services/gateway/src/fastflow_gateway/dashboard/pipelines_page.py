"""TODO."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from fastflow_api import shapes
from fastflow_contracts.bus import subjects
from fastflow_contracts.clock import now
from fastflow_contracts.pipelines.records import PipelineRecord
from fastflow_contracts.runs.triggers import BadTrigger
from fastflow_gateway.actions import runs as actions
from fastflow_gateway.dashboard import overview_pages, run_page
from fastflow_gateway.dashboard.rendering import RENDERER
from fastflow_gateway.dashboard.view import facts
from fastflow_gateway.dashboard.view import models as drawn
from fastflow_gateway.dashboard.view.start_form import StartForm, read_form, trigger_of
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.http import requests
from fastflow_gateway.readmodel.bundle_files import BUNDLE_FILES
from fastflow_gateway.readmodel.model import MODEL
from fastflow_gateway.views import records

STRIP_RUNS: Final = 20

RECENT_RUNS: Final = 10

SKIPS: Final = 5


async def pipelines_page(request: web.Request) -> web.Response:
    return _pipelines(request)


async def pipeline_page(request: web.Request) -> web.Response:
    record = await requests.pipeline_record(request)
    model = request.app[MODEL]
    runs = model.runs.latest(record.name, max(STRIP_RUNS, RECENT_RUNS))
    pipeline = records.pipeline_detail(
        record,
        counts=model.runs.counts(record.name),
        last_runs=runs[:STRIP_RUNS],
        crashes=model.crashes(record.name, now()),
        files=await request.app[BUNDLE_FILES].texts(record),
        skips=model.skips.of(record.name, SKIPS),
    )
    at = now()
    capacity = model.capacity(at)
    return request.app[RENDERER].page(
        request,
        "pipeline.html",
        here="pipelines",
        live="/live",
        pipeline=pipeline,
        runs=[records.run(run, capacity=capacity, now=at) for run in runs[:RECENT_RUNS]],
        files=drawn.files(pipeline),
        jobs=await overview_pages.job_views(model, [record]),
        settings=facts.pipeline_settings(pipeline),
        environment=facts.pipeline_environment(pipeline),
        trigger_subject=subjects.trigger(record.name),
    )


async def start_page(request: web.Request) -> web.Response:
    record = await requests.pipeline_record(request)
    return _start(request, record, StartForm(key=run_page.fresh_key()))


async def start(request: web.Request) -> web.Response:
    """Start what the form asks for and go to the run; show the form again when that is refused."""
    record = await requests.pipeline_record(request)
    form = read_form(await requests.form_of(request))
    try:
        started = await actions.start(request.app, record.name, trigger_of(form))
    except BadTrigger as error:
        return _start(request, record, form.refused(str(error), run_page.fresh_key()), status=error.status)
    except RequestRefused as error:
        return _start(request, record, form.refused(str(error), run_page.fresh_key()), status=error.status)
    raise run_page.to_run(started)


async def sync(request: web.Request) -> web.Response:
    try:
        report = await actions.sync(request.app)
    except RequestRefused as error:
        return _pipelines(request, flash=str(error), status=error.status)
    if not report.ok:
        return _pipelines(request, flash=f"The sync failed: {report.error}", status=502)
    raise web.HTTPSeeOther("/")


def _pipelines(request: web.Request, *, flash: str | None = None, status: int = 200) -> web.Response:
    model = request.app[MODEL]
    at, q = now(), request.query.get("q", "")
    tags = [tag for tag in request.query.getall("tags", []) if tag]
    listed = [
        records.pipeline(
            record,
            counts=model.runs.counts(record.name),
            last_runs=model.runs.latest(record.name, STRIP_RUNS),
            crashes=model.crashes(record.name, at),
        )
        for record in model.pipelines()
    ]
    return request.app[RENDERER].page(
        request,
        "pipelines.html",
        status=status,
        here="pipelines",
        live="/live",
        address="/" if flash else None,
        flash=flash,
        pipelines=[pipeline for pipeline in listed if drawn.matches(pipeline, q, tags)],
        summary=drawn.summary(listed),
        q=q,
        tags=tags,
        all_tags=drawn.tag_links(listed, q, tags),
        sync=model.sync.last if model.sync else None,
    )


def _start(request: web.Request, record: PipelineRecord, form: StartForm, *, status: int = 200) -> web.Response:
    counts = request.app[MODEL].runs.counts(record.name)
    pipeline: shapes.Pipeline = records.pipeline(record, counts=counts, last_runs=())
    return request.app[RENDERER].page(
        request, "start.html", status=status, here="pipelines", pipeline=pipeline, form=form
    )
