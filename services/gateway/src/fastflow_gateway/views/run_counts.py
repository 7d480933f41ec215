"""Counts runs by outcome, in total and by day of creation. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import date, timedelta

from fastflow_contracts.runs.run import Ended, RunRecord, RunStatus


class RunCounts:
    """Counts of one pipeline's runs. For a changed run, subtract the old version and add the new one."""

    __slots__ = ("_by_day", "_by_status", "success_seconds")

    def __init__(self) -> None:
        self._by_status: dict[RunStatus, int] = defaultdict(int)
        self._by_day: dict[date, dict[RunStatus, int]] = {}
        self.success_seconds = 0.0
        """Sum of the durations of successful runs, from creation to end."""

    def count(self, run: RunRecord, *, times: int = 1) -> None:
        """Add *run*; with *times* -1, subtract it."""
        seconds = 0.0
        if run.status is RunStatus.SUCCESS and isinstance(run.state, Ended):
            seconds = (run.state.at - run.created_at).total_seconds()
        day = self._by_day.setdefault(run.created_at.date(), defaultdict(int))
        day[run.status] += times
        self._by_status[run.status] += times
        self.success_seconds += times * seconds

    @property
    def total(self) -> int:
        return sum(self._by_status.values())

    @property
    def successful(self) -> int:
        return self._by_status[RunStatus.SUCCESS]

    @property
    def failed(self) -> int:
        return self._by_status[RunStatus.FAILED]

    @property
    def interrupted(self) -> int:
        return self._by_status[RunStatus.INTERRUPTED]

    @property
    def active(self) -> int:
        return self._by_status[RunStatus.PENDING] + self._by_status[RunStatus.RUNNING]

    def of(self, status: RunStatus) -> int:
        return self._by_status[status]

    def days(self, last: date, number: int) -> Iterator[tuple[date, dict[RunStatus, int]]]:
        """The *number* days that end with *last*, oldest first."""
        for back in range(number - 1, -1, -1):
            day = last - timedelta(days=back)
            yield day, dict(self._by_day.get(day, {}))
