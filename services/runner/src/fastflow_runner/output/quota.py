"""How much output each pipeline may store in a day, so that it cannot push out the logs of all others. Pure: time is an
argument (seconds, from any clock).

A token bucket for each pipeline: a day's worth at once, and it fills up again within a day. Bounded: a pipeline whose
bucket is full again is forgotten. It counts what this runner stores; each runner has its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

DAY_S: Final = 86_400.0
PIPELINE_BYTES_MAX: Final = 1_000_000_000
PIPELINES_MAX: Final = 1_000
"""With more pipelines than this, those whose bucket is full are forgotten."""

Refuse = Callable[[int], str]
"""Takes the size of some output. Returns why it cannot be stored; empty: it can, and counts."""


class OutputQuota:
    """The quotas of all pipelines on one runner. *bytes_max*: for a day; 0 = no limit."""

    def __init__(self, bytes_max: int = PIPELINE_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._spent: dict[str, tuple[float, float]] = {}
        """By pipeline: the bytes that count, and at which time."""

    def refuse(self, pipeline: str, size_bytes: int, now_s: float) -> str:
        """Count *size_bytes* of *pipeline*, or return why they are too much."""
        if not self._bytes_max:
            return ""
        spent = self._at(pipeline, now_s) + size_bytes
        if spent > self._bytes_max:
            return f"the runs of {pipeline} wrote more than {self._bytes_max} bytes within a day"
        self._spent[pipeline] = (spent, now_s)
        if len(self._spent) > PIPELINES_MAX:
            self._spent = {name: each for name, each in self._spent.items() if self._at(name, now_s)}
        return ""

    def _at(self, pipeline: str, now_s: float) -> float:
        spent, at_s = self._spent.get(pipeline, (0.0, now_s))
        return max(0.0, spent - (now_s - at_s) * self._bytes_max / DAY_S)


def never(size_bytes: int) -> str:
    """A quota without a limit."""
    return ""
