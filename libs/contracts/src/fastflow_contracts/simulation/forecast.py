"""What a simulation found. Data only; ``fastflow_api.shapes.simulation`` says the same to users."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec


class ForecastHour(msgspec.Struct, frozen=True, kw_only=True):
    """One hour, or the part of one at the beginning and at the end."""

    at: datetime
    starts: int
    refused: int
    busy: float
    """Slots of runners that are taken, on average."""
    busy_max: int
    waiting_max: int


class PipelineForecast(msgspec.Struct, frozen=True, kw_only=True):
    """The runs of one pipeline."""

    pipeline: str
    starts: int
    refused: int
    overlaps: int
    """Runs that are created while an earlier one is not over."""
    first_overlap_at: datetime | None
    replaced: int
    failed: int
    """Attempts that exceed their timeout."""
    wait_p95_s: int
    wait_max_s: int
    duration_s: float
    is_measured: bool
    """False: the duration is assumed."""
    next_slots: tuple[datetime, ...]


class ForecastRefusal(msgspec.Struct, frozen=True, kw_only=True):
    """Starts that are refused for one reason."""

    pipeline: str
    reason: str
    count: int
    first_at: datetime


class SilentSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule that starts nothing."""

    pipeline: str
    schedule: str
    why: str


SlotChange = Literal["skipped", "moved", "once", "twice"]


class ChangedSlots(msgspec.Struct, frozen=True, kw_only=True):
    """What a change of the clock does to one schedule.

    ``skipped``: local times that do not exist and start nothing. ``moved``: the same, started at the first instant
    after the gap. ``once`` and ``twice``: local times that come twice.
    """

    pipeline: str
    schedule: str
    what: SlotChange
    count: int
    """Local times."""
    first: str
    """The first one, as clocks show it."""
    last: str


class ClockChange(msgspec.Struct, frozen=True, kw_only=True):
    """Clocks of one time zone jump."""

    at: datetime
    timezone: str
    minutes: int
    """Forward, or, if negative, back."""
    slots: tuple[ChangedSlots, ...]


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """All of it."""

    since: datetime
    until: datetime
    """As far as it was computed."""
    slots: int
    starts: int
    refused: int
    busy_max: int
    waiting_max: int
    wait_p95_s: int
    wait_max_s: int
    together_max: int
    """The most runs that are created at one instant."""
    together_at: datetime | None
    hours: tuple[ForecastHour, ...]
    pipelines: tuple[PipelineForecast, ...]
    refusals: tuple[ForecastRefusal, ...]
    clock_changes: tuple[ClockChange, ...]
    silent: tuple[SilentSchedule, ...]
    notes: tuple[str, ...]
    """What the reader must know: what is assumed, and why it ends early."""
