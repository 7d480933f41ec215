"""Removes states that no pipeline refers to: of attempts whose end was not recorded. I/O only.

A state is stored before the end of its run, which refers to it. So one that is younger than ``GRACE`` stays: by then a
runner without an answer has lost its runs. Every scheduler does this; removing twice is harmless.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Final

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.errors import BusError, Unavailable
from fastflow_contracts.bus.objects import ObjectStore
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
        self._heads = StateStore(bus).heads
        self._objects = ObjectStore(bus, STATES)
        self._clock = clock

    async def serve(self) -> None:
        """Collect from time to time, until cancelled."""
        while True:
            await asyncio.sleep(ROUND_S)
            try:
                await self.collect()
            except BusError as error:
                log.warning("states not collected", error=str(error))

    async def collect(self) -> int:
        """Remove what no pipeline refers to. Returns how many states were removed. Raises ``BusError``."""
        before = self._clock() - GRACE
        try:
            async with asyncio.timeout(READ_S):
                stored = await self._objects.uploaded()  # first: what becomes current after this is younger
                wanted = await self._wanted()
        except TimeoutError as error:
            raise Unavailable(f"the bus did not show all states within {READ_S:g} s.") from error
        unused = [name for name, upload in stored.items() if upload.at < before and name not in wanted]
        for name in unused:
            await self._objects.delete(name, until=stored[name].sequence)
        if unused:
            log.info("states removed", states=len(unused))
        return len(unused)

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
