"""The lanes of waiting runs, and what is free for each. Pure.

Runs that the same runners may take share a lane: one kind of work, one set of labels.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple, Protocol, Self, TypeAlias

from fastflow_contracts.bus.subjects import Kind
from fastflow_contracts.ids import RunId
from fastflow_contracts.labels import takes
from fastflow_contracts.names import PipelineName
from fastflow_contracts.runs.run import RunRecord

HINTS_MAX: Final = 1000
"""Hints outstanding at most, in each lane."""

Place: TypeAlias = tuple[datetime, datetime, RunId]
"""Where a run is in its queue: when it is due, when it was created."""


class Lane(NamedTuple):
    """What a runner must take and have for a run."""

    kind: Kind
    labels: tuple[str, ...] = ()

    @classmethod
    def of(cls, run: RunRecord) -> Self:
        """Return the lane of *run*."""
        return cls(run.order.kind, run.order.runs_on)


class QueueName(NamedTuple):
    """The runs of one queue are in the order of their places."""

    pipeline: PipelineName
    priority: int = 0

    @classmethod
    def of(cls, run: RunRecord) -> Self:
        """Return the queue of *run*."""
        return cls(run.pipeline, run.order.priority)


class Slots(NamedTuple):
    """What one runner offers."""

    kinds: Collection[str]
    labels: Collection[str]
    free: int
    only_labelled: bool = False


class Free(Protocol):
    """The free slots for each lane."""

    def get(self, lane: Lane, /) -> int | None:
        """Return the free slots of the runners that may take runs of *lane*; None: there is no such runner."""
        ...


class FreeSlots:
    """As ``Free``, of some runners."""

    def __init__(self, runners: Iterable[Slots] = ()) -> None:
        self._runners = tuple(runners)
        self._known: dict[Lane, int | None] = {}

    def get(self, lane: Lane, /) -> int | None:
        """As ``Free.get``."""
        if lane not in self._known:
            slots = [
                runner.free
                for runner in self._runners
                if lane.kind in runner.kinds and takes(lane.labels, runner.labels, only_labelled=runner.only_labelled)
            ]
            self._known[lane] = sum(slots) if slots else None
        return self._known[lane]


@dataclass
class LaneState:
    """The waiting runs of one lane. ``queues`` may hold places that are no longer valid."""

    queues: dict[QueueName, list[Place]] = field(default_factory=dict)
    hinted: dict[RunId, float] = field(default_factory=dict)
    """Runs whose hints are outstanding, as far as known, with the time from when on to check that."""
    check_at: float = float("inf")
    """No earlier time is among those of ``hinted``."""
    taken: deque[float] = field(default_factory=lambda: deque(maxlen=HINTS_MAX))
    """When runners last took runs."""

    def is_to_check(self, at: float) -> bool:
        """Whether one of ``hinted`` is to be checked."""
        if self.check_at <= at:
            self.check_at = min(self.hinted.values(), default=float("inf"))
        return self.check_at <= at

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to remember."""
        return not (self.queues or self.hinted or self.taken)
