"""What a simulation begins with: pipelines, how long their runs take, and what may run at once. Data only."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec

from fastflow_contracts.bus.subjects import JobRef
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.format.spec import PipelineSpec
from fastflow_contracts.pipelines.links import HOPS_MAX, Link
from fastflow_contracts.pipelines.pauses import NOT_PAUSED, PauseSet
from fastflow_contracts.pipelines.records import PipelineRecord, Version
from fastflow_contracts.schedules.schedule import PipelineSchedule
from fastflow_contracts.schedules.slots import fault
from fastflow_contracts.schedules.state import ScheduleState, settled
from fastflow_contracts.starting.admission import Defaults
from fastflow_contracts.starting.ceilings import CEILINGS, Ceilings

ASSUMED_S: Final = 60.0
"""How long a run takes that was never measured."""
SLOTS: Final = 4
"""Runs at once where no runner is known."""
_NO_BUNDLE: Final = "0" * 64


class SimulatedPipeline(msgspec.Struct, frozen=True, kw_only=True):
    """One pipeline, with all that decides when it runs."""

    name: PipelineName
    spec: PipelineSpec
    links: tuple[Link, ...] = ()
    """Those that the API made."""
    states: dict[str, ScheduleState] = {}
    """Of its schedules, by id: since when they count."""
    switched_off: frozenset[str] = frozenset()
    """Ids of the schedules that people switched off."""
    duration_s: float | None = None
    """How long an attempt holds a slot of a runner; None: it was never measured."""

    def schedules(self) -> tuple[PipelineSchedule, ...]:
        """All that start or restart it by time, enabled or not."""
        restart = self.spec.restart_schedule()
        return (*self.spec.schedule_list(), *((restart,) if restart else ()))

    def state_of(self, schedule: PipelineSchedule, now: datetime) -> ScheduleState:
        """What a scheduler that sees it at *now* stores: where its intervals begin, and whether it fires."""
        is_on = schedule.id not in self.switched_off
        return settled(self.states.get(schedule.id), schedule, is_on=is_on, now=now)

    def record(self, now: datetime) -> PipelineRecord:
        """What the schedulers know of it."""
        live = Version(bundle=_NO_BUNDLE, spec=self.spec, live_since=now)
        return PipelineRecord(name=self.name, live=live, seen_at=now)


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """An installation, without any run. Every attempt succeeds, unless it would exceed its timeout."""

    pipelines: tuple[SimulatedPipeline, ...]
    slots: int = SLOTS
    """Runs at once on all runners."""
    concurrent_max: int = 0
    """MAX_CONCURRENT_RUNS; 0: no limit."""
    pauses: PauseSet = NOT_PAUSED
    assumed_s: float = ASSUMED_S
    """How long an attempt takes that was never measured."""
    defaults: Defaults = Defaults()
    ceilings: Ceilings = CEILINGS
    depth_max: int = HOPS_MAX
    """Most downstream starts one after the other."""


class FiringSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule that has slots."""

    job: JobRef
    schedule: PipelineSchedule
    anchor: datetime


def firing_schedules(pipelines: tuple[SimulatedPipeline, ...], now: datetime) -> list[FiringSchedule]:
    """The schedules that fire, in the order in which schedulers start what is due at one instant."""
    found = [
        FiringSchedule(job=JobRef(pipeline.name, schedule.id), schedule=schedule, anchor=state.anchor)
        for pipeline in pipelines
        for schedule in pipeline.schedules()
        if fault(schedule) is None and (state := pipeline.state_of(schedule, now)).idle_since is None
    ]
    return sorted(found, key=lambda each: each.job)
