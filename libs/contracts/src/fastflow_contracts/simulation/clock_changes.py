"""What changes of the clock do to cron schedules: which local times are skipped, moved, or come twice. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from fastflow_contracts.schedules.schedule import Cron
from fastflow_contracts.schedules.slots import between
from fastflow_contracts.simulation.forecast import ChangedSlots, ClockChange, SlotChange
from fastflow_contracts.simulation.scenario import FiringSchedule

_STEP = timedelta(days=1)


class _Jump(NamedTuple):
    at: datetime
    """The first instant with the new offset."""
    before: timedelta
    after: timedelta
    """Offsets from UTC."""


def clock_changes(schedules: Iterable[FiringSchedule], since: datetime, until: datetime) -> tuple[ClockChange, ...]:
    """Find the changes of the clock between *since* and *until* that touch a slot of *schedules*, in their order."""
    by_zone: dict[str, list[FiringSchedule]] = {}
    for each in schedules:
        if isinstance(each.schedule.timing, Cron) and each.schedule.timezone != "UTC":
            by_zone.setdefault(each.schedule.timezone, []).append(each)
    found = [
        ClockChange(
            at=jump.at,
            timezone=name,
            minutes=int((jump.after - jump.before).total_seconds() // 60),
            slots=tuple(change for each in those if (change := _changed(each, jump)) is not None),
        )
        for name, those in by_zone.items()
        for jump in _jumps(ZoneInfo(name), since, until)
    ]
    return tuple(sorted((each for each in found if each.slots), key=lambda each: (each.at, each.timezone)))


def _jumps(zone: ZoneInfo, since: datetime, until: datetime) -> Iterable[_Jump]:
    def offset(at: datetime) -> timedelta:
        return at.astimezone(zone).utcoffset() or timedelta()

    low = since
    while low < until:
        high = min(low + _STEP, until)
        if (before := offset(low)) != (after := offset(high)):
            early, late = low, high
            while late - early > timedelta(seconds=1):
                middle = early + (late - early) / 2
                early, late = (middle, late) if offset(middle) == before else (early, middle)
            yield _Jump(late.replace(microsecond=0), before, after)
        low = high


def _changed(each: FiringSchedule, jump: _Jump) -> ChangedSlots | None:
    """Compare the slots around *jump* with those of a clock that never jumps."""
    shift = jump.after - jump.before
    # Local times that do not exist, or come twice: from here, for as long as clocks jump.
    first_wall = jump.at + min(jump.before, jump.after)
    last_wall = jump.at + max(jump.before, jump.after) - timedelta.resolution
    steady = replace(each.schedule, timezone="UTC", start=None, end=None)
    before = timedelta.resolution
    walls = list(between(steady, first_wall.replace(tzinfo=UTC) - before, last_wall.replace(tzinfo=UTC), each.anchor))
    if not walls:
        return None
    begin, end = (jump.at, jump.at) if shift > timedelta() else (jump.at + shift, jump.at - shift - before)
    starts = len(list(between(each.schedule, begin - before, end, each.anchor)))
    what: SlotChange
    if shift > timedelta():
        what = "moved" if _is_moved(each, jump) else "skipped"
    else:
        what = "twice" if starts > len(walls) else "once"
    if not starts and shift < timedelta():
        return None  # outside of its window
    first, last = (f"{wall:%Y-%m-%d %H:%M}" for wall in (walls[0], walls[-1]))
    pipeline, schedule = each.job
    return ChangedSlots(pipeline=pipeline, schedule=schedule, what=what, count=len(walls), first=first, last=last)


def _is_moved(each: FiringSchedule, jump: _Jump) -> bool:
    """Whether the first instant after the gap is a slot that a steady clock would not have there."""
    before = timedelta.resolution
    steady = replace(each.schedule, timezone="UTC", start=None, end=None)
    wall = (jump.at + jump.after).replace(tzinfo=UTC)
    is_due = bool(list(between(each.schedule, jump.at - before, jump.at, each.anchor)))
    return is_due and not list(between(steady, wall - before, wall, each.anchor))
