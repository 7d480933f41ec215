"""Whether there is room for new runs on the bus. I/O only.

A full bucket refuses every write, also the cancel and the end of a run. So new runs stop before that: the rest of the
bucket is a reserve for the changes of runs that exist.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.errors import BusError, Unavailable
from fastflow_contracts.bus.streams import bucket_stream

FULL_PERCENT: Final = 75
"""How full a bucket may be when a run is created."""
LOOK_S: Final = 1.0
"""How old an answer of the bus may be."""
CHECKS_MAX: Final = 100
"""How many runs may be created on one answer."""

NO_ROOM_S: Final = 10.0
"""A message that starts a run comes again this long after it found no room."""

_BUCKETS: Final = (subjects.RUNS, subjects.INPUTS)


class NoRoom(BusError):
    """There is no room for new runs; the reserve is for those that exist."""


class Room:
    """The room for new runs on one bus."""

    def __init__(self, bus: Bus, *, full_percent: float = FULL_PERCENT) -> None:
        self._bus = bus
        self.full = full_percent / 100
        """How full a bucket may be when a run is created, from 0 to 1."""
        self._looking = asyncio.Lock()
        self._checks = CHECKS_MAX
        self._looked_s = 0.0
        self._complaint = ""

    async def check(self) -> None:
        """Raise ``NoRoom`` if no run may be created now."""
        if complaint := await self.complaint():
            raise NoRoom(complaint)

    async def complaint(self) -> str:
        """Return why no run may be created now, and what to do; empty: one may.

        If the bus does not answer, this is what it said last: whether a run can be stored, its write shows.
        """
        now_s = asyncio.get_running_loop().time()
        async with self._looking:
            if self._checks >= CHECKS_MAX or now_s >= self._looked_s + LOOK_S:
                with suppress(Unavailable):
                    self._complaint = await self._look()
                self._checks, self._looked_s = 0, now_s
            self._checks += 1
            return self._complaint

    async def fill(self) -> float:
        """How full the fuller bucket is, from 0 to 1. Raises ``Unavailable``."""
        return max([await self._fill(bucket) for bucket in _BUCKETS])

    async def _look(self) -> str:
        for bucket in _BUCKETS:
            if (fill := await self._fill(bucket)) >= self.full:
                return (
                    f"no new runs now: {bucket} is {fill:.0%} full, and the rest is for runs that exist. Runs are "
                    "removed an hour after their end; cancel runs that wait, or see `fastflow bus purge`."
                )
        return ""

    async def _fill(self, bucket: str) -> float:
        info = await self._bus.stream(bucket_stream(bucket))
        bytes_max = info.config.max_bytes or 0
        return float(info.state.bytes / bytes_max) if bytes_max > 0 else 0.0
