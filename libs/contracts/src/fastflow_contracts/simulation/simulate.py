"""Simulates an installation for days ahead, and sums it up. Pure.

Hours that begin and end without an active run and have the same slots are alike: only the first one is simulated. So
30 days of minutely schedules cost as much as one of their hours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Final, NamedTuple, TypeAlias

from fastflow_contracts.schedules.schedule import Interval
from fastflow_contracts.schedules.slots import between, fault, next_slot, upcoming
from fastflow_contracts.schedules.state import definition
from fastflow_contracts.simulation.clock_changes import clock_changes
from fastflow_contracts.simulation.engine import DueSlot, Engine, OnChange
from fastflow_contracts.simulation.forecast import (
    Forecast,
    ForecastHour,
    ForecastRefusal,
    PipelineForecast,
    SilentSchedule,
)
from fastflow_contracts.simulation.scenario import FiringSchedule, Scenario, SimulatedPipeline, firing_schedules
from fastflow_contracts.simulation.tally import Tally, quantile

DAYS_MAX: Final = 92
STEPS_MAX: Final = 100_000
"""Starts and attempts to simulate. Those of hours that are alike count once."""
SLOTS_MAX: Final = 500_000
"""Slots to compute, and times to look for them. Schedules that are due together count once."""
LISTED_MAX: Final = 1_000
"""Pipelines, refusals and silent schedules to list, of each."""
NEXT_SLOTS: Final = 3
_HOUR: Final = timedelta(hours=1)
_Pattern: TypeAlias = tuple[tuple[timedelta, ...], ...]


class SlotGroup(NamedTuple):
    """Schedules that are due at the same instants."""

    first: FiringSchedule
    members: Sequence[FiringSchedule]


def simulate(scenario: Scenario, since: datetime, days: int, *, on_change: OnChange | None = None) -> Forecast:
    """Simulate *scenario* from *since* on.

    Args:
        scenario: What there is.
        since: When it begins, without any run.
        days: How many days to look ahead, at most ``DAYS_MAX``. It ends earlier at ``STEPS_MAX`` or ``SLOTS_MAX``.
        on_change: Gets every version of every run. Then no hour is left out.
    """
    until = since + timedelta(days=days)
    engine = Engine(scenario, since, on_change=on_change)
    fire = [each for each in firing_schedules(scenario.pipelines, since) if not scenario.pauses.of(each.job.pipeline)]
    groups = _groups(fire)
    total, hours, notes = Tally(since), list[ForecastHour](), list[str]()
    alike: dict[_Pattern, Tally] = {}
    slots_computed, begin = 0, since
    while begin < until:
        end, pattern, computed = _pattern(groups, begin, until, is_first=begin == since)
        slots_computed += computed
        is_whole = on_change is None and engine.is_idle and end - begin == _HOUR
        tally = alike.get(pattern) if is_whole else None
        if tally is None:
            tally = engine.tally = Tally(begin)
            engine.run_until(end, _due(groups, pattern, begin), steps_max=STEPS_MAX)
            end = engine.now
            if is_whole and engine.is_idle:
                alike[pattern] = tally
        else:
            engine.skip_to(end)
        total.add(tally, begin)
        hours.append(_hour(tally, begin, end))
        begin = end
        if begin < until and (engine.steps >= STEPS_MAX or slots_computed >= SLOTS_MAX):
            notes.append(f"It ends at {begin:%Y-%m-%d %H:%M} UTC: so many starts are not simulated.")
            break
    if engine.unfinished and hours and hours[-1].waiting_max > scenario.slots:
        notes.append(f"At the end, {engine.unfinished} runs are not over.")
    return _summed_up(scenario, fire, total, hours, since, begin, (*_assumptions(scenario), *notes))


def _groups(fire: Sequence[FiringSchedule]) -> list[SlotGroup]:
    found: dict[tuple[str, datetime | None], list[FiringSchedule]] = {}
    for each in fire:
        anchor = each.anchor if isinstance(each.schedule.timing, Interval) else None
        found.setdefault((definition(each.schedule), anchor), []).append(each)
    return [SlotGroup(members[0], members) for members in found.values()]


def _pattern(
    groups: Sequence[SlotGroup], begin: datetime, until: datetime, *, is_first: bool
) -> tuple[datetime, _Pattern, int]:
    """The slots of each group from *begin* to the next full hour, or to an earlier end if there are very many.

    Returns the end, the slots, and how many were computed.
    A schedule that is first seen at a slot begins with the next one.
    """
    end = min(begin.replace(minute=0, second=0, microsecond=0) + _HOUR, until)
    most = SLOTS_MAX // max(1, len(groups)) + 1
    offsets: list[tuple[timedelta, ...]] = []
    least = timedelta.resolution
    for group in groups:
        after = begin if is_first else begin - least
        slots = between(group.first.schedule, after, end - least, group.first.anchor)
        found = tuple(slot - begin for slot in islice(slots, most))
        if len(found) == most and most > 1:
            end = begin + found[-1]
        offsets.append(found)
    count = sum(len(group.members) * len(each) for group, each in zip(groups, offsets, strict=True))
    if count > STEPS_MAX:
        end = max(begin + timedelta(seconds=1), begin + (end - begin) * STEPS_MAX / count)
    computed = len(groups) + sum(map(len, offsets))
    return end, tuple(tuple(each for each in found if begin + each < end) for found in offsets), computed


def _due(groups: Sequence[SlotGroup], pattern: _Pattern, begin: datetime) -> list[DueSlot]:
    return sorted(
        DueSlot(begin + offset, each.job, each.schedule.run_config_id)
        for group, offsets in zip(groups, pattern, strict=True)
        for offset in offsets
        for each in group.members
    )


def _hour(tally: Tally, begin: datetime, end: datetime) -> ForecastHour:
    return ForecastHour(
        at=begin,
        starts=tally.starts.total(),
        refused=sum(often.times for often in tally.refused.values()),
        busy=round(tally.busy_s / max((end - begin).total_seconds(), 1e-6), 2),
        busy_max=tally.busy_max,
        waiting_max=tally.waiting_max,
    )


def _summed_up(
    scenario: Scenario,
    fire: Sequence[FiringSchedule],
    total: Tally,
    hours: Sequence[ForecastHour],
    since: datetime,
    until: datetime,
    notes: tuple[str, ...],
) -> Forecast:
    waits: Counter[int] = Counter()
    for each in total.waits.values():
        waits.update(each)
    refusals = sorted(total.refused.items(), key=lambda item: (-item[1].times, item[0]))
    refused: Counter[str] = Counter()
    for refusal, often in total.refused.items():
        refused[refusal.pipeline] += often.times
    ahead: dict[str, list[datetime]] = {}
    for schedule in fire:
        slots = upcoming(schedule.schedule, since, NEXT_SLOTS, schedule.anchor)
        ahead[schedule.job.pipeline] = sorted((*ahead.get(schedule.job.pipeline, ()), *slots))[:NEXT_SLOTS]
    pipelines = sorted(
        (
            _pipeline(scenario, pipeline, total, since, refused[pipeline.name], ahead.get(pipeline.name, ()))
            for pipeline in scenario.pipelines
        ),
        key=lambda each: (-each.starts - each.refused, each.pipeline),
    )
    if len(pipelines) > LISTED_MAX:
        notes = (*notes, f"Only the {LISTED_MAX:,} pipelines that start most are listed, of {len(pipelines):,}.")
    return Forecast(
        since=since,
        until=until,
        slots=scenario.slots,
        starts=total.starts.total(),
        refused=sum(often.times for often in total.refused.values()),
        busy_max=total.busy_max,
        waiting_max=total.waiting_max,
        wait_p95_s=quantile(waits, 0.95),
        wait_max_s=max(waits, default=0),
        together_max=total.together.times,
        together_at=since + timedelta(seconds=total.together.first_s) if total.together.times else None,
        hours=tuple(hours),
        pipelines=tuple(pipelines[:LISTED_MAX]),
        refusals=tuple(
            ForecastRefusal(
                pipeline=refusal.pipeline,
                reason=refusal.reason,
                count=often.times,
                first_at=since + timedelta(seconds=often.first_s),
            )
            for refusal, often in refusals[:LISTED_MAX]
        ),
        clock_changes=clock_changes(fire, since, until),
        silent=tuple(_silent(scenario, since, until))[:LISTED_MAX],
        notes=notes,
    )


def _pipeline(
    scenario: Scenario,
    pipeline: SimulatedPipeline,
    total: Tally,
    since: datetime,
    refused: int,
    ahead: Sequence[datetime],
) -> PipelineForecast:
    name, overlaps = pipeline.name, total.overlaps.get(pipeline.name)
    waits = total.waits.get(name, Counter())
    duration_s, is_measured = pipeline.duration_s, pipeline.duration_s is not None
    return PipelineForecast(
        pipeline=name,
        starts=total.starts[name],
        refused=refused,
        overlaps=overlaps.times if overlaps else 0,
        first_overlap_at=since + timedelta(seconds=overlaps.first_s) if overlaps else None,
        replaced=total.replaced[name],
        failed=total.failed[name],
        wait_p95_s=quantile(waits, 0.95),
        wait_max_s=max(waits, default=0),
        duration_s=scenario.assumed_s if duration_s is None else duration_s,
        is_measured=is_measured,
        next_slots=tuple(ahead),
    )


def _silent(scenario: Scenario, since: datetime, until: datetime) -> Iterator[SilentSchedule]:
    for pipeline in scenario.pipelines:
        for schedule in pipeline.schedules():
            state = pipeline.state_of(schedule, since)
            if (why := fault(schedule)) is not None:
                pass
            elif not schedule.enabled:
                why = 'it is disabled ("enabled": false)'
            elif state.idle_since is not None:
                why = "it is switched off"
            elif scenario.pauses.of(pipeline.name) is not None:
                why = "it is paused"
            elif (slot := next_slot(schedule, since, state.anchor)) is None:
                why = "it is over"
            elif slot > until:
                why = f"it is due later, at {slot:%Y-%m-%d %H:%M} UTC"
            else:
                continue
            yield SilentSchedule(pipeline=pipeline.name, schedule=schedule.id, why=why)


def _assumptions(scenario: Scenario) -> Iterator[str]:
    yield "It begins with no active run. Only schedules start runs, and all succeed that do not exceed their timeout."
    unmeasured = sum(pipeline.duration_s is None for pipeline in scenario.pipelines)
    if unmeasured:
        yield f"{unmeasured} pipeline(s) have no run to measure: each of their attempts takes {scenario.assumed_s:g} s."
    keyed = [pipeline.name for pipeline in scenario.pipelines if _has_key(pipeline)]
    if keyed:
        yield f"Keys of concurrency are not evaluated: all runs of a configuration share one ({', '.join(keyed[:5])})."


def _has_key(pipeline: SimulatedPipeline) -> bool:
    spec = pipeline.spec
    return any(each.concurrency and each.concurrency.key for each in (spec, *spec.schedules))
