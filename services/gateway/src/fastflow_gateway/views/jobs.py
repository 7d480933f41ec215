"""The scheduler's jobs in the API's shapes: every schedule with its next and last slot. Pure.

A job is one schedule of one pipeline. It is listed while it is defined, whether it fires or not. Exception: a single
time that had passed before any scheduler saw it is not a job.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import assert_never

from fastflow_api.shapes import Job, JobKind, NextRuns, Shape, Window
from fastflow_contracts.bus.subjects import JobRef, job_id
from fastflow_contracts.pipelines.pauses import NOT_PAUSED, PauseSet
from fastflow_contracts.pipelines.records import PipelineRecord
from fastflow_contracts.schedules.schedule import (
    RESTART_ID,
    Cron,
    Interval,
    Once,
    PipelineSchedule,
)
from fastflow_contracts.schedules.slots import fault, upcoming
from fastflow_contracts.schedules.state import ScheduleState, definition

__all__ = ["Job", "KnownJob", "NextRuns", "job", "known_jobs", "listed", "next_runs"]


class KnownJob(Shape, frozen=True, kw_only=True):
    """One job with everything known about it."""

    job: JobRef
    definition: PipelineSchedule
    state: ScheduleState | None
    """None: no scheduler has seen the job yet."""
    is_on: bool
    """Whether people left it switched on."""
    is_paused: bool = False
    """Whether a pause of its pipeline or of the installation holds it. It fires again when that ends."""

    @property
    def fires(self) -> bool:
        return self.definition.enabled and self.is_on


def known_jobs(
    records: Iterable[PipelineRecord],
    states: Mapping[JobRef, ScheduleState],
    switched_off: Collection[JobRef],
    pauses: PauseSet = NOT_PAUSED,
) -> list[KnownJob]:
    """The schedules of all pipelines with a valid version, in the order of *records* and of their files."""
    found = []
    for record in records:
        if record.live is None:
            continue
        restart = record.live.spec.restart_schedule()
        for schedule in (*record.live.spec.schedule_list(), *((restart,) if restart else ())):
            job = JobRef(record.name, schedule.id)
            state = states.get(job)
            if state is not None and state.definition != definition(schedule):
                state = None
            found.append(
                KnownJob(
                    job=job,
                    definition=schedule,
                    state=state,
                    is_on=job not in switched_off,
                    is_paused=pauses.of(record.name) is not None,
                )
            )
    return found


def listed(known: Iterable[KnownJob], now: datetime) -> list[KnownJob]:
    """The entries that are jobs at *now*."""
    return [each for each in known if not _never_was(each, now)]


def next_runs(known: KnownJob, now: datetime, count: int) -> tuple[datetime, ...]:
    """The next slots, at most *count*."""
    if not known.fires:
        return ()
    if known.state is None:
        return tuple(upcoming(known.definition, now, count))
    return tuple(upcoming(known.definition, max(now, known.state.done_until), count, known.state.anchor))


def job(known: KnownJob, now: datetime) -> Job:
    """The shape of *known* at *now*."""
    schedule = known.definition
    kind, value = _kind(schedule)
    following = next(iter(next_runs(known, now, 1)), None)
    return Job(
        id=job_id(known.job),
        pipeline=known.job.pipeline,
        schedule=schedule.id,
        run_config_id=schedule.run_config_id,
        kind=kind,
        value=value,
        timezone=schedule.timezone,
        catchup=schedule.catchup,
        enabled=known.fires,
        note=_note(known, following),
        next_run_time=following,
        last_run_time=known.state.last_slot if known.state else None,
        window=Window(start=schedule.start, end=schedule.end),
    )


def _kind(schedule: PipelineSchedule) -> tuple[JobKind, str]:
    is_restart = schedule.id == RESTART_ID
    match schedule.timing:
        case Cron(expr=expr):
            return "restart" if is_restart else "cron", expr
        case Interval(interval_s=interval_s):
            return "restart" if is_restart else "interval", str(interval_s)
        case Once(at=at):
            return "once", at.isoformat().replace("+00:00", "Z")
        case _:
            assert_never(schedule.timing)


def _never_was(known: KnownJob, now: datetime) -> bool:
    """Whether its single time has passed without a run, and none will come."""
    timing, state = known.definition.timing, known.state
    if not isinstance(timing, Once) or (state and state.last_slot):
        return False
    return timing.at <= (state.done_until if state else now)


def _note(known: KnownJob, following: datetime | None) -> str | None:
    if not known.definition.enabled:
        return 'It is disabled in its metadata ("enabled": false).'
    if not known.is_on:
        return "It is switched off."
    if following is not None:
        return "It is paused; its next slot counts once the pause has ended." if known.is_paused else None
    why = fault(known.definition)
    return "Its time has passed." if why is None else f"It never fires: {why}."
