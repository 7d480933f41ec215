"""What a simulation of this installation begins with, from what the model knows."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping
from datetime import datetime
from math import ceil
from typing import Final, Literal, TypeAlias

from msgspec.structs import replace

from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.format.spec import PipelineSpec
from fastflow_contracts.runs.run import RunRecord, RunStatus
from fastflow_contracts.schedules.state import ScheduleState
from fastflow_contracts.simulation.scenario import SLOTS, Scenario, SimulatedPipeline
from fastflow_gateway.readmodel.model import ReadModel

MEASURED_MAX: Final = 20
"""The newest runs of a pipeline whose durations count."""
Durations: TypeAlias = Literal["median", "p95"]
_SHARES: Final[Mapping[Durations, float]] = {"median": 0.5, "p95": 0.95}


async def scenario(
    model: ReadModel, now: datetime, *, slots: int | None, durations: Durations, assumed_s: float
) -> Scenario:
    """Return the deployed pipelines, with measured durations and the slots of the live runners.

    Args:
        model: What is known.
        now: The time to judge by.
        slots: Runs at once; None: as many as the live runners have slots.
        durations: Which of the measured durations.
        assumed_s: The duration of runs that were never measured.
    """
    states: defaultdict[PipelineName, dict[str, ScheduleState]] = defaultdict(dict)
    for job, state in model.schedule_states.items():
        states[job.pipeline][job.schedule] = state
    off: defaultdict[PipelineName, set[str]] = defaultdict(set)
    for job in model.switches.off:
        off[job.pipeline].add(job.schedule)
    pipelines = []
    for record in model.pipelines():
        if record.live is not None:
            pipelines.append(
                SimulatedPipeline(
                    name=record.name,
                    spec=record.live.spec,
                    links=model.links.made(record.name),
                    states=states[record.name],
                    switched_off=frozenset(off[record.name]),
                    duration_s=_duration_s(model.runs.latest(record.name, MEASURED_MAX), _SHARES[durations]),
                )
            )
            await asyncio.sleep(0)  # each decodes some runs
    capacity = model.capacity(now)
    known = sum(runner.slots for runner in capacity.runners if not runner.leaving)
    return Scenario(
        pipelines=tuple(pipelines),
        slots=slots or known or SLOTS,
        concurrent_max=capacity.running_max or 0,
        pauses=model.pauses.now,
        assumed_s=assumed_s,
    )


def proposed(
    model: ReadModel, deployed: Scenario, specs: Mapping[PipelineName, PipelineSpec], keep: Collection[str] = ()
) -> Scenario:
    """Return *deployed* with the pipelines *specs* in place of all others, except those to *keep* as they are.

    Schedules that stay the same go on counting as they do, and durations are those of the pipeline of the same name.
    """
    known = {pipeline.name: pipeline for pipeline in deployed.pipelines}
    wanted = {name: known[name] for name in known if name in keep} | {
        name: replace(known[name], spec=spec)
        if name in known
        else SimulatedPipeline(name=name, spec=spec, links=model.links.made(name))
        for name, spec in specs.items()
    }
    return replace(deployed, pipelines=tuple(wanted[name] for name in sorted(wanted)))


def _duration_s(runs: list[RunRecord], share: float) -> float | None:
    """How long successful attempts held a slot; None: there is none."""
    measured = sorted(
        (attempt.finished_at - attempt.claimed_at).total_seconds()
        for run in runs
        if run.status is RunStatus.SUCCESS
        for attempt in run.attempts[-1:]
    )
    return max(0.0, measured[ceil(share * len(measured)) - 1]) if measured else None
