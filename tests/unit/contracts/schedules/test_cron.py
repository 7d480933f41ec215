"""Cron expressions and daylight saving."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import assume, given
from hypothesis import strategies as st

from fastflow_contracts.schedules.cron import check_cron, next_after, surprises


def due(expr: str, zone: str, after: str, count: int = 1) -> list[str]:
    """Return the next *count* instants after the local time *after*, in local time with offset."""
    at = datetime.fromisoformat(after).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    found = []
    for _ in range(count):
        at = next_after(expr, zone, at)
        found.append(at.astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M%z"))
    return found


@pytest.mark.parametrize(
    "expr",
    [
        "0 9 * * *",
        "*/5 * * * *",
        "0 0 * * 7",
        "0 0 * * mon-fri",
        "0 0 * JAN,dec SUN",
        "5/15 0 1-31/2 * *",
        "0 22-2 * * sat-sun",
        "@daily",
        "@Yearly",
        "  0   9 * * *\t",
        "0 0 29 2 *",
        "0 0 31 2 1",
    ],
)
def test_valid_expressions_are_accepted(expr: str) -> None:
    """Five fields with lists, ranges, steps, names and aliases."""
    assert check_cron(expr) is None


@pytest.mark.parametrize(
    ("expr", "fault"),
    [
        ("", "0 fields"),
        ("0 9 * *", "4 fields"),
        ("0 0 9 * * *", "6 fields"),
        ("@reboot", "1 fields"),
        ("60 * * * *", "'60' is not a valid minute"),
        ("* 24 * * *", "'24' is not a valid hour"),
        ("* * 0 * *", "'0' is not a valid day of month"),
        ("* * * 13 *", "'13' is not a valid month"),
        ("* * * * 8", "'8' is not a valid day of week"),
        ("* * * mon *", "'mon' is not a valid month"),
        ("*/0 * * * *", "step of 0"),
        ("1,,2 * * * *", "'' is not a valid minute"),
        ("R * * * *", "'r' is not a valid minute"),
        ("H H * * *", "'h' is not a valid minute"),
        ("0 0 L * *", "'l' is not a valid day of month"),
        ("0 0 * * 5#2", "'5#2' is not a valid day of week"),
        ("0 0 ? * *", "'?' is not a valid day of month"),
        ("٣ * * * *", "'٣' is not a valid minute"),
        ("0 0 30 2 *", "no such day"),
        ("0 0 31 4,6 *", "no such day"),
        ("1," * 300 + "1 * * * *", "longer than"),
    ],
)
def test_invalid_expressions_are_refused_with_the_wrong_part(expr: str, fault: str) -> None:
    """Everything that standard cron does not allow."""
    assert fault in (check_cron(expr) or "")


@given(st.text(alphabet="0123456789*/,-@# LWHRmonjadily\n٣", max_size=30))
def test_checking_any_text_never_crashes(expr: str) -> None:
    """A text is valid, and then due at some time, or the wrong part is named."""
    if check_cron(expr) is None:
        assert next_after(expr, "Europe/Berlin", datetime(2025, 1, 1, tzinfo=UTC)).tzinfo is UTC


@pytest.mark.parametrize(
    ("expr", "zone", "after", "expected"),
    [
        # The clocks jump from 02:00 to 03:00.
        ("30 2 * * *", "Europe/Berlin", "2025-03-29 12:00", ["2025-03-30 03:00+0200", "2025-03-31 02:30+0200"]),
        ("0,30 2 * * *", "Europe/Berlin", "2025-03-29 12:00", ["2025-03-30 03:00+0200", "2025-03-31 02:00+0200"]),
        ("*/20 2,3 30 * *", "Europe/Berlin", "2025-03-30 01:00", ["2025-03-30 03:00+0200", "2025-03-30 03:20+0200"]),
        ("15 * * * *", "Europe/Berlin", "2025-03-30 01:00", ["2025-03-30 01:15+0100", "2025-03-30 03:15+0200"]),
        ("30 2 * * *", "America/New_York", "2025-03-08 12:00", ["2025-03-09 03:00-0400", "2025-03-10 02:30-0400"]),
        # The hour from 02:00 (New York: 01:00) comes twice.
        ("30 2 * * *", "Europe/Berlin", "2025-10-25 12:00", ["2025-10-26 02:30+0200", "2025-10-27 02:30+0100"]),
        ("30 1 * * *", "America/New_York", "2025-11-01 12:00", ["2025-11-02 01:30-0400", "2025-11-03 01:30-0500"]),
        (
            "*/30 2 * * *",
            "Europe/Berlin",
            "2025-10-26 01:00",
            ["2025-10-26 02:00+0200", "2025-10-26 02:30+0200", "2025-10-27 02:00+0100"],
        ),
        (
            "15 * * * *",
            "Europe/Berlin",
            "2025-10-26 01:30",
            ["2025-10-26 02:15+0200", "2025-10-26 02:15+0100", "2025-10-26 03:15+0100"],
        ),
        # Lord Howe moves by half an hour, from 02:00 to 02:30 and back.
        ("15 2 * * *", "Australia/Lord_Howe", "2025-10-04 12:00", ["2025-10-05 02:30+1100", "2025-10-06 02:15+1100"]),
        ("30 * * * *", "Australia/Lord_Howe", "2025-10-05 01:30", ["2025-10-05 02:30+1100", "2025-10-05 03:30+1100"]),
        ("45 1 * * *", "Australia/Lord_Howe", "2025-04-05 12:00", ["2025-04-06 01:45+1100", "2025-04-07 01:45+1030"]),
        # Kathmandu has an odd offset and no daylight saving; Apia once skipped a whole day.
        ("0 9 * * *", "Asia/Kathmandu", "2025-03-30 00:00", ["2025-03-30 09:00+0545"]),
        ("0 12 * * *", "Pacific/Apia", "2011-12-29 13:00", ["2011-12-31 00:00+1400", "2011-12-31 12:00+1400"]),
        # In Sao Paulo the hour before midnight came twice.
        ("30 * 17 2 *", "America/Sao_Paulo", "2018-02-17 22:45", ["2018-02-17 23:30-0200", "2018-02-17 23:30-0300"]),
    ],
)
def test_daylight_saving_skips_and_repeats_nothing(expr: str, zone: str, after: str, expected: list[str]) -> None:
    """Fixed times survive a gap and do not repeat; hourly expressions follow elapsed time."""
    assert due(expr, zone, after, len(expected)) == expected


def test_two_restricted_day_fields_are_alternatives() -> None:
    """If one of them has a star, both must match."""
    assert due("0 0 13 * fri", "UTC", "2025-06-10 00:00", 2) == ["2025-06-13 00:00+0000", "2025-06-20 00:00+0000"]
    assert due("0 0 */12 * fri", "UTC", "2025-06-01 00:00") == ["2025-06-13 00:00+0000"]


def numbers(low: int, high: int) -> st.SearchStrategy[str]:
    single = st.integers(low, high).map(str)
    spans = st.tuples(st.integers(low, high), st.integers(low, high)).filter(lambda span: span[0] < span[1])
    ranges = spans.map(lambda span: f"{span[0]}-{span[1]}")
    stepped = st.tuples(ranges | st.just("*"), st.integers(1, 12)).map(lambda pair: f"{pair[0]}/{pair[1]}")
    return st.lists(single | ranges | stepped, min_size=1, max_size=3).map(",".join)


def expressions(hours: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    minutes = st.just("*") | numbers(0, 59)
    days = st.just("*") | numbers(1, 31)
    months = st.just("*") | numbers(1, 12)
    weekdays = st.just("*") | numbers(0, 7) | st.sampled_from(["mon-fri", "sun", "tue,SAT"])
    return st.tuples(minutes, hours, days, months, weekdays).map(" ".join)


EPOCH = datetime(2015, 1, 1, tzinfo=UTC)
INSTANTS = st.integers(0, 20 * 366 * 86_400).map(lambda seconds: EPOCH + timedelta(seconds=seconds))


def second_opinion(expr: str, after: datetime, zone: str) -> datetime:
    return next(CronSim(expr, after.astimezone(ZoneInfo(zone)))).astimezone(UTC)


@given(expressions(st.just("*") | numbers(0, 23)), INSTANTS)
def test_a_second_implementation_agrees_in_utc(expr: str, after: datetime) -> None:
    """Without daylight saving, cronsim gives the same instants."""
    assume(check_cron(expr) is None)
    assert next_after(expr, "UTC", after) == second_opinion(expr, after, "UTC")


def shifts(zone: str) -> list[datetime]:
    """Return the hours from 2015 to 2034 in which the clocks of *zone* change."""
    hours = (EPOCH + timedelta(hours=hour) for hour in range(20 * 366 * 24))
    offsets = ((hour, hour.astimezone(ZoneInfo(zone)).utcoffset()) for hour in hours)
    return [before for (before, old), (_, new) in pairwise(offsets) if old != new]


SHIFTING = {zone: shifts(zone) for zone in ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]}


@st.composite
def near_shifts(draw: st.DrawFn) -> tuple[str, datetime]:
    zone = draw(st.sampled_from(sorted(SHIFTING)))
    around = timedelta(seconds=draw(st.integers(-90_000, 90_000)))
    return zone, draw(st.sampled_from(SHIFTING[zone])) + around


@given(expressions(st.just("*")), near_shifts())
def test_a_second_implementation_agrees_about_every_hour(expr: str, place: tuple[str, datetime]) -> None:
    """Around a change of clocks, cronsim agrees about expressions that are due every hour.

    Not where the shift is no whole hour: it ignores 02:30 where clocks go from 02:00 to 02:30.
    """
    zone, after = place
    assume(check_cron(expr) is None and zone != "Australia/Lord_Howe")
    assert next_after(expr, zone, after) == second_opinion(expr, after, zone)


@given(numbers(0, 59), numbers(0, 23), near_shifts())
def test_a_second_implementation_agrees_about_fixed_times(
    minutes: str, hours: str, place: tuple[str, datetime]
) -> None:
    """Around a change of clocks, cronsim agrees about fixed times."""
    zone, after = place
    expr = f"{minutes} {hours} * * *"
    candidates = CronSim(expr, after.astimezone(ZoneInfo(zone)))
    # For cronsim a field that begins with a star means "every hour"; for us, a schedule that is due in every hour.
    assume(not minutes.startswith("*") and not hours.startswith("*") and len(candidates.hours) < 24)
    expected = next(at for at in (found.astimezone(UTC) for found in candidates) if at > after)
    assert next_after(expr, zone, after) == expected


@given(expressions(st.just("*") | numbers(0, 23)), near_shifts())
def test_the_next_instant_is_later_and_on_a_whole_minute(expr: str, place: tuple[str, datetime]) -> None:
    """Nothing is due between an instant and its next one."""
    zone, after = place
    assume(check_cron(expr) is None)
    found = next_after(expr, zone, after)
    assert found > after
    assert (found.second, found.microsecond) == (0, 0)
    middle = after + (found - after) / 2
    assert next_after(expr, zone, middle) == found


@pytest.mark.parametrize(
    ("expr", "zone", "after", "expected"),
    [
        ("0 1 4 11 *", "America/Sao_Paulo", "2018-11-03T00:00", "2018-11-04 01:00-0200"),
        ("0 0 4 11 *", "America/Sao_Paulo", "2018-11-03T12:00", "2018-11-04 01:00-0200"),
        ("0 */2 * * *", "Africa/Cairo", "2025-04-24T23:00", "2025-04-25 01:00+0300"),
        ("0 0 25 4 *", "Africa/Cairo", "2025-04-24T23:00", "2025-04-25 01:00+0300"),
    ],
)
def test_midnight_may_not_exist(expr: str, zone: str, after: str, expected: str) -> None:
    """Where clocks jump at midnight, the slot of midnight is due at the end of the gap, and others are not moved."""
    assert due(expr, zone, after) == [expected]


@pytest.mark.parametrize(
    ("expr", "words"),
    [
        ("*/90 * * * *", ["at minute 0 of each hour", "For every 90 minutes, set seconds to 5400."]),
        ("0 */36 * * *", ["at hour 0 of each day", "set seconds to 129600."]),
        ("0 0 */40 * *", ["at day of month 1 of each month", "set seconds to 3456000."]),
        ("0 0 1 */13 *", ["at month 1 of each year"]),
        ("0 0 * * */7", ["at day of week 0 of each week"]),
        ("5/60 * * * *", ["'5/60' is due at minute 5 of each hour"]),
        ("0,*/90 * * * *", ["'*/90'"]),
        ("*/45 * * * *", ["at minute 0, 45 of each hour"]),
        ("*/7 * * * *", ["at minute 0, 7, 14, 21, 28, 35, … of each hour"]),
        ("0 */5 * * *", ["at hour 0, 5, 10, 15, 20 of each day"]),
    ],
)
def test_a_step_that_does_not_fit_its_field_is_told(expr: str, words: list[str]) -> None:
    """What the expression really does, and the setting that does what it seems to say."""
    (said,) = surprises(expr, "seconds")
    assert all(word in said for word in words), said


@pytest.mark.parametrize(
    "expr",
    ["*/5 * * * *", "0 */6 * * *", "0 0 */2 * *", "5/15 0 1-31/2 * *", "0-30/40 * * * *", "@daily", "* * * * *",
     "0 0 1 */3 *", "0 0 * * */2"],
)  # fmt: skip
def test_a_step_that_fits_is_not(expr: str) -> None:
    """Nor one within a range, which says where it ends."""
    assert surprises(expr, "seconds") == []
