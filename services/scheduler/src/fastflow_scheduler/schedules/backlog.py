"""Which slots of one schedule are to be run now: those that have just come, and what is caught up of those that
nobody could run. Pure.

A slot is *missed* when no scheduler was able to start it at its time. Each scheduler knows since when it has been
able to without a break; what came before that, and is not done, counts as missed.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple, assert_never

from fastflow_contracts.schedules.schedule import Schedule
from fastflow_contracts.schedules.slots import between, latest, next_slot

LAST_WITHIN = timedelta(hours=24)
"""``catchup: last`` leaves an older slot alone."""
CAUGHT_UP_MAX = 1000
"""``catchup: all`` runs this many, the newest."""
LATE = timedelta(minutes=1)
"""What could not be started for this long, whatever the reason, counts as missed."""


class Backlog(NamedTuple):
    """Run ``slots``, in this order; then everything up to ``until`` is dealt with."""

    slots: tuple[datetime, ...]
    until: datetime
    has_missed: bool
    """Some slots are missed, as far as this scheduler knows. They may be in ``slots`` or not."""


def backlog(
    schedule: Schedule, *, anchor: datetime, done_until: datetime, able_since: datetime, now: datetime
) -> Backlog | None:
    """What is to be done at *now*, None if no slot is due. *able_since*: of the scheduler that asks."""
    first = next_slot(schedule, done_until, anchor)
    if first is None or first > now:
        return None
    missed_until = min(now, max(able_since, now - LATE))
    caught_up = _caught_up(schedule, anchor, done_until, missed_until)
    fresh = between(schedule, max(done_until, missed_until), now, anchor)
    slots = (*caught_up, *fresh)
    return Backlog(slots, until=slots[-1] if slots else now, has_missed=first <= missed_until)


def _caught_up(schedule: Schedule, anchor: datetime, since: datetime, until: datetime) -> list[datetime]:
    match schedule.catchup:
        case "none":
            return []
        case "last":
            return latest(schedule, max(since, until - LAST_WITHIN), until, 1, anchor)
        case "all":
            return latest(schedule, since, until, CAUGHT_UP_MAX, anchor)
        case _:
            assert_never(schedule.catchup)
