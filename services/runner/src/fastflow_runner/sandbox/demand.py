"""How many sandboxes to keep warm, and with which limits. Pure.

The pool keeps as many sandboxes as runs requested within ``AT_ONCE_S`` at the peak of the last ten minutes. A pipeline
that runs once a minute needs one; fifty runs at once need the maximum. Single steps change any pool to one that fits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias

import msgspec

DEMAND_S: Final = 600.0
"""How long a request is remembered."""
AT_ONCE_S: Final = 10.0
"""Requests within this time are too close together for a refill between them."""


class WarmLimits(NamedTuple):
    """The limits of a warm sandbox; None = no limit."""

    memory_bytes: int | None = None
    cpu_cores: float | None = None

    def can_become(self, wanted: WarmLimits) -> bool:
        """Whether a sandbox can change these limits to *wanted*: Docker changes and sets, but never lifts one."""
        return all(now is None or then is not None for now, then in zip(self, wanted, strict=True))


NO_LIMITS: Final = WarmLimits()


class Demand:
    """Recent requests of runs. All times are seconds of the same clock."""

    def __init__(self, size_max: int, usual: WarmLimits = NO_LIMITS) -> None:
        """
        Args:
            size_max: the maximum number of warm sandboxes, at least 1.
            usual: the limits to expect before the first request.
        """
        self._usual = usual
        self._wishes: deque[tuple[float, WarmLimits]] = deque(maxlen=size_max)
        self._heights: deque[tuple[float, int]] = deque()
        """(time, sandboxes requested at once), each lower than the one before: the first is the peak."""

    def note(self, at: float, limits: WarmLimits) -> None:
        """Record a request for a sandbox."""
        self._wishes.append((at, limits))
        height = sum(at - then < AT_ONCE_S for then, _ in self._wishes)
        while self._heights and self._heights[-1][1] <= height:
            self._heights.pop()
        self._heights.append((at, height))

    def forget(self, limits: WarmLimits) -> None:
        """Forget requests with *limits*, because no sandbox can be opened with them."""
        kept = [wish for wish in self._wishes if wish[1] != limits]
        self._wishes.clear()
        self._wishes.extend(kept)

    def likely(self, at: float) -> list[WarmLimits]:
        """Return the limits of the sandboxes to keep warm, latest requests first. At least one."""
        while self._heights and at - self._heights[0][0] > DEMAND_S:
            self._heights.popleft()
        lately = [limits for then, limits in reversed(self._wishes) if at - then <= DEMAND_S] or [self._usual]
        size = self._heights[0][1] if self._heights else 1
        return (lately * size)[:size]


class Open(msgspec.Struct, frozen=True):
    """Open one more sandbox with these limits."""

    limits: WarmLimits


class Remove(msgspec.Struct, frozen=True):
    """Remove the waiting sandbox at this index."""

    index: int


Step: TypeAlias = Open | Remove


def plan(waiting: Sequence[WarmLimits], likely: Sequence[WarmLimits]) -> Step | None:
    """Return the next step towards a pool that fits *likely* (at least one sandbox), None if it already fits."""
    missing, surplus = list(likely), []
    for index, limits in enumerate(waiting):
        if limits in missing:
            missing.remove(limits)
        else:
            surplus.append(index)
    if len(waiting) < len(likely):
        return Open(missing[0])
    if len(waiting) > len(likely) or any(not any(each.can_become(want) for each in waiting) for want in missing):
        return Remove(surplus[0])
    return None
