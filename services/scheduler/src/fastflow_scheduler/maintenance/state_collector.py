"""Removes states that no pipeline refers to: of attempts whose end was not recorded. I/O only.

A state is stored before the end of its run, which refers to it. So one stays until it was older than ``GRACE`` in the
round before: a bus that was away, or a machine that slept, makes it old in a moment, and then its runner has a round's
time to record the end. A runner that takes longer has lost its runs. Every scheduler does this; removing twice is
harmless.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Final

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.errors import BusError, Unavailable
from fastflow_contracts.bus.large_objects import LargeObjects
from fastflow_contracts.bus.streams import object_stream
from fastflow_contracts.bus.subjects import STATES
from fastflow_contracts.clock import now as wall_clock
from fastflow_contracts.log import get_logger
from fastflow_contracts.runs.state.store import StateStore

log = get_logger(__name__)

ROUND_S: Final = 900.0
"""Pause before each round."""
GRACE: Final = timedelta(days=1)
READ_S: Final = 300.0
"""Longest time to read what the pipelines refer to."""


class StatesCollector:
    """Keeps the store of states free of what nobody can reach. One per scheduler."""

    def __init__(self, bus: Bus, *, clock: Callable[[], datetime] = wall_clock) -> None:
        self._bus = bus
        self._heads = StateStore(bus).heads
        self._objects = LargeObjects(bus, STATES)
        self._clock = clock
        self._before: datetime | None = None
        """What was stored before this was old in the last round."""

    async def serve(self) -> None:
        """Collect from time to time, until cancelled."""
        while True:
            await asyncio.sleep(ROUND_S)
            try:
                await self.collect()
            except BusError as error:
                log.warning("states not collected", error=str(error))

    async def collect(self) -> int:
        """Remove what no pipeline refers to. Returns how many objects and unfinished uploads. Raises ``BusError``."""
        before = self._clock() - GRACE
        try:
            async with asyncio.timeout(READ_S):
                sequence = await self._bus.last_sequence(object_stream(STATES))  # first: what is named later stays
                wanted = await self._wanted()
        except TimeoutError as error:
            raise Unavailable(f"the bus did not show all states within {READ_S:g} s.") from error
        removed = 0
        if self._before is not None:
            removed = await self._objects.remove_others(wanted, before=self._before, sequence=sequence)
        self._before = before
        if removed:
            log.info("states removed", objects=removed)
        return removed

    async def _wanted(self) -> set[str]:
        wanted: set[str] = set()
        async with aclosing(self._heads.once()) as batches:
            async for batch in batches:
                if batch.unread:
                    raise Unavailable(f"{batch.unread[0].key} cannot be read; nothing is removed until it is reset.")
                for change in batch.changes:
                    if change.value is not None:
                        wanted.update(each.archive for each in change.value.versions)
        return wanted
