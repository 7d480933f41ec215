"""Removes the oldest ended runs, record and input, before there is no room for new ones. I/O only.

Removal by age alone does not keep room, so ``Retention`` watches how full the buckets of runs and of inputs are and
removes the oldest runs first. It keeps runs that are not over, runs that ended within ``KEEP``, and runs whose end has
not been handled yet. A removed run is unknown, like one that the bus removed by age; if its trigger comes again after
that, it starts a new run. A removal needs no room.

Every scheduler does this. Removing twice is harmless, and a record that was written after the check stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.errors import BusError, Unavailable
from fastflow_contracts.bus.streams import SCHEDULER, bucket_stream
from fastflow_contracts.clock import now as wall_clock
from fastflow_contracts.log import get_logger
from fastflow_contracts.runs.room import Room
from fastflow_contracts.runs.run import RunRecord
from fastflow_contracts.runs.store import RunStore, Stored

log = get_logger(__name__)

ROUND_S: Final = 60.0
"""Pause before each check, the first one too: by then a restarted service has redone the work of a crashed one."""
STUCK_S: Final = 300.0
"""Pause while the bucket is too full and no run may go: each check reads all old records."""
HIGH: Final = 0.05
"""How far below the share at which no new runs are created the removal begins, as a share of the bucket's bytes."""
LOW: Final = 0.15
"""How far below it the removal stops."""
KEEP: Final = timedelta(hours=1)
"""A run stays this long after its end, however full the bucket is: its trigger may come again, and after a crash the
bus may repeat a change that was acknowledged just before.
"""
BATCH: Final = 250
"""Runs to remove between two checks of the bucket."""
AT_ONCE_MAX: Final = 16
"""Removals at once."""

_STREAM: Final = bucket_stream(subjects.RUNS)


class _Over(NamedTuple):
    run: RunRecord
    sequence: int
    """Of its last revision. Ended states never change, so the revision that says it is over is the last one."""


class Retention:
    """Keeps room for new runs. One per scheduler."""

    def __init__(self, bus: Bus, room: Room, *, batch: int = BATCH, clock: Callable[[], datetime] = wall_clock) -> None:
        self._bus = bus
        self._room = room
        self._high = room.full - HIGH
        self._low = room.full - LOW
        self._store = RunStore(bus)
        self._runs = self._store.records
        self._batch = batch
        self._clock = clock

    async def serve(self) -> None:
        """Make room whenever the bucket gets too full, until cancelled."""
        pause_s = ROUND_S
        while True:
            await asyncio.sleep(pause_s)
            try:
                pause_s = ROUND_S if await self.make_room() else STUCK_S
            except BusError as error:
                log.warning("old runs not removed", error=str(error))

    async def make_room(self) -> bool:
        """Remove old runs if the bucket is too full. Returns whether there is room now. Raises ``BusError``."""
        if (fill := await self._room.fill()) < self._high:
            return True
        followed = await self._bus.acknowledged(_STREAM, SCHEDULER)
        removed = after = 0
        while fill > self._low and (over := await self._oldest(after, followed)):
            await self._remove(over)
            removed, after = removed + len(over), over[-1].sequence
            fill = await self._room.fill()
        if removed:
            log.info("old runs removed", runs=removed, bucket=subjects.RUNS, full_percent=round(fill * 100))
        if fill >= self._high:
            log.warning(
                "runs bucket nearly filled",
                bucket=subjects.RUNS,
                full_percent=round(fill * 100),
                kept=f"runs that are not over, ended within {KEEP}, or are unhandled (after sequence {followed})",
                advice="no new runs are created when it is fuller: cancel runs that wait, or see `fastflow bus purge`",
            )
        return fill < self._high

    async def _oldest(self, after: int, followed: int) -> list[_Over]:
        """The next runs that may go, by their ends; empty if there are no more.

        The feed closes before any removal: while a consumer is behind, each removal makes the server recount the rest
        for it, which takes as long as fifty removals.
        """
        found: list[_Over] = []
        ended_before = self._clock() - KEEP
        async with aclosing(self._runs.follow(after=after)) as batches:
            async for batch in batches:
                for _, run, sequence, stored_at in batch.changes:
                    if sequence > followed or stored_at > ended_before:
                        return found
                    if run is not None and run.is_over:
                        found.append(_Over(run, sequence))
                        if len(found) == self._batch:
                            return found
                if batch.caught_up:
                    break
        return found

    async def _remove(self, over: list[_Over]) -> None:
        waiting = iter(over)
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(AT_ONCE_MAX):
                    group.create_task(self._remove_each(waiting), name=f"remove-{number}")
        except* Unavailable as errors:
            raise Unavailable("the bus did not answer while runs were removed.") from errors.exceptions[0]

    async def _remove_each(self, waiting: Iterator[_Over]) -> None:
        for run, sequence in waiting:
            await self._store.remove(Stored(run, sequence))
