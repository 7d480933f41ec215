"""The days ahead, as a simulation foresees them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, TypeAlias

from fastflow_api.shapes.base import Shape
from fastflow_api.shapes.bodies import Body

SlotChange: TypeAlias = Literal["skipped", "moved", "once", "twice"]
Change: TypeAlias = Literal["added", "removed", "changed", "affected"]


class SimulatedHour(Shape, frozen=True, kw_only=True):
    """One hour, or the part of one at the beginning and at the end."""

    at: datetime
    starts: int
    refused: int
    busy: float
    """Slots of runners that are taken, on average."""
    busy_max: int
    waiting_max: int


class SimulatedRuns(Shape, frozen=True, kw_only=True):
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


class SimulatedRefusal(Shape, frozen=True, kw_only=True):
    """Starts that are refused for one reason."""

    pipeline: str
    reason: str
    count: int
    first_at: datetime


class SimulatedSilence(Shape, frozen=True, kw_only=True):
    """A schedule that starts nothing."""

    pipeline: str
    schedule: str
    why: str


class SimulatedSlots(Shape, frozen=True, kw_only=True):
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


class SimulatedClockChange(Shape, frozen=True, kw_only=True):
    """Clocks of one time zone jump."""

    at: datetime
    timezone: str
    minutes: int
    """Forward, or, if negative, back."""
    slots: tuple[SimulatedSlots, ...]


class Simulation(Shape, frozen=True, kw_only=True):
    """What the schedulers will do, as a simulation with their rules foresees it."""

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
    hours: tuple[SimulatedHour, ...]
    pipelines: tuple[SimulatedRuns, ...]
    refusals: tuple[SimulatedRefusal, ...]
    clock_changes: tuple[SimulatedClockChange, ...]
    silent: tuple[SimulatedSilence, ...]
    notes: tuple[str, ...]
    """What the reader must know: what is assumed, and why it ends early."""


class SimulatedTiming(Shape, frozen=True, kw_only=True):
    """A schedule that is new, gone, or due at other times."""

    schedule: str
    before: str | None
    after: str | None


class SimulatedDifference(Shape, frozen=True, kw_only=True):
    """One pipeline whose runs differ. ``affected``: its schedules do not, so others make the difference."""

    pipeline: str
    change: Change
    schedules: tuple[SimulatedTiming, ...]
    starts_before: int
    starts_after: int
    refused_before: int
    refused_after: int
    wait_max_before_s: int
    wait_max_after_s: int


class SimulationComparison(Shape, frozen=True, kw_only=True):
    """What is deployed, what is proposed, and the pipelines that differ."""

    deployed: Simulation
    proposed: Simulation
    differences: tuple[SimulatedDifference, ...]


class SimulationBody(Body, frozen=True, kw_only=True):
    """Pipelines to simulate in the place of those that are deployed."""

    days: int = 7
    since: datetime | None = None
    """When it begins; null: now."""
    slots: int | None = None
    """Runs at once; null: as many as the live runners have slots."""
    assume: float = 60.0
    """Seconds that a run takes that was never measured."""
    pipelines: dict[str, dict[str, Any]]
    """The settings of each, as in its pipeline.json, without secrets."""
    keep: tuple[str, ...] = ()
    """Names of deployed pipelines that stay as they are. All others that are not given are removed."""
