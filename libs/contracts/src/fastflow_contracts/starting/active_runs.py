"""The runs that are not over, as one scheduler knows them from the feed of their records. No I/O.

Memory grows with the active runs, never with the history. A decision that must be exact asks the bus for the newest
revision that matters, and then waits with ``up_to`` until the feed has come that far.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from typing import Final, TypeVar

from fastflow_contracts.bus.errors import Unavailable
from fastflow_contracts.bus.subjects import RunRef
from fastflow_contracts.ids import RunId
from fastflow_contracts.names import PipelineName
from fastflow_contracts.runs.concurrency import shares_turn
from fastflow_contracts.runs.limits import Member
from fastflow_contracts.runs.run import Pending, RunRecord

K = TypeVar("K")

BEHIND_S: Final = 5.0
"""How long a decision waits for the feed."""


class ActiveRuns:
    """Fed with every change of a run, in the order of the bus."""

    def __init__(self) -> None:
        self.position = 0
        """Everything up to this revision is known."""
        self.is_complete = False
        """Whether the feed has delivered all runs that were there when it began."""
        self._runs: dict[RunId, RunRecord] = {}
        self._of: defaultdict[PipelineName, dict[RunId, Member]] = defaultdict(dict)
        self._waiting_of: Counter[PipelineName] = Counter()
        self._waiting_from: Counter[RunId] = Counter()
        self._in: defaultdict[RunId, dict[RunId, RunRef]] = defaultdict(dict)
        """By operation."""
        self._came: asyncio.Event | None = None

    def begin(self) -> None:
        """Forget everything: a new feed begins."""
        self.position, self.is_complete = 0, False
        for known in (self._runs, self._of, self._waiting_of, self._waiting_from, self._in):
            known.clear()

    def see(self, run: RunRecord, revision: int) -> None:
        """Take in a change."""
        self._put(run)
        self.pass_over(revision)

    def forget(self, run_id: RunId, revision: int) -> None:
        """Take in that a record was deleted."""
        self._drop(run_id)
        self.pass_over(revision)

    def pass_over(self, revision: int) -> None:
        """Take in that the record of this revision cannot be read: its run stays as it was known."""
        self.position = max(self.position, revision)
        if self._came is not None:
            self._came.set()

    def complete(self) -> None:
        """Take in that the feed has delivered all that was there when it began."""
        self.is_complete = True
        if self._came is not None:
            self._came.set()

    def add(self, run: RunRecord, revision: int) -> None:
        """Take in a run that this scheduler has just created, before the feed brings it."""
        if revision > self.position:
            self._put(run)

    def of(self, pipeline: PipelineName) -> tuple[Member, ...]:
        """Return the active runs of *pipeline*, oldest first as far as known."""
        return tuple(self._of[pipeline].values()) if pipeline in self._of else ()

    def sharing_turn(self, run: RunRecord) -> tuple[Member, ...]:
        """Return the active runs that share the limit of *run*, oldest first as far as known."""
        return tuple(member for member in self.of(run.pipeline) if shares_turn(run, self._runs[member.run_id]))

    def waiting_of(self, pipeline: PipelineName) -> int:
        """Return how many runs of *pipeline* wait."""
        return self._waiting_of[pipeline]

    def waiting_from(self, root: RunId) -> int:
        """Return how many runs of the chain that began with *root* wait."""
        return self._waiting_from[root]

    def of_operation(self, operation: RunId) -> tuple[RunRef, ...]:
        """Return the active runs that *operation* started."""
        return tuple(self._in[operation].values()) if operation in self._in else ()

    async def up_to(self, revision: int) -> None:
        """Return when everything up to *revision* is known.

        Raises:
            Unavailable: The feed is behind; try again.
        """
        try:
            async with asyncio.timeout(BEHIND_S if self.is_complete else 0):
                while not self.is_complete or self.position < revision:
                    await self._next()
        except TimeoutError:
            raise Unavailable("the active runs are still being read from the bus.") from None

    async def _next(self) -> None:
        """Wait for the next change."""
        if self._came is None or self._came.is_set():
            self._came = asyncio.Event()
        await self._came.wait()

    def _put(self, run: RunRecord) -> None:
        self._drop(run.id)
        if run.is_over:
            return
        self._runs[run.id] = run
        self._of[run.pipeline][run.id] = Member(pipeline=run.pipeline, run_id=run.id)
        if run.order.operation_id is not None:
            self._in[run.order.operation_id][run.id] = run.ref
        if isinstance(run.state, Pending):
            self._waiting_of[run.pipeline] += 1
            self._waiting_from[run.root_run_id] += 1

    def _drop(self, run_id: RunId) -> None:
        former = self._runs.pop(run_id, None)
        if former is None:
            return
        members = self._of[former.pipeline]
        del members[run_id]
        if not members:
            del self._of[former.pipeline]
        if (operation := former.order.operation_id) is not None:
            self._in[operation].pop(run_id, None)
            if not self._in[operation]:
                del self._in[operation]
        if isinstance(former.state, Pending):
            _take_one(self._waiting_of, former.pipeline)
            _take_one(self._waiting_from, former.root_run_id)


def _take_one(counts: Counter[K], key: K) -> None:
    counts[key] -= 1
    if not counts[key]:
        del counts[key]
