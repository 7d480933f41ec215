"""Which slots a schedule has, and which of the missed ones are run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from fastflow_contracts.schedules.schedule import Catchup, Cron, Interval, Once, PipelineSchedule
from fastflow_contracts.schedules.slots import between, latest, next_slot, upcoming
from fastflow_contracts.schedules.state import ScheduleState, definition, settled
from fastflow_scheduler.schedules.backlog import CAUGHT_UP_MAX, LATE, backlog
from tests.support.records import T0, at

HOUR = 3600


def every(seconds: int, *, start: datetime | None = None, end: datetime | None = None) -> PipelineSchedule:
    return PipelineSchedule(id="schedule", timing=Interval(interval_s=seconds), start=start, end=end)


def cron(
    expr: str, *, zone: str = "UTC", start: datetime | None = None, end: datetime | None = None
) -> PipelineSchedule:
    return PipelineSchedule(id="schedule", timing=Cron(expr=expr), timezone=zone, start=start, end=end)


def test_an_interval_begins_one_interval_after_it_was_first_seen() -> None:
    """A sync starts nothing at once."""
    assert upcoming(every(60), at(5), 3) == [at(65), at(125), at(185)]


def test_an_interval_does_not_drift() -> None:
    """Slots are counted from the anchor, whenever one asks."""
    assert upcoming(every(60), at(1000.5), 2, anchor=at(5)) == [at(1025), at(1085)]


def test_an_interval_with_a_start_begins_with_it() -> None:
    """The start is a slot. A start in the past still sets the rhythm."""
    assert upcoming(every(60, start=at(90)), at(5), 2) == [at(90), at(150)]
    assert upcoming(every(60, start=at(-90)), at(0), 2) == [at(30), at(90)]


def test_both_ends_of_the_window_belong_to_it() -> None:
    """A slot at the start or at the end counts; none before or after does."""
    start, end = at(HOUR), at(3 * HOUR)
    assert upcoming(cron("0 * * * *", start=start, end=end), T0, 9) == [start, at(2 * HOUR), end]
    assert upcoming(every(HOUR, start=start, end=end), T0, 9) == [start, at(2 * HOUR), end]


def test_once_is_one_slot() -> None:
    """After its time there is none."""
    once = PipelineSchedule(id="once", timing=Once(at=at(10)))
    assert upcoming(once, T0, 9) == [at(10)]
    assert upcoming(once, at(10), 9) == []


def test_cron_follows_the_clocks_of_its_time_zone() -> None:
    """09:00 in Berlin is 08:00 UTC in winter and 07:00 in summer."""
    daily = cron("0 9 * * *", zone="Europe/Berlin")
    assert upcoming(daily, datetime(2026, 3, 28, 12, tzinfo=UTC), 1) == [datetime(2026, 3, 29, 7, tzinfo=UTC)]
    assert upcoming(daily, datetime(2026, 3, 27, 12, tzinfo=UTC), 1) == [datetime(2026, 3, 28, 8, tzinfo=UTC)]


def test_the_end_of_the_calendar_is_the_end_of_every_schedule() -> None:
    """Nothing is due after the year 9999, and nothing fails."""
    doomsday = datetime(9999, 12, 31, 23, 59, 30, tzinfo=UTC)
    assert next_slot(cron("* * * * *"), doomsday, T0) is None
    assert next_slot(every(60, start=doomsday), doomsday, T0) is None


moments = st.integers(-(10**7), 10**7).map(at)
schedules = st.one_of(
    st.builds(every, st.integers(1, 10**5), start=st.none() | moments, end=st.none() | moments),
    st.builds(cron, st.sampled_from(["*/7 * * * *", "15 3 * * *", "0 0 1 * *"]), end=st.none() | moments),
    st.builds(lambda instant: PipelineSchedule(id="once", timing=Once(at=instant)), moments),
)


@given(schedules, moments, st.integers(0, 4000), st.integers(0, 5), moments)
def test_the_latest_slots_equal_the_last_of_all_slots(
    schedule: PipelineSchedule, until: datetime, minutes: int, count: int, anchor: datetime
) -> None:
    """Looking back in growing steps finds what counting forward finds."""
    since = until - timedelta(minutes=minutes)
    anchor = schedule.start or anchor
    if isinstance(schedule.timing, Interval) and schedule.timing.interval_s < 60:
        since = max(since, until - timedelta(minutes=60))
    every_one = list(between(schedule, since, until, anchor))
    assert latest(schedule, since, until, count, anchor) == (every_one[-count:] if count else [])


def due(catchup: Catchup, *, done_until: float, able_since: float, now: float) -> tuple[list[datetime], bool]:
    """Return the due slots of an hourly schedule, in hours."""
    schedule = PipelineSchedule(id="schedule", timing=Interval(interval_s=HOUR), catchup=catchup)
    found = backlog(
        schedule, anchor=T0, done_until=at(done_until * HOUR), able_since=at(able_since * HOUR), now=at(now * HOUR)
    )
    return ([], False) if found is None else (list(found.slots), found.has_missed)


def test_a_slot_in_time_runs_with_any_catchup() -> None:
    """It was not missed."""
    policies: tuple[Catchup, ...] = ("none", "last", "all")
    for catchup in policies:
        assert due(catchup, done_until=4, able_since=4.5, now=5) == ([at(5 * HOUR)], False)


def test_missed_slots_are_caught_up_as_the_schedule_says() -> None:
    """None of them, the latest, or all."""
    assert due("none", done_until=1, able_since=4.5, now=4.5) == ([], True)
    assert due("last", done_until=1, able_since=4.5, now=4.5) == ([at(4 * HOUR)], True)
    assert due("all", done_until=1, able_since=4.5, now=4.5) == ([at(2 * HOUR), at(3 * HOUR), at(4 * HOUR)], True)


def test_the_latest_missed_slot_is_not_run_after_a_day() -> None:
    """For example that of a weekly schedule."""
    schedule = PipelineSchedule(id="schedule", timing=Interval(interval_s=7 * 24 * HOUR))
    for hours, expected in ((7 * 24 + 23, (at(7 * 24 * HOUR),)), (7 * 24 + 25, ())):
        moment = at(hours * HOUR)
        found = backlog(schedule, anchor=T0, done_until=T0, able_since=moment, now=moment)
        assert found is not None
        assert found.slots == expected


def test_catching_up_on_all_has_a_bound() -> None:
    """The newest slots are run."""
    found = backlog(
        PipelineSchedule(id="schedule", timing=Interval(interval_s=1), catchup="all"),
        anchor=T0,
        done_until=T0,
        able_since=at(10**6),
        now=at(10**6),
    )
    assert found is not None
    assert len(found.slots) == CAUGHT_UP_MAX
    assert found.slots[-1] == found.until == at(10**6)


def test_a_slot_that_could_not_start_for_long_counts_as_missed() -> None:
    """Otherwise a bus that refused for an hour would cause an hour's worth of runs."""
    late_s = LATE.total_seconds()
    found = backlog(every(1), anchor=T0, done_until=T0, able_since=T0, now=at(10 * late_s))
    assert found is not None
    assert len(found.slots) == late_s + 1


def test_a_new_schedule_never_fires_for_the_past() -> None:
    """It counts from the moment at which it is first seen."""
    state = settled(None, every(60), is_on=True, now=at(10))
    assert (state.anchor, state.done_until, state.idle_since) == (at(10), at(10), None)


def test_only_a_change_of_timing_moves_the_anchor() -> None:
    """It survives every sync that keeps the interval and its window."""
    state = settled(None, every(60), is_on=True, now=T0)
    same = PipelineSchedule(id="schedule", timing=Interval(interval_s=60), catchup="all", timezone="Asia/Tokyo")
    assert settled(state, same, is_on=True, now=at(99)) is state
    changed = settled(state, every(61), is_on=True, now=at(99))
    assert (changed.anchor, changed.done_until) == (at(99), at(99))


def test_a_schedule_switched_on_again_keeps_its_anchor() -> None:
    """Slots in between do not count as missed."""
    state = settled(None, every(60), is_on=True, now=T0)
    off = settled(state, every(60), is_on=False, now=at(100))
    gone = settled(state, None, is_on=True, now=at(100))
    assert off == gone
    assert off.idle_since == at(100)
    assert settled(off, every(60), is_on=False, now=at(200)) is off
    on = settled(off, every(60), is_on=True, now=at(300))
    assert on == ScheduleState(definition=state.definition, anchor=T0, done_until=at(300))


def test_the_stored_definitions_stay() -> None:
    """Other words for the same timing would move every anchor."""
    window = {"start": T0, "end": at(1)}
    assert definition(cron("0 9 * * *", zone="Europe/Berlin")) == "cron 0 9 * * * in Europe/Berlin"
    assert (
        definition(every(60, **window)) == "every 60 s from 2026-01-01T00:00:00+00:00 until 2026-01-01T00:00:01+00:00"
    )
    assert definition(PipelineSchedule(id="once", timing=Once(at=T0))) == "once at 2026-01-01T00:00:00+00:00"
