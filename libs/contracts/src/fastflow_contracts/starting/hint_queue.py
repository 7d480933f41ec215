"""Which waiting run gets a hint next: pipelines take turns, and few hints are outstanding. Pure.

Runners take hints in the order in which the bus has them, so a hint that is outstanding cannot be overtaken. For this
reason only as many are outstanding as runners will take soon: one for each free slot, and beyond that as many as they
took within the last ``RATE_S``, at least ``AHEAD``. All other waiting runs queue here, oldest first in each pipeline,
and the pipelines take turns (``_turn`` decides, and is the place for priorities).

Every scheduler has such a queue and sees the same changes. What is outstanding, the bus knows for all of them: it keeps
one hint for each attempt and refuses a second one.

With a limit on concurrent runs, hints and running runs together do not exceed it.

Runs that a pause holds stay outside of the queues. They get their old places when the pause ends.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, TypeAlias, get_args

from fastflow_contracts.bus.subjects import Kind
from fastflow_contracts.ids import RunId
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.pauses import NOT_PAUSED, PauseSet
from fastflow_contracts.runs.run import Pending, Running, RunRecord
from fastflow_contracts.starting.turn_groups import TurnGroups

REHINT_S = 10.0
"""A run gets another hint this long after its last one, if that is not outstanding any more."""
CREATOR_S = 1.0
"""How long a new run is left to the scheduler that created it."""
AHEAD = 2
"""Hints to keep outstanding although no slot is free: the next free slot finds one."""
RATE_S = 1.0
HINTS_MAX = 1000
"""Hints outstanding at most, for each kind of work."""
KINDS: tuple[Kind, ...] = get_args(Kind)

_Place: TypeAlias = tuple[datetime, datetime, RunId]
"""Where a run is in its pipeline's queue: when it is due, when it was created."""


class DueHint(NamedTuple):
    """A hint to publish."""

    run: RunRecord
    revision: int
    """Of its record."""
    is_repeat: bool


@dataclass
class _Waiting:
    run: RunRecord
    revision: int
    was_hinted: bool = False
    """Whether an earlier hint for this attempt is known."""

    @property
    def state(self) -> Pending:
        assert isinstance(self.run.state, Pending)
        return self.run.state

    @property
    def place(self) -> _Place:
        return self.state.not_before, self.run.created_at, self.run.id


@dataclass
class _Lane:
    """The waiting runs of one kind of work. ``queues`` may hold places that are no longer valid."""

    queues: dict[PipelineName, list[_Place]] = field(default_factory=dict)
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


class HintQueue:
    """The waiting runs of all pipelines. *concurrent_max*: MAX_CONCURRENT_RUNS, 0 = no limit.

    Times of runs are aware UTC; ``at`` is in seconds of a monotonic clock.
    """

    def __init__(self, *, concurrent_max: int = 0) -> None:
        self.concurrent_max = concurrent_max
        self.is_following = False
        """Whether all runs that were there at the beginning have been seen."""
        self._position = 0
        self._waiting: dict[RunId, _Waiting] = {}
        self._running: set[RunId] = set()
        self._later: list[_Place] = []
        """Runs to put in their lanes when they are due."""
        self._lanes: dict[Kind, _Lane] = {kind: _Lane() for kind in KINDS}
        self._turns: dict[PipelineName, int] = {}
        """The last turn of each pipeline."""
        self._turns_taken = 0
        self._groups = TurnGroups()
        self._pauses = NOT_PAUSED

    def hold(self, pauses: PauseSet) -> None:
        """Hold the runs that have not begun and fall under one of *pauses*, and no others any more."""
        self._pauses = pauses
        for lane in self._lanes.values():
            lane.queues.clear()
        hinted = {run_id for lane in self._lanes.values() for run_id in lane.hinted}
        self._groups.line_up_again(hinted)
        self._later = [waiting.place for waiting in self._waiting.values() if waiting.run.id not in hinted]
        heapq.heapify(self._later)

    @property
    def pauses(self) -> PauseSet:
        """What is paused, as far as known."""
        return self._pauses

    def see(self, run: RunRecord, revision: int, *, at: float) -> None:
        """Take in a change, in the order of the bus."""
        self._position = max(self._position, revision)
        self._groups.see(run)
        known = self._waiting.get(run.id)
        if not isinstance(run.state, Pending):
            if known is not None:
                self._drop(known)
                if isinstance(run.state, Running):
                    self._lanes[run.order.kind].taken.append(at)
            if isinstance(run.state, Running):
                self._running.add(run.id)
            else:
                self._running.discard(run.id)
            return
        self._running.discard(run.id)
        if known is not None and _turn_of(known.run) == _turn_of(run):
            known.run, known.revision = run, max(revision, known.revision)
            return
        if known is not None:
            self._drop(known)
        waiting = self._put(run, revision)
        is_new = not run.attempts and not run.epoch and run.state.not_before <= run.created_at
        is_mine = run.order.turn is None and not self._is_held(run)
        if is_new and self.is_following and not self.concurrent_max and is_mine:
            self._mark(waiting, check_at=at + CREATOR_S)

    def forget(self, run_id: RunId) -> None:
        """Take in that a record was deleted."""
        self._running.discard(run_id)
        self._groups.forget(run_id)
        if (known := self._waiting.get(run_id)) is not None:
            self._drop(known)

    def replaced(self) -> list[RunRecord]:
        """Return the runs to cancel, because newer ones replace them."""
        return self._groups.replaced() if self.is_following else []

    def add(self, run: RunRecord, revision: int, free: Mapping[Kind, int], *, now: datetime, at: float) -> bool:
        """Take in a run that this scheduler has just created. Returns whether to publish its hint at once.

        *free*: as in ``due``.
        """
        if not isinstance(run.state, Pending) or run.state.not_before > now:
            return False
        if run.order.turn is not None:  # the feed brings it after all that were created before
            return False
        is_held = self._is_held(run)
        if not self.is_following:  # better one hint too many than a run that waits until all records are read
            return not self.concurrent_max and not is_held
        waiting = self._waiting.get(run.id)
        if waiting is None:
            if revision <= self._position:  # the feed has brought it, and it has moved on
                return False
            waiting = self._put(run, revision)
        lane = self._lanes[run.order.kind]
        if lane.hinted.pop(run.id, None) is not None:  # the feed was faster, and took us for another scheduler
            heapq.heappush(self._later, waiting.place)
        if is_held or self.concurrent_max or lane.queues or self._room(run.order.kind, free, at) <= 0:
            return False
        self._mark(waiting, check_at=at + REHINT_S, was_hinted=True)
        return True

    def wants_look(self, free: Mapping[Kind, int], *, now: datetime, at: float) -> bool:
        """Whether ``due`` may have hints if it learns which ones are outstanding."""
        self._advance(now)
        return any(
            lane.is_to_check(at) or (lane.queues and self._room(kind, free, at) > 0)
            for kind, lane in self._lanes.items()
        )

    def see_outstanding(self, outstanding: Collection[tuple[RunId, int]], *, at: float) -> None:
        """Take in all hints that the bus has, by run and attempt. A run that should have one and has none queues."""
        found: set[RunId] = set()
        for run_id, attempt in outstanding:
            waiting = self._waiting.get(run_id)
            if waiting is not None and waiting.state.attempt == attempt:
                found.add(run_id)
                self._mark(waiting, check_at=at + REHINT_S, was_hinted=True)
        for lane in self._lanes.values():
            for run_id in [one for one, check_at in lane.hinted.items() if check_at <= at and one not in found]:
                del lane.hinted[run_id]
                heapq.heappush(self._later, self._waiting[run_id].place)

    def due(self, free: Mapping[Kind, int], *, now: datetime, at: float) -> list[DueHint]:
        """Return the hints to publish now; each counts as outstanding from now on.

        Args:
            free: Free slots of the runners that take each kind of work; without an entry no runner takes it.
            now: The time.
            at: The same by the monotonic clock.
        """
        self._advance(now)
        hints: list[DueHint] = []
        for kind, lane in self._lanes.items():
            turns = [(self._turn(name), queue[0], name) for name, queue in lane.queues.items()]
            heapq.heapify(turns)
            while turns and self._room(kind, free, at) > 0:
                name = heapq.heappop(turns)[2]
                queue = lane.queues[name]
                waiting = self._waiting[heapq.heappop(queue)[2]]
                hints.append(DueHint(waiting.run, waiting.revision, waiting.was_hinted))
                self._mark(waiting, check_at=at + REHINT_S, was_hinted=True)
                if self._tidy(lane, name):
                    heapq.heappush(turns, (self._turn(name), queue[0], name))
        return hints

    def next_due_s(self, *, now: datetime) -> float:
        """Seconds until the next run is due that is not due yet; infinity if there is none."""
        while self._later and not self._is_valid(self._later[0]):
            heapq.heappop(self._later)
        return max(0.0, (self._later[0][0] - now).total_seconds()) if self._later else float("inf")

    def _turn(self, name: PipelineName) -> int:
        return self._turns.get(name, 0)

    def _room(self, kind: Kind, free: Mapping[Kind, int], at: float) -> int:
        """How many more hints of *kind* may be outstanding."""
        lane = self._lanes[kind]
        while lane.taken and lane.taken[0] < at - RATE_S:
            lane.taken.popleft()
        ahead = max(AHEAD, len(lane.taken))
        room = min(free.get(kind, 0) + ahead, HINTS_MAX) - len(lane.hinted)
        if not self.concurrent_max:
            return room
        # Under the limit a hint takes a place. A run that no runner can serve must not take one.
        if kind not in free:
            return 0
        taken = len(self._running) + sum(len(each.hinted) for each in self._lanes.values())
        return min(room, self.concurrent_max - taken)

    def _put(self, run: RunRecord, revision: int) -> _Waiting:
        waiting = self._waiting[run.id] = _Waiting(run, revision)
        heapq.heappush(self._later, waiting.place)
        return waiting

    def _drop(self, waiting: _Waiting) -> None:
        """It is not waiting any more. Its places in the queues become invalid."""
        run = waiting.run
        del self._waiting[run.id]
        lane = self._lanes[run.order.kind]
        lane.hinted.pop(run.id, None)
        self._tidy(lane, run.pipeline)

    def _mark(self, waiting: _Waiting, *, check_at: float, was_hinted: bool = False) -> None:
        """A hint for it is outstanding."""
        run = waiting.run
        lane = self._lanes[run.order.kind]
        if run.id not in lane.hinted:
            self._turns_taken += 1
            self._turns[run.pipeline] = self._turns_taken
        self._groups.enter(run)
        lane.hinted[run.id] = check_at
        lane.check_at = min(lane.check_at, check_at)
        waiting.was_hinted = waiting.was_hinted or was_hinted
        self._tidy(lane, run.pipeline)

    def _advance(self, now: datetime) -> None:
        """Put the runs that are due, and whose turn it is within their limit, in their lanes."""
        while self._later and self._later[0][0] <= now:
            place = heapq.heappop(self._later)
            if not self._is_valid(place):
                continue
            waiting = self._waiting[place[2]]
            if not self._is_held(waiting.run) and not self._groups.must_wait(waiting.run):  # ``hold`` brings it back
                self._line_up(waiting)
        for run in self._groups.admitted():
            self._line_up(self._waiting[run.id])

    def _line_up(self, waiting: _Waiting) -> None:
        run = waiting.run
        heapq.heappush(self._lanes[run.order.kind].queues.setdefault(run.pipeline, []), waiting.place)

    def _is_held(self, run: RunRecord) -> bool:
        return not run.attempts and self._pauses.of(run.pipeline) is not None

    def _tidy(self, lane: _Lane, name: PipelineName) -> bool:
        """Make the first place of a pipeline's queue a valid one. Returns whether there is one."""
        queue = lane.queues.get(name, [])
        while queue and not self._is_valid(queue[0]):
            heapq.heappop(queue)
        if not queue:
            lane.queues.pop(name, None)
        return bool(queue)

    def _is_valid(self, place: _Place) -> bool:
        waiting = self._waiting.get(place[2])
        return (
            waiting is not None
            and waiting.place == place
            and place[2] not in self._lanes[waiting.run.order.kind].hinted
        )


def _turn_of(run: RunRecord) -> tuple[object, ...]:
    """What is new when a run waits again."""
    return run.state, run.releases, run.epoch
