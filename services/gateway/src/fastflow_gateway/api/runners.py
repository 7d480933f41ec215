"""List the runners with their slots, and drain one."""

from __future__ import annotations

from aiohttp import web

from fastflow_api import shapes
from fastflow_gateway.actions import runners
from fastflow_gateway.http.requests import answer
from fastflow_gateway.http.route import Route
from fastflow_gateway.readmodel import queries
from fastflow_gateway.readmodel.model import MODEL


async def list_runners(request: web.Request) -> web.Response:
    """List the runners that are alive."""
    return answer(shapes.Runners(runners=queries.runners(request.app[MODEL])))


async def drain_runner(request: web.Request) -> web.Response:
    """Drain a runner and return it once it is leaving."""
    return answer(await runners.drain(request.app, request.match_info["runner"]))


ROUTES = (
    Route("GET", "/api/runners", list_runners, "List the runners that are alive.", {200: shapes.Runners}),
    Route(
        "POST",
        "/api/runners/{runner}/drain",
        drain_runner,
        "Drain a runner: it takes no new work, finishes its runs and exits.",
        {200: shapes.Runner, 404: shapes.Error, 504: shapes.Error},
    ),
)
