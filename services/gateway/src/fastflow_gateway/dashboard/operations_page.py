"""The pages of operations: the list, one of them, and the forms that ask for a backfill or act on many runs."""

from __future__ import annotations

from functools import partial
from typing import Final, get_args

from aiohttp import web

from fastflow_api import shapes
from fastflow_contracts.pipelines.records import PipelineRecord
from fastflow_contracts.runs.run import RunStatus, TriggeredBy
from fastflow_gateway.actions import operations
from fastflow_gateway.actions.backfill import backfill
from fastflow_gateway.dashboard.rendering import RENDERER
from fastflow_gateway.dashboard.view.backfill_form import BackfillForm, read_backfill_form
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.http.browsers import CSRF_FIELD
from fastflow_gateway.http.requests import form_of, parameters, query
from fastflow_gateway.http.route import Route
from fastflow_gateway.readmodel import queries
from fastflow_gateway.readmodel.filters import RunsQuery, instant
from fastflow_gateway.readmodel.model import MODEL
from fastflow_gateway.views.operations import operation as shown

SHOWN_MAX: Final = 100
"""Operations on the page: the newest."""
ACTIONS: Final[tuple[shapes.BulkAction, ...]] = get_args(shapes.BulkAction)


async def operations_page(request: web.Request) -> web.Response:
    found = operations.listed(request.app)[:SHOWN_MAX]
    return _operations(request, tuple(map(shown, found)), title="Operations")


async def operation_page(request: web.Request) -> web.Response:
    return _one(request)


async def cancel(request: web.Request) -> web.Response:
    try:
        record = await operations.cancel(request.app, request.match_info["id"])
    except RequestRefused as error:
        if error.status == 404:
            raise
        return _one(request, flash=str(error), status=error.status)
    raise web.HTTPSeeOther(f"/operations/{record.id}")


async def backfill_page(request: web.Request) -> web.Response:
    return _backfill(request, await _record(request), BackfillForm(schedule=request.query.get("schedule", "")))


async def ask_for_backfill(request: web.Request) -> web.Response:
    """Show what would run; or run it and go to its operation."""
    record = await _record(request)
    form = read_backfill_form(await form_of(request))
    try:
        since = instant("start_date", form.since, name="From")
        assert since is not None
        ask = partial(
            backfill,
            request.app,
            record,
            form.schedule or None,
            since,
            instant("end_date", form.until or None, name="To"),
            triggered_by="manual",
            only_missing=form.only_missing,
        )
        done = await ask(dry_run=True)
        if form.expect == str(done.slots - done.existing):  # what the person saw is what runs
            done = await ask()
    except RequestRefused as error:
        return _backfill(request, record, form, flash=str(error), status=error.status)
    if done.operation is not None:
        raise web.HTTPSeeOther(f"/operations/{done.operation.id}")
    return _backfill(request, record, form, preview=done)


async def bulk_page(request: web.Request) -> web.Response:
    return await _bulk(request, query(request, RunsQuery))


async def act_on_many(request: web.Request) -> web.Response:
    """Act on the runs that match, if these are as many as the page said."""
    fields = [(name, value) for name, value in await form_of(request) if name != CSRF_FIELD]
    own = dict(fields)
    wanted = parameters([each for each in fields if each[0] in RunsQuery.__struct_fields__], RunsQuery)
    action, expected = own.get("action", ""), own.get("expect", "")
    if action not in ACTIONS or not (expected.isascii() and expected.isdecimal()) or len(expected) > 9:
        raise RequestRefused(422, "the form is incomplete; load the page again.")
    try:
        done = await operations.act_on(
            request.app,
            action,
            await operations.matching(request.app, action, wanted.filter()),
            triggered_by="manual",
            code="current" if own.get("code") == "current" else "same",
            expect=int(expected),
            dry_run=False,
        )
    except RequestRefused as error:
        return await _bulk(request, wanted, flash=str(error), status=error.status)
    raise web.HTTPSeeOther(f"/operations/{done.operation.id}" if done.operation else "/operations")


async def _record(request: web.Request) -> PipelineRecord:
    return await queries.pipeline_named(request.app[MODEL], request.match_info["name"])


def _one(request: web.Request, *, flash: str | None = None, status: int = 200) -> web.Response:
    found = shown(operations.with_id(request.app, request.match_info["id"]))
    return _operations(request, (found,), title="Operation", flash=flash, status=status)


def _operations(
    request: web.Request,
    found: tuple[shapes.Operation, ...],
    *,
    title: str,
    flash: str | None = None,
    status: int = 200,
) -> web.Response:
    return request.app[RENDERER].page(
        request,
        "operations.html",
        status=status,
        here="runs",
        live="/live",
        address=f"/operations/{found[0].id}" if flash else None,
        flash=flash,
        title=title,
        operations=found,
    )


def _backfill(
    request: web.Request,
    record: PipelineRecord,
    form: BackfillForm,
    *,
    preview: shapes.Backfill | None = None,
    flash: str | None = None,
    status: int = 200,
) -> web.Response:
    schedules = record.live.spec.schedule_list() if record.live is not None else ()
    return request.app[RENDERER].page(
        request,
        "backfill.html",
        status=status,
        here="schedules",
        flash=flash,
        pipeline_name=record.name,
        schedule_ids=[each.id for each in schedules if each.enabled],
        form=form,
        preview=preview,
    )


async def _bulk(
    request: web.Request, wanted: RunsQuery, *, flash: str | None = None, status: int = 200
) -> web.Response:
    model, filters = request.app[MODEL], wanted.filter()
    chosen = {name: getattr(wanted, name) or "" for name in RunsQuery.__struct_fields__ if name not in _PAGING}
    return request.app[RENDERER].page(
        request,
        "bulk.html",
        status=status,
        here="runs",
        flash=flash,
        chosen=chosen,
        counts={action: len(await operations.matching(request.app, action, filters)) for action in ACTIONS},
        pipeline_names=sorted({record.name for record in model.pipelines()} | set(model.runs.all_counts())),
        statuses=list(RunStatus),
        triggers=get_args(TriggeredBy),
    )


_PAGING: Final = ("limit", "cursor")

ROUTES = (
    Route("GET", "/operations", operations_page),
    Route("GET", "/operations/{id}", operation_page),
    Route("POST", "/operations/{id}/cancel", cancel),
    Route("GET", "/pipelines/{name}/backfill", backfill_page),
    Route("POST", "/pipelines/{name}/backfill", ask_for_backfill),
    Route("GET", "/bulk", bulk_page),
    Route("POST", "/bulk", act_on_many),
)
