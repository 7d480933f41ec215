"""Which priority has the next turn. Pure.

The highest one that waits. But one that was passed over ``PASSED_MAX`` times since its last turn is next, the lowest
first. So nothing waits for ever, and what is urgent keeps at least nine of eleven turns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Final

PASSED_MAX: Final = 9


class Priorities:
    """The turns that each priority had."""

    def __init__(self) -> None:
        self._passed: Counter[int] = Counter()
        """How often each was passed over since its last turn."""

    def next(self, waiting: Collection[int]) -> int:
        """Return the priority, of those that are *waiting*, that has the next turn."""
        overdue = [priority for priority in waiting if self._passed[priority] >= PASSED_MAX]
        return min(overdue) if overdue else max(waiting)

    def took(self, chosen: int, waiting: Collection[int]) -> None:
        """Take in that *chosen* had its turn while those *waiting* waited, itself among them."""
        self._passed[chosen] = 0
        for priority in waiting:
            if priority < chosen:
                self._passed[priority] += 1
