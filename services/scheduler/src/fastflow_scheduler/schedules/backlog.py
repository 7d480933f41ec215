"""Which slots of one schedule must run now: the slots that are just due, and missed slots to catch up on. Pure.

A slot is *missed* when no scheduler was able to start it at its time. Each scheduler knows since when it has been able
to start runs without a break. An undone slot from before that time counts as missed.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple, assert_never

from fastflow_contracts.schedules.schedule import PipelineSchedule
from fastflow_contracts.schedules.slots import between, latest, next_slot

LAST_WITHIN = timedelta(hours=24)
"""``catchup: last`` ignores older slots."""
CAUGHT_UP_MAX = 1000
"""``catchup: all`` runs at most this many slots, the newest ones."""
LATE = timedelta(minutes=1)
"""A slot that did not start for this long counts as missed, for any reason."""


class Backlog(NamedTuple):
    """Run ``slots`` in this order; after that, everything up to ``until`` is done."""

    slots: tuple[datetime, ...]
    until: datetime
    has_missed: bool
    """Some slots are missed, as far as this scheduler knows. ``slots`` may or may not contain them."""


def backlog(
    schedule: PipelineSchedule, *, anchor: datetime, done_until: datetime, able_since: datetime, now: datetime
) -> Backlog | None:
    """Compute which slots to run at *now*. None if no slot is due.

    Args:
        schedule: The schedule.
        anchor: Where its intervals begin to count.
        done_until: Everything up to this time is done.
        able_since: Since when this scheduler has been able to start runs without a break.
        now: The current time.
    """
    first = next_slot(schedule, done_until, anchor)
    if first is None or first > now:
        return None
    missed_until = min(now, max(able_since, now - LATE))
    caught_up = _caught_up(schedule, anchor, done_until, missed_until)
    fresh = between(schedule, max(done_until, missed_until), now, anchor)
    slots = (*caught_up, *fresh)
    return Backlog(slots, until=slots[-1] if slots else now, has_missed=first <= missed_until)


def _caught_up(schedule: PipelineSchedule, anchor: datetime, since: datetime, until: datetime) -> list[datetime]:
    match schedule.catchup:
        case "none":
            return []
        case "last":
            return latest(schedule, max(since, until - LAST_WITHIN), until, 1, anchor)
        case "all":
            return latest(schedule, since, until, CAUGHT_UP_MAX, anchor)
        case _:
            assert_never(schedule.catchup)
