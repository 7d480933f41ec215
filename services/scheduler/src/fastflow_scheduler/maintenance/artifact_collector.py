"""Removes the content of artifacts that no run refers to (any more). I/O only.

An artifact is stored before the end of its run, which refers to it. So what is younger than ``GRACE`` stays, and so
does what was stored, or found by a run that leaves the same bytes, after the runs were read. Every scheduler does
this; removing twice is harmless.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Final

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.errors import BusError, Unavailable
from fastflow_contracts.bus.large_objects import LargeObjects
from fastflow_contracts.bus.streams import object_stream
from fastflow_contracts.clock import now as wall_clock
from fastflow_contracts.log import get_logger
from fastflow_contracts.runs.artifacts.store import ArtifactStore

log = get_logger(__name__)

ROUND_S: Final = 900.0
"""Pause before each round."""
GRACE: Final = timedelta(days=1)
"""Longer than a runner may take from the first upload to the end of its run (``artifact_store.GATHERING_S``)."""
READ_S: Final = 300.0
"""Longest time to read what the runs refer to."""


class ArtifactCollector:
    """Keeps the store of artifacts free of what nobody can reach. One per scheduler."""

    def __init__(self, bus: Bus, *, keep: timedelta, clock: Callable[[], datetime] = wall_clock) -> None:
        """*keep*: artifacts of runs that ended longer ago are removed."""
        self._bus = bus
        self._manifests = ArtifactStore(bus).manifests
        self._objects = LargeObjects(bus)
        self._keep = keep
        self._clock = clock

    async def serve(self) -> None:
        """Collect from time to time, until cancelled."""
        while True:
            await asyncio.sleep(ROUND_S)
            try:
                await self.collect()
            except BusError as error:
                log.warning("artifacts not collected", error=str(error))

    async def collect(self) -> int:
        """Remove what no run refers to. Returns how many objects were removed. Raises ``BusError``."""
        at = self._clock()
        # First: what is named after this stays, whoever refers to it.
        sequence = await self._bus.last_sequence(object_stream(subjects.ARTIFACTS))
        wanted = await self._wanted(at - self._keep)
        removed = await self._objects.remove_others(wanted, before=at - GRACE, sequence=sequence)
        if removed:
            log.info("artifacts removed", objects=removed)
        return removed

    async def _wanted(self, since: datetime) -> set[str]:
        """The objects to which a run refers that ended after *since*."""
        wanted: set[str] = set()
        try:
            async with asyncio.timeout(READ_S), aclosing(self._manifests.once()) as batches:
                async for batch in batches:
                    if lost := [each.key for each in batch.unread if not each.is_deleted]:
                        raise Unavailable(
                            f"{lost[0]} cannot be read; nothing is removed until `fastflow bus unreadable` removes it."
                        )
                    for change in batch.changes:
                        if change.value is not None and change.stored_at >= since:
                            wanted.update(each.sha256 for each in change.value.artifacts)
        except TimeoutError as error:
            raise Unavailable(f"the bus did not show the artifacts of all runs within {READ_S:g} s.") from error
        return wanted
