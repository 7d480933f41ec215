"""The result of a run, as its script wrote it."""

from __future__ import annotations

from aiohttp import web

from fastflow_api import shapes
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.http.route import Media, Route
from fastflow_gateway.readmodel.model import MODEL
from fastflow_gateway.readmodel.queries import run_with_id


async def show_result(request: web.Request) -> web.Response:
    """Return the result, unchanged."""
    model = request.app[MODEL]
    run = (await run_with_id(model, request.match_info["id"])).run
    result = await model.result(run)
    if result is None:
        if not run.is_over:
            raise RequestRefused(404, f"run {run.id} is not over; its result comes with its end.")
        if run.result_bytes is not None:
            raise RequestRefused(404, f"the result of run {run.id} is not stored any more, or cannot be read.")
        raise RequestRefused(404, f"run {run.id} has no result: its script wrote nothing to FASTFLOW_RESULT_FILE.")
    return web.Response(body=result, content_type="application/json")


ROUTES = (
    Route(
        "GET",
        "/api/runs/{id}/result",
        show_result,
        "The JSON that the script wrote to the file `FASTFLOW_RESULT_FILE`, at most 64 KiB. 404: there is none, or the "
        "run is not over.",
        {200: Media("application/json", "Any JSON."), 404: shapes.Error},
    ),
)
