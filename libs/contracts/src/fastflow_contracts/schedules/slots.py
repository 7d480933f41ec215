"""The slots of a schedule: the instants at which it is due. Pure; the scheduler decides which slots run.

A cron expression is due at the instants that ``cron`` finds. An interval is due at anchor + k × interval. With a start,
the start is the anchor and the first slot. Without one, the anchor is the moment at which the schedule was first seen,
and the first slot is one interval later. ``start`` and ``end`` are inclusive.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final, assert_never
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fastflow_contracts.schedules.cron import next_after
from fastflow_contracts.schedules.schedule import Cron, Interval, Once, PipelineSchedule

LOOK_BACK = timedelta(minutes=1)
"""How far ``latest`` looks back first; each further look goes four times as far."""
_NO_ZONE: Final = (ZoneInfoNotFoundError, ValueError, OSError)
"""What ``ZoneInfo`` raises: for a name that is not known, that cannot be one, and that is a folder."""


def fault(schedule: PipelineSchedule) -> str | None:
    """Return why no slot of *schedule* can be computed; None if they can.

    A schedule that was synced here has no fault. One from the bus may have a time zone that this host does not know.
    """
    try:
        ZoneInfo(schedule.timezone)
    except _NO_ZONE:
        return f"its time zone {schedule.timezone[:64]!r} is not known here"
    return None


def upcoming(schedule: PipelineSchedule, now: datetime, count: int, anchor: datetime | None = None) -> list[datetime]:
    """Return the first *count* slots later than *now*, ascending; fewer if there are no more. Ignores ``enabled``.

    *anchor*: of an interval without a start, when it was first seen; None = *now*.
    """
    found: list[datetime] = []
    slot = next_slot(schedule, now, anchor or now)
    while slot is not None and len(found) < count:
        found.append(slot)
        slot = next_slot(schedule, slot, anchor or now)
    return found


def next_slot(schedule: PipelineSchedule, after: datetime, anchor: datetime) -> datetime | None:
    """Return the first slot later than *after*, in UTC; None without one, or with a fault. *anchor*: as above."""
    try:
        slot = _next(schedule, after, anchor)
    except (OverflowError, *_NO_ZONE):  # beyond the year 9999, or with a fault
        return None
    if slot is None or (schedule.end is not None and slot > schedule.end):
        return None
    return slot


def latest(
    schedule: PipelineSchedule, since: datetime, until: datetime, count: int, anchor: datetime
) -> list[datetime]:
    """Return the last *count* slots later than *since* and not later than *until*, ascending.

    Costs about as much as *count* slots, however long ago *since* is.
    """
    if count <= 0:
        return []
    back = LOOK_BACK
    while True:
        reaches_since = until - since <= back
        found = list(between(schedule, since if reaches_since else until - back, until, anchor))
        if reaches_since or len(found) >= count:
            return found[-count:]
        back *= 4


def between(schedule: PipelineSchedule, since: datetime, until: datetime, anchor: datetime) -> Iterator[datetime]:
    """Return all slots later than *since* and not later than *until*, ascending."""
    slot = next_slot(schedule, since, anchor)
    while slot is not None and slot <= until:
        yield slot
        slot = next_slot(schedule, slot, anchor)


def _next(schedule: PipelineSchedule, after: datetime, anchor: datetime) -> datetime | None:
    match schedule.timing:
        case Cron(expr=expr):
            if schedule.start is not None and after < schedule.start:
                after = schedule.start - timedelta.resolution
            return next_after(expr, schedule.timezone, after)
        case Interval(interval_s=interval_s):
            step = timedelta(seconds=interval_s)
            first = anchor + step if schedule.start is None else schedule.start
            return first if after < first else first + ((after - first) // step + 1) * step
        case Once(at=at):
            return at if after < at else None
        case _:
            assert_never(schedule.timing)
