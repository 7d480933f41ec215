"""The stored state of a schedule: since when it counts, and which slots are done. Data, and how it
changes.

Schedulers keep one ``ScheduleState`` for each schedule under ``sched.<pipeline>.<schedule>``, changed by
compare-and-set. What people switch is a ``Switch`` under ``switch.<pipeline>.<schedule>``, written by the gateway and
only read by schedulers, so neither overwrites the other. Both survive syncs, and also the schedule: they stay
for ``REMEMBERED`` after its removal, in case it returns.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import assert_never

from msgspec.structs import replace

from fastflow_contracts.base import YEARS, Count, Fact, Instant
from fastflow_contracts.codec import Codec
from fastflow_contracts.schedules.schedule import Cron, Interval, Once, PipelineSchedule

REMEMBERED = timedelta(days=30)


class ScheduleState(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """The state of one schedule, kept by the schedulers."""

    v: Count = 1
    definition: str
    """The timing that this state belongs to, in words. Another definition starts a new state."""
    anchor: Instant
    """An interval is counted from here: its start, else when it was first seen, to the second."""
    done_until: Instant
    """Every slot up to here is done: run, refused with a skip, or missed."""
    last_slot: Instant | None = None
    """The last one that was run or refused."""
    idle_since: Instant | None = None
    """Since when it has been switched off, disabled, or gone; None: it fires."""
    write_id: str = ""


class Switch(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """Whether people want the schedule to fire. ``enabled: false`` in the metadata wins."""

    v: Count = 1
    enabled: bool
    at: Instant
    write_id: str = ""


def settled(
    state: ScheduleState | None, schedule: PipelineSchedule | None, *, is_on: bool, now: datetime
) -> ScheduleState:
    """Return the new *state* for *schedule*; the same object if nothing changes.

    *schedule*: None = it is gone; then there must be a state. *is_on*: whether people have it switched on. A
    schedule that is new, changed, or on again starts from *now*: it never fires for the past.
    """
    is_idle = schedule is None or not schedule.enabled or not is_on
    if state is None or (schedule is not None and state.definition != definition(schedule)):
        assert schedule is not None
        return ScheduleState(
            definition=definition(schedule),
            anchor=_anchor(schedule, now),
            done_until=now,
            idle_since=now if is_idle else None,
        )
    if is_idle:
        return state if state.idle_since else replace(state, idle_since=now)
    return replace(state, idle_since=None, done_until=now) if state.idle_since else state


def _anchor(schedule: PipelineSchedule, now: datetime) -> datetime:
    # People write 0001 for "always" and 9999 for "never". A state with such a time would be unreadable; the slots of a
    # schedule with a start are counted from that start anyway.
    start = schedule.start
    return now.replace(microsecond=0) if start is None or start.year not in YEARS else start


def definition(schedule: PipelineSchedule) -> str:
    """Return the timing of *schedule* in words, and nothing else: equal definitions have equal slots."""
    match schedule.timing:
        case Cron(expr=expr):
            words = f"cron {expr} in {schedule.timezone}"
        case Interval(interval_s=interval_s):
            words = f"every {interval_s} s"
        case Once(at=at):
            words = f"once at {at.isoformat()}"
        case _:
            assert_never(schedule.timing)
    if schedule.start is not None:
        words += f" from {schedule.start.isoformat()}"
    if schedule.end is not None:
        words += f" until {schedule.end.isoformat()}"
    return words


SCHEDULE_STATE = Codec(ScheduleState)
SWITCH = Codec(Switch)
