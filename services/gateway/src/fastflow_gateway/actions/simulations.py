"""Simulate this installation, as it is or with other pipelines. Starts nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from aiohttp import web

from fastflow_api import shapes
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
SCHEDULES_MAX: Final = 10_000
"""Of all pipelines that a request gives."""
WAITING_MAX: Final = 10
"""Requests that have not ended; one more is told to try again."""
AGAIN_S: Final = 10


class Simulator:
    """Simulates, one request at a time: each takes seconds of a core."""

    def __init__(self, model: ReadModel) -> None:
        self._model = model
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def deployed(
        self, *, days: int, since: datetime | None, slots: int | None, assumed_s: float, durations: Durations = "median"
    ) -> Forecast:
        """Simulate the deployed pipelines. Raises ``RequestRefused``."""
        begin = _checked(days, since, slots, assumed_s)
        async with self._own_turn():
            found = await scenario(self._model, begin, slots=slots, durations=durations, assumed_s=assumed_s)
            return await asyncio.to_thread(simulate, found, begin, days)

    async def compared(self, body: bytes) -> ForecastComparison:
        """Simulate the deployed pipelines, and those of *body* in their place. Raises ``RequestRefused``."""
        try:
            wanted = msgspec.json.decode(body, type=shapes.SimulationBody)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            example = '{"days": 7, "pipelines": {"etl": {"schedule_cron": "0 3 * * *"}}}'
            raise RequestRefused(422, f"the body must be like {example}: {error}.") from error
        days, slots, assumed_s = wanted.days, wanted.slots, wanted.assume
        begin = _checked(days, wanted.since, slots, assumed_s)
        async with self._own_turn():
            specs = await asyncio.to_thread(_specs, wanted.pipelines)
            before = await scenario(self._model, begin, slots=slots, durations="median", assumed_s=assumed_s)
            after = proposed(self._model, before, specs, wanted.keep)
            old = await asyncio.to_thread(simulate, before, begin, days)
            new = await asyncio.to_thread(simulate, after, begin, days)
            return await asyncio.to_thread(compared, old, new, before.pipelines, after.pipelines)

    @asynccontextmanager
    async def _own_turn(self) -> AsyncIterator[None]:
        """Wait until no other request simulates. Raises ``RequestRefused``."""
        if self._waiting >= WAITING_MAX:
            text = "others simulate now, and each takes a while; try again later."
            raise RequestRefused(429, text, headers={"Retry-After": str(AGAIN_S)})
        self._waiting += 1
        try:
            async with self._turn:
                yield
        finally:
            self._waiting -= 1


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
    found, count = {}, 0
    for text, settings in pipelines.items():
        try:
            name, spec = check_name(text), msgspec.convert(settings, PipelineSpec)
        except (BadName, msgspec.ValidationError) as error:
            raise RequestRefused(422, f"the pipeline {text[:64]!r} is not valid: {error}.") from error
        count += len(spec.schedules)
        if count > SCHEDULES_MAX:
            raise RequestRefused(422, f"at most {SCHEDULES_MAX:,} entries of schedules are simulated.")
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
