"""The pages of refused starts: the list, one of them, and the buttons that start them."""

from __future__ import annotations

from typing import Final, Literal, get_args

from aiohttp import web
from msgspec.structs import replace

from fastflow_contracts.runs.run import TriggeredBy
from fastflow_gateway.actions import skips
from fastflow_gateway.dashboard.rendering import RENDERER
from fastflow_gateway.dashboard.run_page import to_run
from fastflow_gateway.dashboard.view import models as drawn
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.http.browsers import CSRF_FIELD
from fastflow_gateway.http.requests import form_of, parameters, query
from fastflow_gateway.http.route import Route
from fastflow_gateway.readmodel import skip_queries
from fastflow_gateway.readmodel.filters import SkipsQuery
from fastflow_gateway.readmodel.model import MODEL
from fastflow_gateway.readmodel.skips import SkipFilter

COUNT_DIGITS_MAX: Final = 10


class ShownSkipsQuery(SkipsQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which skips the page lists: those that are not redriven, or all."""

    show: Literal["open", "all"] = "open"

    def filter(self) -> SkipFilter:
        """The skips that match."""
        return super().filter() if self.show == "all" else replace(super().filter(), is_open=True)

    @property
    def chosen(self) -> dict[str, str]:
        """The filters, as parameters."""
        show = "" if self.show == "open" else self.show
        return {
            "pipeline": self.pipeline or "",
            "reason": self.reason or "",
            "triggered_by": self.triggered_by or "",
            "show": show,
        }


async def skipped_page(request: web.Request) -> web.Response:
    return await _list(request, query(request, ShownSkipsQuery))


async def redrive_all(request: web.Request) -> web.Response:
    """Start all that match, and show what is left."""
    fields = await form_of(request)
    wanted = parameters([each for each in fields if each[0] not in (CSRF_FIELD, "expect")], ShownSkipsQuery)
    expect = dict(fields).get("expect", "")
    try:
        count = int(expect) if expect.isascii() and expect.isdecimal() and len(expect) < COUNT_DIGITS_MAX else None
        done = await skips.redrive_all(request.app, wanted.filter(), expect=count)
    except RequestRefused as error:
        return await _list(request, wanted, flash=str(error), is_bad=True, status=error.status)
    return await _list(request, wanted, flash=drawn.redriven(done), is_bad=done.refused > 0)


async def skip_page(request: web.Request) -> web.Response:
    return await _one(request)


async def redrive(request: web.Request) -> web.Response:
    """Start the message, and go to its run. A form that is sent twice starts one run."""
    skip = skip_queries.skip_with_id(request.app[MODEL], request.match_info["id"])
    try:
        started = await skips.redrive(request.app, skip)
    except RequestRefused as error:
        return await _one(request, flash=str(error), status=error.status)
    raise to_run(started)


async def _list(
    request: web.Request,
    wanted: ShownSkipsQuery,
    *,
    flash: str | None = None,
    is_bad: bool = False,
    status: int = 200,
) -> web.Response:
    model, cursor, filters = request.app[MODEL], wanted.cursor, wanted.filter()
    page = await skip_queries.page(model, filters, limit=wanted.limit, cursor=cursor)
    chosen = list(wanted.chosen.items())
    return request.app[RENDERER].page(
        request,
        "skipped.html",
        status=status,
        here="skipped",
        live=None if cursor or flash else "/live",
        address=drawn.link("/skipped", chosen) if flash else None,
        flash=flash,
        is_bad=is_bad,
        skips=page.skips,
        open_count=sum(1 for skip in model.skips.listed(filters) if skip.redriven_as is None),
        chosen=wanted.chosen,
        filtered=any(wanted.chosen.values()),
        pipeline_names=sorted(model.skips.pipelines() | {record.name for record in model.pipelines()}),
        triggers=get_args(TriggeredBy),
        cursor=cursor,
        newest_url=drawn.link("/skipped", chosen) if cursor else None,
        older_url=drawn.link("/skipped", [*chosen, ("cursor", page.next_cursor)]) if page.next_cursor else None,
    )


async def _one(request: web.Request, *, flash: str | None = None, status: int = 200) -> web.Response:
    model = request.app[MODEL]
    record = skip_queries.skip_with_id(model, request.match_info["id"])
    run = await model.run(record.id) if record.id else None
    return request.app[RENDERER].page(
        request,
        "skip.html",
        status=status,
        here="skipped",
        live="/live" if record.redriven_as is None and not flash else None,
        address=f"/skipped/{record.id}" if flash else None,
        flash=flash,
        skip=await skip_queries.detail(model, record),
        refused_run=run.run.id if run is not None and run.run.is_refused else None,
    )


ROUTES = (
    Route("GET", "/skipped", skipped_page),
    Route("POST", "/skipped/redrive", redrive_all),
    Route("GET", "/skipped/{id}", skip_page),
    Route("POST", "/skipped/{id}/redrive", redrive),
)
