"""Forecasts in the API's shapes. Pure."""

from __future__ import annotations

import msgspec

from fastflow_api import shapes
from fastflow_contracts.simulation.comparison import ForecastComparison
from fastflow_contracts.simulation.forecast import Forecast


def simulation_shape(forecast: Forecast) -> shapes.Simulation:
    """The shape of *forecast*: it has the same fields."""
    return msgspec.convert(forecast, shapes.Simulation, from_attributes=True)


def comparison_shape(comparison: ForecastComparison) -> shapes.SimulationComparison:
    """The shape of *comparison*: it has the same fields."""
    return msgspec.convert(comparison, shapes.SimulationComparison, from_attributes=True)
