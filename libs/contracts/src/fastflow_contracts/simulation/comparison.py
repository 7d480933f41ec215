"""What a proposed change does to the days ahead: two forecasts side by side. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from fastflow_contracts.schedules.state import definition
from fastflow_contracts.simulation.forecast import Forecast, PipelineForecast
from fastflow_contracts.simulation.scenario import SimulatedPipeline

Change = Literal["added", "removed", "changed", "affected"]


class ScheduleDifference(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule that is new, gone, or due at other times."""

    schedule: str
    before: str | None
    after: str | None


class ForecastDifference(msgspec.Struct, frozen=True, kw_only=True):
    """One pipeline whose runs differ. ``affected``: its schedules do not, so others make the difference."""

    pipeline: str
    change: Change
    schedules: tuple[ScheduleDifference, ...]
    starts_before: int
    starts_after: int
    refused_before: int
    refused_after: int
    wait_max_before_s: int
    wait_max_after_s: int


class ForecastComparison(msgspec.Struct, frozen=True, kw_only=True):
    """What is deployed, what is proposed, and the pipelines that differ."""

    deployed: Forecast
    proposed: Forecast
    differences: tuple[ForecastDifference, ...]


def compared(
    deployed: Forecast,
    proposed: Forecast,
    before: Sequence[SimulatedPipeline],
    after: Sequence[SimulatedPipeline],
) -> ForecastComparison:
    """Compare two forecasts of the same days.

    Args:
        deployed: Of *before*.
        proposed: Of *after*.
        before: The pipelines that are deployed.
        after: Those that are proposed.
    """
    timings = [{pipeline.name: _timings(pipeline) for pipeline in pipelines} for pipelines in (before, after)]
    runs = [{each.pipeline: each for each in forecast.pipelines} for forecast in (deployed, proposed)]
    found = []
    for name in sorted(timings[0].keys() | timings[1].keys()):
        old, new = (each.get(name) for each in timings)
        difference = _difference(name, old, new, runs[0].get(name), runs[1].get(name))
        if difference is not None:
            found.append(difference)
    return ForecastComparison(deployed=deployed, proposed=proposed, differences=tuple(found))


def _timings(pipeline: SimulatedPipeline) -> dict[str, str]:
    """What each enabled schedule says, by id."""
    return {schedule.id: definition(schedule) for schedule in pipeline.schedules() if schedule.enabled}


def _difference(
    name: str,
    old: dict[str, str] | None,
    new: dict[str, str] | None,
    before: PipelineForecast | None,
    after: PipelineForecast | None,
) -> ForecastDifference | None:
    known, wanted = old or {}, new or {}
    schedules = tuple(
        ScheduleDifference(schedule=each, before=known.get(each), after=wanted.get(each))
        for each in sorted(known.keys() | wanted.keys())
        if known.get(each) != wanted.get(each)
    )
    counts = [_counts(before), _counts(after)]
    if old is not None and new is not None and not schedules and counts[0] == counts[1]:
        return None
    change: Change = "added" if old is None else "removed" if new is None else "changed" if schedules else "affected"
    return ForecastDifference(
        pipeline=name,
        change=change,
        schedules=schedules,
        starts_before=counts[0][0],
        starts_after=counts[1][0],
        refused_before=counts[0][1],
        refused_after=counts[1][1],
        wait_max_before_s=counts[0][2],
        wait_max_after_s=counts[1][2],
    )


def _counts(forecast: PipelineForecast | None) -> tuple[int, int, int]:
    return (0, 0, 0) if forecast is None else (forecast.starts, forecast.refused, forecast.wait_max_s)
