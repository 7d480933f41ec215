"""The page of the runners."""

from __future__ import annotations

from aiohttp import web

from fastflow_contracts.service.parts import degraded
from fastflow_gateway import app_keys
from fastflow_gateway.dashboard.rendering import RENDERER
from fastflow_gateway.http.route import Route
from fastflow_gateway.readmodel import queries
from fastflow_gateway.readmodel.model import MODEL


async def runners_page(request: web.Request) -> web.Response:
    model = request.app[MODEL]
    found = queries.runners(model)
    staying = [runner for runner in found if not runner.leaving]
    return request.app[RENDERER].page(
        request,
        "runners.html",
        here="runners",
        live="/live",
        runners=found,
        lacks=[
            why
            for why in (request.app[app_keys.STORAGE].complaint, await request.app[app_keys.ROOM].complaint())
            if why
        ],
        busy=sum(runner.busy for runner in staying),
        slots=sum(runner.slots for runner in staying),
        degraded=[part for part in degraded() if not part.part.startswith("runner/")],  # runners report theirs
        unreadable=sum(model.unreadable.values()),
    )


ROUTES = (Route("GET", "/runners", runners_page),)
