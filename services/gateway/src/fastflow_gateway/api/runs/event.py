"""The event that a run was started with."""

from __future__ import annotations

from aiohttp import web

from fastflow_api import shapes
from fastflow_contracts.bus.decoding import Unreadable
from fastflow_contracts.runs.store import NoSuchRun
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.http.requests import answer
from fastflow_gateway.http.route import Route
from fastflow_gateway.readmodel.model import MODEL
from fastflow_gateway.readmodel.queries import run_with_id
from fastflow_gateway.views.events import run_event


async def show_event(request: web.Request) -> web.Response:
    """Return the event with its headers."""
    model = request.app[MODEL]
    run = (await run_with_id(model, request.match_info["id"])).run
    try:
        found = run_event(await model.input(run))
    except (NoSuchRun, Unreadable) as error:
        raise RequestRefused(404, f"the event of run {run.id} is not stored any more, or cannot be read.") from error
    if found is None:
        raise RequestRefused(404, f"run {run.id} has no event: it was started without one.")
    return answer(found)


ROUTES = (
    Route(
        "GET",
        "/api/runs/{id}/event",
        show_event,
        "The event that the run was started with, at most 1 MiB, and its headers: what the script gets as the files "
        "`FASTFLOW_EVENT_FILE` and `FASTFLOW_EVENT_HEADERS_FILE`. Values of variables and parameters in it are hidden. "
        "404: there is none.",
        {200: shapes.RunEvent, 404: shapes.Error},
    ),
)
