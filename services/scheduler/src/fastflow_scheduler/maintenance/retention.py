"""Makes room among the runs before their bucket is full: the oldest that are over go, record and input. I/O only.

A full bucket refuses every write, and then nothing can end that runs. Age alone does not keep it from that, so this
looks at how full it is and removes from the end where nobody looks any more. What is not over stays, and so does what
ended within ``KEEP`` or has not been reacted to. Whoever asks for a run that is gone hears what he hears of one that
went by age; a trigger that is repeated after that starts anew.

Every scheduler does it. Removing twice is harmless, and nothing is removed that was written after it was looked at.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.errors import BusError, Unavailable
from fastflow_contracts.bus.streams import SCHEDULER, bucket_stream
from fastflow_contracts.clock import now as wall_clock
from fastflow_contracts.runs.run import Run
from fastflow_contracts.runs.store import RunStore

log = logging.getLogger(__name__)

ROUND_S: Final = 60.0
"""Between two looks. The first one comes after it, too: who starts again has repeated by then what a crash left."""
STUCK_S: Final = 300.0
"""The same while it is too full and nothing more may go: each look reads all that is old."""
HIGH: Final = 0.8
"""Of the bucket's bytes: beyond it runs are removed."""
LOW: Final = 0.7
"""Down to this."""
KEEP: Final = timedelta(hours=1)
"""A run is kept for so long after its end, however full the bucket is: a trigger may be repeated, and the bus may
deliver a change again that was acknowledged a moment before it died.
"""
BATCH: Final = 250
"""Runs that are removed between two looks at the bucket."""
AT_ONCE_MAX: Final = 16
"""Removals under way at once."""

_STREAM: Final = bucket_stream(subjects.RUNS)


class _Over(NamedTuple):
    run: Run
    sequence: int
    """Of its last revision: ended states absorb, so what says that it is over is the last there is of it."""


class Retention:
    """One per scheduler."""

    def __init__(self, bus: Bus, *, batch: int = BATCH, clock: Callable[[], datetime] = wall_clock) -> None:
        self._bus = bus
        self._runs = RunStore(bus).records
        self._batch = batch
        self._clock = clock

    async def serve(self) -> None:
        """Work until cancelled."""
        pause_s = ROUND_S
        while True:
            await asyncio.sleep(pause_s)
            try:
                pause_s = ROUND_S if await self.make_room() else STUCK_S
            except BusError as error:
                log.warning("old runs could not be removed: %s", error)

    async def make_room(self) -> bool:
        """Whether there is room, or was made. Raises what the bus raises."""
        if (fill := await self._fill()) < HIGH:
            return True
        followed = await self._bus.acknowledged(_STREAM, SCHEDULER)
        removed = after = 0
        while fill > LOW and (over := await self._oldest(after, followed)):
            await self._remove(over)
            removed, after = removed + len(over), over[-1].sequence
            fill = await self._fill()
        if removed:
            log.info(
                "removed the oldest %d run(s) that were over; bucket %s is %.0f %% full",
                removed,
                subjects.RUNS,
                fill * 100,
            )
        if fill >= HIGH:
            log.warning(
                "bucket %s is %.0f %% full: what it holds is not over, ended less than %s ago, or was not reacted to"
                " (after sequence %d). When it is full, no run can start or end: cancel runs that wait, or start fewer",
                subjects.RUNS,
                fill * 100,
                KEEP,
                followed,
            )
        return fill < HIGH

    async def _fill(self) -> float:
        """How full the bucket is, from 0 to 1."""
        info = await self._bus.stream(_STREAM)
        bytes_max = info.config.max_bytes or 0
        return info.state.bytes / bytes_max if bytes_max > 0 else 0.0

    async def _oldest(self, after: int, followed: int) -> list[_Over]:
        """The next runs that may go, by their ends; [] = there are no more.

        The feed ends before anything is removed: while a consumer is behind, each removal has the server count anew
        what is left for it, which takes as long as fifty removals.
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
            raise Unavailable("the bus did not answer while runs were removed") from errors.exceptions[0]

    async def _remove_each(self, waiting: Iterator[_Over]) -> None:
        for run, sequence in waiting:
            # The record goes last: it leads to the input. Nothing later goes with them: when somebody else removed the
            # run and a repeated trigger made it anew, that one stays.
            keys = (*((subjects.input_key(run.ref),) if run.order.has_input else ()), subjects.run_key(run.ref))
            for key in keys:
                await self._bus.purge(subjects.RUNS, key, until=sequence)
