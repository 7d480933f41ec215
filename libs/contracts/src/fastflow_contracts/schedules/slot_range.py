"""The slots of a schedule in a range, if there are not too many. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import islice

from fastflow_contracts.errors import FastFlowError
from fastflow_contracts.schedules.schedule import Interval, PipelineSchedule
from fastflow_contracts.schedules.slots import between


class TooManySlots(FastFlowError):
    """The range has more slots than are wanted."""


def slots_in(
    schedule: PipelineSchedule, since: datetime, until: datetime, anchor: datetime, most: int
) -> list[datetime]:
    """Return the slots from *since* to *until*, both included, as the scheduler computes them.

    Costs no more than *most* slots, however long the range is.

    Raises:
        TooManySlots: There are more than *most*; its text says how many.
    """
    found = list(islice(between(schedule, since - timedelta.resolution, until, anchor), most + 1))
    if len(found) <= most:
        return found
    # Intervals are even, so the count is exact but for one; of a cron expression it is an estimate.
    last = min(until, schedule.end) if schedule.end is not None else until
    share = (last - found[0]) / (found[-1] - found[0])
    count = int(share * (len(found) - 1)) + 1
    about = "" if isinstance(schedule.timing, Interval) else "about "
    raise TooManySlots(f"the range has {about}{max(count, most + 1):,} slots")


def why_none(schedule: PipelineSchedule, anchor: datetime) -> str:
    """Say why a range has no slots."""
    if isinstance(schedule.timing, Interval) and schedule.start is None:
        return (
            f"an interval without a start counts from {anchor.isoformat(timespec='seconds')}, when it was first seen; "
            'give it a "start_date" to run earlier slots.'
        )
    if schedule.start is not None:
        return f"the schedule has no slots in this range; it starts at {schedule.start.isoformat()}."
    return "the schedule has no slots in this range."
