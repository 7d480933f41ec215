"""The page that shows the days ahead, as a simulation foresees them."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from aiohttp import web

from fastflow_api import shapes
from fastflow_contracts.simulation.scenario import ASSUMED_S
from fastflow_contracts.simulation.simulate import DAYS_MAX
from fastflow_gateway.actions.simulations import SIMULATOR
from fastflow_gateway.dashboard.rendering import RENDERER
from fastflow_gateway.dashboard.view.simulation_bars import hour_bars
from fastflow_gateway.http.requests import body_of, query
from fastflow_gateway.http.route import Route
from fastflow_gateway.views.simulations import comparison_shape, simulation_shape

DAYS: Final = (1, 7, 30)
ROWS_MAX: Final = 100
"""Of each list on the page; the API has all."""


class SimulationPageQuery(msgspec.Struct, frozen=True, kw_only=True):
    """How far to look."""

    days: Annotated[int, msgspec.Meta(ge=1, le=DAYS_MAX)] = 7


async def simulation_page(request: web.Request) -> web.Response:
    """Simulate the deployed pipelines and show what is foreseen."""
    days = query(request, SimulationPageQuery).days
    forecast = await request.app[SIMULATOR].deployed(days=days, since=None, slots=None, assumed_s=ASSUMED_S)
    return _page(request, simulation_shape(forecast), days=days)


async def comparison_page(request: web.Request) -> web.Response:
    """Simulate the pipelines of the body, and show what they change: a page that is whole as a file."""
    compared = comparison_shape(await request.app[SIMULATOR].compared(await body_of(request)))
    return _page(request, compared.proposed, compared=compared)


def _page(
    request: web.Request,
    found: shapes.Simulation,
    *,
    days: int | None = None,
    compared: shapes.SimulationComparison | None = None,
) -> web.Response:
    differences = compared.differences if compared else ()
    return request.app[RENDERER].page(
        request,
        "simulation.html",
        base="base.html" if compared is None else "file.html",
        here="schedules",
        days=days,
        choices=DAYS,
        found=found,
        compared=compared,
        differences=[each for each in differences if each.change != "removed"],
        removed=[each.pipeline for each in differences if each.change == "removed"],
        chart=hour_bars(found),
        rows_max=ROWS_MAX,
    )


ROUTES = (Route("GET", "/simulation", simulation_page), Route("POST", "/simulation", comparison_page))
