"""Slots that come due while their pipeline changes and the scheduler has not seen the change yet."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.subjects import JobRef
from fastflow_contracts.ids import run_id_for_slot
from fastflow_contracts.pipelines.format.manifest import Problem
from fastflow_contracts.pipelines.format.spec import ScheduleEntry
from fastflow_contracts.pipelines.records import PIPELINE, PipelineRecord
from fastflow_contracts.runs import messages
from fastflow_contracts.runs.messages import SkipRecord
from fastflow_contracts.runs.store import NoSuchRun, RunStore
from fastflow_contracts.starting.active_runs import ActiveRuns
from fastflow_contracts.starting.admission import Defaults
from fastflow_scheduler.followups.restarter import Restarter
from fastflow_scheduler.schedules.firing import Firing, States
from fastflow_scheduler.schedules.timetable import Action, Fire, Timetable
from fastflow_scheduler.starting.starter import Starter
from tests.support.known_runs import known_runs
from tests.support.records import T0, a_bundle, a_run, publish_pipeline
from tests.support.system import stored

CODE = a_bundle(main_py="1")
SLOT = T0 + timedelta(seconds=5)
PLANNED: dict[str, Any] = {"schedules": (ScheduleEntry(id="prod", schedule_interval_seconds=5),)}


class Planned(NamedTuple):
    """A scheduler that is about to do *action* from what it knew at T0."""

    firing: Firing
    action: Action


async def planned(bus: Bus, record: PipelineRecord, active: ActiveRuns | None = None) -> Planned:
    """Return a scheduler that has settled the one schedule of *record*, at its first slot."""
    timetable, store = Timetable(), RunStore(bus)
    clock = T0
    starter = Starter(bus, store, Defaults(), active=active, clock=lambda: clock)
    firing = Firing(timetable, starter, States(bus), Restarter(bus, store, starter).restart, clock=lambda: clock)
    timetable.see_pipeline(record)
    (settle,) = due(timetable, clock)
    await firing.do(settle)
    timetable.done(settle.job)
    clock = SLOT
    (fire,) = due(timetable, clock)
    assert isinstance(fire, Fire)
    assert fire.backlog.slots == (SLOT,)
    return Planned(firing, fire)


def due(timetable: Timetable, at: datetime) -> list[Action]:
    timetable.able(at)
    timetable.arm(at, most=1)
    return timetable.actions(at)


async def _change(bus: Bus, record: PipelineRecord, spec: dict[str, Any] | None) -> None:
    """Publish what the schedulers do not know yet; under a limit, with one run."""
    if spec is None:
        await put(bus, replace(record, removed_at=T0))
    else:
        await publish_pipeline(bus, "demo", CODE, **spec)
    if spec and "max_instances" in spec:
        await RunStore(bus).create(a_run("demo"), None)


async def put(bus: Bus, record: PipelineRecord) -> None:
    await bus.put(subjects.PIPELINES, subjects.pipeline_key(record.name), PIPELINE.encode(record))


async def skips(bus: Bus) -> list[SkipRecord]:
    return [messages.SKIP.decode(kept.data) for kept in await stored(bus, streams.NOTICES, "ff.skipped.>")]


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"enabled": False} | PLANNED, "is disabled"),
        ({"schedules": (replace(PLANNED["schedules"][0], enabled=False),)}, "schedules/prod was disabled or removed"),
        ({"schedules": (ScheduleEntry(id="other"),)}, "schedules/prod was disabled or removed"),
        ({"schedules": (ScheduleEntry(id="prod"),)}, "schedules/prod was disabled or removed"),
        ({"max_instances": 1} | PLANNED, "max_instances"),
        (None, "no pipeline demo"),
    ],
    ids=["pipeline disabled", "entry disabled", "entry gone", "by hand only", "full", "pipeline gone"],
)
async def test_a_slot_that_starts_nothing_is_one_skip_with_its_schedule_and_reason(
    bus: Bus, spec: dict[str, Any] | None, reason: str
) -> None:
    """With any number of schedulers, and then it is done."""
    record = await publish_pipeline(bus, "demo", CODE, **PLANNED)
    async with known_runs(bus) as active:
        there = [await planned(bus, record, active), await planned(bus, record, active)]
        await _change(bus, record, spec)
        for firing, action in there:
            await firing.do(action)
    (skip,) = await skips(bus)
    assert (skip.pipeline, skip.triggered_by) == ("demo", "schedule")
    assert (skip.schedule, skip.scheduled_for) == ("schedules/prod", SLOT)
    assert reason in skip.reason
    with pytest.raises(NoSuchRun):
        await RunStore(bus).find(run_id_for_slot(record.name, "schedules/prod", SLOT))
    state, _ = await States(bus).load(JobRef(record.name, "schedules/prod"))
    assert state is not None
    assert (state.done_until, state.last_slot) == (SLOT, SLOT)


async def test_a_slot_of_a_pipeline_that_broke_runs_its_last_good_version(bus: Bus) -> None:
    """A new version with problems does not change the live one."""
    record = await publish_pipeline(bus, "demo", CODE, **PLANNED)
    firing, action = await planned(bus, record)
    await put(bus, replace(record, problems=(Problem(field="timeout", value='"x"', accepted="a number", line=3),)))
    await firing.do(action)
    run = (await RunStore(bus).find(run_id_for_slot(record.name, "schedules/prod", SLOT))).run
    assert (run.order.bundle, run.order.schedule, run.order.scheduled_for) == (CODE.sha256, "schedules/prod", SLOT)
    assert await skips(bus) == []


async def test_a_slot_that_has_run_is_not_a_skip_when_its_pipeline_is_gone(bus: Bus) -> None:
    """The second scheduler comes after the removal: the run stays."""
    record = await publish_pipeline(bus, "demo", CODE, **PLANNED)
    first, second = await planned(bus, record), await planned(bus, record)
    await first.firing.do(first.action)
    await put(bus, replace(record, removed_at=T0))
    await second.firing.do(second.action)
    await RunStore(bus).find(run_id_for_slot(record.name, "schedules/prod", SLOT))
    assert await skips(bus) == []


@pytest.mark.parametrize("spec", [{}, None], ids=["restart_interval gone", "pipeline gone"])
async def test_a_restart_that_starts_nothing_is_a_skip_too(bus: Bus, spec: dict[str, Any] | None) -> None:
    """No daemon runs, so there is nothing to stop either."""
    record = await publish_pipeline(bus, "demo", CODE, restart_interval=5)
    firing, action = await planned(bus, record)
    await (put(bus, replace(record, removed_at=T0)) if spec is None else publish_pipeline(bus, "demo", CODE, **spec))
    await firing.do(action)
    (skip,) = await skips(bus)
    assert (skip.triggered_by, skip.schedule, skip.scheduled_for) == ("daemon_restart", "restart", SLOT)
