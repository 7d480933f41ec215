"""The slots of a range are those that the scheduler fires, and a long range costs no more than a short one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from fastflow_contracts.schedules.schedule import Cron, Interval, Once, PipelineSchedule, Timing
from fastflow_contracts.schedules.slot_range import TooManySlots, slots_in, why_none

T0 = datetime(2026, 1, 1, tzinfo=UTC)
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


def of(timing: Timing, timezone: str = "UTC", start: datetime | None = None) -> PipelineSchedule:
    return PipelineSchedule(id="schedule", timing=timing, timezone=timezone, start=start)


def found(schedule: PipelineSchedule, since: datetime, until: datetime, most: int = 1_000) -> list[datetime]:
    return slots_in(schedule, since, until, T0, most)


def test_both_ends_are_included() -> None:
    hourly = of(Cron(expr="0 * * * *"))
    assert found(hourly, T0, T0 + timedelta(hours=2)) == [T0 + timedelta(hours=hours) for hours in range(3)]
    assert found(hourly, T0 + timedelta.resolution, T0 + timedelta(hours=2) - timedelta.resolution) == [
        T0 + timedelta(hours=1)
    ]


def test_a_day_of_daylight_saving_has_the_slots_that_the_scheduler_fires() -> None:
    """Berlin: 2:30 does not exist on 29 March 2026, and exists twice on 25 October."""
    berlin = ZoneInfo("Europe/Berlin")
    daily = of(Cron(expr="30 2 * * *"), "Europe/Berlin")
    for day, slots in ((datetime(2026, 3, 28, tzinfo=UTC), 3), (datetime(2026, 10, 24, tzinfo=UTC), 3)):
        times = found(daily, day, day + timedelta(days=3))
        assert len(times) == slots
        assert len({time.astimezone(berlin).date() for time in times}) == slots
    hourly = of(Cron(expr="0 * * * *"), "Europe/Berlin")
    start = datetime(2026, 10, 25, tzinfo=berlin)
    assert len(found(hourly, start, datetime(2026, 10, 26, tzinfo=berlin) - timedelta.resolution)) == 25


@pytest.mark.parametrize(
    ("timing", "said"),
    [
        (Interval(interval_s=60), "the range has 1,000,001 slots"),
        (Cron(expr="* * * * *"), "the range has about 1,000,001 slots"),
    ],
)
def test_a_million_slots_are_refused_with_their_count_at_the_cost_of_few(timing: Timing, said: str) -> None:
    start = T0 + timedelta(minutes=1)
    with pytest.raises(TooManySlots, match=said):
        found(of(timing), start, start + timedelta(minutes=1_000_000), 10)


def test_as_many_as_allowed_are_allowed() -> None:
    minutely = of(Cron(expr="* * * * *"))
    assert len(found(minutely, T0, T0 + timedelta(minutes=9), 10)) == 10
    with pytest.raises(TooManySlots, match="11 slots"):
        found(minutely, T0, T0 + timedelta(minutes=10), 10)


def test_an_interval_counts_from_its_start_or_from_when_it_was_first_seen() -> None:
    seen = of(Interval(interval_s=3600))
    assert found(seen, LONG_AGO, T0) == []
    assert "first seen" in why_none(seen, T0)
    started = of(Interval(interval_s=3600), start=T0 - timedelta(hours=2))
    assert found(started, LONG_AGO, T0) == [T0 - timedelta(hours=hours) for hours in (2, 1, 0)]
    assert "starts at 2025-12-31T22:00:00" in why_none(started, T0)


def test_a_time_that_comes_once_is_one_slot() -> None:
    assert found(of(Once(at=T0)), LONG_AGO, T0 + timedelta(days=1)) == [T0]


def test_an_expression_that_never_matches_ends() -> None:
    assert found(of(Cron(expr="0 0 30 2 *")), LONG_AGO, T0) == []
