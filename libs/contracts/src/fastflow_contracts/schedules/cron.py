"""Check cron expressions, and compute when they are next due. No I/O; the only module that uses croniter.

An expression has five fields (minute, hour, day of month, month, day of week; 0 and 7 are Sunday; names are allowed),
or is an alias such as ``@daily``. If both day fields are restricted (neither starts with ``*``), one match is enough.
This module expands the fields and croniter searches the calendar: croniter itself reads ``1-1`` as every minute.

Daylight saving time: croniter handles wall-clock time only; this module converts it to instants.

- An expression that names hours has *fixed times*. If clocks skip a time, it is due at the first instant after the gap
  (several times in one gap are due once). If an hour repeats, it is due in the first pass only.
- An expression that is due in every hour follows elapsed time: a skipped hour has no due time, and a repeated hour has
  its due times twice.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from croniter import CroniterBadDateError, croniter

CRON_CHARACTERS_MAX = 400
ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


def check_cron(expr: str) -> str | None:
    """Return what is wrong with *expr*, or None if it is valid and will be due at some time."""
    try:
        _parse(expr).wall_after(datetime(2024, 1, 1))  # noqa: DTZ001 - wall-clock time
    except CroniterBadDateError:  # before ValueError, its base class
        return "no such day ever comes"
    except ValueError as error:
        return str(error)
    return None


@lru_cache(maxsize=4096)  # many schedules share an expression and an instant
def next_after(expr: str, timezone: str, after: datetime) -> datetime:
    """Return the first instant after *after* at which *expr* is due.

    Args:
        expr: An expression that ``check_cron`` accepts.
        timezone: The IANA name of the time zone of *expr*.
        after: A time with a time zone.

    Returns:
        The instant in UTC.

    Raises:
        ValueError: *expr* is not valid.
    """
    cron, tz = _parse(expr), ZoneInfo(timezone)
    if cron.in_every_hour:
        return _next_by_elapsed_time(cron, tz, after)
    return _next_fixed_time(cron, tz, after)


class _Field(NamedTuple):
    label: str
    low: int
    size: int
    names: tuple[str, ...] = ()

    def values(self, text: str) -> list[int]:
        """Return all values in *text*, ascending. Raises ``ValueError``."""
        return sorted({value for item in text.split(",") for value in self._item(item)})

    def _item(self, item: str) -> Iterator[int]:
        parts = re.fullmatch(r"(?:(\*)|(\w+)(?:-(\w+))?)(?:/([0-9]{1,3}))?", item, re.ASCII)
        if parts is None:
            raise ValueError(f"{item!r} is not a valid {self.label}")
        star, start, end, step = parts.groups()
        first = self.low if star else self._number(start)
        last = self._number(end) if end else first
        if star or (step and not end):  # `5/15` runs to the end of the range
            last = self.low + self.size - 1
        if last < first:  # `22-2`, `sat-sun`
            last += self.size
        if step and int(step) == 0:
            raise ValueError(f"{item!r} has a step of 0")
        return (self.low + (value - self.low) % self.size for value in range(first, last + 1, int(step or 1)))

    def _number(self, text: str) -> int:
        if text in self.names:
            return self.low + self.names.index(text)
        # Sunday is 0 and also 7.
        high = self.low + self.size - (0 if self.label == "day of week" else 1)
        if not text.isdigit() or len(text) > 3 or not self.low <= int(text) <= high:
            raise ValueError(f"{text!r} is not a valid {self.label} ({self.low} to {high})")
        return int(text)


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS = (
    _Field("minute", 0, 60),
    _Field("hour", 0, 24),
    _Field("day of month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of week", 0, 7, _DAYS),
)


_searching = threading.Lock()


class _Cron(NamedTuple):
    calendar: croniter
    """The same expression with every value listed. It is costly to create, and stateful: it keeps its last position."""
    in_every_hour: bool

    def wall_after(self, wall: datetime) -> datetime:
        """Return the next matching wall-clock time (naive) after *wall*."""
        with _searching:
            return self.calendar.get_next(datetime, start_time=wall)


@lru_cache(maxsize=4096)
def _parse(expr: str) -> _Cron:
    if len(expr) > CRON_CHARACTERS_MAX:
        raise ValueError(f"it is longer than {CRON_CHARACTERS_MAX} characters")
    text = expr.strip().lower()
    fields = ALIASES.get(text, text).split()
    if len(fields) != len(_FIELDS):
        raise ValueError(f"it has {len(fields)} fields, five are needed")
    values = [field.values(text) for field, text in zip(_FIELDS, fields, strict=True)]
    expanded = " ".join(",".join(map(str, numbers)) for numbers in values)
    either_day = not (fields[2].startswith("*") or fields[4].startswith("*"))
    calendar = croniter(expanded, datetime(2024, 1, 1), day_or=either_day)  # noqa: DTZ001 - wall-clock time
    return _Cron(calendar, in_every_hour=len(values[1]) == 24)


def _next_fixed_time(cron: _Cron, tz: ZoneInfo, after: datetime) -> datetime:
    wall = _wall(after.astimezone(tz))
    while True:  # instants never decrease with wall time; in a second pass, up to an hour of them is in the past
        wall = cron.wall_after(wall)
        due = min(_instants(wall, tz), default=None) or _end_of_gap(wall, tz)
        if due > after:
            return due


def _next_by_elapsed_time(cron: _Cron, tz: ZoneInfo, after: datetime) -> datetime:
    local = after.astimezone(tz)
    due = _first_existing(cron, tz, _wall(local), after)
    if local.replace(fold=1).utcoffset() != local.utcoffset():  # in the first pass of a repeated hour
        second_pass = _shift(tz, after, local.replace(fold=1).astimezone(UTC)).astimezone(tz)
        due = min(due, _first_existing(cron, tz, _wall(second_pass) - timedelta(minutes=1), second_pass))
    return due


def _first_existing(cron: _Cron, tz: ZoneInfo, wall: datetime, not_before: datetime) -> datetime:
    """Return the first instant, not earlier than *not_before*, of a match after *wall*."""
    while True:
        wall = cron.wall_after(wall)
        for instant in _instants(wall, tz):
            if instant >= not_before:
                return instant


def _instants(wall: datetime, tz: ZoneInfo) -> list[datetime]:
    """Return the instants at which clocks in *tz* show *wall*, ascending: none (in a gap), one or two."""
    passes = {wall.replace(tzinfo=tz, fold=fold).astimezone(UTC) for fold in (0, 1)}
    return sorted(instant for instant in passes if _wall(instant.astimezone(tz)) == wall)


def _end_of_gap(wall: datetime, tz: ZoneInfo) -> datetime:
    # In a gap, fold 0 uses the offset before the jump and so lands after it; fold 1 does the opposite.
    behind, ahead = (wall.replace(tzinfo=tz, fold=fold).astimezone(UTC) for fold in (0, 1))
    return _shift(tz, ahead, behind)


def _shift(tz: ZoneInfo, before: datetime, behind: datetime) -> datetime:
    """Return the instant of the one offset change between *before* and *behind*."""
    low, high = int(before.timestamp()), int(behind.timestamp())
    offset = before.astimezone(tz).utcoffset()
    while high - low > 1:
        middle = (low + high) // 2
        if datetime.fromtimestamp(middle, tz).utcoffset() == offset:
            low = middle
        else:
            high = middle
    return datetime.fromtimestamp(high, UTC)


def _wall(local: datetime) -> datetime:
    return local.replace(tzinfo=None, fold=0)
