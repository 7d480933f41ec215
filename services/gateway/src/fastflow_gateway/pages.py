"""The dashboard: its routes, and what each page is made of. I/O: requests in, pages and redirects out.

Everything works with plain pages and forms; scripts only keep them fresh, by asking for the same page again whenever
``/live`` says that something changed. Who may come in, and that a form is ours, is checked before a handler here runs.
"""

from __future__ import annotations

import asyncio
from typing import Final, get_args

from aiohttp import web

from fastflow_contracts import subjects
from fastflow_contracts.messages import PipelineRecord
from fastflow_contracts.run import Status, TriggeredBy
from fastflow_contracts.service import now
from fastflow_contracts.triggers import BadTrigger
from fastflow_gateway import actions, api, auth, events, keys, pages_overviews, pages_run, pages_secrets, shapes, views
from fastflow_gateway import pages_facts as facts
from fastflow_gateway import pages_views as drawn
from fastflow_gateway.follow import Busy
from fastflow_gateway.history import BadCursor, Query
from fastflow_gateway.pages_form import StartForm, read_form, trigger_of
from fastflow_gateway.pages_render import RENDERER, Renderer
from fastflow_gateway.sse import event_stream

PAGE_RUNS: Final = 50
"""On one page of the list of runs."""
STRIP_RUNS: Final = 20
RECENT_RUNS: Final = 10
SKIPS: Final = 5
GATHER_S: Final = 0.25
"""Changes this close together are one piece of news."""
CHANGED: Final = events.event("changed", None)
TITLES: Final = {
    401: "Please sign in",
    403: "That is not allowed",
    404: "There is nothing here",
    409: "That does not work right now",
    429: "Too many at once",
    500: "Something broke here",
    503: "The bus does not answer",
    504: "That took too long",
}


def setup(app: web.Application) -> None:
    """Add the dashboard to an application whose other keys are set."""
    app[RENDERER] = Renderer()
    app[keys.LOGIN_PAGE] = login_page
    app[keys.ERROR_PAGE] = error_page
    app.router.add_get("/", pipelines_page)
    app.router.add_get("/pipelines/{name}", pipeline_page)
    app.router.add_get("/pipelines/{name}/start", start_page)
    app.router.add_post("/pipelines/{name}/start", start)
    app.router.add_get("/runs", runs_page)
    app.router.add_post("/sync", sync)
    pages_run.setup(app)
    pages_overviews.setup(app)
    app.router.add_get("/live", live)
    pages_secrets.setup(app)
    app.router.add_get("/static/{file}", static)


async def pipelines_page(request: web.Request) -> web.Response:
    return _pipelines(request)


async def pipeline_page(request: web.Request) -> web.Response:
    record = await api.pipeline_record(request)
    model = request.app[keys.MODEL]
    runs = model.history.latest(record.name, max(STRIP_RUNS, RECENT_RUNS))
    pipeline = views.pipeline_detail(
        record,
        tally=model.history.tally(record.name),
        last_runs=runs[:STRIP_RUNS],
        crashes=model.crashes(record.name, now()),
        files=await request.app[keys.SHELF].texts(record),
        skips=model.refusals.of(record.name, SKIPS),
    )
    at = now()
    capacity = model.capacity(at)
    return request.app[RENDERER].page(
        request,
        "pipeline.html",
        here="pipelines",
        live="/live",
        pipeline=pipeline,
        runs=[views.run(run, capacity=capacity, now=at) for run in runs[:RECENT_RUNS]],
        files=drawn.files(pipeline),
        jobs=await pages_overviews.job_views(model, [record]),
        settings=facts.pipeline_settings(pipeline),
        environment=facts.pipeline_environment(pipeline),
        trigger_subject=subjects.trigger(record.name),
    )


async def start_page(request: web.Request) -> web.Response:
    record = await api.pipeline_record(request)
    return _start(request, record, StartForm(key=pages_run.fresh_key()))


async def start(request: web.Request) -> web.Response:
    """Start what the form asks for and go to the run; show the form again when that is refused."""
    record = await api.pipeline_record(request)
    form = read_form(await api.form_of(request))
    try:
        started = await actions.start(request.app, record.name, trigger_of(form))
    except BadTrigger as error:
        return _start(request, record, form.refused(str(error), pages_run.fresh_key()), status=error.status)
    except api.Refused as error:
        return _start(request, record, form.refused(str(error), pages_run.fresh_key()), status=error.status)
    raise pages_run.to_run(started)


async def runs_page(request: web.Request) -> web.Response:
    chosen = {name: request.query.get(name, "") for name in ("pipeline_name", "status", "triggered_by")}
    cursor = request.query.get("cursor")
    model = request.app[keys.MODEL]
    # A filter that names no status or trigger filters nothing: such a link was made by hand.
    wanted = Query(
        pipeline=chosen["pipeline_name"] or None,
        status=Status(chosen["status"]) if chosen["status"] in set(Status) else None,
        triggered_by=next((value for value in get_args(TriggeredBy) if value == chosen["triggered_by"]), None),
    )
    try:
        runs, older = model.history.page(wanted, limit=PAGE_RUNS, cursor=cursor or None)
    except BadCursor as error:
        raise api.Refused(400, str(error)) from error
    at = now()
    capacity = model.capacity(at)
    return request.app[RENDERER].page(
        request,
        "runs.html",
        here="runs",
        live=None if cursor else "/live",
        runs=[views.run(run, capacity=capacity, now=at) for run in runs],
        chosen=chosen,
        filtered=any(chosen.values()),
        pipeline_names=sorted({record.name for record in model.pipelines()} | set(model.history.tallies())),
        statuses=list(Status),
        triggers=get_args(TriggeredBy),
        cursor=cursor,
        newest_url=drawn.link("/runs", chosen.items()) if cursor else None,
        older_url=drawn.link("/runs", [*chosen.items(), ("cursor", older)]) if older else None,
    )


async def sync(request: web.Request) -> web.Response:
    try:
        report = await actions.sync(request.app)
    except api.Refused as error:
        return _pipelines(request, flash=str(error), status=error.status)
    if not report.ok:
        return _pipelines(request, flash=f"The sync failed: {report.error}", status=502)
    raise web.HTTPSeeOther("/")


async def live(request: web.Request) -> web.StreamResponse:
    """Server-sent events: ``changed`` at once and whenever something that pages show has changed."""
    response = web.StreamResponse()
    follower, wake = request.app[keys.FOLLOWER], asyncio.Event()
    try:
        with follower.admitted(wake), request.app[keys.MODEL].watching_all(wake):
            async with event_stream(request, response) as stream:
                await stream.send(CHANGED)
                while not follower.is_stopping:
                    if await stream.wait(wake):
                        await asyncio.sleep(GATHER_S)
                        wake.clear()
                        await stream.send(CHANGED)
    except Busy as error:
        raise api.Refused(503, str(error), headers={"Retry-After": "5"}) from error
    return response


async def static(request: web.Request) -> web.Response:
    file = request.match_info["file"]
    found = request.app[RENDERER].static(file, request.headers.get("If-None-Match"))
    if found is None:
        raise api.Refused(404, f"there is no file {file[:80]!r}.")
    return found


def login_page(request: web.Request, status: int, error: str | None) -> web.Response:
    target = request.query.get("next") if request.path == "/login" else request.path_qs
    return request.app[RENDERER].page(
        request, "login.html", status=status, signed_in=False, error=error, next=auth.local_path(target)
    )


def error_page(request: web.Request, status: int, detail: str) -> web.Response:
    title = TITLES.get(status, "That did not work")
    return request.app[RENDERER].page(request, "error.html", status=status, title=title, detail=detail)


def _pipelines(request: web.Request, *, flash: str | None = None, status: int = 200) -> web.Response:
    model = request.app[keys.MODEL]
    at, q = now(), request.query.get("q", "")
    tags = [tag for tag in request.query.getall("tags", []) if tag]
    listed = [
        views.pipeline(
            record,
            tally=model.history.tally(record.name),
            last_runs=model.history.latest(record.name, STRIP_RUNS),
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
    tally = request.app[keys.MODEL].history.tally(record.name)
    pipeline: shapes.Pipeline = views.pipeline(record, tally=tally, last_runs=())
    return request.app[RENDERER].page(
        request, "start.html", status=status, here="pipelines", pipeline=pipeline, form=form
    )
