"""List the runners with their slots, and drain one."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web
from msgspec.structs import replace

from fastflow_api import shapes
from fastflow_contracts.bus import subjects
from fastflow_contracts.runs.presence import PRESENCE_S
from fastflow_gateway import app_keys
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.http.requests import answer
from fastflow_gateway.http.route import Route
from fastflow_gateway.readmodel import queries
from fastflow_gateway.readmodel.model import MODEL, ReadModel

DRAIN_S: Final = 4 * PRESENCE_S
"""Seconds within which a runner must announce that it is leaving."""
_LOOK_S: Final = 0.05
"""Seconds between two checks of its presence; polled, because a heartbeat does not wake a handler."""


async def list_runners(request: web.Request) -> web.Response:
    """List the runners that are alive."""
    return answer(shapes.Runners(runners=queries.runners(request.app[MODEL])))


async def drain_runner(request: web.Request) -> web.Response:
    """Drain a runner and return it once it is leaving; an idle one may already be gone by then."""
    model, wanted = request.app[MODEL], request.match_info["runner"]
    last = _runners(model).get(wanted)
    if last is None:
        raise RequestRefused(
            404, f"there is no runner {wanted[:200]}; there are: {', '.join(sorted(_runners(model))) or 'none'}."
        )
    await request.app[app_keys.BUS].tell(subjects.drain(wanted), b"")
    try:
        async with asyncio.timeout(DRAIN_S):
            while not last.leaving:
                await asyncio.sleep(_LOOK_S)
                last = _runners(model).get(wanted) or replace(last, leaving=True, busy=0)
    except TimeoutError:
        raise RequestRefused(504, f"runner {wanted} does not answer; look at its log.") from None
    return answer(last)


def _runners(model: ReadModel) -> dict[str, shapes.Runner]:
    return {runner.id: runner for runner in queries.runners(model)}


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
