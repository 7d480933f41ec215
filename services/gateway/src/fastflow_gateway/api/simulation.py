"""Simulate the days ahead, with the deployed pipelines and with others."""

from __future__ import annotations

from typing import Annotated

import msgspec
from aiohttp import web

from fastflow_api import shapes
from fastflow_contracts.simulation.scenario import ASSUMED_S
from fastflow_contracts.simulation.simulate import DAYS_MAX
from fastflow_gateway.actions.simulations import ASSUMED_S_MAX, SIMULATOR, SLOTS_MAX
from fastflow_gateway.http.requests import answer, body_of, query
from fastflow_gateway.http.route import Route
from fastflow_gateway.readmodel.filters import instant
from fastflow_gateway.readmodel.scenarios import Durations
from fastflow_gateway.views.simulations import comparison_shape, simulation_shape


class SimulationQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to simulate."""

    days: Annotated[int, msgspec.Meta(ge=1, le=DAYS_MAX, description="How many days to look ahead.")] = 7
    since: Annotated[str | None, msgspec.Meta(description="When it begins: ISO 8601; default now.")] = None
    slots: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=SLOTS_MAX)] | None,
        msgspec.Meta(description="Runs at once; default: slots of the live runners."),
    ] = None
    assume: Annotated[
        float, msgspec.Meta(ge=0, le=ASSUMED_S_MAX, description="Seconds that a run takes that was never measured.")
    ] = ASSUMED_S
    durations: Annotated[Durations, msgspec.Meta(description="Which of the measured durations runs take.")] = "median"


async def simulation(request: web.Request) -> web.Response:
    """Simulate the deployed pipelines."""
    wanted = query(request, SimulationQuery)
    since = instant("start_date", wanted.since, name="since")
    found = await request.app[SIMULATOR].deployed(
        days=wanted.days, since=since, slots=wanted.slots, assumed_s=wanted.assume, durations=wanted.durations
    )
    return answer(simulation_shape(found))


async def compare_simulation(request: web.Request) -> web.Response:
    """Simulate the deployed pipelines, and those of the body in their place."""
    found = await request.app[SIMULATOR].compared(await body_of(request))
    return answer(comparison_shape(found))


ROUTES = (
    Route(
        "GET",
        "/api/simulation",
        simulation,
        "Simulate the days ahead: what runs when, where runs wait, what is refused, what changes of the clock do.",
        {200: shapes.Simulation, 422: shapes.Error, 429: shapes.Error},
        query=SimulationQuery,
    ),
    Route(
        "POST",
        "/api/simulation",
        compare_simulation,
        "Simulate the days ahead with the deployed pipelines and with those of the body, and compare.",
        {200: shapes.SimulationComparison, 422: shapes.Error, 429: shapes.Error},
        body=shapes.SimulationBody,
    ),
)
