"""The bars of a simulation's page: how many slots are taken and how many runs wait, hour by hour. Pure."""

from __future__ import annotations

from typing import Final

import msgspec

from fastflow_api.shapes import SimulatedHour, Simulation

HEIGHT: Final = 100
STEP: Final = 5
"""From one bar to the next."""


class HourBar(msgspec.Struct, frozen=True, kw_only=True):
    """One hour. ``busy`` is drawn from below, ``waiting`` on top of it; both are heights."""

    x: int
    busy: float
    waiting: float
    is_refusing: bool
    words: str


class HourBars(msgspec.Struct, frozen=True, kw_only=True):
    """All hours, and the number of runs that the full height stands for."""

    width: int
    most: int
    bars: tuple[HourBar, ...]


def hour_bars(found: Simulation) -> HourBars:
    """Draw the hours of *found*. The full height is the most runs that run and wait in one hour, or all slots."""
    most = max([found.slots, *(hour.busy_max + hour.waiting_max for hour in found.hours)])
    return HourBars(
        width=max(1, len(found.hours)) * STEP,
        most=most,
        bars=tuple(_bar(number * STEP, hour, HEIGHT / most) for number, hour in enumerate(found.hours)),
    )


def _bar(x: int, hour: SimulatedHour, height: float) -> HourBar:
    words = f"{hour.at:%a %d %b %H:%M} UTC: {hour.starts:,} starts, at most {hour.busy_max:,} run"
    if hour.waiting_max:
        words += f" and {hour.waiting_max:,} wait"
    if hour.refused:
        words += f", {hour.refused:,} refused"
    return HourBar(
        x=x,
        busy=round(hour.busy_max * height, 2),
        waiting=round(hour.waiting_max * height, 2),
        is_refusing=hour.refused > 0,
        words=words,
    )
