"""The days ahead."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Literal

from fastflow_api import shapes
from fastflow_api.resources.base import Resource


class Simulations(Resource):
    """Methods that simulate what the schedulers will do. They start nothing."""

    async def simulation(
        self,
        *,
        days: int = 7,
        since: datetime | None = None,
        slots: int | None = None,
        assume: float = 60.0,
        durations: Literal["median", "p95"] = "median",
    ) -> shapes.Simulation:
        """Simulate the deployed pipelines.

        Args:
            days: How many days to look ahead, from 1 to 92.
            since: When it begins; None: now.
            slots: Runs at once; None: as many as the live runners have slots.
            assume: Seconds that a run takes that was never measured.
            durations: How long runs take: ``median`` or ``p95`` of the measured ones.

        Raises:
            BadRequest: An argument is not valid.
        """
        query = {
            "days": days,
            "since": None if since is None else since.isoformat(),
            "slots": slots,
            "assume": assume,
            "durations": durations,
        }
        return await self._connection.json("GET", "/api/simulation", shapes.Simulation, query=query)

    async def compare_simulation(
        self,
        pipelines: Mapping[str, Mapping[str, Any]],
        *,
        days: int = 7,
        since: datetime | None = None,
        slots: int | None = None,
        assume: float = 60.0,
        keep: Collection[str] = (),
    ) -> shapes.SimulationComparison:
        """Simulate the deployed pipelines, and others in their place.

        Args:
            pipelines: By name, the settings of each pipeline, as in its pipeline.json.
            days: How many days to look ahead, from 1 to 92.
            since: When it begins; None: now.
            slots: Runs at once; None: as many as the live runners have slots.
            assume: Seconds that a run takes that was never measured.
            keep: Names of deployed pipelines that stay as they are. All others that are not given are removed.

        Raises:
            BadRequest: An argument or a pipeline is not valid.
        """
        body = _body(pipelines, days=days, since=since, slots=slots, assume=assume, keep=keep)
        return await self._connection.json("POST", "/api/simulation", shapes.SimulationComparison, body=body)

    async def simulation_page(
        self,
        pipelines: Mapping[str, Mapping[str, Any]],
        *,
        days: int = 7,
        since: datetime | None = None,
        slots: int | None = None,
        assume: float = 60.0,
        keep: Collection[str] = (),
    ) -> bytes:
        """Simulate as ``compare_simulation``, and get the page that shows it: one HTML file, in UTF-8.

        Args:
            pipelines: This and the others are as for ``compare_simulation``.
            days: See ``compare_simulation``.
            since: See ``compare_simulation``.
            slots: See ``compare_simulation``.
            assume: See ``compare_simulation``.
            keep: See ``compare_simulation``.

        Raises:
            BadRequest: An argument or a pipeline is not valid.
        """
        body = _body(pipelines, days=days, since=since, slots=slots, assume=assume, keep=keep)
        return await self._connection.raw("POST", "/simulation", body=body)


def _body(
    pipelines: Mapping[str, Mapping[str, Any]],
    *,
    days: int,
    since: datetime | None,
    slots: int | None,
    assume: float,
    keep: Collection[str],
) -> shapes.SimulationBody:
    given = {name: dict(each) for name, each in pipelines.items()}
    return shapes.SimulationBody(
        days=days, since=since, slots=slots, assume=assume, pipelines=given, keep=tuple(sorted(keep))
    )
