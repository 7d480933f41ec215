"""How many sandboxes are to be warm, and with which limits. Pure.

As many are kept as were wanted within a few seconds, at the most, in the last ten minutes: a pipeline that runs once a
minute needs one that waits, fifty runs at once find as many as are allowed. Steps lead from any pool to one that fits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias

import msgspec

DEMAND_S: Final = 600.0
"""How long a wish is remembered."""
AT_ONCE_S: Final = 10.0
"""Wishes within this time come too fast for a refill between them."""


class Limits(NamedTuple):
    """What a warm sandbox is held to; None = no limit."""

    memory_bytes: int | None = None
    cpu_cores: float | None = None

    def can_become(self, wanted: Limits) -> bool:
        """Docker changes a limit of a running container, and sets one, but never takes it away."""
        return all(now is None or then is not None for now, then in zip(self, wanted, strict=True))


class Demand:
    """What runs have asked for lately. Times are seconds of any one clock."""

    def __init__(self, size_max: int) -> None:
        """*size_max*: sandboxes that wait at most, at least one."""
        self._wishes: deque[tuple[float, Limits]] = deque(maxlen=size_max)
        self._heights: deque[tuple[float, int]] = deque()
        """When so many were wanted at once, each fewer than the one before: the highest of any time since is first."""

    def note(self, at: float, limits: Limits) -> None:
        """Somebody wants a sandbox."""
        self._wishes.append((at, limits))
        height = sum(at - then < AT_ONCE_S for then, _ in self._wishes)
        while self._heights and self._heights[-1][1] <= height:
            self._heights.pop()
        self._heights.append((at, height))

    def forget(self, limits: Limits) -> None:
        """No sandbox is to be had with these."""
        kept = [wish for wish in self._wishes if wish[1] != limits]
        self._wishes.clear()
        self._wishes.extend(kept)

    def likely(self, at: float) -> list[Limits]:
        """The limits of what should be waiting, those wanted last first; at least one."""
        while self._heights and at - self._heights[0][0] > DEMAND_S:
            self._heights.popleft()
        lately = [limits for then, limits in reversed(self._wishes) if at - then <= DEMAND_S] or [Limits()]
        size = self._heights[0][1] if self._heights else 1
        return (lately * size)[:size]


class Open(msgspec.Struct, frozen=True):
    """Open one more, with these limits."""

    limits: Limits


class Remove(msgspec.Struct, frozen=True):
    """Remove the one at this place among those that wait."""

    index: int


Step: TypeAlias = Open | Remove


def plan(waiting: Sequence[Limits], likely: Sequence[Limits]) -> Step | None:
    """The next step towards a pool that fits what is *likely* to be wanted, which is at least one sandbox."""
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
