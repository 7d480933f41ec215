"""Simulate this installation, as it is or with other pipelines. Starts nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from aiohttp import web

from fastflow_contracts.clock import now
from fastflow_contracts.names import BadName, PipelineName, check_name
from fastflow_contracts.pipelines.format.spec import PipelineSpec
from fastflow_contracts.schedules.cron import check_cron
from fastflow_contracts.schedules.schedule import Cron
from fastflow_contracts.schedules.slots import fault
from fastflow_contracts.simulation.comparison import ForecastComparison, compared
from fastflow_contracts.simulation.forecast import Forecast
from fastflow_contracts.simulation.simulate import DAYS_MAX, simulate
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.readmodel.model import ReadModel
from fastflow_gateway.readmodel.scenarios import Durations, proposed, scenario

SLOTS_MAX: Final = 10_000
ASSUMED_S_MAX: Final = 864_000
PIPELINES_MAX: Final = 10_000


class Simulator:
    """Simulates, one request at a time: each takes seconds of a core."""

    def __init__(self, model: ReadModel) -> None:
        self._model = model
        self._turn = asyncio.Lock()

    async def deployed(
        self, *, days: int, since: datetime | None, slots: int | None, assumed_s: float, durations: Durations = "median"
    ) -> Forecast:
        """Simulate the deployed pipelines. Raises ``RequestRefused``."""
        begin = _checked(days, since, slots, assumed_s)
        async with self._turn:
            found = await scenario(self._model, begin, slots=slots, durations=durations, assumed_s=assumed_s)
            return await asyncio.to_thread(simulate, found, begin, days)

    async def compared(
        self, pipelines: Mapping[str, Any], *, days: int, since: datetime | None, slots: int | None, assumed_s: float
    ) -> ForecastComparison:
        """Simulate the deployed pipelines, and *pipelines* in their place. Raises ``RequestRefused``."""
        begin = _checked(days, since, slots, assumed_s)
        specs = _specs(pipelines)
        async with self._turn:
            before = await scenario(self._model, begin, slots=slots, durations="median", assumed_s=assumed_s)
            after = proposed(self._model, before, specs)
            old = await asyncio.to_thread(simulate, before, begin, days)
            new = await asyncio.to_thread(simulate, after, begin, days)
        return await asyncio.to_thread(compared, old, new, before.pipelines, after.pipelines)


def _checked(days: int, since: datetime | None, slots: int | None, assumed_s: float) -> datetime:
    """Return when the simulation begins."""
    if not 1 <= days <= DAYS_MAX:
        raise RequestRefused(422, f"days must be from 1 to {DAYS_MAX}.")
    if slots is not None and not 1 <= slots <= SLOTS_MAX:
        raise RequestRefused(422, f"slots must be from 1 to {SLOTS_MAX:,}.")
    if not 0 <= assumed_s <= ASSUMED_S_MAX:
        raise RequestRefused(422, f"assume must be from 0 to {ASSUMED_S_MAX:,} seconds.")
    begin = since or now()
    if begin.tzinfo is None or not 2000 <= begin.year <= 2200:
        raise RequestRefused(422, "since must be a time with a time zone, in the years 2000 to 2200.")
    return begin.astimezone(UTC)


def _specs(pipelines: Mapping[str, Any]) -> dict[PipelineName, PipelineSpec]:
    if len(pipelines) > PIPELINES_MAX:
        raise RequestRefused(422, f"at most {PIPELINES_MAX:,} pipelines are simulated.")
    found = {}
    for text, settings in pipelines.items():
        try:
            name, spec = check_name(text), msgspec.convert(settings, PipelineSpec)
        except (BadName, msgspec.ValidationError) as error:
            raise RequestRefused(422, f"the pipeline {text[:64]!r} is not valid: {error}.") from error
        restart = spec.restart_schedule()
        for schedule in (*spec.schedule_list(), *((restart,) if restart else ())):
            why = fault(schedule)
            if why is None and isinstance(schedule.timing, Cron):
                why = check_cron(schedule.timing.expr)
            if why is not None:
                raise RequestRefused(422, f"the schedule {schedule.id} of {text[:64]!r} is not valid: {why}.")
        found[name] = spec
    return found


SIMULATOR = web.AppKey("SIMULATOR", Simulator)
