"""The form that runs a run again with other variables, parameters or code."""

from __future__ import annotations

from aiohttp import web

from fastflow_contracts.runs.run import RunRecord
from fastflow_contracts.runs.triggers import BadTrigger
from fastflow_gateway.actions import runs
from fastflow_gateway.dashboard.rendering import RENDERER
from fastflow_gateway.dashboard.run_page import fresh_key, to_run
from fastflow_gateway.dashboard.view.again_form import AgainForm, edits_of, fresh_form, read_again_form
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.http.requests import form_of
from fastflow_gateway.http.route import Route
from fastflow_gateway.readmodel import queries
from fastflow_gateway.readmodel.model import MODEL


async def again_page(request: web.Request) -> web.Response:
    run = await _run(request)
    return _page(request, run, fresh_form(run, fresh_key()))


async def run_again(request: web.Request) -> web.Response:
    """Start the new run and go to its page. If the start is refused, show the form again."""
    run = await _run(request)
    form = read_again_form(await form_of(request), run)
    try:
        started = await runs.retry(
            request.app, run, triggered_by="manual", key=form.added.key or None, code=form.code, edits=edits_of(form)
        )
    except (BadTrigger, RequestRefused) as error:
        return _page(request, run, form.refused(str(error), fresh_key()), status=error.status)
    raise to_run(started)


async def _run(request: web.Request) -> RunRecord:
    return (await queries.run_with_id(request.app[MODEL], request.match_info["id"])).run


def _page(request: web.Request, run: RunRecord, form: AgainForm, *, status: int = 200) -> web.Response:
    shown = queries.run(request.app[MODEL], run)
    return request.app[RENDERER].page(request, "again.html", status=status, here="runs", run=shown, form=form)


ROUTES = (
    Route("GET", "/runs/{id}/again", again_page),
    Route("POST", "/runs/{id}/again", run_again),
)
