"""What one stretch of a simulation counted. Data and arithmetic."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from math import ceil
from typing import Final, NamedTuple

from fastflow_contracts.names import PipelineName


class RefusedFor(NamedTuple):
    """Starts that are refused for one reason."""

    pipeline: str
    reason: str


class Often(NamedTuple):
    """How often something happens, and how many seconds after the beginning for the first time."""

    times: int = 0
    first_s: float = 0.0


NEVER: Final = Often()


@dataclass
class Tally:
    """Seconds count from ``begin``. A tally of another stretch can be added: alike hours have equal tallies."""

    begin: datetime
    starts: Counter[PipelineName] = field(default_factory=Counter)
    """Runs that are created."""
    refused: defaultdict[RefusedFor, Often] = field(default_factory=lambda: defaultdict(Often))
    overlaps: defaultdict[PipelineName, Often] = field(default_factory=lambda: defaultdict(Often))
    """Runs that are created while an earlier one of their pipeline is not over."""
    replaced: Counter[PipelineName] = field(default_factory=Counter)
    failed: Counter[PipelineName] = field(default_factory=Counter)
    """Attempts beyond their timeout."""
    waits: defaultdict[PipelineName, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    """By the seconds that an attempt waits for a slot or for its turn."""
    busy_s: float = 0.0
    """Seconds of all slots in which a run holds them."""
    busy_max: int = 0
    waiting_max: int = 0
    together: Often = NEVER
    """The most runs that are created at one instant."""

    def note(self, found: defaultdict[PipelineName, Often], name: PipelineName, at_s: float) -> None:
        """Count one more of *found*."""
        found[name] = _sum(found[name], Often(1, at_s))

    def refuse(self, name: PipelineName, reason: str, at_s: float) -> None:
        """Count a refused start."""
        refusal = RefusedFor(name, reason)
        self.refused[refusal] = _sum(self.refused[refusal], Often(1, at_s))

    def add(self, other: Tally, begin: datetime) -> None:
        """Add what *other* counted, as if it had begun at *begin*."""
        later_s = (begin - self.begin).total_seconds()
        self.starts.update(other.starts)
        self.replaced.update(other.replaced)
        self.failed.update(other.failed)
        for refusal, often in other.refused.items():
            self.refused[refusal] = _sum(self.refused[refusal], often, later_s)
        for name, often in other.overlaps.items():
            self.overlaps[name] = _sum(self.overlaps[name], often, later_s)
        for name, waits in other.waits.items():
            self.waits[name].update(waits)
        self.busy_s += other.busy_s
        self.busy_max = max(self.busy_max, other.busy_max)
        self.waiting_max = max(self.waiting_max, other.waiting_max)
        if other.together.times > self.together.times:
            self.together = Often(other.together.times, other.together.first_s + later_s)


def quantile(waits: Counter[int], share: float) -> int:
    """The seconds that *share* of the attempts do not exceed; 0 if there are none."""
    left = ceil(waits.total() * share)
    for seconds in sorted(waits):
        left -= waits[seconds]
        if left <= 0:
            return seconds
    return 0


def _sum(one: Often, other: Often, later_s: float = 0.0) -> Often:
    return Often(one.times + other.times, one.first_s if one.times else other.first_s + later_s)
